/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The inodes behind a file: its own, and those that overlayfs shows through it. A file
 * that was written since the image keeps the image's inode as where it comes from. An
 * overlay may lie over one other.
 */
#ifndef STOCKADE_INODE_BPF_H
#define STOCKADE_INODE_BPF_H

#include "kernel_types.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include "policy.h"

#define OVERLAYFS_MAGIC 0x794c7630

/* new_encode_dev() of the kernel: what stat(2) returns. */
static __always_inline u64 device_number(u32 dev)
{
	u32 major = dev >> 20, minor = dev & 0xfffff;

	return (minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12);
}

static __always_inline struct inode *overlay_lower(void *overlay)
{
	if (bpf_core_field_exists(struct ovl_inode___with_entry, oe)) {
		struct ovl_entry___with_stack *entry = BPF_CORE_READ((struct ovl_inode___with_entry *)overlay, oe);

		if (!entry || !BPF_CORE_READ(entry, __numlower))
			return NULL;
		return BPF_CORE_READ(entry, __lowerstack[0].dentry, d_inode);
	}
	if (bpf_core_field_exists(struct ovl_inode___with_path, lowerpath))
		return BPF_CORE_READ((struct ovl_inode___with_path *)overlay, lowerpath.dentry, d_inode);
	if (bpf_core_field_exists(struct ovl_inode___with_inode, lower))
		return BPF_CORE_READ((struct ovl_inode___with_inode *)overlay, lower);
	return NULL;
}

/* What lies behind an overlay's inode, in the upper layer and in the lower one. */
static __always_inline void overlay_parts(struct inode *inode, struct inode **upper, struct inode **lower)
{
	void *overlay;

	if (!bpf_core_type_exists(struct ovl_inode) || !inode || BPF_CORE_READ(inode, i_sb, s_magic) != OVERLAYFS_MAGIC)
		return;
	overlay = (void *)inode - bpf_core_field_offset(struct ovl_inode, vfs_inode);
	*upper = BPF_CORE_READ((struct ovl_inode *)overlay, __upperdentry, d_inode);
	*lower = overlay_lower(overlay);
}

/* Those that there are; the others stay as they are. */
static __always_inline void real_inodes(struct inode *inode, struct inode **parts)
{
	parts[0] = inode;
	overlay_parts(inode, &parts[1], &parts[2]);
	overlay_parts(parts[2], &parts[3], &parts[4]);
}

/* All but the container. */
static __always_inline void file_key_fill(struct policy_file_key *key, struct inode *inode)
{
	key->inode = BPF_CORE_READ(inode, i_ino);
	key->device = device_number(BPF_CORE_READ(inode, i_sb, s_dev));
	key->generation = BPF_CORE_READ(inode, i_generation);
}

#endif
