/*
 * Moves directories and mounts about at random, and opens files below them.
 *
 *	open_stress ROOT KIND SEED TURNS PROCESSES
 *
 * KIND: plain (ROOT as it is), tmpfs, overlay (a file system of our own on ROOT, and mounts below it). Runs in a
 * mount namespace of its own. Few names, so that paths come and go that the test watches. Prints the opens made.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A table of descriptors that has grown is read in another way than one that has not: every other process has one. */
#define GROWN_DESCRIPTOR 100

static const char *const names[] = { "a", "b", "c", "hot", "deep", "hot.x" };
static const char *root;
static unsigned long long state;

static unsigned int roll(unsigned int sides)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 20) % sides;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* A directory one to four levels below ROOT. */
static void directory(char *path, size_t size)
{
	int used = snprintf(path, size, "%s", root);

	for (int levels = 1 + roll(4); levels; levels--)
		used += snprintf(path + used, size - used, "/%s", names[roll(6)]);
}

static int open_file(const char *path)
{
	int fd = open(path, roll(4) ? O_RDONLY | O_CLOEXEC : O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return 0;
	close(fd);
	return 1;
}

/* Opens of the same directory in a row, so that there is something remembered to be wrong about. */
static unsigned long open_some(void)
{
	char path[4096], file[4200];
	unsigned long opened = 0;

	directory(path, sizeof(path));
	for (int times = 2 + roll(3); times; times--) {
		snprintf(file, sizeof(file), "%s/%c", path, "fgh"[roll(3)]);
		opened += open_file(file);
	}
	return opened;
}

static void remove_tree(const char *path)
{
	char inner[4200];

	for (int i = 0; i < 3; i++) {
		snprintf(inner, sizeof(inner), "%s/%c", path, "fgh"[i]);
		unlink(inner);
	}
	rmdir(path);
}

static void change_mounts(const char *one, const char *other)
{
	switch (roll(4)) {
	case 0:
		mount("stress", one, "tmpfs", 0, "size=1m");
		break;
	case 1:
		mount(one, other, NULL, MS_BIND, NULL);
		break;
	default:
		umount2(one, roll(2) ? MNT_DETACH : 0);
	}
}

static void change(int has_mounts)
{
	char one[4096], other[4096];

	directory(one, sizeof(one));
	directory(other, sizeof(other));
	switch (roll(has_mounts ? 8 : 6)) {
	case 0:
	case 1:
		mkdir(one, 0700);
		break;
	case 2:
		rename(one, other);
		break;
	case 3:
		renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE);
		break;
	case 4:
		mkdir(one, 0700);
		mkdir(other, 0700);
		renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE);
		break;
	case 5:
		remove_tree(one);
		break;
	default:
		change_mounts(one, other);
	}
}

static void prepare(const char *kind)
{
	char lower[4096], options[13000];

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		die("a mount namespace of our own");
	if (strcmp(kind, "plain") && mount("stress", root, "tmpfs", 0, "size=64m"))
		die("tmpfs");
	if (strcmp(kind, "overlay"))
		return;
	for (int i = 0; i < 3; i++) {
		snprintf(lower, sizeof(lower), "%s/%s", root, ((const char *[]){ "lower", "upper", "work" })[i]);
		if (mkdir(lower, 0700))
			die(lower);
	}
	for (int i = 0; i < 6; i++) {
		snprintf(lower, sizeof(lower), "%s/lower/%s", root, names[i]);
		mkdir(lower, 0700);
	}
	snprintf(options, sizeof(options), "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work,redirect_dir=on", root,
		 root, root);
	if (mount("stress", root, "overlay", 0, options))
		die("overlay");
}

static unsigned long work(unsigned long turns, int has_mounts)
{
	unsigned long opened = 0;

	while (turns--) {
		change(has_mounts);
		opened += open_some();
	}
	return opened;
}

int main(int argc, char **argv)
{
	unsigned long *opened, all = 0;
	int processes, has_mounts, status, failed = 0;

	if (argc != 6)
		return 2;
	root = argv[1];
	has_mounts = strcmp(argv[2], "plain") != 0;
	processes = atoi(argv[5]);
	prepare(argv[2]);
	close_range(3, ~0U, 0);
	opened = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < processes; i++) {
		state = strtoull(argv[3], NULL, 10) * 2654435761u + i + 1;
		if (!fork()) {
			if (i & 1 && dup2(0, GROWN_DESCRIPTOR) < 0)
				_exit(1);
			opened[i] = work(strtoul(argv[4], NULL, 10), has_mounts);
			_exit(0);
		}
	}
	while (wait(&status) > 0)
		failed |= status;
	for (int i = 0; i < processes; i++)
		all += opened[i];
	printf("%lu\n", all);
	return failed ? 1 : 0;
}
