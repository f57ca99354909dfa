/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The denial policy, as user space (monitor/bpf/kernel_policy.py) writes it. Maps
 * hold indices of vectors, never vectors: a pointer that may lead to either of many
 * maps costs the verifier a million instructions on 6.1.
 */
#ifndef STOCKADE_POLICY_MAPS_BPF_H
#define STOCKADE_POLICY_MAPS_BPF_H

#include "maps.bpf.h"
#include "text.bpf.h"

#define POLICY_SUMMARY POLICY_WORDS /* place of a vector's word that says which others are not zero */

/* Its lowest bit names the half in force. Zero: no policy yet, nothing is judged. */
__weak u32 policy_generation = 0;

__weak u64 policy_vectors[POLICY_VECTORS][POLICY_WORDS + 1];

/* By half and event: the vector of the terms about it; 0: there is none. */
__weak u32 policy_events[2][POLICY_EVENTS];

/* By half: which dimensions any term asks, as bits. */
__weak u32 policy_asked[2];

/* By half and dimension: the vector of a value that the policy does not name, and of one that cannot be read. */
__weak u32 policy_unnamed[2][POLICY_DIMENSIONS_STRIDE];
__weak u32 policy_unread[2][POLICY_DIMENSIONS_STRIDE];

/* Of a dimension of bits: the masks that the policy names, and a vector for each combination. */
__weak u64 policy_masks[2][POLICY_DIMENSIONS_STRIDE][POLICY_NAMED_BITS];
__weak u32 policy_combinations[2][POLICY_DIMENSIONS_STRIDE][POLICY_COMBINATIONS];

/* By slot: the terms that this container (or the host) is in the scope of, and those that are enforced there. */
__weak u32 policy_containers[2][POLICY_CONTAINERS];
__weak u32 policy_enforced[2][POLICY_CONTAINERS];

/* By half: whose files are known by their inodes, as bits of enum policy_subject; what a known file may be called, by
 * its number: the terms that ask for its path. */
__weak u32 policy_known[2];
__weak u32 policy_known_files[2][POLICY_FILE_PATHS][POLICY_SUBJECTS];

/* The automaton over argv. A cell: what it holds in the lower half, whose it is in the upper one. */
__weak u32 policy_automaton[2][POLICY_AUTOMATON_WORDS];
__weak u32 policy_cells[2][POLICY_CELLS];
__weak u16 policy_defaults[2][POLICY_DEFAULTS];
__weak u8 policy_classes[2][256];
__weak u64 policy_markings[2][POLICY_MARKINGS][POLICY_MARKING_PARTS * POLICY_MARK_WORDS];
__weak u64 policy_clause_marks[2][POLICY_CLAUSES][POLICY_MARK_WORDS];
/* When one of its marks is there, and when none is. */
__weak u32 policy_clause_vectors[2][POLICY_CLAUSES][2];

struct policy_number_key {
	u64 value;
	u32 dimension;
	u32 half;
};

/* Full, these three: user space gives the new policy up as a whole, the old one stays in force. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, POLICY_TEXTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct text_key); /* text[0]: dimension and half */
	__type(value, u32);
} policy_texts __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, POLICY_NUMBERS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct policy_number_key);
	__type(value, u32);
} policy_numbers __weak SEC(".maps");

/* Number of what a file may be called. Full: the paths of those left out are only names. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, POLICY_FILES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct policy_file_key);
	__type(value, u32);
} policy_files __weak SEC(".maps");

/* Slot of each cgroup of a container, and of those of the host that were asked for. Full: a cgroup without an entry
 * has its parent's. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, POLICY_CGROUPS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u64);
	__type(value, u32);
} policy_cgroups __weak SEC(".maps");

#endif
