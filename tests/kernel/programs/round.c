/* round HOW FOLDER DESCRIPTOR [overlay]: execute FOLDER/canary in one of the ways round a rule about its path.
 * DESCRIPTOR: the canary, open since before. Exit status: the canary's; 126 when the kernel said EPERM, 77 when it knows
 * no such call, 125 for anything else. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOADER "/lib64/ld-linux-x86-64.so.2"
#define EXECVE_CHECK 0x10000
#define REFUSED 126
#define UNKNOWN 77

static const char *folder;
static char program[4096]; /* below 4 GiB, as the 32-bit call wants it */
static int earlier;
static char *nothing[] = { NULL };

static int to(int code)
{
	if (code == EPERM)
		return REFUSED;
	fprintf(stderr, "round: %s\n", strerror(code));
	return 125;
}

static void must(long result)
{
	if (result < 0)
		exit(to(errno));
}

static void run(const char *path)
{
	execve(path, (char *[]){ (char *)path, NULL }, nothing);
}

static void run_at(int fd, const char *name)
{
	syscall(SYS_execveat, fd, name, (char *[]){ "x", NULL }, nothing, *name ? 0 : AT_EMPTY_PATH);
}

static int open_path(const char *path)
{
	int fd = open(path, O_PATH | O_CLOEXEC);

	must(fd);
	return fd;
}

static void copy_into(int fd)
{
	int from = open(program, O_RDONLY | O_CLOEXEC);

	must(from);
	must(sendfile(fd, from, NULL, 1 << 24));
}

static void copy_to(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_EXCL | O_CLOEXEC, 0700);

	must(fd);
	copy_into(fd);
	close(fd);
}

static void own_mounts(int flags)
{
	must(unshare(CLONE_NEWNS | flags));
	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
}

static void bind_other(int flags)
{
	own_mounts(flags);
	must(close(open("other", O_CREAT | O_WRONLY, 0700)));
	must(mount("canary", "other", NULL, MS_BIND, NULL));
}

static void direct(void) { run(program); }
static void relative(void) { run("./canary"); }

static void dot_dot(void)
{
	must(mkdir("sub", 0700));
	run("sub/../canary");
}

static void symbolic(void)
{
	must(symlink("canary", "other"));
	run("other");
}

static void self_root(void)
{
	char path[5000];

	snprintf(path, sizeof(path), "/proc/self/root%s", program);
	run(path);
}

static void self_fd(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", open_path(program));
	run(path);
}

static void empty_path(void) { run_at(open_path(program), ""); }

static void map_files(void)
{
	int fd = open(program, O_RDONLY | O_CLOEXEC);
	char path[128], *where = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);

	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (long)where, (long)where + 4096);
	run(path);
}

static void from_before(void) { run_at(earlier, ""); }

static void vforked(void)
{
	int status;
	pid_t pid = vfork();

	if (!pid) {
		run(program);
		_exit(errno == EPERM ? REFUSED : 125);
	}
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		kill(getpid(), WTERMSIG(status));
	exit(WEXITSTATUS(status));
}

static void *run_in_thread(void *unused)
{
	run(program);
	exit(to(errno));
	return unused;
}

static void threaded(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, run_in_thread, NULL);
	pthread_join(thread, NULL);
}

static void call_32bit(void)
{
	static unsigned int arguments[2];
	int code;

	arguments[0] = (unsigned int)(unsigned long)program;
	asm volatile("int $0x80" : "=a"(code) : "a"(11), "b"(program), "c"(arguments), "d"(0L) : "memory", "cc");
	errno = -code;
}

static void chrooted(void)
{
	must(chroot("."));
	run("/canary");
}

static void link_before(void) { run("../links/before"); }
static void link_beside(void) { run("beside"); }

static void link_after(void)
{
	must(link("canary", "other"));
	run("other");
}

static void renamed(void)
{
	must(rename("canary", "other"));
	run("other");
}

static void bound(void)
{
	bind_other(0);
	run("other");
}

static void bound_by_user(void)
{
	bind_other(CLONE_NEWUSER);
	run("other");
}

static void pivoted(void)
{
	own_mounts(0);
	must(mount(folder, folder, NULL, MS_BIND, NULL));
	must(chdir(folder));
	must(syscall(SYS_pivot_root, ".", "."));
	must(umount2(".", MNT_DETACH));
	run("/canary");
}

static void cloned_tree(void)
{
	int fd = syscall(SYS_open_tree, AT_FDCWD, folder, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	must(fd);
	run_at(fd, "canary");
}

static void lazily_unmounted(void)
{
	int fd;

	bind_other(0);
	fd = open_path("other");
	must(umount2("other", MNT_DETACH));
	run_at(fd, "");
}

static void replaced(void)
{
	copy_to("other");
	must(rename("other", "canary"));
	run(program);
}

static void copied(void)
{
	copy_to("other");
	run("other");
}

static void in_memory(void)
{
	int fd = memfd_create("x", MFD_CLOEXEC);

	must(fd);
	copy_into(fd);
	run_at(fd, "");
}

static void removed(void)
{
	int fd = open_path("canary");

	must(unlink("canary"));
	run_at(fd, "");
}

static void removed_copy(void)
{
	int fd;

	copy_to("other");
	fd = open_path("other");
	must(unlink("other"));
	run_at(fd, "");
}

static void unnamed(void)
{
	int readable, fd = open(".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0700);
	char path[64];

	must(fd);
	copy_into(fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	readable = open_path(path);
	close(fd);
	run_at(readable, "");
}

static void loader(void) { execve(LOADER, (char *[]){ LOADER, program, NULL }, nothing); }
static void shell(void) { execve("/bin/sh", (char *[]){ "sh", program, NULL }, nothing); }
static void sourced(void) { execve("/bin/sh", (char *[]){ "sh", "-c", ". ./canary", NULL }, nothing); }

static void shell_input(void)
{
	int fd = open(program, O_RDONLY);

	must(fd);
	must(dup2(fd, 0));
	execve("/bin/sh", (char *[]){ "sh", NULL }, nothing);
}

/* As an interpreter does: ask, and go on when the answer is yes. */
static void asked(void)
{
	char *arguments[] = { program, NULL };
	int flags = AT_EMPTY_PATH | EXECVE_CHECK;

	if (!syscall(SYS_execveat, open_path(program), "", arguments, nothing, flags))
		exit(close(open("mark", O_CREAT | O_WRONLY, 0600)));
	if (errno == EINVAL)
		exit(UNKNOWN);
}

static const struct {
	const char *name;
	void (*act)(void);
} ways[] = {
	{ "direct", direct },
	{ "relative", relative },
	{ "dot-dot", dot_dot },
	{ "symbolic-link", symbolic },
	{ "self-root", self_root },
	{ "self-fd", self_fd },
	{ "empty-path", empty_path },
	{ "map-files", map_files },
	{ "from-before", from_before },
	{ "vfork", vforked },
	{ "thread", threaded },
	{ "32bit-call", call_32bit },
	{ "chroot", chrooted },
	{ "link-before", link_before },
	{ "link-beside", link_beside },
	{ "link-after", link_after },
	{ "renamed", renamed },
	{ "bind-mount", bound },
	{ "user-namespace", bound_by_user },
	{ "pivot-root", pivoted },
	{ "cloned-tree", cloned_tree },
	{ "lazy-unmount", lazily_unmounted },
	{ "replaced", replaced },
	{ "copied", copied },
	{ "memfd", in_memory },
	{ "removed", removed },
	{ "removed-copy", removed_copy },
	{ "tmpfile", unnamed },
	{ "loader", loader },
	{ "script", direct },
	{ "shell", shell },
	{ "sourced", sourced },
	{ "shell-input", shell_input },
	{ "asked", asked },
};

/* The folder becomes the image's layer of an overlay; what is written lands beside it. */
static void cover_by_overlay(void)
{
	char layers[3 * 4096];

	snprintf(layers, sizeof(layers), "lowerdir=%s,upperdir=%s.upper,workdir=%s.work", folder, folder, folder);
	own_mounts(0);
	must(mount("overlay", folder, "overlay", 0, layers));
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	folder = argv[2];
	snprintf(program, sizeof(program), "%s/canary", folder);
	earlier = atoi(argv[3]);
	if (argc > 4)
		cover_by_overlay();
	must(chdir(folder));
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		if (strcmp(ways[i].name, argv[1]))
			continue;
		ways[i].act();
		return to(errno);
	}
	return 2;
}
