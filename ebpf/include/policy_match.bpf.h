/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Which terms of the policy an event fulfils, and whether one of them is enforced.
 *
 *	judgement_begin(&judgement, POLICY_EXEC, task);
 *	judge_user(&judgement, ...);		// cheap dimensions first
 *	if (!may_deny(&judgement))
 *		return 0;			// no term is left: most events end here
 *	judge_path(&judgement, slot, POLICY_EXECUTABLE);
 *	...
 *	if (judgement_conclude(&judgement))
 *		return -EPERM;
 *
 * A dimension that no term asks keeps the vector of all terms.
 */
#ifndef STOCKADE_POLICY_MATCH_BPF_H
#define STOCKADE_POLICY_MATCH_BPF_H

#include "path.bpf.h"
#include "policy_cgroup.bpf.h"

struct judgement {
	u64 terms[POLICY_WORDS]; /* what it fulfils, once concluded */
	u64 summary;		 /* words of terms that can still have a bit */
	u32 indices[POLICY_DIMENSIONS_STRIDE];
	u32 known[POLICY_SUBJECTS]; /* vectors of the terms that ask for the path which this file is known by */
	u32 slot;
	u32 enforced; /* vector of the terms that are enforced on this task */
	u32 half;
	u32 generation;
};

static __always_inline const u64 *policy_vector(u32 index)
{
	asm volatile("" : "+r"(index));
	return policy_vectors[index & (POLICY_VECTORS - 1)];
}

static __always_inline void judge(struct judgement *judgement, u32 dimension, u32 index)
{
	judgement->indices[dimension] = index;
	judgement->summary &= policy_vector(index)[POLICY_SUMMARY];
}

static __always_inline bool is_asked(struct judgement *judgement, u32 dimension)
{
	return policy_asked[judgement->half & 1] >> dimension & 1;
}

static __always_inline u32 unnamed(struct judgement *judgement, u32 dimension)
{
	return policy_unnamed[judgement->half & 1][dimension];
}

/* The value of this dimension is not to be had: the terms that deny then count as fulfilled. */
static __always_inline void judge_unread(struct judgement *judgement, u32 dimension)
{
	if (is_asked(judgement, dimension))
		judge(judgement, dimension, policy_unread[judgement->half & 1][dimension]);
}

/* The container by its slot: what user space says that the policy is for it. */
static __always_inline void judge_slot(struct judgement *judgement, u32 slot)
{
	u32 half = judgement->half & 1;

	judgement->slot = slot &= POLICY_CONTAINERS - 1;
	judge(judgement, POLICY_CONTAINER, policy_containers[half][slot]);
	judgement->enforced = policy_enforced[half][slot];
}

/* By the policy that is in force now, nothing asked yet. */
static __always_inline void judgement_reset(struct judgement *judgement, u32 generation)
{
	__builtin_memset(judgement, 0, sizeof(*judgement));
	judgement->generation = generation;
	judgement->half = generation & 1;
	judgement->summary = ~0ULL;
	for (u32 subject = 0; subject < POLICY_SUBJECTS; subject++)
		judgement->known[subject] = POLICY_NOTHING;
}

/* False: no term is about this event. Whose container it is has not been asked yet. */
static __always_inline bool judgement_open(struct judgement *judgement, u32 event)
{
	u32 generation = *(volatile u32 *)&policy_generation, index;

	index = policy_events[generation & 1][event];
	if (!index)
		return false;
	judgement_reset(judgement, generation);
	judge(judgement, POLICY_EVENT, index);
	return true;
}

/* False: no term is about this event. */
static __always_inline bool judgement_begin(struct judgement *judgement, u32 event, struct task_struct *task)
{
	if (!judgement_open(judgement, event))
		return false;
	judge_slot(judgement, cgroup_slot(task_cgroup(task)));
	return true;
}

/* Global functions are verified once, not for each state that a caller can be in, which 6.1 cannot bear. */
__weak __noinline int judge_number(struct judgement *judgement, u32 dimension, u64 value)
{
	struct policy_number_key key = { .value = value, .dimension = dimension };
	u32 *index;

	if (!judgement || dimension >= POLICY_DIMENSIONS_STRIDE)
		return 0; /* for the verifier */
	if (!is_asked(judgement, dimension))
		return 0;
	key.half = judgement->half;
	index = bpf_map_lookup_elem(&policy_numbers, &key);
	judge(judgement, dimension, index ? *index : unnamed(judgement, dimension));
	return 0;
}

/* Is it not zero? Without a branch: each would double what the verifier looks at. */
static __always_inline u64 one_if(u64 value)
{
	u64 negative = -value;

	asm volatile("" : "+r"(value), "+r"(negative));
	return (value | negative) >> 63;
}

__weak __noinline int judge_bits(struct judgement *judgement, u32 dimension, u64 value)
{
	u64 combination = 0;
	u32 half;

	if (!judgement || dimension >= POLICY_DIMENSIONS_STRIDE)
		return 0; /* for the verifier */
	if (!is_asked(judgement, dimension))
		return 0;
	half = judgement->half & 1;
	for (u32 i = 0; i < POLICY_NAMED_BITS; i++)
		combination |= one_if(value & policy_masks[half][dimension][i]) << i;
	asm volatile("" : "+r"(combination));
	judge(judgement, dimension, policy_combinations[half][dimension][combination & (POLICY_COMBINATIONS - 1)]);
	return 0;
}

/* The walked path in the slot, by how it begins. Keys are built where the record will be: it has not been begun. */
static __noinline u32 find_beginning(struct slot *slot, u32 dimension, u32 half)
{
	struct text_key *key = (struct text_key *)slot->record;
	struct span span = { .begin = slot->cursor };
	u32 *index;

	span.length = PATH_BYTES_MAX - span.begin;
	beginning_key_fill(key, slot, span, dimension * 2 + half, FOLD_ASCII);
	index = bpf_map_lookup_elem(&policy_texts, key);
	return index ? *index : policy_unnamed[half & 1][dimension & (POLICY_DIMENSIONS_STRIDE - 1)];
}

/* The same by how it ends; a NUL stands before it. */
static __noinline u32 find_end(struct slot *slot, u32 dimension, u32 half)
{
	struct text_key *key = (struct text_key *)slot->record;
	struct span span = { .begin = slot->cursor };
	u32 length, *index;

	span.length = length = PATH_BYTES_MAX - span.begin;
	ending_key_fill(key, TEXT_KEY_BYTES, slot, span, dimension * 2 + half, FOLD_ASCII);
	if (length < TEXT_KEY_BYTES - 1) {
		asm volatile("" : "+r"(length));
		key->text[(length + 1) & (TEXT_KEY_BYTES - 1)] = 0;
		key->prefix_bits += 8;
	}
	index = bpf_map_lookup_elem(&policy_texts, key);
	return index ? *index : policy_unnamed[half & 1][dimension & (POLICY_DIMENSIONS_STRIDE - 1)];
}

/* Whose path it is, by how it begins and ends, or because the file is known to be the one that terms ask for. */
static __always_inline void judge_subject(struct judgement *judgement, u32 dimension)
{
	const u64 *beginning = policy_vector(judgement->indices[dimension]);
	const u64 *end = policy_vector(judgement->indices[dimension + 1]);
	const u64 *known = policy_vector(judgement->known[dimension / 2]);

	judgement->summary &= (beginning[POLICY_SUMMARY] & end[POLICY_SUMMARY]) | known[POLICY_SUMMARY];
}

/* The walked path in the slot, by `dimension` and the one after it. Of a truncated path the head is not known. */
static __always_inline void judge_path(struct judgement *judgement, struct slot *slot, u32 dimension)
{
	u32 half = judgement->half & 1;

	if (is_asked(judgement, dimension))
		judgement->indices[dimension] = slot->path_flags & FILE_PATH_TRUNCATED
							? policy_unread[half][dimension]
							: find_beginning(slot, dimension, half);
	if (is_asked(judgement, dimension + 1))
		judgement->indices[dimension + 1] = find_end(slot, dimension + 1, half);
	judge_subject(judgement, dimension);
}

/* Can a term that is enforced here still be fulfilled? Asked before what costs: walks, scratch memory. */
static __always_inline bool may_deny(struct judgement *judgement)
{
	return judgement->summary & policy_vector(judgement->enforced)[POLICY_SUMMARY];
}

static __always_inline bool is_path_asked(struct judgement *judgement, u32 dimension)
{
	return is_asked(judgement, dimension) || is_asked(judgement, dimension + 1);
}

/* The terms that a name or the file itself fulfils. */
static __always_inline void conclude_subject(struct judgement *judgement, u32 subject)
{
	const u64 *beginning = policy_vector(judgement->indices[2 * subject]);
	const u64 *end = policy_vector(judgement->indices[2 * subject + 1]);
	const u64 *known = policy_vector(judgement->known[subject]);

	for (u32 word = 0; word < POLICY_WORDS && judgement->summary >> word; word++)
		judgement->terms[word] &= (beginning[word] & end[word]) | known[word];
}

/* The AND of all dimensions. Not zero: a term that is enforced here is among them. A global function: it is verified
 * once, not for each state that a caller can be in, which 6.1 cannot bear. A dimension at a time, those alone that were
 * judged, and no further than the last word that can have a bit. */
__weak __noinline int judgement_conclude(struct judgement *judgement)
{
	const u64 *vector;
	u64 denied = 0, left = 0;
	u32 judged;

	if (!judgement)
		return 0; /* for the verifier */
	judged = policy_asked[judgement->half & 1] | 1 << POLICY_CONTAINER;
	vector = policy_vector(judgement->indices[POLICY_EVENT]);
	for (u32 word = 0; word < POLICY_WORDS && judgement->summary >> word; word++)
		judgement->terms[word] = vector[word];
	for (u32 subject = 0; subject < POLICY_SUBJECTS; subject++) {
		if (judged >> 2 * subject & 3)
			conclude_subject(judgement, subject);
	}
	for (u32 dimension = 2 * POLICY_SUBJECTS; dimension < POLICY_EVENT; dimension++) {
		if (!(judged >> dimension & 1))
			continue;
		vector = policy_vector(judgement->indices[dimension]);
		for (u32 word = 0; word < POLICY_WORDS && judgement->summary >> word; word++)
			judgement->terms[word] &= vector[word];
	}
	vector = policy_vector(judgement->enforced);
	for (u32 word = 0; word < POLICY_WORDS && judgement->summary >> word; word++) {
		denied |= judgement->terms[word] & vector[word];
		left |= (u64) !!judgement->terms[word] << word;
	}
	judgement->summary = left;
	return denied != 0;
}

/* Of a concluded judgement: is a term among those that deny which the names alone would not have fulfilled? */
__weak __noinline int judgement_is_by_file(struct judgement *judgement)
{
	const u64 *enforced;
	u64 rest = 0;

	if (!judgement)
		return 0; /* for the verifier */
	enforced = policy_vector(judgement->enforced);
	for (u32 subject = 0; subject < POLICY_SUBJECTS; subject++) {
		const u64 *beginning = policy_vector(judgement->indices[2 * subject]);
		const u64 *end = policy_vector(judgement->indices[2 * subject + 1]);

		for (u32 word = 0; word < POLICY_WORDS; word++)
			rest |= judgement->terms[word] & enforced[word] & ~(beginning[word] & end[word]);
	}
	return rest != 0;
}

#endif
