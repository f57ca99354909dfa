// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The loops that open_cost.py and change_cost.py time. Reads orders from standard input, one a line,
 * and answers each with the CPU time of this thread in nanoseconds per turn:
 *
 *	open PATH COUNT		open and close a file
 *	getpid COUNT		a system call that opens nothing
 *	grow - 1		have a table of descriptors that has grown, from now on
 *	change PATH COUNT	give a file another name (link), rename that, remove it
 *	enter PATH 1		work in this folder from now on
 *	find PATH		open and read (64 KiB) each regular file below a directory; ns in all
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GROWN_DESCRIPTOR 100

static char buffer[65536];

static double cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * 1e9 + now.tv_nsec;
}

static int open_close(const char *path, long count)
{
	for (long i = 0; i < count; i++) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			return -1;
		close(fd);
	}
	return 0;
}

static int link_rename_unlink(const char *path, long count)
{
	char made[4096 + 8], moved[4096 + 8];

	snprintf(made, sizeof(made), "%s.made", path);
	snprintf(moved, sizeof(moved), "%s.moved", path);
	for (long i = 0; i < count; i++) {
		if (link(path, made) || rename(made, moved) || unlink(moved))
			return -1;
	}
	return 0;
}

static int read_file(const char *path, const struct stat *status, int type, struct FTW *where)
{
	int fd;

	(void)status;
	(void)where;
	if (type != FTW_F)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (read(fd, buffer, sizeof(buffer)) < 0)
			fputs("", stderr);
		close(fd);
	}
	return 0;
}

static double obey(const char *what, const char *path, long count)
{
	double start = cpu_ns();

	if (!strcmp(what, "open")) {
		if (open_close(path, count))
			return -1;
	} else if (!strcmp(what, "change")) {
		if (link_rename_unlink(path, count))
			return -1;
	} else if (!strcmp(what, "enter")) {
		if (chdir(path))
			return -1;
	} else if (!strcmp(what, "grow")) {
		if (dup2(0, GROWN_DESCRIPTOR) < 0)
			return -1;
	} else if (!strcmp(what, "find")) {
		nftw(path, read_file, 64, FTW_PHYS | FTW_MOUNT);
		count = 1;
	} else {
		for (long i = 0; i < count; i++)
			syscall(SYS_getpid);
	}
	return (cpu_ns() - start) / count;
}

/* A table of descriptors only shrinks by fork(). */
static void shrink_table(void)
{
	int status;

	close_range(3, ~0U, 0);
	if (fork()) {
		wait(&status);
		_exit(WEXITSTATUS(status));
	}
}

int main(void)
{
	char line[8192], what[16], path[4096];
	long count;

	shrink_table();
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "%15s %4095s %ld", what, path, &count) != 3)
			return 2;
		printf("%.3f\n", obey(what, path, count));
		fflush(stdout);
	}
	return 0;
}
