/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Which file system a container's root is on. A runtime's task ends its work by executing the container's program:
 * where its root directory is then, is the container's root, whatever a program in there makes its own root later
 * (chroot, pivot_root). Kept by cgroup; a new cgroup has its parent's. Of containers that ran before, user space tells;
 * without an entry, what a task has for its root counts.
 */
#ifndef STOCKADE_CONTAINER_ROOT_BPF_H
#define STOCKADE_CONTAINER_ROOT_BPF_H

#include "emit.bpf.h"
#include "path.bpf.h"
#include "runtime_mark.bpf.h"

/* Cgroup -> its container's root. Full: the next ones have no entry. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, POLICY_CGROUPS);
	__type(key, u64);
	__type(value, struct container_root);
} container_roots __weak SEC(".maps");

static __always_inline struct container_root root_of(struct task_struct *task)
{
	struct super_block *root = BPF_CORE_READ(task, fs, root.mnt, mnt_sb);
	struct container_root found = {
		.device = device_number(BPF_CORE_READ(root, s_dev)),
		.is_overlay = BPF_CORE_READ(root, s_magic) == OVERLAYFS_MAGIC,
	};

	return found;
}

/* A runtime's task is at the end of its work. */
static __always_inline void container_root_record(struct task_struct *task)
{
	struct container_root root = root_of(task);
	u64 id = task_cgroup_id(task);

	bpf_map_update_elem(&container_roots, &id, &root, BPF_ANY);
}

static __always_inline void container_root_inherit(struct cgroup *cgroup)
{
	struct cgroup_subsys_state *above = cgroup->self.parent;
	u64 id = cgroup_id_of(cgroup), parent;
	struct container_root *root;

	if (!above)
		return;
	parent = cgroup_id_of(above->cgroup);
	root = bpf_map_lookup_elem(&container_roots, &parent);
	if (root)
		bpf_map_update_elem(&container_roots, &id, root, BPF_ANY);
}

/* Does a program lie on another file system than the root of the task that asks? What a runtime brings with it (its
 * init, itself) does not. A global function, verified once: 6.1 cannot bear it for each state that a caller can be in.
 */
__weak __noinline u32 other_filesystem_flag(u64 inode, u64 device)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct runtime_file key = { .inode = inode, .device = device };
	struct container_root root, *recorded;
	u64 id = task_cgroup_id(task);

	recorded = runtime_mark_of(task) ? NULL : bpf_map_lookup_elem(&container_roots, &id);
	root = recorded ? *recorded : root_of(task);
	if (device == root.device || bpf_map_lookup_elem(&runtime_files, &key))
		return 0;
	return FILE_OTHER_FILESYSTEM;
}

#endif
