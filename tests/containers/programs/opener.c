// opener HOW PATH [OTHER]: open PATH once, in one of the ways that a monitor may miss. Exit status 0 when it was opened.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct way {
	const char *name;
	int (*open)(const char *path, const char *other);
};

static int by_open(const char *path, const char *other)
{
	(void)other;
	return syscall(SYS_open, path, O_RDONLY);
}

static int by_creat(const char *path, const char *other)
{
	(void)other;
	return syscall(SYS_creat, path, 0600);
}

static int by_openat(const char *path, const char *other)
{
	(void)other;
	return syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
}

static int by_openat2(const char *path, const char *other)
{
	struct open_how how = { .flags = O_RDONLY };

	(void)other;
	return syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
}

// The handle names the inode; no path is given to the kernel at all.
static int by_handle(const char *path, const char *other)
{
	struct file_handle *handle = calloc(1, sizeof(*handle) + MAX_HANDLE_SZ);
	int mount_id, mount_fd = open(other, O_RDONLY | O_DIRECTORY);

	handle->handle_bytes = MAX_HANDLE_SZ;
	if (mount_fd < 0 || name_to_handle_at(AT_FDCWD, path, handle, &mount_id, 0) < 0)
		return -1;
	return open_by_handle_at(mount_fd, handle, O_RDONLY);
}

// A relative name: what it means depends on the working directory.
static int by_chdir(const char *path, const char *other)
{
	const char *name = strrchr(path, '/') + 1;
	char *folder = strndup(path, name - path);

	(void)other;
	return chdir(folder) < 0 ? -1 : open(name, O_RDONLY);
}

// A directory descriptor that means something else as soon as the call has returned.
static int by_reused_dirfd(const char *path, const char *other)
{
	const char *name = strrchr(path, '/') + 1;
	int dirfd = open(strndup(path, name - path), O_RDONLY | O_DIRECTORY);
	int innocent = open(other, O_RDONLY | O_DIRECTORY);
	int fd = openat(dirfd, name, O_RDONLY);

	dup2(innocent, dirfd);
	return fd;
}

// An O_PATH descriptor, opened again through /proc.
static int by_path_fd(const char *path, const char *other)
{
	char again[64];

	(void)other;
	snprintf(again, sizeof(again), "/proc/self/fd/%d", open(path, O_PATH));
	return open(again, O_RDONLY);
}

// The name lies in a page that is not in memory when the call begins: readers at entry get nothing.
static int by_cold_page(const char *path, const char *other)
{
	int fd = open(other, O_RDWR | O_CREAT | O_TRUNC, 0600);
	char *page;

	if (write(fd, path, strlen(path) + 1) < 0 || fsync(fd) < 0)
		return -1;
	page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	madvise(page, 4096, MADV_DONTNEED);
	return syscall(SYS_openat, AT_FDCWD, page, O_RDONLY);
}

// The 32-bit system call table, from a 64-bit program: the name must lie below 4 GiB.
static int by_int80(const char *path, const char *other)
{
	char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	int fd;

	(void)other;
	strcpy(low, path);
	__asm__ volatile("int $0x80" : "=a"(fd) : "a"(5), "b"(low), "c"(O_RDONLY), "d"(0) : "memory", "r8", "r9", "r10", "r11");
	errno = fd < 0 ? -fd : 0;
	return fd;
}

// The ring's worker opens the file: no open system call is made.
static int by_io_uring(const char *path, const char *other)
{
	struct io_uring_params params = { 0 };
	int ring = syscall(SYS_io_uring_setup, 1, &params);
	struct io_uring_sqe *entry;
	struct io_uring_cqe *done;
	char *queue;

	(void)other;
	if (ring < 0)
		return -1;
	queue = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	entry = mmap(NULL, sizeof(*entry), PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	if (queue == MAP_FAILED || entry == MAP_FAILED || !(params.features & IORING_FEAT_SINGLE_MMAP))
		return -1;
	memset(entry, 0, sizeof(*entry));
	entry->opcode = IORING_OP_OPENAT;
	entry->fd = AT_FDCWD;
	entry->addr = (unsigned long)path;
	entry->open_flags = O_RDONLY;
	((unsigned *)(queue + params.sq_off.array))[0] = 0;
	__atomic_store_n((unsigned *)(queue + params.sq_off.tail), 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		return -1;
	done = (struct io_uring_cqe *)(queue + params.cq_off.cqes);
	errno = done->res < 0 ? -done->res : 0;
	return done->res;
}

// Another process opens the file and passes the descriptor on.
static int by_passed_descriptor(const char *path, const char *other)
{
	char space[CMSG_SPACE(sizeof(int))] = { 0 }, byte = 0;
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space) };
	struct cmsghdr *control = CMSG_FIRSTHDR(&message);
	int pair[2], fd;

	(void)other;
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) < 0)
		return -1;
	if (fork() == 0) {
		fd = open(path, O_RDONLY);
		control->cmsg_level = SOL_SOCKET;
		control->cmsg_type = SCM_RIGHTS;
		control->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(control), &fd, sizeof(fd));
		_exit(sendmsg(pair[1], &message, 0) < 0);
	}
	if (recvmsg(pair[0], &message, 0) < 0)
		return -1;
	memcpy(&fd, CMSG_DATA(control), sizeof(fd));
	return fd;
}

// A copy of the folder's mount that is attached nowhere: the path has no beginning.
static int by_detached_mount(const char *path, const char *other)
{
	const char *name = strrchr(path, '/') + 1;
	int tree = syscall(SYS_open_tree, AT_FDCWD, strndup(path, name - path), 1 /* OPEN_TREE_CLONE */);

	(void)other;
	return tree < 0 ? -1 : openat(tree, name, O_RDONLY);
}

// PATH below so many nested directories (OTHER names how many) that no absolute name of it fits in PATH_MAX.
static int by_depth(const char *path, const char *other)
{
	char folder[201];
	int depth = atoi(other);

	memset(folder, 'd', sizeof(folder) - 1);
	folder[sizeof(folder) - 1] = 0;
	for (int level = 0; level < depth; level++)
		if ((mkdir(folder, 0700) < 0 && errno != EEXIST) || chdir(folder) < 0)
			return -1;
	return open(path, O_RDWR | O_CREAT, 0600);
}

static const struct way WAYS[] = {
	{ "open", by_open },
	{ "creat", by_creat },
	{ "openat", by_openat },
	{ "openat2", by_openat2 },
	{ "handle", by_handle },
	{ "chdir", by_chdir },
	{ "reused-dirfd", by_reused_dirfd },
	{ "path-fd", by_path_fd },
	{ "cold-page", by_cold_page },
	{ "int80", by_int80 },
	{ "io_uring", by_io_uring },
	{ "passed-descriptor", by_passed_descriptor },
	{ "detached-mount", by_detached_mount },
	{ "depth", by_depth },
};

int main(int argc, char **argv)
{
	for (size_t index = 0; argc > 2 && index < sizeof(WAYS) / sizeof(*WAYS); index++)
		if (strcmp(argv[1], WAYS[index].name) == 0) {
			if (WAYS[index].open(argv[2], argc > 3 ? argv[3] : "/") >= 0)
				return 0;
			fprintf(stderr, "opener %s %s: %m\n", argv[1], argv[2]);
			return 1;
		}
	fprintf(stderr, "usage: opener HOW PATH [OTHER]\n");
	return 2;
}
