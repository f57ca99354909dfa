/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Token buckets per cgroup, over all CPUs: a container that floods us loses its
 * own records, not another's. Whatever is held back is counted, and one record
 * of each kind (see limit_first) passes each second all the same, so that a flood
 * does not hide the first of something else.
 */
#ifndef STOCKADE_LIMIT_BPF_H
#define STOCKADE_LIMIT_BPF_H

#include "maps.bpf.h"

#define REFILL_EVERY_NS 10000000ULL
#define SECOND_NS 1000000000ULL

/* Records a second and the most that can be saved up; written before load. */
const volatile __weak u64 limit_per_s[2] = { 20000, 20000 };
const volatile __weak u64 limit_burst[2] = { 40000, 40000 };

/* Token buckets. Least recently used ones go first: an evicted bucket starts full again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct bucket_key);
	__type(value, struct bucket);
} buckets __weak SEC(".maps");

struct first_key {
	u64 cgroup_id;
	u64 what;
};

/* When the last record of this cgroup and kind passed. Evicted: it passes once more. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct first_key);
	__type(value, u64);
} limit_passed __weak SEC(".maps");

static __always_inline void bucket_refill(struct bucket *bucket, u32 kind, u64 now)
{
	u64 last = bucket->refilled_ktime_ns, elapsed = now - last;
	s64 tokens;

	if (now < last + REFILL_EVERY_NS)
		return;
	if (__sync_val_compare_and_swap(&bucket->refilled_ktime_ns, last, now) != last)
		return; /* another CPU does it */
	if (elapsed > 10 * SECOND_NS)
		elapsed = 10 * SECOND_NS;
	tokens = bucket->tokens;
	if (tokens < 0)
		tokens = 0;
	tokens += elapsed / 1000 * limit_per_s[kind & 1] / 1000000;
	if (tokens > (s64)limit_burst[kind & 1])
		tokens = limit_burst[kind & 1];
	bucket->tokens = tokens;
}

/* Does the bucket of this cgroup hold a token? */
static __always_inline bool limit_take(u64 cgroup_id, u32 kind, u64 now)
{
	struct bucket_key key = { .cgroup_id = cgroup_id, .kind = kind };
	struct bucket fresh, *bucket = bpf_map_lookup_elem(&buckets, &key);

	if (!bucket) {
		fresh.refilled_ktime_ns = now;
		fresh.tokens = limit_burst[kind & 1] - 1;
		bpf_map_update_elem(&buckets, &key, &fresh, BPF_NOEXIST);
		return true;
	}
	bucket_refill(bucket, kind, now);
	return __sync_fetch_and_add(&bucket->tokens, -1) > 0;
}

/* The bucket is empty: has nothing of this kind passed within the last second? */
static __always_inline bool limit_first(u64 cgroup_id, u64 what, u64 now)
{
	struct first_key key = { .cgroup_id = cgroup_id, .what = what };
	u64 *passed = bpf_map_lookup_elem(&limit_passed, &key);

	if (passed && now < *passed + SECOND_NS)
		return false;
	bpf_map_update_elem(&limit_passed, &key, &now, BPF_ANY);
	return true;
}

/* May this record leave? `what` names its kind: the program of an exec, the pattern and program of an open. */
static __always_inline bool limit_admits(u64 cgroup_id, u32 kind, u64 what)
{
	u64 now = bpf_ktime_get_ns();

	return limit_take(cgroup_id, kind, now) || limit_first(cgroup_id, what, now);
}

#endif
