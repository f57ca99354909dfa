// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Processes that get hold of others, and connections to Unix sockets, that a rule could ask for.
 *
 * Hooks: sys_exit_{ptrace,process_vm_readv,process_vm_writev,pidfd_getfd}, of one program; sys_exit_connect.
 * On exit, of calls that succeeded: the target and the socket are looked up where the call has led to.
 */
#include "maps.bpf.h"
#include "bulk.bpf.h"
#include "open_filter.bpf.h"
#include "socket_address.bpf.h"

#define PTRACE_TRACEME 0
#define PTRACE_ATTACH 16
#define PTRACE_SEIZE 0x4206
#define S_IFMT 0170000
#define S_IFSOCK 0140000

/* The call that a tracepoint belongs to, by its number, which is ABI (arch/x86/entry/syscalls/syscall_64.tbl). */
enum access_call_number {
	CALL_PTRACE = 101,
	CALL_READV = 310,
	CALL_WRITEV = 311,
	CALL_GETFD = 438,
};

struct access {
	struct task_struct *target; /* NULL: not known */
	u32 action;
	u32 pid;
};

/* What of the policy's wishes this task is asked for. */
static __always_inline u32 asked_of(struct task_struct *task, u32 interest)
{
	u32 half = *(volatile u32 *)&open_policy_generation & 1, asked = open_filters[half].head.wanted & interest;

	return asked ? asked & scope_interest(task_cgroup_id(task)) : 0;
}

/* A register as a value: else clang would make one load of several registers and the stack, which is refused. */
static __always_inline u64 argument(u64 value)
{
	asm volatile("" : "+r"(value));
	return value;
}

/* This process in its own pid namespace. */
static __always_inline u32 own_number(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, group_leader, thread_pid);
	u32 level = BPF_CORE_READ(pid, level);
	struct upid number = {};

	bpf_probe_read_kernel(&number, sizeof(number),
			      (void *)pid + bpf_core_field_offset(struct pid, numbers) + level * sizeof(number));
	return number.nr;
}

/* Who was attached to last comes first. */
static __always_inline struct task_struct *last_traced(struct task_struct *task)
{
	void *first = BPF_CORE_READ(task, ptraced.next), *none = (void *)&task->ptraced;

	return first && first != none ? first - bpf_core_field_offset(struct task_struct, ptrace_entry) : NULL;
}

/* A descriptor of a process holds its number, from 6.9 on in the inode; which leads to the task while it lives. */
static __always_inline struct task_struct *described_task(struct file *file)
{
	struct pid *pid = BPF_CORE_READ(file, private_data);
	void *link;

	if (!pid)
		pid = BPF_CORE_READ(file, f_inode, i_private);
	link = BPF_CORE_READ(pid, tasks[PIDTYPE_TGID].first);
	return link ? link - bpf_core_field_offset(struct task_struct, pid_links[PIDTYPE_TGID]) : NULL;
}

static __always_inline bool access_take_ptrace(struct access *access, struct task_struct *task, u64 request, u32 pid)
{
	access->pid = pid;
	switch (request) {
	case PTRACE_ATTACH:
		access->action = ACCESS_ATTACH;
		access->target = last_traced(task);
		return true;
	case PTRACE_SEIZE:
		access->action = ACCESS_SEIZE;
		access->target = last_traced(task);
		return true;
	case PTRACE_TRACEME:
		access->action = ACCESS_TRACEME;
		access->target = task;
		access->pid = 0;
		return true;
	}
	return false;
}

/* False: this is none, or within one process. */
static __always_inline bool access_take(struct access *access, struct task_struct *task, u32 call, struct pt_regs *regs)
{
	struct file *file;

	switch (call) {
	case CALL_PTRACE:
		return access_take_ptrace(access, task, argument(regs->di), argument(regs->si));
	case CALL_READV:
	case CALL_WRITEV:
		access->action = call == CALL_READV ? ACCESS_READ : ACCESS_WRITE;
		access->pid = argument(regs->di);
		return access->pid != own_number(task);
	}
	access->action = ACCESS_DESCRIPTOR;
	file = opened_file(task, (u32)argument(regs->di), FETCH_PROBE);
	access->target = file ? described_task(file) : NULL;
	return access->target != task->group_leader;
}

static __always_inline void access_append_target(struct slot *slot, struct process_access_event *event,
						 struct task_struct *target, struct task_struct *task)
{
	struct file *file = BPF_CORE_READ(target, mm, exe_file);

	event->target_tgid = BPF_CORE_READ(target, tgid);
	event->target_start_boottime_ns = BPF_CORE_READ(target, group_leader, start_boottime);
	slot->cursor = PATH_BYTES_MAX;
	if (file)
		path_resolve(slot, BPF_CORE_READ(file, f_path.mnt), BPF_CORE_READ(file, f_path.dentry), task);
	record_append_path(slot, &event->executable);
}

static __noinline int access_submit(struct access *access)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct process_access_event *event;
	struct slot *slot;

	if (!pattern_admit(task, EVENT_PROCESS_ACCESS, access->action))
		return 0;
	slot = slot_take(EVENT_PROCESS_ACCESS, task);
	if (!slot)
		return 0;
	event = record_begin(slot, EVENT_PROCESS_ACCESS, sizeof(*event), task);
	event->action = access->action;
	event->target_pid = access->pid;
	access_append_target(slot, event, access->target, task);
	bulk_submit(slot);
	return 0;
}

SEC("tp")
int on_access_exit(struct syscall_exit_context *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct access access = {};

	if (ctx->result < 0 || !asked_of(task, INTEREST_ACCESSED))
		return 0;
	if (!access_take(&access, task, ctx->number, (struct pt_regs *)bpf_task_pt_regs(task)))
		return 0;
	return access_submit(&access);
}

/* The other end of a connected Unix socket; NULL: it is none, or another thread has closed it since. */
static __always_inline struct unix_sock *connected_socket(struct file *file)
{
	struct socket *socket;
	struct sock *own;

	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	socket = BPF_CORE_READ(file, private_data);
	own = BPF_CORE_READ(socket, sk);
	if (BPF_CORE_READ(own, __sk_common.skc_family) != AF_UNIX)
		return NULL;
	return (struct unix_sock *)BPF_CORE_READ((struct unix_sock *)own, peer);
}

static __always_inline void connection_submit(struct slot *slot, struct unix_sock *socket, struct task_struct *task)
{
	struct unix_connection_event *event = record_begin(slot, EVENT_UNIX_CONNECTION, sizeof(*event), task);
	struct inode *inode = BPF_CORE_READ(socket, path.dentry, d_inode);

	event->inode = BPF_CORE_READ(inode, i_ino);
	event->device = device_number(BPF_CORE_READ(inode, i_sb, s_dev));
	event->file_flags = slot->path_flags;
	record_append_path(slot, &event->address);
	bulk_submit(slot);
}

static __noinline int connection_judge(struct unix_sock *socket, u32 asked)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u32 half = *(volatile u32 *)&open_policy_generation & 1;
	struct slot *slot = slot_take(EVENT_UNIX_CONNECTION, task);
	struct span span;
	u64 match = 0;

	if (!slot)
		return 0;
	if (socket_resolve(slot, socket, task)) {
		span.begin = slot->cursor;
		span.length = PATH_BYTES_MAX - span.begin;
		match = path_match(slot, &span, half);
	}
	if (match & asked && pattern_admit(task, EVENT_UNIX_CONNECTION, match >> 32))
		connection_submit(slot, socket, task);
	else
		slot_release(slot);
	return 0;
}

SEC("tp")
int on_connect_exit(struct syscall_exit_context *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct unix_sock *socket;
	struct pt_regs *regs;
	u32 asked;

	if (ctx->result)
		return 0;
	asked = asked_of(task, INTEREST_CONNECTED);
	if (!asked)
		return 0;
	regs = (struct pt_regs *)bpf_task_pt_regs(task);
	socket = connected_socket(opened_file(task, (u32)argument(regs->di), FETCH_PROBE));
	return socket ? connection_judge(socket, asked) : 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
