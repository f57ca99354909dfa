/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Tasks of a container runtime: what they do in a container's cgroup before its
 * program runs is set-up, and no policy stops it. A host process that executes a
 * runtime that the host vouches for gets the mark, its children inherit it, and the
 * first other program ends it. A runtime executes itself again (from a sealed
 * memfd, a copy, a mount of its own) before it leaves the host's mount namespace:
 * what is executed in another one is the container's, whatever it is
 * (CVE-2019-5736). User space does the same: monitor/engine/runtime_tasks.py.
 */
#ifndef STOCKADE_RUNTIME_MARK_BPF_H
#define STOCKADE_RUNTIME_MARK_BPF_H

#include "maps.bpf.h"
#include "task.bpf.h"

struct runtime_file {
	u64 inode;
	u64 device;
};

struct runtime_mark {
	struct runtime_file file;
	u64 mnt_ns;
};

/* The runtimes of the host (enum runtime_file_kind); user space fills it. Full: those left out are no runtimes. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct runtime_file);
	__type(value, u32);
} runtime_files __weak SEC(".maps");

/* Freed with the task. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct runtime_mark);
} runtime_tasks __weak SEC(".maps");

static __always_inline struct runtime_mark *runtime_mark_of(struct task_struct *task)
{
	return bpf_task_storage_get(&runtime_tasks, task, NULL, 0);
}

static __always_inline struct runtime_file runtime_file_of(struct file *file)
{
	struct inode *inode = file->f_inode;
	struct runtime_file key = { .inode = inode->i_ino, .device = device_number(inode->i_sb->s_dev) };

	return key;
}

static __always_inline bool is_runtime(struct runtime_file *key)
{
	u32 *kind = bpf_map_lookup_elem(&runtime_files, key);

	return kind && *kind == RUNTIME_FILE_RUNTIME;
}

/* Does a marked task, by executing this file, go on setting up? */
static __always_inline bool goes_on_setting_up(struct runtime_mark *mark, struct task_struct *task, struct file *file,
					       u32 file_flags)
{
	struct runtime_file key = runtime_file_of(file);

	if (mark->mnt_ns != task->nsproxy->mnt_ns->ns.inum)
		return false;
	if (key.inode == mark->file.inode && key.device == mark->file.device)
		return true;
	return file_flags & (FILE_MEMFD | FILE_DELETED) || is_runtime(&key);
}

static __always_inline void runtime_mark_inherit(struct task_struct *parent, struct task_struct *child)
{
	struct runtime_mark *mark = runtime_mark_of(parent);

	if (mark)
		bpf_task_storage_get(&runtime_tasks, child, mark, BPF_LOCAL_STORAGE_GET_F_CREATE);
}

/* A task has replaced its image: begin, keep or end its mark. */
static __always_inline void runtime_mark_exec(struct task_struct *task, struct file *file, u32 file_flags, bool on_host)
{
	struct runtime_mark *mark = runtime_mark_of(task), fresh = {};

	if (mark) {
		if (!goes_on_setting_up(mark, task, file, file_flags))
			bpf_task_storage_delete(&runtime_tasks, task);
		return;
	}
	fresh.file = runtime_file_of(file);
	if (!on_host || !is_runtime(&fresh.file))
		return;
	fresh.mnt_ns = task->nsproxy->mnt_ns->ns.inum;
	bpf_task_storage_get(&runtime_tasks, task, &fresh, BPF_LOCAL_STORAGE_GET_F_CREATE);
}

#endif
