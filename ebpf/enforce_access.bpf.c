// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Say no to a process that takes control of another one, reads or writes its memory, or takes its descriptors. A part
 * of the object of enforce.bpf.c; loaded where the policy has a term about it.
 *
 * Hooks: ptrace_access_check (ptrace, process_vm_readv and writev, pidfd_getfd, /proc/PID/mem), not for the looks that
 * ps takes, nor, by the kernel itself, within one process; ptrace_traceme. The file that is judged is the program of
 * the process that is accessed: of traceme the one that asks for it.
 */
#include "denial.bpf.h"
#include "policy_parent.bpf.h"

#define PTRACE_MODE_ATTACH 0x2

/* Pointers are told as memory, so that what judges them is verified once a program. */
struct accessed {
	struct task_struct *target;
	u32 hook;
	u32 padding;
};

/* Deny it? Says so, once. The kernel's threads and what has ended run no program. */
__noinline int accessed_judge(struct accessed *accessed)
{
	struct task_struct *task = bpf_get_current_task_btf(), *target;
	struct judgement judgement;
	struct inode *inode;
	struct file *file;
	struct slot *slot;
	bool is_denied;

	if (!accessed || !judgement_begin(&judgement, POLICY_PTRACE, task))
		return 0;
	judge_credentials(&judgement, task);
	judge_program_flags(&judgement, task);
	if (!may_deny(&judgement) || is_exempt(task) || runtime_mark_of(task))
		return 0;
	slot = slot_take(EVENT_DENIAL, task);
	if (!slot)
		return judge_blindly(&judgement);
	judge_parent(&judgement, slot, task);
	judge_program(&judgement, slot, task, task, POLICY_EXECUTABLE);
	target = accessed->target;
	judge_program(&judgement, slot, task, target, POLICY_FILE);
	file = BPF_CORE_READ(target, mm, exe_file);
	inode = BPF_CORE_READ(file, f_inode);
	slot->cursor = PATH_BYTES_MAX;
	slot->path_flags = 0;
	if (file)
		path_resolve(slot, BPF_CORE_READ(file, f_path.mnt), BPF_CORE_READ(file, f_path.dentry), task);
	is_denied = judgement.summary && judgement_conclude(&judgement);
	if (is_denied && denial_admit(inode, task))
		denial_submit(&judgement, slot, inode, task, accessed->hook, 0);
	else
		slot_release(slot);
	return is_denied;
}

SEC("lsm/ptrace_access_check")
int on_ptrace_access(u64 *ctx)
{
	struct accessed accessed = { .target = (void *)ctx[0], .hook = DENIAL_ACCESS };
	u32 mode = ctx[1];
	int earlier = ctx[2];

	if (earlier)
		return earlier;
	if (mode & PTRACE_MODE_ATTACH && is_yes(accessed_judge(&accessed)))
		return -EPERM;
	return 0;
}

SEC("lsm/ptrace_traceme")
int on_ptrace_traceme(u64 *ctx)
{
	struct accessed accessed = { .target = bpf_get_current_task_btf(), .hook = DENIAL_TRACEME };
	int earlier = ctx[1];

	if (earlier)
		return earlier;
	if (is_yes(accessed_judge(&accessed)))
		return -EPERM;
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
