// contact connect PATH: serve a Unix socket at PATH, and connect to it. contact trace: a child asks to be traced.
// contact read: read a child's memory. Exit status: 0 it was done, 3 it was not permitted, 4 what else went wrong.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DONE, USAGE = 2, REFUSED = 3, FAILED = 4 };

static int answer(long result)
{
	if (result >= 0)
		return DONE;
	return errno == EPERM ? REFUSED : FAILED;
}

static int by_connecting(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	mkdir("/run", 0755);
	if (bind(server, (struct sockaddr *)&address, sizeof(address)) || listen(server, 1))
		return FAILED;
	return answer(connect(client, (struct sockaddr *)&address, sizeof(address)));
}

static int by_tracing(void)
{
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(answer(ptrace(PTRACE_TRACEME, 0, NULL, NULL)));
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : FAILED;
}

static int by_reading(void)
{
	char word[8] = "word", copy[8];
	struct iovec here = { copy, sizeof(copy) }, there = { word, sizeof(word) };
	pid_t child = fork();
	int result;

	if (child == 0) {
		pause();
		_exit(0);
	}
	result = answer(process_vm_readv(child, &here, 1, &there, 1, 0));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return result;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "connect"))
		return by_connecting(argv[2]);
	if (argc == 2 && !strcmp(argv[1], "trace"))
		return by_tracing();
	if (argc == 2 && !strcmp(argv[1], "read"))
		return by_reading();
	fprintf(stderr, "usage: contact connect PATH | trace | read\n");
	return USAGE;
}
