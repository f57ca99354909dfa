/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Facts of a task, read through trusted or BTF pointers: direct loads, no helper. */
#ifndef STOCKADE_TASK_BPF_H
#define STOCKADE_TASK_BPF_H

#include "maps.bpf.h"
#include <bpf/bpf_core_read.h>

enum cgroup_subsys_id {
	memory_cgrp_id = 4,
	pids_cgrp_id = 11,
};

#define TAG_CONTROLLER_PIDS 1

static __always_inline u64 cgroup_id_of(struct cgroup *cgroup)
{
	return cgroup->kn->id;
}

/* The controllers' numbers differ between kernels: CO-RE knows them. */
static __always_inline u64 task_v1_cgroup_id(struct task_struct *task)
{
	struct css_set *set = task->cgroups;
	struct cgroup_subsys_state *state = NULL;
	u64 index;

	if (tag_controller == TAG_CONTROLLER_PIDS)
		index = bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id);
	else
		index = bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);
	bpf_probe_read_kernel(&state, sizeof(state),
			      (void *)set + bpf_core_field_offset(struct css_set, subsys) + index * sizeof(void *));
	return BPF_CORE_READ(state, cgroup, kn, id);
}

/* The id that containers are told apart by: of cgroup2, or of a v1 hierarchy where cgroup2 has one id for all. */
static __always_inline u64 task_cgroup_id(struct task_struct *task)
{
	if (tag_controller)
		return task_v1_cgroup_id(task);
	return task->cgroups->dfl_cgrp->kn->id;
}

/* Is this one of the service's own tasks? Marked by task, never by program or cgroup, which others can share. */
static __always_inline bool task_is_ours(struct task_struct *task)
{
	return bpf_task_storage_get(&own_tasks, task, NULL, 0) != NULL;
}

/* new_encode_dev() of the kernel: what stat(2) returns. */
static __always_inline u64 device_number(u32 dev)
{
	u32 major = dev >> 20, minor = dev & 0xfffff;

	return (minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12);
}

#endif
