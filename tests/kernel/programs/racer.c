/* Execute a program again and again with an argument of which another thread changes a byte meanwhile.
 * racer PROGRAM COUNT: prints how many executions were refused. What ran says so itself. */
#define _GNU_SOURCE
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

static char argument[] = "--evil";
static volatile int is_over;

static void *flip(void *nothing)
{
	/* A branch after each change: an emulated CPU is interrupted at branches alone. */
	while (!is_over) {
		((volatile char *)argument)[2] = 'g';
		if (is_over)
			break;
		((volatile char *)argument)[2] = 'e';
	}
	return nothing;
}

int main(int argc, char **argv)
{
	char *arguments[] = { argv[1], argument, NULL }, *environment[] = { NULL };
	int refused = 0, count = atoi(argv[2]), status;
	pthread_t flipper;
	pid_t pid;

	pthread_create(&flipper, NULL, flip, NULL);
	for (int i = 0; i < count; i++) {
		if (posix_spawn(&pid, argv[1], NULL, NULL, arguments, environment)) {
			refused++;
			continue;
		}
		waitpid(pid, &status, 0);
		refused += WIFSIGNALED(status);
	}
	is_over = 1;
	pthread_join(flipper, NULL);
	fprintf(stderr, "%d\n", refused);
	return argc != 3;
}
