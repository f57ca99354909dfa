/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What stands where in a dentry and a mount: one probe read each, from any
 * program type.
 */
#ifndef STOCKADE_DENTRY_BPF_H
#define STOCKADE_DENTRY_BPF_H

#include "maps.bpf.h"
#include <bpf/bpf_core_read.h>

static __always_inline struct mount *mount_of(struct vfsmount *vfsmount)
{
	return (void *)vfsmount - bpf_core_field_offset(struct mount, mnt);
}

/* What is read of a dentry. */
struct dentry_facts {
	struct dentry *parent;
	const unsigned char *name;
	u32 length;
	u32 hash; /* of the name, salted with the parent's address */
	u32 sequence;
};

/* d_seq to d_name lie close together, in this order, on every kernel seen: one read instead of five. */
#define DENTRY_BLOCK_BYTES 48

static __always_inline void dentry_probe(struct dentry *dentry, struct dentry_facts *facts)
{
	u32 first = bpf_core_field_offset(struct dentry, d_seq) & ~7; /* the stack wants its words aligned */
	u32 sequence = bpf_core_field_offset(struct dentry, d_seq) & 7;
	u32 parent = bpf_core_field_offset(struct dentry, d_parent) - first;
	u32 name = bpf_core_field_offset(struct dentry, d_name) - first;
	u64 words[DENTRY_BLOCK_BYTES / 8] = {};
	u8 *block = (u8 *)words;

	if (parent <= DENTRY_BLOCK_BYTES - 8 && name <= DENTRY_BLOCK_BYTES - 16) {
		asm volatile("" : "+r"(sequence)); /* added to the pointer, not or-ed */
		bpf_probe_read_kernel(block, sizeof(words), (void *)dentry + first);
		facts->sequence = *(u32 *)(block + sequence);
		facts->parent = *(struct dentry **)(block + parent);
		facts->hash = *(u64 *)(block + name);
		facts->length = *(u64 *)(block + name) >> 32;
		facts->name = *(const unsigned char **)(block + name + 8);
		return;
	}
	facts->sequence = BPF_CORE_READ(dentry, d_seq.seqcount.sequence);
	facts->parent = BPF_CORE_READ(dentry, d_parent);
	facts->hash = BPF_CORE_READ(dentry, d_name.hash);
	facts->length = BPF_CORE_READ(dentry, d_name.len);
	facts->name = BPF_CORE_READ(dentry, d_name.name);
}

/* What is read of a mount. */
struct mount_facts {
	struct mount *parent;
	struct dentry *mountpoint;
	struct dentry *root;
};

/* The three are neighbours on every kernel seen: one read instead of three. */
static __always_inline void mount_probe(struct mount *mount, struct mount_facts *facts)
{
	u32 parent = bpf_core_field_offset(struct mount, mnt_parent);
	u32 root = bpf_core_field_offset(struct mount, mnt) + bpf_core_field_offset(struct vfsmount, mnt_root);

	if (bpf_core_field_offset(struct mount, mnt_mountpoint) == parent + 8 && root == parent + 16) {
		bpf_probe_read_kernel(facts, sizeof(*facts), (void *)mount + parent);
		return;
	}
	facts->parent = BPF_CORE_READ(mount, mnt_parent);
	facts->mountpoint = BPF_CORE_READ(mount, mnt_mountpoint);
	facts->root = BPF_CORE_READ(mount, mnt.mnt_root);
}

#endif
