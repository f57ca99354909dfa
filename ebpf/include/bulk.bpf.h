/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The ring of what comes in floods (file opens): its own, so that it crowds nothing else out. */
#ifndef STOCKADE_BULK_BPF_H
#define STOCKADE_BULK_BPF_H

#include "emit.bpf.h"

/* Full: the record is lost and counted. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} events_bulk __weak SEC(".maps");

static __always_inline void bulk_submit(struct slot *slot)
{
	ring_submit(&events_bulk, RING_BULK, slot, true);
}

#endif
