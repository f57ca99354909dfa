// runner HOW FILE [ARG...]: run the program FILE with these arguments (from argv[0] on), in one of the ways that hide it.
// Passes its exit status on.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void copy(const char *from, int to)
{
	char data[65536];
	int fd = open(from, O_RDONLY);
	ssize_t size;

	while ((size = read(fd, data, sizeof(data))) > 0)
		if (write(to, data, size) != size)
			exit(3);
	close(fd);
}

// An anonymous file: no path anywhere.
static void by_memfd(const char *file, char **args)
{
	int fd = memfd_create("harmless", MFD_CLOEXEC);

	copy(file, fd);
	fexecve(fd, args, environ);
}

// A file on /dev/shm that has no name any more.
static void by_deleted(const char *file, char **args)
{
	const char *name = "/dev/shm/gone";
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0700);

	copy(file, fd);
	close(fd);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	unlink(name);
	fexecve(fd, args, environ);
}

static void by_proc_fd(const char *file, char **args)
{
	char name[64];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", open(file, O_RDONLY | O_CLOEXEC));
	execve(name, args, environ);
}

static void by_empty_path(const char *file, char **args)
{
	syscall(SYS_execveat, open(file, O_PATH | O_CLOEXEC), "", args, environ, AT_EMPTY_PATH);
}

// The 32-bit system call table; names and arguments must lie below 4 GiB.
static void by_int80(const char *file, char **args)
{
	char *low = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	unsigned *words = (unsigned *)low;
	char *text = low + 1024;
	int result;

	for (int index = 0; args[index] && index < 200; index++) {
		words[index] = (unsigned)(unsigned long)strcpy(text, args[index]);
		text += strlen(text) + 1;
	}
	strcpy(text, file);
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(11), "b"(text), "c"(words), "d"(0)
			 : "memory", "r8", "r9", "r10", "r11");
	errno = -result;
}

static void by_no_arguments(const char *file, char **args)
{
	char *none[] = { NULL };

	(void)args;
	execve(file, none, environ);
}

// The parent is gone before the program starts: what the kernel shows as parent is the reaper.
static void by_double_fork(const char *file, char **args)
{
	int done[2];
	char byte;
	pid_t first;

	if (pipe(done) < 0)
		return;
	first = fork();
	if (first == 0) {
		first = getpid();
		if (fork() != 0)
			_exit(0);
		while (getppid() == first)
			;
		close(done[0]);
		fcntl(done[1], F_SETFD, FD_CLOEXEC);
		execve(file, args, environ);
		_exit(3);
	}
	close(done[1]);
	waitpid(first, NULL, 0);
	_exit(read(done[0], &byte, 1) != 0); // end of file: the program runs
}

static const struct {
	const char *name;
	void (*run)(const char *file, char **args);
} WAYS[] = {
	{ "memfd", by_memfd },	 { "deleted", by_deleted },	     { "proc-fd", by_proc_fd },	       { "empty-path", by_empty_path },
	{ "int80", by_int80 },	 { "no-arguments", by_no_arguments }, { "double-fork", by_double_fork },
};

int main(int argc, char **argv)
{
	for (size_t index = 0; argc > 2 && index < sizeof(WAYS) / sizeof(*WAYS); index++)
		if (strcmp(argv[1], WAYS[index].name) == 0) {
			WAYS[index].run(argv[2], argv + 3);
			fprintf(stderr, "runner %s %s: %m\n", argv[1], argv[2]);
			return 3;
		}
	fprintf(stderr, "usage: runner HOW FILE [ARG...]\n");
	return 2;
}
