// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The life of processes.
 *
 * Hooks: sched_process_fork, sched_process_exec, sched_process_exit (direct loads
 * through BTF); sys_exit_execve and sys_exit_execveat for failed execs; a task
 * iterator for what runs already at start-up, a file iterator for what the kernel calls
 * a file.
 */
#include "maps.bpf.h"
#include "emit.bpf.h"
#include "limit.bpf.h"
#include "path.bpf.h"

#define ARGS_BYTES_MAX (ARGS_HEAD_BYTES + ARGS_TAIL_BYTES)
#define LOGIN_UID_UNSET ((u32)-1)

SEC("tp_btf/sched_process_fork")
int on_process_fork(u64 *ctx)
{
	struct task_struct *parent = (void *)ctx[0], *child = (void *)ctx[1];
	struct process_fork_event *event;
	struct slot *slot;

	count(COUNTER_FORK_HOOK);
	if (task_is_ours(parent)) {
		bpf_task_storage_get(&own_tasks, child, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
		count(COUNTER_OWN_EVENTS);
		return 0;
	}
	if (child->pid != child->tgid)
		return 0; /* a thread */
	slot = slot_take(EVENT_PROCESS_FORK, child);
	if (!slot)
		return 0;
	event = record_begin(slot, EVENT_PROCESS_FORK, sizeof(*event), child);
	event->parent_start_boottime_ns = parent->group_leader->start_boottime;
	event->parent_exec_id = parent->self_exec_id;
	event->parent_tgid = parent->tgid;
	event->padding = 0;
	urgent_submit(slot, false);
	return 0;
}

static __always_inline void fill_namespaces(struct process_exec_event *event, struct task_struct *task)
{
	struct nsproxy *namespaces = task->nsproxy;
	struct pid *pid = task->thread_pid;
	u32 level = pid->level;
	struct upid upid = {};

	event->mnt_ns = namespaces->mnt_ns->ns.inum;
	event->net_ns = namespaces->net_ns->ns.inum;
	event->uts_ns = namespaces->uts_ns->ns.inum;
	event->ipc_ns = namespaces->ipc_ns->ns.inum;
	event->cgroup_ns = namespaces->cgroup_ns->ns.inum;
	event->user_ns = task->cred->user_ns->ns.inum;
	bpf_probe_read_kernel(&upid, sizeof(upid),
			      (void *)pid + bpf_core_field_offset(struct pid, numbers) + level * sizeof(upid));
	event->namespace_tgid = upid.nr;
	event->pid_ns = BPF_CORE_READ(upid.ns, ns.inum);
}

static __always_inline void fill_credentials(struct process_exec_event *event, struct task_struct *task)
{
	const struct cred *cred = task->cred;

	event->gid = cred->gid.val;
	event->euid = cred->euid.val;
	event->egid = cred->egid.val;
	/* Two u32 before 6.3, one u64 since: the same eight bytes. */
	bpf_core_read(&event->cap_effective, sizeof(u64), &cred->cap_effective);
	bpf_core_read(&event->cap_permitted, sizeof(u64), &cred->cap_permitted);
	event->login_uid = LOGIN_UID_UNSET;
	if (bpf_core_field_exists(task->loginuid))
		event->login_uid = task->loginuid.val;
}

static __always_inline void fill_task(struct process_exec_event *event, struct task_struct *task)
{
	struct task_struct *parent = task->real_parent;

	event->parent_start_boottime_ns = parent->group_leader->start_boottime;
	event->parent_tgid = parent->tgid;
	event->session_id = BPF_CORE_READ(task, signal, pids[PIDTYPE_SID], numbers[0].nr);
	fill_credentials(event, task);
	fill_namespaces(event, task);
}

static __always_inline void fill_executable(struct process_exec_event *event, struct slot *slot, struct file *file,
					    struct task_struct *task)
{
	struct inode *inode = file->f_inode;
	struct vfsmount *vfsmount = file->f_path.mnt;
	struct dentry *dentry = file->f_path.dentry;

	event->inode = inode->i_ino;
	event->device = device_number(inode->i_sb->s_dev);
	event->link_count = inode->__i_nlink;
	path_resolve(slot, vfsmount, dentry, task);
	event->file_flags = slot->path_flags | file_kind_flags(vfsmount, dentry, inode);
	if (inode->i_sb != BPF_CORE_READ(task, fs, root.mnt, mnt_sb))
		event->file_flags |= FILE_OTHER_FILESYSTEM;
	record_append_path(slot, &event->executable);
}

/* Append bytes of argv, at most `bytes_max` (a constant). What another process that may write to this memory
 * (ptrace, /proc/PID/mem) has put there by now, the new program will see too. */
static __always_inline void append_args(struct process_exec_event *event, struct slot *slot, struct wire_string *string,
					unsigned long from, u32 length, u32 bytes_max)
{
	asm volatile("" : "+r"(length));
	if (length > bytes_max)
		length = bytes_max;
	if (bpf_probe_read_user(record_room(slot), length, (void *)from)) {
		length = 0; /* swapped out */
		event->exec_flags |= EXEC_ARGS_UNREADABLE;
	}
	record_appended(slot, string, length);
}

/* argv as it lies in the new program's memory; none of its code has run yet. The kernel bounds it at 6 MiB. */
static __always_inline void fill_args(struct process_exec_event *event, struct slot *slot, struct mm_struct *mm)
{
	unsigned long start = mm->arg_start, bytes = mm->arg_end - start;
	u32 head = bytes, tail = 0;

	if (bytes > ARGS_BYTES_MAX) {
		head = ARGS_HEAD_BYTES;
		tail = ARGS_TAIL_BYTES;
		event->exec_flags |= EXEC_ARGS_TRUNCATED;
	}
	append_args(event, slot, &event->args, start, head, ARGS_BYTES_MAX);
	append_args(event, slot, &event->args_tail, start + bytes - tail, tail, ARGS_TAIL_BYTES);
	event->args_omitted_bytes = bytes - event->args.length - event->args_tail.length;
}

static __always_inline void fill_program(struct process_exec_event *event, struct slot *slot, struct task_struct *task,
					 struct linux_binprm *bprm)
{
	struct mm_struct *mm = task->mm;
	struct tty_struct *tty = task->signal->tty;
	struct fs_struct *fs = task->fs;

	if (mm->task_size <= 0x100000000ULL)
		event->exec_flags |= EXEC_32BIT;
	fill_args(event, slot, mm);
	if (bprm->interp != bprm->filename) {
		event->exec_flags |= EXEC_SCRIPT;
		record_append_text(slot, &event->script, bprm->filename);
	} else {
		record_appended(slot, &event->script, 0);
	}
	if (tty)
		record_append_text(slot, &event->tty, tty->name);
	else
		record_appended(slot, &event->tty, 0);
	path_resolve(slot, fs->pwd.mnt, fs->pwd.dentry, task);
	if (slot->path_flags & FILE_PATH_TRUNCATED)
		event->exec_flags |= EXEC_CWD_TRUNCATED;
	record_append_path(slot, &event->cwd);
}

SEC("tp_btf/sched_process_exec")
int on_process_exec(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	struct linux_binprm *bprm = (void *)ctx[2];
	struct process_exec_event *event;
	struct slot *slot;
	u64 cgroup_id;

	if (task_is_ours(task)) {
		count(COUNTER_OWN_EVENTS);
		return 0;
	}
	cgroup_id = task_cgroup_id(task);
	if (!limit_admits(cgroup_id, BUCKET_EXEC, bprm->file->f_inode->i_ino)) {
		count_loss(EVENT_PROCESS_EXEC, cgroup_id, LOSS_LIMITED);
		return 0;
	}
	slot = slot_take(EVENT_PROCESS_EXEC, task);
	if (!slot)
		return 0;
	event = record_begin(slot, EVENT_PROCESS_EXEC, sizeof(*event), task);
	event->exec_flags = 0;
	fill_task(event, task);
	fill_executable(event, slot, bprm->file, task);
	fill_program(event, slot, task, bprm);
	urgent_submit(slot, true);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int on_process_exit(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	struct process_exit_event *event;
	struct slot *slot;

	count(COUNTER_EXIT_HOOK);
	if (task->signal->live.counter)
		return 0; /* other threads go on */
	if (task_is_ours(task)) {
		count(COUNTER_OWN_EVENTS);
		return 0;
	}
	slot = slot_take(EVENT_PROCESS_EXIT, task);
	if (!slot)
		return 0;
	event = record_begin(slot, EVENT_PROCESS_EXIT, sizeof(*event), task);
	event->exit_code = task->signal->group_exit_code ?: task->exit_code;
	event->padding = 0;
	urgent_submit(slot, false);
	return 0;
}

/* execve's or execveat's name: text of user memory, which another thread may have changed since. */
static __always_inline int exec_failed(struct syscall_exit_context *ctx, bool is_execveat)
{
	struct process_exec_failed_event *event;
	struct task_struct *task;
	struct pt_regs *regs;
	struct slot *slot;

	if (ctx->result >= 0)
		return 0;
	task = bpf_get_current_task_btf();
	if (task_is_ours(task))
		return 0;
	if (!limit_admits(task_cgroup_id(task), BUCKET_EXEC, -ctx->result)) {
		count_loss(EVENT_PROCESS_EXEC_FAILED, task_cgroup_id(task), LOSS_LIMITED);
		return 0;
	}
	slot = slot_take(EVENT_PROCESS_EXEC_FAILED, task);
	if (!slot)
		return 0;
	event = record_begin(slot, EVENT_PROCESS_EXEC_FAILED, sizeof(*event), task);
	event->errno_value = -ctx->result;
	regs = (struct pt_regs *)bpf_task_pt_regs(task);
	record_append_user_text(slot, &event->path, (char *)(is_execveat ? regs->si : regs->di));
	urgent_submit(slot, false);
	return 0;
}

SEC("tp/syscalls/sys_exit_execve")
int on_execve_failed(struct syscall_exit_context *ctx)
{
	return exec_failed(ctx, false);
}

SEC("tp/syscalls/sys_exit_execveat")
int on_execveat_failed(struct syscall_exit_context *ctx)
{
	return exec_failed(ctx, true);
}

/* What runs already, with the exact start times that /proc rounds. */
SEC("iter/task")
int list_tasks(struct bpf_iter__task *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct task_struct *task = ctx->task, *parent;
	struct task_facts facts = {};

	if (!task || task->pid != task->tgid)
		return 0;
	parent = task->real_parent;
	facts.start_boottime_ns = task->start_boottime;
	facts.exec_id = task->self_exec_id;
	facts.cgroup_id = task_cgroup_id(task);
	facts.parent_start_boottime_ns = parent->group_leader->start_boottime;
	facts.tgid = task->tgid;
	facts.parent_tgid = parent->tgid;
	bpf_seq_write(seq, &facts, sizeof(facts));
	return 0;
}

/* Whose descriptors list_files tells of. */
__weak u32 inspected_tgid = 0;

/* The kernel's own identity of files that a process has open: where stat(2) shows another one (overlayfs, btrfs),
 * this is what programs see. */
SEC("iter/task_file")
int list_files(struct bpf_iter__task_file *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct task_struct *task = ctx->task;
	struct file_identity identity = {};
	struct file *file = ctx->file;
	struct inode *inode;

	if (!task || !file || (u32)task->tgid != *(volatile u32 *)&inspected_tgid)
		return 0;
	inode = file->f_inode;
	identity.inode = inode->i_ino;
	identity.device = device_number(inode->i_sb->s_dev);
	identity.descriptor = ctx->fd;
	bpf_seq_write(seq, &identity, sizeof(identity));
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
