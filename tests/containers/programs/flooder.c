// flooder SECONDS[/CPUS] FILE...: on every CPU (or so many, from the last one down), open these files and run a program
// (this one, without arguments) as fast as it goes.
// Prints how many opens and execs were made.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static char **files;
static int file_count;
static time_t until;
static unsigned long opens, execs;

static void *flood(void *cpu)
{
	char *none[] = { "flooder", NULL };
	unsigned long opened = 0, ran = 0;
	cpu_set_t set;
	pid_t child;

	CPU_ZERO(&set);
	CPU_SET(sysconf(_SC_NPROCESSORS_ONLN) - 1 - (long)cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	while (time(NULL) < until) {
		for (int turn = 0; turn < 200; turn++, opened++)
			close(open(files[turn % file_count], O_RDONLY));
		if (posix_spawn(&child, "/proc/self/exe", NULL, NULL, none, environ) == 0)
			ran += waitpid(child, NULL, 0) == child;
	}
	__atomic_add_fetch(&opens, opened, __ATOMIC_RELAXED);
	__atomic_add_fetch(&execs, ran, __ATOMIC_RELAXED);
	return NULL;
}

int main(int argc, char **argv)
{
	const char *slash = argc > 1 ? strchr(argv[1], '/') : NULL;
	long cpus = slash ? atoi(slash + 1) : sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t threads[64];

	if (argc < 3)
		return 0;
	until = time(NULL) + atoi(argv[1]);
	files = argv + 2;
	file_count = argc - 2;
	for (long cpu = 0; cpu < cpus && cpu < 64; cpu++)
		pthread_create(&threads[cpu], NULL, flood, (void *)cpu);
	for (long cpu = 0; cpu < cpus && cpu < 64; cpu++)
		pthread_join(threads[cpu], NULL);
	printf("%lu %lu\n", opens, execs);
	return 0;
}
