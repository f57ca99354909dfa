/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Keys and values of the maps that user space writes or reads. Part of the
 * generated layout, like events.h.
 */
#ifndef STOCKADE_POLICY_H
#define STOCKADE_POLICY_H

struct loss_key {
	__u64 cgroup_id;
	__u32 type;   /* enum event_type */
	__u32 reason; /* enum loss_reason */
};

/* A token bucket, one for bulk records and one for execs, per cgroup over all CPUs. */
struct bucket {
	__u64 refilled_ktime_ns;
	__s64 tokens;
};

struct bucket_key {
	__u64 cgroup_id;
	__u32 kind; /* enum bucket_kind */
	__u32 padding;
};

enum bucket_kind {
	BUCKET_BULK = 0,
	BUCKET_EXEC = 1,
};

/* What a cgroup is to the open filter. No entry: not known yet, and everything interests. */
enum cgroup_tag {
	CGROUP_HOST = 1,
	CGROUP_CONTAINER = 2,
};

/* Which opens interest: two bits (read, write) for each of host and container, and failed opens. */
enum open_interest {
	INTEREST_HOST_READ = 1 << 0,
	INTEREST_HOST_WRITE = 1 << 1,
	INTEREST_CONTAINER_READ = 1 << 2,
	INTEREST_CONTAINER_WRITE = 1 << 3,
	INTEREST_HOST_FAILED = 1 << 4,
	INTEREST_CONTAINER_FAILED = 1 << 5,
};

#endif
