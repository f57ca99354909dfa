// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The file-open sensor with a second opinion: whenever a chain tag dismisses an
 * open, walk its path all the same and ask the tries. Built by the stress test.
 *
 * A disagreement is stale when the directories' tag is still the same after the
 * walk; else somebody moved something between the tag and the walk, which says
 * nothing about the tag.
 */
#define OPEN_ON_TAG_HIT(site, how) oracle_ask(site, how)
struct open_site;
static __attribute__((always_inline)) inline void oracle_ask(struct open_site *site, unsigned int how);

#include "open_filter.bpf.h"

/* Read by the test; several CPUs count. */
u64 oracle_hits; /* of the stress program alone */
u64 oracle_stale;
u64 oracle_moved;
u64 oracle_no_slot;
char oracle_path[256]; /* of the last stale one */

static __noinline int oracle_walk(struct open_site *site, struct slot *slot)
{
	struct span span;
	u32 half = site->generation & 1;

	path_resolve(slot, site->place.vfsmount, site->place.dentry, bpf_get_current_task_btf());
	span.begin = slot->cursor;
	span.length = PATH_BYTES_MAX - span.begin;
	return !!(match_of(path_lookup(slot, span, OPEN_SPACE_PATHS + half)) & class_interest(class_of(site->access)));
}

static __always_inline void oracle_judge(struct open_site *site, struct slot *slot, enum fetch how)
{
	u32 cursor;

	if (!oracle_walk(site, slot))
		return;
	if (site_tag_again(site, how) != site->tag) {
		__sync_fetch_and_add(&oracle_moved, 1);
		return;
	}
	__sync_fetch_and_add(&oracle_stale, 1);
	cursor = slot->cursor & (SLOT_PATH_BYTES - 1);
	bpf_probe_read_kernel_str(oracle_path, sizeof(oracle_path), &slot->path[cursor]);
}

static __noinline int oracle_cast(struct open_site *site, struct slot *slot)
{
	oracle_judge(site, slot, FETCH_CAST);
	return 0;
}

static __noinline int oracle_typed(struct open_site *site, struct slot *slot)
{
	oracle_judge(site, slot, FETCH_TYPED);
	return 0;
}

static __noinline int oracle_probe(struct open_site *site, struct slot *slot)
{
	oracle_judge(site, slot, FETCH_PROBE);
	return 0;
}

static __always_inline bool oracle_is_stress(void)
{
	u64 name[2] = {};

	bpf_get_current_comm(name, sizeof(name));
	return name[0] == *(const u64 *)"open_str";
}

static __always_inline void oracle_ask(struct open_site *site, unsigned int how)
{
	struct slot *slot;

	if (!site->tag)
		return; /* dismissed by name alone */
	if (oracle_is_stress())
		__sync_fetch_and_add(&oracle_hits, 1);
	slot = slot_take(EVENT_FILE_OPEN, bpf_get_current_task_btf());
	if (!slot) {
		__sync_fetch_and_add(&oracle_no_slot, 1);
		return;
	}
	if (how == FETCH_CAST)
		oracle_cast(site, slot);
	else if (how == FETCH_TYPED)
		oracle_typed(site, slot);
	else
		oracle_probe(site, slot);
	slot_release(slot);
}

#include SENSOR /* file.bpf.c */
