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
static __always_inline u64 pointer_number(const void *pointer, bool probe)
{
	u64 number = (u64)pointer;

	if (!probe)
		asm volatile("%0 -= %1" : "+r"(number) : "r"(&open_policy_generation));
	return number;
}

static __always_inline u64 tag_mix(u64 tag, u64 value)
{
	tag = (tag + value) * tag_seed[OPEN_SEED_LEVEL];
	return tag ^ (tag >> 29);
}

static __always_inline u64 dentry_number(struct dentry *dentry, struct dentry_facts *facts, bool probe)
{
	return pointer_number(dentry, probe) * tag_seed[OPEN_SEED_POINTER] +
	       (facts->hash | (u64)facts->sequence << 32) * tag_seed[OPEN_SEED_HASH];
}

struct chain {
	struct dentry *dentry;
	struct mount *mount; /* that we are in */
	struct mount_facts here;
	u64 tag;
};

/* One level up. False: there is none; then `tag` is whole, or 0 when the chain hangs in the air. */
static __always_inline bool chain_step(struct chain *chain, bool probe)
{
	struct mount *above = chain->here.parent;
	struct dentry_facts facts;

	if (chain->dentry == chain->here.root) {
		chain->tag = tag_mix(chain->tag, pointer_number(chain->mount, probe));
		if (above == chain->mount)
			return false;
		chain->dentry = chain->here.mountpoint;
		chain->mount = above;
		mount_fetch(above, &chain->here, probe);
		return true;
	}
	dentry_fetch(chain->dentry, &facts, probe);
	if (facts.parent == chain->dentry) {
		chain->tag = 0;
		return false;
	}
	chain->tag = tag_mix(chain->tag, dentry_number(chain->dentry, &facts, probe));
	chain->dentry = facts.parent;
	return true;
}

/* The tag of what is above a file, of which `chain` holds its directory, mount and start; 0: too deep, or not of any
 * tree of mounts. */
static __always_inline u64 chain_tag(struct chain *chain, bool probe)
{
	u32 level = 0;

again:
	if (!chain_step(chain, probe))
		return chain->tag ? chain->tag | 1 : 0;
	level++;
	/* A jump, however the compiler orders the blocks: older verifiers refuse a loop that is closed by falling
	 * through ("back-edge"), until 10e14e9652bf ("bpf: fix control-flow graph checking in privileged mode"). */
	asm volatile goto("if %[level] < %[max] goto %l[again]"
			  :
			  : [level] "r"(level), [max] "i"(CHAIN_LEVELS_MAX)
			  :
			  : again);
	return 0;
}

/* Different policies and different classes of opens never share a tag. */
static __always_inline u64 chain_tag_start(u32 generation, u32 class)
{
	return ((u64)generation << 1 | class) + 1;
}

static __always_inline bool chain_tag_known(u64 tag)
{
	return tag && open_chain_tags[tag >> 48] == tag;
}

/* One store of one word: no lock, no tearing. */
static __always_inline void chain_tag_remember(u64 tag)
{
	open_chain_tags[tag >> 48] = tag;
}

#endif
