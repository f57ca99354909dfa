/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Build a record in a slot and hand it to a ring; count what does not get there.
 *
 *	slot = slot_take(EVENT_..., task);
 *	if (!slot)
 *		return 0;	// already counted
 *	event = record_begin(slot, EVENT_..., sizeof(*event), task);
 *	...
 *	record_append(slot, &event->path, bytes, length);
 *	urgent_submit(slot, wake);	// releases the slot
 */
#ifndef STOCKADE_EMIT_BPF_H
#define STOCKADE_EMIT_BPF_H

#include "maps.bpf.h"
#include "task.bpf.h"

#ifndef SLOT_TRIES
#define SLOT_TRIES 4
#endif

static __always_inline void count_loss(u32 type, u64 cgroup_id, u32 reason)
{
	struct loss_key key = { .cgroup_id = cgroup_id, .type = type, .reason = reason };
	u64 one = 1, *lost;
	u32 index = (type * 4 + reason) & 63;

	lost = bpf_map_lookup_elem(&losses, &key);
	if (lost) {
		*lost += 1;
		return;
	}
	if (!bpf_map_update_elem(&losses, &key, &one, BPF_NOEXIST))
		return;
	lost = bpf_map_lookup_elem(&losses_unattributed, &index);
	if (lost)
		*lost += 1;
}

static __always_inline u64 next_sequence(u32 ring)
{
	u64 *sequence = bpf_map_lookup_elem(&sequences, &ring);

	return sequence ? (*sequence)++ : 0;
}

static __always_inline struct slot *slot_try(void)
{
	u32 first = bpf_get_smp_processor_id() * 2;

	for (int i = 0; i < SLOT_TRIES; i++) {
		u32 index = (first + i) % slot_count;
		struct slot *slot = bpf_map_lookup_elem(&slots, &index);

		if (slot && !__sync_val_compare_and_swap(&slot->busy, 0, 1)) {
			slot->number = index;
			return slot;
		}
	}
	return NULL;
}

static __always_inline struct slot *slot_take(u32 type, struct task_struct *task)
{
	struct slot *slot = slot_try();

	if (!slot)
		count_loss(type, task_cgroup_id(task), LOSS_NO_SLOT);
	return slot;
}

static __always_inline void slot_release(struct slot *slot)
{
	__sync_lock_test_and_set(&slot->busy, 0);
}

static __always_inline void *record_begin(struct slot *slot, u16 type, u32 fixed_bytes, struct task_struct *task)
{
	struct event_header *header = (struct event_header *)slot->record;

	header->type = type;
	header->reserved = 0;
	header->cpu = bpf_get_smp_processor_id();
	header->tid = task->pid;
	header->ktime_ns = bpf_ktime_get_ns();
	header->cgroup_id = task_cgroup_id(task);
	header->start_boottime_ns = task->group_leader->start_boottime;
	header->exec_id = task->self_exec_id;
	header->tgid = task->tgid;
	header->uid = task->cred->uid.val;
	slot->used = fixed_bytes;
	return slot->record;
}

/* Where the next string goes; the caller writes at most PATH_BYTES_MAX there and calls record_appended(). */
static __always_inline u8 *record_room(struct slot *slot)
{
	u32 used = slot->used;

	asm volatile("" : "+r"(used));
	return &slot->record[used & (SLOT_RECORD_BYTES - 1)];
}

static __always_inline void record_appended(struct slot *slot, struct wire_string *string, u32 length)
{
	string->offset = slot->used;
	string->length = length;
	slot->used += length;
}

/* Append bytes of kernel memory, at most PATH_BYTES_MAX. */
static __always_inline void record_append(struct slot *slot, struct wire_string *string, const void *bytes, u32 length)
{
	asm volatile("" : "+r"(length));
	if (length > PATH_BYTES_MAX)
		length = PATH_BYTES_MAX;
	if (bpf_probe_read_kernel(record_room(slot), length, bytes))
		length = 0;
	record_appended(slot, string, length);
}

/* Append NUL terminated kernel text without its NUL. */
static __always_inline void record_append_text(struct slot *slot, struct wire_string *string, const char *text)
{
	long length = bpf_probe_read_kernel_str(record_room(slot), PATH_BYTES_MAX, text);

	record_appended(slot, string, length > 0 ? length - 1 : 0);
}

/* The same from user memory: a claim, not a fact. */
static __always_inline void record_append_user_text(struct slot *slot, struct wire_string *string, const char *text)
{
	long length = bpf_probe_read_user_str(record_room(slot), PATH_BYTES_MAX, text);

	record_appended(slot, string, length > 0 ? length - 1 : 0);
}

static __always_inline void ring_submit(void *ring, u32 ring_index, struct slot *slot, bool wake)
{
	struct event_header *header = (struct event_header *)slot->record;
	u32 length = slot->used;
	u64 flags = BPF_RB_NO_WAKEUP;
	void *nothing;

	asm volatile("" : "+r"(length));
	if (length > RECORD_BYTES_MAX)
		length = RECORD_BYTES_MAX;
	header->length = length;
	header->sequence = next_sequence(ring_index);
	if (reader_sleeps && (wake || bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) > (1 << 18))) {
		reader_sleeps = 0;
		flags = BPF_RB_FORCE_WAKEUP;
	}
	if (bpf_ringbuf_output(ring, slot->record, length, flags)) {
		count_loss(header->type, header->cgroup_id, LOSS_RING_FULL);
	} else if (wake && flags == BPF_RB_NO_WAKEUP && reader_sleeps) {
		/* It fell asleep between our look and our record: an empty record wakes it. */
		reader_sleeps = 0;
		nothing = bpf_ringbuf_reserve(ring, 8, 0);
		if (nothing)
			bpf_ringbuf_discard(nothing, BPF_RB_FORCE_WAKEUP);
	}
	slot_release(slot);
}

static __always_inline void urgent_submit(struct slot *slot, bool wake)
{
	ring_submit(&events_urgent, RING_URGENT, slot, wake);
}

#endif
