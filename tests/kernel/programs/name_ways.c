// gcc: -static -no-pie
/*
 * Does one thing to a name, in a way that no tracepoint of system calls sees: through io_uring, or by a 32-bit call.
 *
 *	name_ways ring|call32 rename|link|symlink FROM TO
 *	name_ways ring|call32 unlink|rmdir|chmod|truncate PATH
 *
 * Says its error number as exit status.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* 32-bit calls take addresses of 32 bits: those of a program at a fixed place are. */
static char first[4096], second[4096];

static int call32(int number, long one, long two)
{
	long result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(number), "b"(one), "c"(two)
			 : "memory", "r8", "r9", "r10", "r11");
	return -(int)result;
}

/* Numbers of arch/x86/entry/syscalls/syscall_32.tbl. */
static int by_call32(const char *what)
{
	long from = (long)first, to = (long)second;

	if (!strcmp(what, "rename"))
		return call32(38, from, to);
	if (!strcmp(what, "link"))
		return call32(9, from, to);
	if (!strcmp(what, "symlink"))
		return call32(83, from, to);
	if (!strcmp(what, "unlink"))
		return call32(10, from, 0);
	if (!strcmp(what, "rmdir"))
		return call32(40, from, 0);
	if (!strcmp(what, "chmod"))
		return call32(15, from, 04711);
	return call32(92, from, 3);
}

static int fill(struct io_uring_sqe *entry, const char *what)
{
	entry->fd = AT_FDCWD;
	entry->addr = (long)first;
	if (!strcmp(what, "unlink") || !strcmp(what, "rmdir")) {
		entry->opcode = IORING_OP_UNLINKAT;
		entry->unlink_flags = *what == 'r' ? AT_REMOVEDIR : 0;
		return 0;
	}
	entry->addr2 = (long)second;
	if (!strcmp(what, "symlink"))
		entry->opcode = IORING_OP_SYMLINKAT;
	else
		entry->len = AT_FDCWD;
	if (!strcmp(what, "rename"))
		entry->opcode = IORING_OP_RENAMEAT;
	if (!strcmp(what, "link"))
		entry->opcode = IORING_OP_LINKAT;
	return entry->opcode ? 0 : EINVAL;
}

static int by_ring(const char *what)
{
	struct io_uring_params params = { 0 };
	int ring = syscall(SYS_io_uring_setup, 1, &params);
	struct io_uring_sqe *entry;
	struct io_uring_cqe *done;
	char *queue, *submitted;

	if (ring < 0)
		return errno;
	queue = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	submitted = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	if (queue == MAP_FAILED || submitted == MAP_FAILED || !(params.features & IORING_FEAT_SINGLE_MMAP))
		return ENOSYS;
	entry = (struct io_uring_sqe *)submitted;
	if (fill(entry, what))
		return EINVAL;
	((unsigned int *)(queue + params.sq_off.array))[0] = 0;
	__atomic_store_n((unsigned int *)(queue + params.sq_off.tail), 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		return errno;
	done = (struct io_uring_cqe *)(queue + params.cq_off.cqes);
	return -done->res;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return EINVAL;
	strncpy(first, argv[3], sizeof(first) - 1);
	if (argc > 4)
		strncpy(second, argv[4], sizeof(second) - 1);
	return strcmp(argv[1], "ring") ? by_call32(argv[2]) : by_ring(argv[2]);
}
