/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Facts of a task, read through trusted or BTF pointers: direct loads, no helper. */
#ifndef STOCKADE_TASK_BPF_H
#define STOCKADE_TASK_BPF_H

#include "inode.bpf.h"
#include "maps.bpf.h"
#include <bpf/bpf_core_read.h>

enum cgroup_subsys_id {
	memory_cgrp_id = 4,
	pids_cgrp_id = 11,
};

static __always_inline u64 cgroup_id_of(struct cgroup *cgroup)
{
	return (u64)cgroup->root->hierarchy_id << TAG_HIERARCHY_SHIFT | cgroup->kn->id;
}

static __always_inline u64 tag_hierarchy_now(void)
{
	return *(volatile u64 *)&tag_hierarchy;
}

/* The state of a controller. Its place differs between kernels, and some lack it: CO-RE knows. A direct load: this is
 * called where little is left of the stack. */
#define css_set_state(set, controller)                                                                                 \
	(*(struct cgroup_subsys_state **)((void *)(set) + bpf_core_field_offset(struct css_set, subsys) +              \
					  bpf_core_enum_value(enum cgroup_subsys_id, controller) * sizeof(void *)))

static __always_inline u64 task_v1_cgroup_id(struct task_struct *task, u64 tag)
{
	u64 hierarchy = tag >> TAG_HIERARCHY_SHIFT << TAG_HIERARCHY_SHIFT;

	if ((tag & TAG_CONTROLLER_MASK) == TAG_CONTROLLER_PIDS) {
		if (bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id))
			return hierarchy | css_set_state(task->cgroups, pids_cgrp_id)->cgroup->kn->id;
	} else {
		if (bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
			return hierarchy | css_set_state(task->cgroups, memory_cgrp_id)->cgroup->kn->id;
	}
	return hierarchy;
}

/* The id that containers are told apart by: of cgroup2, or of a v1 hierarchy where cgroup2 has one id for all. */
static __always_inline u64 task_cgroup_id(struct task_struct *task)
{
	u64 tag = tag_hierarchy_now();

	if (tag & TAG_CONTROLLER_MASK)
		return task_v1_cgroup_id(task, tag);
	return task->cgroups->dfl_cgrp->kn->id;
}

/* Hierarchies number their cgroups independently: only the tag's are of account. */
static __always_inline bool cgroup_carries_tag(struct cgroup *cgroup)
{
	return (u64)cgroup->root->hierarchy_id == tag_hierarchy_now() >> TAG_HIERARCHY_SHIFT;
}

/* Is this one of the service's own tasks? Marked by task, never by program or cgroup, which others can share. */
static __always_inline bool task_is_ours(struct task_struct *task)
{
	return bpf_task_storage_get(&own_tasks, task, NULL, 0) != NULL;
}

#endif
