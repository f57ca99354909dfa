// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Say no to what runs a file without executing it: ld.so PROGRAM, LD_PRELOAD, dlopen, the interpreter of a made-up
 * program. A part of the object of enforce.bpf.c; loaded where the policy has a term about it.
 *
 * Hooks: mmap_file, file_mprotect, both of files that are to be executed. Memory without a file is none of a policy's
 * business (just-in-time compilers), nor is what is shared and has no name (their second view of it).
 */
#include "denial.bpf.h"
#include "policy_parent.bpf.h"

#define PROT_EXEC 0x4
#define MAP_TYPE 0x0f
#define MAP_SHARED 0x01
#define MAP_SHARED_VALIDATE 0x03
#define VM_SHARED 0x8

/* Pointers are told as memory, so that what judges them is verified once a program. */
struct mapped {
	struct vfsmount *mount;
	struct dentry *dentry;
	u32 hook;
	u32 is_shared;
};

/* Deny it? Says so, once. The file is judged as the program that it would be. */
__noinline int mapped_judge(struct mapped *mapped)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct judgement judgement;
	struct dentry *dentry;
	struct inode *inode;
	struct slot *slot;
	u32 file_flags;
	bool is_denied;

	if (!mapped || !judgement_begin(&judgement, POLICY_MAP, task))
		return 0;
	judge_number(&judgement, POLICY_USER, task->cred->uid.val);
	if (!may_deny(&judgement) || is_exempt(task) || runtime_mark_of(task))
		return 0;
	dentry = mapped->dentry;
	inode = BPF_CORE_READ(dentry, d_inode);
	file_flags = file_kind_flags(mapped->mount, dentry, inode);
	if (mapped->is_shared && file_flags & (FILE_MEMFD | FILE_DELETED))
		return 0;
	judge_bits(&judgement, POLICY_FLAGS, file_flags);
	if (!may_deny(&judgement))
		return 0;
	slot = slot_take(EVENT_DENIAL, task);
	if (!slot)
		return judge_blindly(&judgement);
	judge_parent(&judgement, slot, task);
	judge_file(&judgement, inode, POLICY_EXECUTABLE);
	path_resolve(slot, mapped->mount, dentry, task);
	judge_path(&judgement, slot, POLICY_EXECUTABLE);
	is_denied = judgement.summary && judgement_conclude(&judgement);
	if (is_denied && denial_admit(inode, task))
		denial_submit(&judgement, slot, inode, task, mapped->hook, file_flags);
	else
		slot_release(slot);
	return is_denied;
}

/* What a task runs has been judged when it was executed. */
static __always_inline bool is_its_program(struct file *file)
{
	return BPF_CORE_READ(bpf_get_current_task_btf(), mm, exe_file) == file;
}

static __always_inline bool is_shared(u64 flags)
{
	return (flags & MAP_TYPE) == MAP_SHARED || (flags & MAP_TYPE) == MAP_SHARED_VALIDATE;
}

/* The file is NULL where memory has none. The verifier of some kernels believes that it never is and leaves the test of
 * it out: there, what is read from it by probe tells. Others ask for the test. */
SEC("lsm/mmap_file")
int on_mmap_file(u64 *ctx)
{
	struct file *file = (void *)ctx[0];
	u64 protection = ctx[2];
	struct mapped mapped = { .hook = DENIAL_MAP };
	int earlier = ctx[4];

	if (earlier)
		return earlier;
	if (!(protection & PROT_EXEC) || !file)
		return 0;
	mapped.mount = BPF_CORE_READ(file, f_path.mnt);
	mapped.dentry = BPF_CORE_READ(file, f_path.dentry);
	if (!mapped.dentry || is_its_program(file))
		return 0;
	mapped.is_shared = is_shared(ctx[3]);
	if (is_yes(mapped_judge(&mapped)))
		return -EPERM;
	return 0;
}

/* What was opened: of a file below an overlay's, the overlay's. Which files are such is told by a bit of theirs that
 * differs between kernels; but nothing else has a path of an overlay behind it. */
static __always_inline void find_opened(struct mapped *mapped, struct file *file)
{
	struct backing_file *backing = (void *)file;
	struct super_block *overlay;
	struct vfsmount *mount;
	struct dentry *dentry;

	mapped->mount = BPF_CORE_READ(file, f_path.mnt);
	mapped->dentry = BPF_CORE_READ(file, f_path.dentry);
	if (!bpf_core_field_exists(backing->user_path))
		return;
	mount = BPF_CORE_READ(backing, user_path.mnt);
	dentry = BPF_CORE_READ(backing, user_path.dentry);
	overlay = BPF_CORE_READ(dentry, d_sb);
	if (!overlay || BPF_CORE_READ(mount, mnt_sb) != overlay || BPF_CORE_READ(overlay, s_magic) != OVERLAYFS_MAGIC)
		return;
	mapped->mount = mount;
	mapped->dentry = dentry;
}

SEC("lsm/file_mprotect")
int on_file_mprotect(u64 *ctx)
{
	struct vm_area_struct *area = (void *)ctx[0];
	u64 protection = ctx[2];
	struct mapped mapped = { .hook = DENIAL_PROTECT };
	int earlier = ctx[3];
	struct file *file;

	if (earlier)
		return earlier;
	if (!(protection & PROT_EXEC))
		return 0;
	file = BPF_CORE_READ(area, vm_file);
	if (!file || is_its_program(file))
		return 0;
	find_opened(&mapped, file);
	mapped.is_shared = bpf_core_field_exists(area->vm_flags) && BPF_CORE_READ(area, vm_flags) & VM_SHARED;
	if (is_yes(mapped_judge(&mapped)))
		return -EPERM;
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
