/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What both sources of changes share (change.bpf.c, change_lsm.bpf.c): which interest an act is for, and how its paths
 * are matched and remembered.
 */
#ifndef STOCKADE_CHANGE_BPF_H
#define STOCKADE_CHANGE_BPF_H

#include "open_filter.bpf.h"

#define RENAME_EXCHANGE 0x2
#define ID_KEPT (~0U)

static __always_inline u32 change_interest(u32 action)
{
	switch (action) {
	case CHANGE_RENAME:
		return INTEREST_MADE | INTEREST_RENAMED;
	case CHANGE_DELETE:
		return INTEREST_DELETED;
	case CHANGE_MODE:
	case CHANGE_OWNER:
		return INTEREST_ATTRIBUTES;
	}
	return INTEREST_MADE;
}

/* What the policy in force asks of this act of the task. */
static __always_inline u32 change_asked(u32 generation, u32 action, struct task_struct *task)
{
	u32 asked = open_filters[generation & 1].head.wanted & change_interest(action);

	return asked ? asked & scope_interest(task_cgroup_id(task)) : 0;
}

/* What the policy wants to know about the path that was resolved last. */
static __always_inline u64 change_match_path(struct slot *slot, u32 half)
{
	struct span span = { .begin = slot->cursor };

	span.length = PATH_BYTES_MAX - span.begin;
	return path_match(slot, &span, half);
}

/* No prefix of this interest matches what lies in the folder of the path that was resolved last. */
static __always_inline bool change_folder_is_dull(struct slot *slot, u32 half, u32 interest)
{
	struct span span = { .begin = slot->cursor };

	if (slot->path_flags & FILE_PATH_TRUNCATED)
		return false;
	span.length = PATH_BYTES_MAX - span.begin;
	return !(directory_interest(slot, &span, half) & interest);
}

#endif
