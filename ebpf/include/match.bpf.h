/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Paths against the open filter's patterns. Both sides fold by setting bit 0x20 of
 * every byte: that makes letters equal whatever their case, and a few other bytes
 * too, which only lets more through; user space compares exactly.
 *
 * Exact paths and prefixes share one trie: a path is looked up with a NUL behind
 * it, and an exact path ends with that NUL. The longest entry holds the interest
 * of every shorter one that it implies (user space adds them up).
 */
#ifndef STOCKADE_MATCH_BPF_H
#define STOCKADE_MATCH_BPF_H

#include "open_fetch.bpf.h"
#include "open_maps.bpf.h"
#include "text.bpf.h"

#define CLAIMED_PATH_BEGIN PATH_BYTES_MAX /* where a path from user memory lies in slot->path */

static __always_inline bool bitmap_has(const u64 *bitmap, u32 bit)
{
	return bitmap[bit >> 6 & (OPEN_NAME_BITMAP_BYTES / 8 - 1)] >> (bit & 63) & 1;
}

/*
 * Could this be the last component of a pattern? Up to three questions to one bitmap: is
 * this the whole name, the last four bytes, the last two bytes of one. Each costs a cache
 * line, so what no pattern of this interest has is not asked.
 */
static __always_inline bool name_is_suspect(const struct open_filter *filter, u32 class, u32 interest,
					    struct name_ends ends, u32 length)
{
	const u64 *bitmap = filter->names[class];
	u64 name = (ends.head + length) * tag_seed[OPEN_SEED_NAME_HEAD] + ends.tail * tag_seed[OPEN_SEED_NAME_TAIL];

	if (bitmap_has(bitmap, name >> 48))
		return true;
	if (filter->head.endings_of_four & interest &&
	    bitmap_has(bitmap, (ends.tail >> 32) * tag_seed[OPEN_SEED_ENDING] >> 48))
		return true;
	return filter->head.endings_of_two & interest &&
	       bitmap_has(bitmap, (ends.tail >> 48) * tag_seed[OPEN_SEED_ENDING] >> 48);
}

/* Keys are built where the record will be: it has not been begun. */
static __always_inline struct open_interest_value *path_lookup(struct slot *slot, struct span span, u32 space)
{
	struct text_key *key = (struct text_key *)slot->record;

	beginning_key_fill(key, slot, span, space, FOLD_BIT);
	return bpf_map_lookup_elem(&open_paths, key);
}

static __always_inline struct open_interest_value *ending_lookup(struct slot *slot, struct span span, u32 space)
{
	struct text_key *key = (struct text_key *)slot->record;

	ending_key_fill(key, OPEN_ENDING_KEY_BYTES, slot, span, space, FOLD_BIT);
	return bpf_map_lookup_elem(&open_endings, key);
}

/* Interest in the lower half, the pattern in the upper one. */
static __always_inline u64 match_of(const struct open_interest_value *found)
{
	return found ? found->interest | (u64)found->pattern << 32 : 0;
}

/* All that the policy wants to know about a path; see match_of(). Of two patterns, the number is one that neither
 * has: it only tells kinds of opens apart. Global, so that the verifier looks at it once and not for each call; weak,
 * because several families have it. */
__weak __noinline u64 path_match(struct slot *slot, struct span *span, u32 half)
{
	const struct open_filter_head *head = &open_filters[half & 1].head;
	u64 match = head->any;

	if (!slot || !span)
		return 0; /* never; the verifier asks */
	slot = slot_again(slot);
	if (!slot)
		return 0;
	half &= 1;
	if (slot->path_flags & FILE_PATH_TRUNCATED)
		match |= head->exacts | head->prefixes; /* which begin where the path is missing */
	else if (head->exacts | head->prefixes)
		match |= match_of(path_lookup(slot, *span, OPEN_SPACE_PATHS + half));
	if (head->suffixes)
		match |= match_of(ending_lookup(slot, *span, half));
	return match;
}

/* Length of the directory part of a walked path, its slash included. The result is handed over in memory: in a
 * register the verifier would follow each of its values to the end of the program. */
static __always_inline u32 directory_length(struct slot *slot, struct span span)
{
	volatile u32 *end = &slot->used; /* no record has been begun */
	u32 length;

	*end = 0;
	for (u32 back = 1; back <= NAME_BYTES_MAX + 1; back++) {
		if (slot->path[PATH_BYTES_MAX - back] == '/') {
			*end = PATH_BYTES_MAX + 1 - back;
			break;
		}
	}
	length = *end;
	return length > span.begin ? length - span.begin : 0;
}

/* Interest of whatever prefix could match a file that lies directly in the directory of this one. */
__weak __noinline u32 directory_interest(struct slot *slot, struct span *span, u32 half)
{
	struct span directory;

	if (!slot || !span)
		return ~0U; /* never; the verifier asks */
	slot = slot_again(slot);
	if (!slot)
		return ~0U;
	half &= 1;
	directory.begin = span->begin;
	directory.length = directory_length(slot, *span);
	if (!directory.length)
		return ~0U;
	return match_of(path_lookup(slot, directory, OPEN_SPACE_DIRECTORIES + half));
}

#endif
