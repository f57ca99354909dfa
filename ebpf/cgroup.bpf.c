// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The life of cgroups in the hierarchy that carries the tag: containers come and
 * go with them, before any runtime says so.
 *
 * Hooks: cgroup_mkdir, cgroup_rmdir, cgroup_attach_task.
 */
#include "maps.bpf.h"
#include "emit.bpf.h"

static __always_inline int cgroup_report(u16 type, struct cgroup *cgroup, const char *path, struct task_struct *task)
{
	struct cgroup_event *event;
	struct slot *slot;

	if (!cgroup_carries_tag(cgroup))
		return 0;
	slot = slot_take(type, task);
	if (!slot)
		return 0;
	event = record_begin(slot, type, sizeof(*event), task);
	event->subject_cgroup_id = cgroup_id_of(cgroup);
	event->level = cgroup->level;
	record_append_text(slot, &event->path, path);
	urgent_submit(slot, true);
	return 0;
}

SEC("tp_btf/cgroup_mkdir")
int on_cgroup_create(u64 *ctx)
{
	return cgroup_report(EVENT_CGROUP_CREATE, (void *)ctx[0], (void *)ctx[1], bpf_get_current_task_btf());
}

SEC("tp_btf/cgroup_rmdir")
int on_cgroup_remove(u64 *ctx)
{
	return cgroup_report(EVENT_CGROUP_REMOVE, (void *)ctx[0], (void *)ctx[1], bpf_get_current_task_btf());
}

SEC("tp_btf/cgroup_attach_task")
int on_cgroup_attach(u64 *ctx)
{
	return cgroup_report(EVENT_CGROUP_ATTACH, (void *)ctx[0], (void *)ctx[1], (void *)ctx[2]);
}

char _license[] SEC("license") = "Dual BSD/GPL";
