/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A note of an act that a rule asks for, from the hook that the act is asked at to the end of the function that does
 * it. The hooks come before the kernel has looked whether the task may at all: who is only refused must not be told to
 * have done it.
 */
#ifndef STOCKADE_CHANGE_NOTE_BPF_H
#define STOCKADE_CHANGE_NOTE_BPF_H

#include "change.bpf.h"

struct change_note {
	struct dentry *subject; /* by which the function that does it is known; it is given it too */
	struct dentry *file;	/* what has the name afterwards */
	struct dentry *other;	/* link: the file that has a name already; exchange: what gets the old name */
	struct vfsmount *mount; /* of both names: the kernel has seen to that */
	struct dentry *folder;	/* rename, delete: that the name was in ... */
	const char *text;	/* symlink: what it says, the kernel's copy */
	u64 inode;		/* delete: of the file */
	u64 device;
	u64 size; /* truncate */
	u32 file_flags;
	u32 file_mode;
	u32 action; /* 0: nothing is noted */
	u32 pattern;
	u32 owner;
	u32 group;
	u32 is_exchange;
	u32 name_length;
	unsigned char name[NAME_BYTES_MAX + 1]; /* ... and what it was: the dentry's own changes */
};

/* One act a task at a time. No memory: counted as a loss. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct change_note);
} change_notes SEC(".maps");

static __always_inline struct change_note *note_of(struct task_struct *task)
{
	return bpf_task_storage_get(&change_notes, task, NULL, 0);
}

/* What another act has left that was refused before it began. */
static __always_inline void note_clear(struct task_struct *task)
{
	struct change_note *note = note_of(task);

	if (note)
		note->action = 0;
}

/* The name that a dentry has now. */
static __always_inline void note_name(struct change_note *note, struct dentry *dentry)
{
	struct dentry_facts facts;
	u32 length;

	dentry_probe(dentry, &facts);
	length = facts.length;
	asm volatile("" : "+r"(length));
	length &= NAME_BYTES_MAX;
	note->folder = facts.parent;
	note->name_length = length;
	bpf_probe_read_kernel(note->name, length, facts.name);
}

/* Its facts while it has a name. */
static __always_inline void note_file(struct change_note *note, struct vfsmount *mount, struct dentry *dentry)
{
	struct inode *inode = BPF_CORE_READ(dentry, d_inode);

	note->inode = BPF_CORE_READ(inode, i_ino);
	note->device = device_number(BPF_CORE_READ(inode, i_sb, s_dev));
	note->file_mode = BPF_CORE_READ(inode, i_mode);
	note->file_flags = file_kind_flags(mount, dentry, inode);
}

#endif
