/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Which program forked a task. Its parent may have ended since (a double fork: the
 * first process is its parent then) or have executed something else, so this is
 * written down at the fork, while some rule asks for it, and kept for life. Of a
 * process from before, it is what its parent runs now.
 */
#ifndef STOCKADE_POLICY_PARENT_BPF_H
#define STOCKADE_POLICY_PARENT_BPF_H

#include "denial.bpf.h"

#define FORKER_PATH_BYTES 512 /* a power of two; of a longer path the end is kept */

struct forker {
	u32 generation; /* of the policy at the fork */
	u32 known;	/* in it: the number of what the program may be called */
	u32 path_flags;
	u32 length;
	u8 path[FORKER_PATH_BYTES];
};

/* Freed with the task. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct forker);
} forkers __weak SEC(".maps");

static __always_inline void forker_fill(struct forker *forker, struct slot *slot)
{
	u32 cursor = slot->cursor, length = PATH_BYTES_MAX - cursor;

	forker->path_flags = slot->path_flags & FILE_PATH_TRUNCATED;
	if (length >= FORKER_PATH_BYTES) {
		length = FORKER_PATH_BYTES - 1;
		cursor = PATH_BYTES_MAX - length;
		forker->path_flags = FILE_PATH_TRUNCATED;
	}
	forker->length = length;
	asm volatile("" : "+r"(cursor));
	asm volatile("" : "+r"(length));
	bpf_probe_read_kernel(forker->path, length & (FORKER_PATH_BYTES - 1),
			      &slot->path[cursor & (SLOT_PATH_BYTES - 1)]);
}

/* Does a term that is enforced on this task ask for a parent? */
static __always_inline bool forker_is_asked(struct judgement *judgement, struct task_struct *task)
{
	u32 generation = *(volatile u32 *)&policy_generation;

	judgement->half = generation & 1;
	if (!is_path_asked(judgement, POLICY_PARENT))
		return false; /* most often: asked before what costs */
	judgement_reset(judgement, generation);
	judge_slot(judgement, cgroup_slot(task_cgroup(task)));
	return policy_vector(judgement->enforced)[POLICY_SUMMARY];
}

/* A thread was forked by who forked its process. */
static __always_inline void forker_inherit(struct task_struct *task, struct task_struct *thread)
{
	struct forker *forker = bpf_task_storage_get(&forkers, task, NULL, 0);

	if (forker)
		bpf_task_storage_get(&forkers, thread, forker, BPF_LOCAL_STORAGE_GET_F_CREATE);
}

/* No memory: the parent is looked at when it is asked for. */
static __always_inline void forker_remember(struct task_struct *parent, struct task_struct *child)
{
	struct judgement judgement;
	struct forker *forker;
	struct file *file;
	struct slot *slot;

	if (child->pid != child->tgid) {
		forker_inherit(parent, child);
		return;
	}
	if (!forker_is_asked(&judgement, child))
		return;
	file = BPF_CORE_READ(parent, mm, exe_file);
	slot = file ? slot_try() : NULL;
	if (!slot)
		return;
	forker = bpf_task_storage_get(&forkers, child, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (forker) {
		path_resolve(slot, BPF_CORE_READ(file, f_path.mnt), BPF_CORE_READ(file, f_path.dentry), parent);
		forker_fill(forker, slot);
		forker->generation = judgement.generation;
		if (is_file_asked(&judgement, POLICY_PARENT))
			forker->known = find_known_number(&judgement, BPF_CORE_READ(file, f_inode));
	}
	slot_release(slot);
}

/* The program that forked a task. */
static __always_inline void judge_parent(struct judgement *judgement, struct slot *slot, struct task_struct *task)
{
	struct forker *forker;
	u32 length, cursor;

	if (!is_path_asked(judgement, POLICY_PARENT))
		return;
	forker = bpf_task_storage_get(&forkers, task, NULL, 0);
	if (!forker) {
		judge_program(judgement, slot, task, task->real_parent, POLICY_PARENT);
		return;
	}
	length = forker->length & (FORKER_PATH_BYTES - 1);
	slot->cursor = cursor = PATH_BYTES_MAX - length;
	slot->path_flags = forker->path_flags;
	asm volatile("" : "+r"(cursor));
	bpf_probe_read_kernel(&slot->path[cursor & (SLOT_PATH_BYTES - 1)], length, forker->path);
	if (forker->generation == judgement->generation && is_file_asked(judgement, POLICY_PARENT))
		judge_known(judgement, forker->known, POLICY_PARENT);
	judge_path(judgement, slot, POLICY_PARENT);
}

#endif
