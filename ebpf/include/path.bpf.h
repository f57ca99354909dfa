/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * One path walk: from a struct path to the text that its mount namespace shows,
 * across mounts, up to PATH_BYTES_MAX bytes. The text ends at
 * slot->path[PATH_BYTES_MAX] and begins at slot->cursor. Longer paths, and those
 * through more mounts than the walk has steps, lose their head and are marked: it
 * goes from the file upwards, and a file is told by its end first.
 *
 * Reads are probe reads: the walk runs from every program type, and in
 * bpf_loop(), so that its depth costs the verifier nothing.
 */
#ifndef STOCKADE_PATH_BPF_H
#define STOCKADE_PATH_BPF_H

#include "dentry.bpf.h"
#include "emit.bpf.h"

#define PATH_DEPTH_MAX 2100 /* 4,096 bytes hold at most 2,048 components; the rest are mounts */
#define NAME_BYTES_MAX 255

#define TMPFS_MAGIC 0x01021994
#define HUGETLBFS_MAGIC 0x958458f6
#define MNT_INTERNAL 0x4000

struct path_walk {
	struct slot *slot;
	struct dentry *dentry;
	struct dentry *mount_root;
	struct mount *mount;
};

/* False when the name does not fit any more. The first byte stays free: a key of a trie begins one byte before its
 * path. */
static __always_inline bool path_prepend(struct slot *slot, const unsigned char *name, u32 length)
{
	u32 cursor = slot->cursor;

	if (length > NAME_BYTES_MAX || cursor < length + 2 || cursor > PATH_BYTES_MAX) {
		slot->path_flags |= FILE_PATH_TRUNCATED;
		return false;
	}
	cursor -= length;
	asm volatile("" : "+r"(cursor));
	asm volatile("" : "+r"(length));
	bpf_probe_read_kernel(&slot->path[cursor & (SLOT_PATH_BYTES - 1)], length & NAME_BYTES_MAX, name);
	cursor -= 1;
	asm volatile("" : "+r"(cursor));
	slot->path[cursor & (SLOT_PATH_BYTES - 1)] = '/';
	slot->cursor = cursor;
	return true;
}

/* The root of a mount that is mounted nowhere (an unmounted clone, open_tree): then the names that the file system
 * itself has above it are the best there are. A file opened through its own mount would have no name at all. */
static __always_inline bool path_hangs_in_the_air(struct slot *slot)
{
	if (slot->path_flags & FILE_DETACHED_MOUNT)
		return true;
	return slot->path_flags & FILE_FOREIGN_NAMESPACE && slot->cursor == PATH_BYTES_MAX;
}

static long path_step(u32 index, struct path_walk *walk)
{
	struct dentry *dentry = walk->dentry;
	struct dentry_facts facts;
	struct mount_facts here;
	struct mount *above;

	if (dentry == walk->mount_root) {
		mount_probe(walk->mount, &here);
		above = here.parent;
		if (above != walk->mount && above) {
			walk->dentry = here.mountpoint;
			walk->mount_root = BPF_CORE_READ(above, mnt.mnt_root);
			walk->mount = above;
			return 0;
		}
		if (!path_hangs_in_the_air(walk->slot))
			return 1;
	}
	dentry_probe(dentry, &facts);
	if (facts.parent == dentry) {
		/* A root that is no mount's: an anonymous file (memfd, pipe), a tree cut loose, a whole file system. */
		if (facts.length > 1)
			path_prepend(walk->slot, facts.name, facts.length);
		return 1;
	}
	if (!path_prepend(walk->slot, facts.name, facts.length))
		return 1;
	walk->dentry = facts.parent;
	return 0;
}

/* Flags of the mount: in the task's namespace, in another one, in none. */
static __always_inline u32 mount_flags(struct mount *mount, struct task_struct *task)
{
	struct mnt_namespace *namespace = BPF_CORE_READ(mount, mnt_ns);

	/* The kernel's own mounts hold an error pointer there. */
	if (!namespace || (u64) namespace >= (u64)-4095)
		return FILE_DETACHED_MOUNT;
	return namespace == task->nsproxy->mnt_ns ? 0 : FILE_FOREIGN_NAMESPACE;
}

/* Put the path of a directory in front of what slot->path holds already. */
static __always_inline void path_continue(struct slot *slot, struct vfsmount *vfsmount, struct dentry *dentry,
					  struct task_struct *task)
{
	struct path_walk walk = { .slot = slot, .dentry = dentry, .mount = mount_of(vfsmount) };

	walk.mount_root = BPF_CORE_READ(vfsmount, mnt_root);
	slot->path_flags |= mount_flags(walk.mount, task);
	if (bpf_loop(PATH_DEPTH_MAX, path_step, &walk, 0) == PATH_DEPTH_MAX)
		slot->path_flags |= FILE_PATH_TRUNCATED; /* mounts stacked upon mounts: they take steps and no bytes */
	if (slot->cursor == PATH_BYTES_MAX) {
		slot->cursor = PATH_BYTES_MAX - 1;
		slot->path[PATH_BYTES_MAX - 1] = '/';
	}
}

/* Walk a path into slot->path; slot->path_flags says what was special. */
static __always_inline void path_resolve(struct slot *slot, struct vfsmount *vfsmount, struct dentry *dentry,
					 struct task_struct *task)
{
	slot->cursor = PATH_BYTES_MAX;
	slot->path_flags = 0;
	path_continue(slot, vfsmount, dentry, task);
}

/* Append the walked path to the record. */
static __always_inline void record_append_path(struct slot *slot, struct wire_string *string)
{
	u32 cursor = slot->cursor;

	asm volatile("" : "+r"(cursor));
	cursor &= SLOT_PATH_BYTES - 1;
	record_append(slot, string, &slot->path[cursor], PATH_BYTES_MAX - cursor);
}

/* Overlayfs keeps in its inode the upper dentry of what was written since the image. */
static __always_inline u32 upper_layer_flags(struct inode *inode)
{
	void *overlay;

	if (!bpf_core_type_exists(struct ovl_inode))
		return FILE_UPPER_UNKNOWN;
	overlay = (void *)inode - bpf_core_field_offset(struct ovl_inode, vfs_inode);
	return BPF_CORE_READ((struct ovl_inode *)overlay, __upperdentry) ? FILE_UPPER_LAYER : 0;
}

/* What kind of file an inode, reached through this mount and dentry, is. */
static __always_inline u32 file_kind_flags(struct vfsmount *vfsmount, struct dentry *dentry, struct inode *inode)
{
	unsigned long magic = BPF_CORE_READ(inode, i_sb, s_magic);
	bool is_shared_memory = magic == TMPFS_MAGIC || magic == HUGETLBFS_MAGIC;
	u32 flags = 0;

	if (is_shared_memory)
		flags |= FILE_TMPFS;
	if (is_shared_memory && (BPF_CORE_READ(vfsmount, mnt_flags) & MNT_INTERNAL))
		flags |= FILE_MEMFD;
	else if (!BPF_CORE_READ(inode, __i_nlink) || !BPF_CORE_READ(dentry, d_hash.pprev))
		flags |= FILE_DELETED;
	if (magic == OVERLAYFS_MAGIC)
		flags |= upper_layer_flags(inode);
	return flags;
}

#endif
