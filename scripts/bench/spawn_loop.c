/*
 * posix_spawn and wait of a static program, COUNT times; prints nanoseconds a spawn (wall time).
 *
 *	spawn_loop PROGRAM COUNT CPU [INTERVAL_NS [NAMES]]
 *
 * CPU -1 pins nowhere; an interval paces the loop; with NAMES, the programs PROGRAM0, PROGRAM1 ... are run in turn.
 */
#define _GNU_SOURCE
#include <sched.h>
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
	long count = atol(argv[2]);
	int cpu = atoi(argv[3]);
	long interval = argc > 4 ? atol(argv[4]) : 0;
	long names = argc > 5 ? atol(argv[5]) : 0;
	cpu_set_t cpus;
	long long begin, next;
	pid_t child;
	int status;

	if (cpu >= 0) {
		CPU_ZERO(&cpus);
		CPU_SET(cpu, &cpus);
		if (sched_setaffinity(0, sizeof(cpus), &cpus))
			return 2;
	}
	next = begin = now_ns();
	snprintf(path, sizeof(path), "%s", argv[1]);
	for (long i = 0; i < count; i++) {
		if (names)
			snprintf(path, sizeof(path), "%s%ld", argv[1], i % names);
		if (posix_spawn(&child, path, NULL, NULL, child_argv, child_environment))
			return 3;
		waitpid(child, &status, 0);
		if (interval) {
			struct timespec at;

			next += interval;
			at.tv_sec = next / 1000000000LL;
			at.tv_nsec = next % 1000000000LL;
			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
		}
	}
	printf("%lld\n", (now_ns() - begin) / count);
	return 0;
}
