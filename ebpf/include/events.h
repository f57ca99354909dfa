/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * THE wire contract: what a record in a ring looks like. The only hand-written
 * layout; abi_anchor.bpf.c keeps these types in BTF, scripts/gen_layout.py
 * writes monitor/wire/_layout.py from there.
 *
 * A record is a fixed part and, behind it, its strings. Every field is of fixed
 * width, naturally aligned, padding is spelled out and written.
 */
#ifndef STOCKADE_EVENTS_H
#define STOCKADE_EVENTS_H

/* Bytes behind the fixed part; neither is NUL terminated. */
struct wire_string {
	__u16 offset; /* from the start of the record */
	__u16 length;
};

enum event_type {
	EVENT_PROCESS_FORK = 1,
	EVENT_PROCESS_EXEC = 2,
	EVENT_PROCESS_EXEC_FAILED = 3,
	EVENT_PROCESS_EXIT = 4,
	EVENT_CGROUP_CREATE = 5,
	EVENT_CGROUP_REMOVE = 6,
	EVENT_CGROUP_ATTACH = 7,
	EVENT_FILE_OPEN = 8,
	EVENT_DENIAL = 9,
	EVENT_FILE_CHANGE = 10,
	EVENT_PROCESS_ACCESS = 11,
	EVENT_UNIX_CONNECTION = 12,
	EVENT_TYPE_COUNT = 13,
};

/* About the file that an exec or an open resolved to, and the walk of its path. */
enum file_flag {
	FILE_PATH_TRUNCATED = 1 << 0,	 /* the head of the path is missing */
	FILE_FOREIGN_NAMESPACE = 1 << 1, /* its mount is not of the task's mount namespace */
	FILE_DETACHED_MOUNT = 1 << 2,	 /* its mount is of no namespace */
	FILE_MEMFD = 1 << 3,		 /* anonymous shared memory */
	FILE_DELETED = 1 << 4,		 /* no directory names it */
	FILE_TMPFS = 1 << 5,
	FILE_UPPER_LAYER = 1 << 6,	 /* overlayfs: written since the image */
	FILE_UPPER_UNKNOWN = 1 << 7,	 /* this kernel's overlay types are not to be had */
	FILE_PATH_CLAIMED = 1 << 8,	 /* text from user memory, not resolved */
	FILE_KNOWN = 1 << 9,		 /* of a denial: by which file it is, not by this name of it */
	FILE_OTHER_FILESYSTEM = 1 << 10, /* than that of the root directory */
};

enum exec_flag {
	EXEC_ARGS_TRUNCATED = 1 << 0, /* longer than is kept: head and tail are there, what was between is not */
	EXEC_ARGS_UNREADABLE = 1 << 1,
	EXEC_32BIT = 1 << 2,
	EXEC_SCRIPT = 1 << 3,	     /* `script` names what `executable` interprets */
	EXEC_CWD_TRUNCATED = 1 << 4, /* the head of `cwd` is missing */
};

/*
 * What is kept of an argv that is longer than both together. More of its head: that says which program does what,
 * and holds the options; the tail needs room for one telling argument that padding was put before.
 */
enum args_size {
	ARGS_HEAD_BYTES = 3072,
	ARGS_TAIL_BYTES = 1024,
};

enum open_access {
	OPEN_READ = 1 << 0,
	OPEN_WRITE = 1 << 1,
	OPEN_CREATED = 1 << 2,
};

/* Where a denial was decided. */
enum denial_hook {
	DENIAL_EXEC = 0,       /* bprm_check_security */
	DENIAL_EXEC_CHECK = 1, /* bprm_creds_for_exec: somebody only asks whether it may be run (AT_EXECVE_CHECK) */
	DENIAL_EXEC_KILL = 2, /* sched_process_exec: it has replaced its image, and ends before its first instruction */
	DENIAL_OPEN = 3,      /* file_open */
	DENIAL_CREATE = 4,    /* path_mknod, path_mkdir: an open that would make a file too */
	DENIAL_RENAME = 5,    /* path_rename */
	DENIAL_DELETE = 6,    /* path_unlink, path_rmdir */
	DENIAL_LINK = 7,      /* path_link */
	DENIAL_SYMLINK = 8,   /* path_symlink */
	DENIAL_TRUNCATE = 9,  /* path_truncate */
	DENIAL_MODE = 10,     /* path_chmod */
	DENIAL_OWNER = 11,    /* path_chown */
	DENIAL_MAP = 12,      /* mmap_file, to execute */
	DENIAL_PROTECT = 13,  /* file_mprotect, to execute */
	DENIAL_ACCESS = 14,   /* ptrace_access_check: ptrace, another's memory, another's descriptors */
	DENIAL_TRACEME = 15,  /* ptrace_traceme */
	DENIAL_CONNECT = 16,  /* unix_stream_connect */
	DENIAL_SEND = 17,     /* unix_may_send: a datagram, and a connect to where those go */
};

/* What was done to a file, or to a name of it. */
enum change_action {
	CHANGE_RENAME = 1,
	CHANGE_DELETE = 2, /* a name of it is gone; with it perhaps the file */
	CHANGE_LINK = 3,
	CHANGE_SYMLINK = 4,
	CHANGE_TRUNCATE = 5,
	CHANGE_MODE = 6,
	CHANGE_OWNER = 7,
};

/* How a process got hold of another one. */
enum access_action {
	ACCESS_ATTACH = 1,
	ACCESS_SEIZE = 2,
	ACCESS_TRACEME = 3, /* it lets its parent trace it: the target is itself */
	ACCESS_READ = 4,
	ACCESS_WRITE = 5,
	ACCESS_DESCRIPTOR = 6,
};

enum loss_reason {
	LOSS_RING_FULL = 0,
	LOSS_LIMITED = 1, /* this cgroup's token bucket was empty */
	LOSS_NO_SLOT = 2, /* no scratch memory was free */
};

/* Whose record it is. Of a fork: the child's. */
struct event_header {
	__u16 type; /* enum event_type */
	__u16 reserved;
	__u32 length; /* of the whole record */
	__u32 cpu;
	__u32 tid;
	__u64 sequence; /* per CPU and ring; a gap is a loss */
	__u64 ktime_ns;
	__u64 cgroup_id;	 /* in the hierarchy that carries the tag */
	__u64 start_boottime_ns; /* of the thread group leader */
	__u64 exec_id;		 /* task_struct.self_exec_id */
	__u32 tgid;
	__u32 uid;
};

struct process_fork_event {
	struct event_header header;
	__u64 parent_start_boottime_ns;
	__u64 parent_exec_id;
	__u32 parent_tgid; /* who called fork */
	__u32 padding;
};

struct process_exec_event {
	struct event_header header;
	__u64 parent_start_boottime_ns; /* real_parent */
	__u64 cap_effective;
	__u64 cap_permitted;
	__u64 inode;
	__u64 device; /* new_encode_dev, as stat(2) shows it */
	__u32 parent_tgid;
	__u32 link_count;
	__u32 gid;
	__u32 euid;
	__u32 egid;
	__u32 login_uid;
	__u32 session_id;
	__u32 namespace_tgid;
	__u32 mnt_ns;
	__u32 pid_ns;
	__u32 net_ns;
	__u32 user_ns;
	__u32 uts_ns;
	__u32 ipc_ns;
	__u32 cgroup_ns;
	__u32 file_flags;	  /* enum file_flag */
	__u32 exec_flags;	  /* enum exec_flag */
	__u32 args_omitted_bytes; /* between `args` and `args_tail` */
	struct wire_string executable;
	struct wire_string script;
	struct wire_string args;      /* NUL separated; of a long argv its head */
	struct wire_string args_tail; /* of a long argv; begins anywhere within an argument */
	struct wire_string cwd;
	struct wire_string tty;
};

struct process_exec_failed_event {
	struct event_header header;
	__u32 errno_value;	 /* positive */
	struct wire_string path; /* claimed */
};

struct process_exit_event {
	struct event_header header;
	__u32 exit_code; /* as wait(2) encodes it */
	__u32 padding;
};

struct file_open_event {
	struct event_header header;
	__u64 inode;
	__u64 device;
	__u32 open_flags; /* f_flags */
	__u32 access;	  /* enum open_access */
	__u32 file_flags; /* enum file_flag */
	__u32 file_mode;  /* i_mode */
	__u32 link_count;
	__s32 result; /* the descriptor, or a negative errno */
	__u32 padding;
	struct wire_string path;
};

/* The policy said no to what this task asked for. */
struct denial_event {
	struct event_header header;
	__u64 inode;
	__u64 device;
	__u32 generation; /* of the policy: what the numbers of terms mean */
	__u32 hook;	  /* enum denial_hook */
	__u32 file_flags; /* enum file_flag */
	__u32 file_mode;  /* i_mode */
	struct wire_string path;
	struct wire_string terms; /* POLICY_WORDS words: all terms that it fulfilled */
};

/* An act that was done. Told by the LSM's hooks, all of it is fact. Told by the end of a system call, its names are
 * claims, put behind the folder that they are relative to: links in them are not followed; a call by descriptor has a
 * file instead, and that, its path too, is a fact. */
struct file_change_event {
	struct event_header header;
	__u64 inode; /* 0 where the path is a claim */
	__u64 device;
	__u64 size;	  /* truncate: the new length */
	__u32 action;	  /* enum change_action */
	__u32 file_flags; /* enum file_flag, of `path` */
	__u32 file_mode; /* i_mode; where the path is a claim, what the call says of the type and, of chmod, the bits */
	__u32 owner;	 /* chown: the new uid; ~0: as it was */
	__u32 group;	 /* chown: the new gid; ~0: as it was */
	__u32 other_flags;	  /* enum file_flag, of `other` */
	struct wire_string path;  /* what is different now; of rename, link and symlink the new name */
	struct wire_string other; /* rename, link: the name that was there before; symlink: what it says */
};

/* A call that succeeded. Whom it was about is a fact where the kernel still tells: of process_vm_readv() and writev()
 * there is the number alone that the call was given. */
struct process_access_event {
	struct event_header header;
	__u64 target_start_boottime_ns; /* 0: not known */
	__u32 target_tgid;
	__u32 target_pid;	       /* as the call gave it, in the caller's pid namespace; 0: it gave none */
	__u32 action;		       /* enum access_action */
	struct wire_string executable; /* of the target; empty: not known */
};

/* A connect that succeeded. */
struct unix_connection_event {
	struct event_header header;
	__u64 inode; /* of the socket's file; of an abstract one 0 */
	__u64 device;
	__u32 file_flags;	    /* enum file_flag */
	struct wire_string address; /* what the socket was bound to */
};

/* create, remove: the task is the one that did it. attach: the task that was moved. */
struct cgroup_event {
	struct event_header header;
	__u64 subject_cgroup_id; /* the cgroup that this is about */
	__u32 level;
	struct wire_string path;
};

/* One task at start-up, from the task iterator: exact keys for the walk over /proc. */
struct task_facts {
	__u64 start_boottime_ns;
	__u64 exec_id;
	__u64 cgroup_id;
	__u64 parent_start_boottime_ns;
	__u32 tgid;
	__u32 parent_tgid;
};

/* A file that a process has open, as programs see it. */
struct file_identity {
	__u64 inode;
	__u64 device;
	__u32 descriptor;
	__u32 padding;
};

#endif
