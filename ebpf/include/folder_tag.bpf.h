/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The chain tag (chain_tag.bpf.h) of a folder, for one kind of interest in changes. By probe reads and in bpf_loop():
 * changes are rarer than opens, and so the verifier looks at one level instead of all.
 */
#ifndef STOCKADE_FOLDER_TAG_BPF_H
#define STOCKADE_FOLDER_TAG_BPF_H

#include "chain_tag.bpf.h"

#define TAG_KIND_SHIFT 48 /* above what chain_tag_start() uses */

/* Addresses are numbers here: of a pointer with a type no tag can be made. */
struct folder_climb {
	struct dentry *dentry;
	struct mount *mount; /* that we are in */
	struct dentry *root; /* of it */
	u64 tag;
	u64 is_whole;
};

/* From a mount's root to where it is mounted. One: nowhere, the chain is whole. */
static __always_inline long folder_cross(struct folder_climb *climb)
{
	struct mount_facts here;
	struct mount *above;

	mount_probe(climb->mount, &here);
	above = here.parent;
	climb->tag = tag_mix(climb->tag, pointer_number(climb->mount, FETCH_PROBE));
	if (above == climb->mount) {
		climb->is_whole = 1;
		return 1;
	}
	climb->dentry = here.mountpoint;
	climb->mount = above;
	climb->root = BPF_CORE_READ(above, mnt.mnt_root);
	return 0;
}

static long folder_step(u32 index, struct folder_climb *climb)
{
	struct dentry_facts facts;

	if (climb->dentry == climb->root)
		return folder_cross(climb);
	dentry_probe(climb->dentry, &facts);
	if (facts.parent == climb->dentry)
		return 1; /* no mount ends here: the chain hangs in the air */
	climb->tag = tag_mix(climb->tag, dentry_number(climb->dentry, &facts, FETCH_PROBE));
	climb->dentry = facts.parent;
	return 0;
}

/* 0: there is none to be remembered. */
static __always_inline u64 folder_tag(struct vfsmount *vfsmount, struct dentry *folder, u32 generation, u32 interest)
{
	struct folder_climb climb = { .dentry = folder, .mount = mount_of(vfsmount) };

	climb.root = BPF_CORE_READ(vfsmount, mnt_root);
	climb.tag = chain_tag_start(generation, 0) + ((u64)interest << TAG_KIND_SHIFT);
	bpf_loop(CHAIN_LEVELS_MAX, folder_step, &climb, 0);
	return climb.is_whole ? climb.tag | 1 : 0;
}

#endif
