/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Whose container a cgroup is. The table is kept by the kernel side itself, so that
 * it stays right while no service runs: a new cgroup has its parent's container, and
 * one below the host's that is named as runtimes name theirs is a container's.
 */
#ifndef STOCKADE_POLICY_CGROUP_BPF_H
#define STOCKADE_POLICY_CGROUP_BPF_H

#include "policy_maps.bpf.h"
#include "task.bpf.h"

#define CGROUP_LEVELS_MAX 16
#define CONTAINER_ID_CHARACTERS 64
#define CGROUP_NAME_BYTES 128

/* The cgroup that carries a task's tag. */
static __always_inline struct cgroup *task_cgroup(struct task_struct *task)
{
	u64 tag = tag_hierarchy_now();

	if ((tag & TAG_CONTROLLER_MASK) == TAG_CONTROLLER_PIDS) {
		if (bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id))
			return css_set_state(task->cgroups, pids_cgrp_id)->cgroup;
	} else if (tag & TAG_CONTROLLER_MASK) {
		if (bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
			return css_set_state(task->cgroups, memory_cgrp_id)->cgroup;
	}
	return task->cgroups->dfl_cgrp;
}

/* The slot of the nearest cgroup above that has one, itself included. */
static __always_inline u32 cgroup_slot(struct cgroup *cgroup)
{
#pragma unroll /* into a loop that is entered in its middle, which 6.1 refuses, clang would make it else */
	for (int i = 0; i < CGROUP_LEVELS_MAX; i++) {
		u64 id = cgroup_id_of(cgroup);
		u32 *slot = bpf_map_lookup_elem(&policy_cgroups, &id);
		struct cgroup_subsys_state *above = cgroup->self.parent;

		if (slot)
			return *slot & (POLICY_CONTAINERS - 1);
		if (!above)
			return POLICY_HOST;
		cgroup = above->cgroup;
	}
	return POLICY_PENDING; /* deeper than we look, and the table was full: what is unknown is no host */
}

static __always_inline bool is_hex_digit(u8 byte)
{
	return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f');
}

/* 64 hex digits at the end, or before ".scope". */
static __always_inline bool is_container_name(const char *name)
{
	char text[CGROUP_NAME_BYTES];
	long length = bpf_probe_read_kernel_str(text, sizeof(text), name) - 1;
	u32 first;

	if (length > CONTAINER_ID_CHARACTERS && length < CGROUP_NAME_BYTES &&
	    text[(length - sizeof(".scope") + 1) & (CGROUP_NAME_BYTES - 1)] == '.')
		length -= sizeof(".scope") - 1;
	if (length < CONTAINER_ID_CHARACTERS || length >= CGROUP_NAME_BYTES)
		return false;
	first = length - CONTAINER_ID_CHARACTERS;
	for (u32 i = 0; i < CONTAINER_ID_CHARACTERS; i++) {
		if (!is_hex_digit(text[(first + i) & (CGROUP_NAME_BYTES - 1)]))
			return false;
	}
	return true;
}

#endif
