/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Maps and settings that all programs of an object share. Weak, because every family
 * of sensors includes them and the linker (bpftool gen object) keeps one of each;
 * enforcement, an object that outlives the service, has its own of each.
 *
 * What happens when one is full is said at each.
 */
#ifndef STOCKADE_MAPS_BPF_H
#define STOCKADE_MAPS_BPF_H

#include "kernel_types.bpf.h"
#include <bpf/bpf_helpers.h>
#include "events.h"
#include "policy.h"
#include "layout_fingerprint.h"

#define PATH_BYTES_MAX 4096
#define SLOT_PATH_BYTES 8192 /* a power of two above twice the path: masks stay simple for the verifier */
#define SLOT_RECORD_BYTES 32768
#define RECORD_BYTES_MAX 24576

/* What the loader compares with the layout that it decodes by. */
const volatile __weak u64 layout_fingerprint = LAYOUT_FINGERPRINT;

/* Settings, written before load. */
const volatile __weak u32 slot_count = 8;

/* enum tag_hierarchy_word. Changes when a container shows that the choice was wrong; read once a use. */
__weak u64 tag_hierarchy = 0;

/* The reader says that it sleeps; the first record worth waking for takes the word back. */
__weak u32 reader_sleeps = 0;

/* Full: the record is lost and counted. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} events_urgent __weak SEC(".maps");

/* Scratch memory to build a record in, taken by compare-and-swap: a per-CPU buffer would be
 * overwritten where the kernel preempts programs. None free: the record is lost and counted. */
struct slot {
	u32 busy;
	u32 used;   /* bytes of the record */
	u32 cursor; /* first byte of the walked path, which ends at PATH_BYTES_MAX */
	u32 path_flags;
	u32 name_at;  /* bytes of a name that are not looked at yet */
	u32 name_end; /* of the component of it that is being looked at */
	u32 name_ups; /* ".." that no component has answered yet */
	u32 name_slashes;
	u32 name_length;
	u32 number;   /* which slot it is; with it, texts begin at a word */
	u64 name_tag; /* of the folder that it lies directly in; 0: not to be remembered */
	u8 path[SLOT_PATH_BYTES + 256];
	u8 record[SLOT_RECORD_BYTES + PATH_BYTES_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__type(key, u32);
	__type(value, struct slot);
} slots __weak SEC(".maps");

/* The same slot. In a global function its argument is memory, which kernels before 6.2 take for no key of a map. */
static __always_inline struct slot *slot_again(const struct slot *slot)
{
	u32 number = slot->number;

	return bpf_map_lookup_elem(&slots, &number);
}

enum ring_index {
	RING_URGENT = 0,
	RING_BULK = 1,
	RING_COUNT = 2
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, RING_COUNT);
	__type(key, u32);
	__type(value, u64);
} sequences __weak SEC(".maps");

/* Full: counted by type and reason alone, below. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct loss_key);
	__type(value, u64);
} losses __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 64); /* type * 4 + reason */
	__type(key, u32);
	__type(value, u64);
} losses_unattributed __weak SEC(".maps");

/* The service's own tasks, inherited by fork; freed with the task. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, u32);
} own_tasks __weak SEC(".maps");

enum counter_index {
	COUNTER_OWN_EVENTS = 0, /* of the service's own tasks: not streamed */
	COUNTER_FORK_HOOK = 1,	/* heartbeat: the hook ran on this CPU */
	COUNTER_EXIT_HOOK = 2,
	COUNTER_OPEN_WALKS = 3,	   /* opens that the quick tests could not dismiss */
	COUNTER_OPEN_VANISHED = 4, /* the descriptor was closed by another thread before we looked */
	COUNTER_MAX = 8,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTER_MAX);
	__type(key, u32);
	__type(value, u64);
} counters __weak SEC(".maps");

static __always_inline void count(u32 index)
{
	u64 *value = bpf_map_lookup_elem(&counters, &index);

	if (value)
		*value += 1;
}

#endif
