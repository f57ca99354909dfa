/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What all programs that say no share: whom they spare, what they judge a task by,
 * and what is told of a denial.
 */
#ifndef STOCKADE_DENIAL_BPF_H
#define STOCKADE_DENIAL_BPF_H

#define SLOT_TRIES 16

#include "container_root.bpf.h"
#include "emit.bpf.h"
#include "limit.bpf.h"
#include "policy_file.bpf.h"
#include "policy_match.bpf.h"
#include "runtime_mark.bpf.h"

#define EPERM 1

/* Whatever the policy says, these go on: the kernel, our own tasks and the first process. */
static __always_inline bool is_exempt(struct task_struct *task)
{
	return !task->mm || task->tgid == 1 || task_is_ours(task);
}

/* An answer as a branch: clang would compute the program's result from it else, which the verifier cannot bound. */
static __always_inline bool is_yes(int answer)
{
	if (!answer)
		return false;
	asm volatile("");
	return true;
}

/* And what sets a container up. */
static __always_inline bool sets_up(struct task_struct *task, struct file *file, u32 file_flags)
{
	struct runtime_mark *mark = runtime_mark_of(task);

	return mark && goes_on_setting_up(mark, task, file, file_flags);
}

/* `inode` is NULL where a name leads to nothing yet. */
static __always_inline void denial_submit(struct judgement *judgement, struct slot *slot, struct inode *inode,
					  struct task_struct *task, u32 hook, u32 file_flags)
{
	struct denial_event *event = record_begin(slot, EVENT_DENIAL, sizeof(*event), task);

	event->inode = BPF_CORE_READ(inode, i_ino);
	event->device = device_number(BPF_CORE_READ(inode, i_sb, s_dev));
	event->generation = judgement->generation;
	event->hook = hook;
	event->file_flags = slot->path_flags | file_flags | (judgement_is_by_file(judgement) ? FILE_KNOWN : 0);
	event->file_mode = BPF_CORE_READ(inode, i_mode);
	record_append_path(slot, &event->path);
	record_append(slot, &event->terms, judgement->terms, sizeof(judgement->terms));
	urgent_submit(slot, true);
}

/* One of each file and cgroup passes each second, whatever the flood. */
static __always_inline bool denial_admit(struct inode *inode, struct task_struct *task)
{
	u64 cgroup_id = task_cgroup_id(task);

	if (limit_admits(cgroup_id, BUCKET_EXEC, BPF_CORE_READ(inode, i_ino)))
		return true;
	count_loss(EVENT_DENIAL, cgroup_id, LOSS_LIMITED);
	return false;
}

static __always_inline void judge_credentials(struct judgement *judgement, struct task_struct *task)
{
	const struct cred *cred = task->cred;
	u64 capabilities = 0;

	judge_number(judgement, POLICY_USER, cred->uid.val);
	if (!is_asked(judgement, POLICY_CAPABILITIES))
		return;
	bpf_core_read(&capabilities, sizeof(capabilities), &cred->cap_effective);
	judge_bits(judgement, POLICY_CAPABILITIES, capabilities);
}

/* The program that a task runs now, by `dimension` and the one after it. The kernel's threads run none. */
static __always_inline void judge_program(struct judgement *judgement, struct slot *slot, struct task_struct *task,
					  struct task_struct *whose, u32 dimension)
{
	struct file *file;

	if (!is_path_asked(judgement, dimension))
		return;
	file = BPF_CORE_READ(whose, mm, exe_file);
	if (!file) {
		judge_unread(judgement, dimension);
		judge_unread(judgement, dimension + 1);
		return;
	}
	judge_file(judgement, BPF_CORE_READ(file, f_inode), dimension);
	path_resolve(slot, BPF_CORE_READ(file, f_path.mnt), BPF_CORE_READ(file, f_path.dentry), task);
	judge_path(judgement, slot, dimension);
}

/* No scratch memory: what could be denied is denied. */
static __always_inline bool judge_blindly(struct judgement *judgement)
{
	judge_unread(judgement, POLICY_EXECUTABLE);
	judge_unread(judgement, POLICY_EXECUTABLE_END);
	judge_unread(judgement, POLICY_PARENT);
	judge_unread(judgement, POLICY_PARENT_END);
	judge_unread(judgement, POLICY_FILE);
	judge_unread(judgement, POLICY_FILE_END);
	judge_unread(judgement, POLICY_SCRIPT);
	judge_unread(judgement, POLICY_SCRIPT_END);
	judge_unread(judgement, POLICY_SYSTEM_FILE);
	return judgement_conclude(judgement);
}

/* What the program is that opens: the flags of a term are the process's. */
static __always_inline void judge_program_flags(struct judgement *judgement, struct task_struct *task)
{
	struct inode *inode;
	struct file *file;
	u64 device;

	if (!is_asked(judgement, POLICY_FLAGS))
		return;
	file = BPF_CORE_READ(task, mm, exe_file);
	if (!file) {
		judge_unread(judgement, POLICY_FLAGS);
		return;
	}
	inode = BPF_CORE_READ(file, f_inode);
	device = device_number(BPF_CORE_READ(inode, i_sb, s_dev));
	judge_bits(judgement, POLICY_FLAGS,
		   other_filesystem_flag(BPF_CORE_READ(inode, i_ino), device) |
			   file_kind_flags(BPF_CORE_READ(file, f_path.mnt), BPF_CORE_READ(file, f_path.dentry), inode));
}

#endif
