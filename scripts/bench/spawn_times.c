/*
 * posix_spawn and wait of PROGRAM0, PROGRAM1 ... (or of PROGRAM again and again), COUNT times; prints the nanoseconds
 * of each.
 *
 *	spawn_times PROGRAM COUNT [numbered]
 */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

static long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

int main(int argc, char **argv)
{
	char path[4096];
	char *const child_argv[] = { path, NULL };
	char *const child_environment[] = { NULL };
	long count = argc > 2 ? atol(argv[2]) : 0;
	pid_t child;
	int status;

	for (long i = 0; i < count; i++) {
		long long begin;

		if (argc > 3)
			snprintf(path, sizeof(path), "%s%ld", argv[1], i);
		else
			snprintf(path, sizeof(path), "%s", argv[1]);
		begin = now_ns();
		if (posix_spawn(&child, path, NULL, NULL, child_argv, child_environment))
			return 3;
		waitpid(child, &status, 0);
		printf("%lld\n", now_ns() - begin);
	}
	return 0;
}
