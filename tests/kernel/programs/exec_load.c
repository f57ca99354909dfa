/* exec_load DENIED ALLOWED: execute both again and again until SIGTERM. For each execution of DENIED that was refused,
 * or killed, it prints the process and the time (of day, ns); for one of ALLOWED that was, "allowed refused". */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REFUSED 126

static volatile sig_atomic_t is_over;

static void end(int number)
{
	is_over = number;
}

static long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * 1000000000L + now.tv_nsec;
}

/* The process that was refused, else 0. */
static pid_t try(char *program)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		execv(program, (char *[]){ program, NULL });
		_exit(REFUSED);
	}
	while (waitpid(pid, &status, 0) < 0)
		;
	return WIFSIGNALED(status) || WEXITSTATUS(status) == REFUSED ? pid : 0;
}

int main(int argc, char **argv)
{
	pid_t refused;

	if (argc != 3)
		return 2;
	signal(SIGTERM, end);
	while (!is_over) {
		if ((refused = try(argv[1])))
			printf("%d %ld\n", refused, now_ns());
		if (try(argv[2]))
			printf("allowed refused\n");
		usleep(10000);
	}
	return 0;
}
