// swapper open|exec DECOY TARGET COUNT: use a name while a second thread swaps its text between the two, until it was
// TARGET that the kernel used COUNT times.
// swapper descriptor DECOY TARGET COUNT: open TARGET COUNT times while a second thread puts DECOY over the new descriptor.
// Prints how many times the kernel really used TARGET: known by the inode that was opened, or by its exit status.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TURNS_MAX 20000

static const char *texts[2];
static char name[256];

static void *swap(void *unused)
{
	for (unsigned turn = 0;; turn++)
		strcpy(name, texts[turn & 1]);
	return unused;
}

static int decoy_fd, next_fd;

static void *replace(void *unused)
{
	for (;;)
		dup2(decoy_fd, next_fd);
	return unused;
}

static void start(void *(*thread)(void *))
{
	pthread_t id;

	pthread_create(&id, NULL, thread, NULL);
}

// The kernel has opened TARGET when open() succeeds, whatever the descriptor means a moment later.
static int opens_under_replacement(void)
{
	int fd = open(texts[1], O_RDONLY);

	if (fd >= 0 && fd != next_fd)
		close(fd);
	close(next_fd);
	return fd >= 0;
}

static int opens_target(const struct stat *target)
{
	struct stat opened = { 0 };
	int fd = open(name, O_RDONLY);

	if (fd < 0)
		return 0; // half of one name, half of the other
	fstat(fd, &opened);
	close(fd);
	return opened.st_ino == target->st_ino && opened.st_dev == target->st_dev;
}

// DECOY and TARGET exit with different statuses; TARGET's is 7.
static int runs_target(void)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		start(swap);
		usleep(200);
		for (int attempt = 0; attempt < 1000; attempt++)
			execl(name, name, (char *)NULL);
		_exit(1);
	}
	waitpid(child, &status, 0);
	return WIFEXITED(status) && WEXITSTATUS(status) == 7;
}

static void prepare(const char *how)
{
	if (strcmp(how, "open") == 0)
		start(swap);
	if (strcmp(how, "descriptor") == 0) {
		decoy_fd = open(texts[0], O_RDONLY);
		next_fd = dup(decoy_fd);
		start(replace);
	}
}

static int uses_target(const char *how, const struct stat *target)
{
	if (strcmp(how, "descriptor") == 0)
		return opens_under_replacement();
	return strcmp(how, "open") == 0 ? opens_target(target) : runs_target();
}

int main(int argc, char **argv)
{
	struct stat target;
	int hits = 0;

	if (argc != 5 || stat(argv[3], &target) < 0) {
		fprintf(stderr, "usage: swapper open|exec|descriptor DECOY TARGET COUNT\n");
		return 2;
	}
	texts[0] = argv[2];
	texts[1] = argv[3];
	strcpy(name, texts[0]);
	prepare(argv[1]);
	for (int turn = 0; turn < TURNS_MAX && hits < atoi(argv[4]); turn++)
		hits += uses_target(argv[1], &target);
	printf("%d\n", hits);
	return 0;
}
