/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The open filter's policy, as user space (monitor/bpf/open_policy.py) writes it.
 *
 * It has two halves. New policy is written to the half that is not in force; then
 * one store to open_policy_generation puts it in force and, because the
 * generation is part of every chain tag, forgets all that the tags remember.
 */
#ifndef STOCKADE_OPEN_MAPS_BPF_H
#define STOCKADE_OPEN_MAPS_BPF_H

#include "maps.bpf.h"

#define OPEN_CHAIN_TAGS 65536
#define OPEN_CHAIN_PLACES 4 /* for each tag, in one cache line */
#define OPEN_SEED_NAME_HEAD 0
#define OPEN_SEED_NAME_TAIL 1
#define OPEN_SEED_ENDING 2
#define OPEN_SEED_POINTER 3
#define OPEN_SEED_HASH 4
#define OPEN_SEED_LEVEL 5

/* What every open reads, in a section of its own: so it lies in one cache line. */
#define OPEN_CONTROL SEC(".data.open")

/* Multipliers, odd and random for each load: nobody can prepare names that collide. */
__weak u64 tag_seed[6] OPEN_CONTROL = { 0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f, 0x165667b19e3779f9,
					0xd6e8feb86659fd93, 0xff51afd7ed558ccd, 0xc4ceb9fe1a85ec53 };

struct open_filter {
	struct open_filter_head head;
	u64 names[OPEN_CLASS_COUNT][OPEN_NAME_BITMAP_BYTES / 8];
};

__weak struct open_filter open_filters[2] __attribute__((aligned(64)));

/* Its lowest bit names the half in force. Zero: no policy yet, nothing interests. */
__weak u32 open_policy_generation OPEN_CONTROL = 0;

/* "This chain of directories was walked, and no prefix can match a file in its last one." More collisions
 * than a tag has places cost walks. */
__weak u64 open_chain_tags[OPEN_CHAIN_TAGS] __attribute__((aligned(64)));

struct open_path_key {
	u32 prefix_bits;
	u8 text[OPEN_PATH_KEY_BYTES]; /* enum open_key_space + half, then the folded path */
};

struct open_ending_key {
	u32 prefix_bits;
	u8 text[OPEN_ENDING_KEY_BYTES]; /* half, then the folded end of the path, last byte first */
};

/* Full: user space gives the new policy up as a whole, the old one stays in force. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, OPEN_PATTERNS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct open_path_key);
	__type(value, struct open_interest_value);
} open_paths __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, OPEN_PATTERNS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct open_ending_key);
	__type(value, struct open_interest_value);
} open_endings __weak SEC(".maps");

/* Host or container, by cgroup id. Full: user space counts it; the cgroup stays unknown, which lets more through. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u64);
	__type(value, u32); /* enum cgroup_tag */
} cgroup_tags __weak SEC(".maps");

#endif
