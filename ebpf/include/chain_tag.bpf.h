/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The chain tag: 64 bits for the directories above a file, up to the root of its
 * mount namespace, made of pointers and numbers alone, without reading one name.
 *
 * Equal tags mean the same path of directories. Of each directory goes in: the
 * address of its dentry, the (salted) hash of its name and d_seq, which rename,
 * unlink and the end of a dentry's life change; of each mount its address, and by
 * the dentries above its mount point where it is mounted. So nothing needs to be
 * invalidated: what moves gets another tag.
 */
#ifndef STOCKADE_CHAIN_TAG_BPF_H
#define STOCKADE_CHAIN_TAG_BPF_H

#include "open_fetch.bpf.h"
#include "open_maps.bpf.h"

#define CHAIN_LEVELS_MAX 24

/* A number for a pointer. The verifier forbids to multiply pointers, but their differences are numbers;
 * what is subtracted stays the same while we are loaded. */
static __always_inline u64 pointer_number(const void *pointer, enum fetch how)
{
	u64 number = (u64)pointer;

	if (how != FETCH_PROBE)
		asm volatile("%0 -= %1" : "+r"(number) : "r"(&open_policy_generation));
	return number;
}

static __always_inline u64 tag_mix(u64 tag, u64 value)
{
	tag = (tag + value) * tag_seed[OPEN_SEED_LEVEL];
	return tag ^ (tag >> 29);
}

static __always_inline u64 dentry_number(struct dentry *dentry, struct dentry_facts *facts, enum fetch how)
{
	return pointer_number(dentry, how) * tag_seed[OPEN_SEED_POINTER] +
	       (facts->hash | (u64)facts->sequence << 32) * tag_seed[OPEN_SEED_HASH];
}

struct chain {
	struct dentry *dentry;
	struct mount *mount; /* that we are in */
	struct mount_facts here;
	struct mount *top; /* of the task's mount namespace */
	u64 tag;
};

/* The compiler would go on with either of two equal pointers, and only one has a type. */
static __always_inline bool is_same(const void *one, const void *other)
{
	asm volatile("" : "+r"(one), "+r"(other));
	return one == other;
}

/* The mount at `here` covers the whole of the namespace's top one, where most chains end: that says types alone. */
static __always_inline bool chain_covers_top(struct mount_facts *here, struct mount *top)
{
	return is_same(here->parent, top) && is_same(here->mountpoint, top->mnt.mnt_root) &&
	       is_same(top->mnt_parent, top);
}

/* From a mount's root to where it is mounted. False: nowhere, the chain is whole. */
static __always_inline bool chain_cross(struct chain *chain, enum fetch how)
{
	struct mount *above = chain->here.parent;

	chain->tag = tag_mix(chain->tag, pointer_number(chain->mount, how));
	if (above == chain->mount)
		return false;
	if (how != FETCH_CAST && chain_covers_top(&chain->here, chain->top)) {
		chain->tag = tag_mix(chain->tag, pointer_number(above, FETCH_PROBE));
		return false;
	}
	chain->dentry = chain->here.mountpoint;
	chain->mount = above;
	mount_fetch(above, &chain->here, how);
	return true;
}

/* One directory up. False: there is none, though no mount ends here: the chain hangs in the air. */
static __always_inline bool chain_climb(struct chain *chain, enum fetch how)
{
	struct dentry_facts facts;

	dentry_fetch(chain->dentry, &facts, how);
	if (facts.parent == chain->dentry)
		return false;
	chain->tag = tag_mix(chain->tag, dentry_number(chain->dentry, &facts, how));
	chain->dentry = facts.parent;
	return true;
}

enum chain_end {
	CHAIN_WHOLE,
	CHAIN_BROKEN,  /* too deep, or not of any tree of mounts */
	CHAIN_CROSSED, /* FETCH_TYPED alone: what comes after a mount has no type */
};

static __always_inline enum chain_end chain_walk(struct chain *chain, enum fetch how)
{
	u32 level = 0;

again:
	if (chain->dentry == chain->here.root) {
		if (!chain_cross(chain, how))
			return CHAIN_WHOLE;
		if (how == FETCH_TYPED)
			return CHAIN_CROSSED;
	} else if (!chain_climb(chain, how)) {
		return CHAIN_BROKEN;
	}
	level++;
	/* A jump, however the compiler orders the blocks: older verifiers refuse a loop that is closed by falling
	 * through ("back-edge"), until 10e14e9652bf ("bpf: fix control-flow graph checking in privileged mode"). */
	asm volatile goto("if %[level] < %[max] goto %l[again]"
			  :
			  : [level] "r"(level), [max] "i"(CHAIN_LEVELS_MAX)
			  :
			  : again);
	return CHAIN_BROKEN;
}

/* The tag of what is above a file, of which `chain` holds its directory, mount and start; 0: there is none. */
static __always_inline u64 chain_tag(struct chain *chain, enum fetch how)
{
	enum chain_end end = chain_walk(chain, how);

	if (end == CHAIN_CROSSED)
		end = chain_walk(chain, FETCH_PROBE);
	return end == CHAIN_WHOLE ? chain->tag | 1 : 0;
}

/* Different policies and different classes of opens never share a tag. */
static __always_inline u64 chain_tag_start(u32 generation, u32 class)
{
	return ((u64)generation << 1 | class) + 1;
}

/* Where the four places of a tag begin. */
static __always_inline u64 *chain_tag_places(u64 tag)
{
	return &open_chain_tags[(tag >> 50) * OPEN_CHAIN_PLACES];
}

static __always_inline bool chain_tag_known(u64 tag)
{
	const u64 *places = chain_tag_places(tag);

	return tag && (places[0] == tag || places[1] == tag || places[2] == tag || places[3] == tag);
}

/* The oldest goes. Stores of whole words: no lock, no tearing; of two at once, one may be forgotten. */
static __always_inline void chain_tag_remember(u64 tag)
{
	u64 *places = chain_tag_places(tag);

	places[3] = places[2];
	places[2] = places[1];
	places[1] = places[0];
	places[0] = tag;
}

#endif
