/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Text against policy. Both sides fold by setting bit 0x20 of every byte: that
 * makes letters equal whatever their case, and a few other bytes too, which only
 * lets more through; user space compares exactly.
 *
 * Exact paths and prefixes share one trie: a path is looked up with a NUL behind
 * it, and an exact path ends with that NUL. The longest entry holds the interest
 * of every shorter one that it implies (user space adds them up).
 */
#ifndef STOCKADE_MATCH_BPF_H
#define STOCKADE_MATCH_BPF_H

#include "open_fetch.bpf.h"
#include "open_maps.bpf.h"

#define FOLD 0x2020202020202020ULL
#define CLAIMED_PATH_BEGIN PATH_BYTES_MAX /* where a path from user memory lies in slot->path */

/* Text in slot->path. A walked path ends where a claimed one begins. */
struct span {
	u32 begin;
	u32 length;
};

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

/* Through a variable: of a cast expression clang would see that it is not aligned, and go byte by byte. */
static __always_inline u64 word_at(const u8 *bytes)
{
	const u64 *word = (const u64 *)bytes;

	return *word;
}

static __always_inline void word_set(u8 *bytes, u64 value)
{
	u64 *word = (u64 *)bytes;

	*word = value;
}

/* The span as a key: up to 255 folded bytes behind the byte that names the space, then a NUL when it fits. The loop
 * reads its end anew each time: from a register the verifier would learn another length at each exit. */
static __always_inline void path_key_fill(struct open_path_key *key, struct slot *slot, struct span span, u32 space)
{
	u32 from = span.begin - 1, length = span.length; /* one byte early: room for the space */

	if (length > OPEN_PATH_KEY_BYTES - 1)
		length = OPEN_PATH_KEY_BYTES - 1;
	key->prefix_bits = 8 * (length + 1);
	for (u32 at = 0; at < OPEN_PATH_KEY_BYTES && at * 8 < *(volatile u32 *)&key->prefix_bits; at += 8)
		word_set(&key->text[at], word_at(&slot->path[(from + at) & (SLOT_PATH_BYTES - 1)]) | FOLD);
	key->text[0] = space;
	if (length < OPEN_PATH_KEY_BYTES - 1) {
		asm volatile("" : "+r"(length));
		key->text[(length + 1) & (OPEN_PATH_KEY_BYTES - 1)] = 0;
		key->prefix_bits += 8;
	}
}

static __always_inline void ending_key_fill(struct open_ending_key *key, struct slot *slot, struct span span, u32 space)
{
	u32 end = span.begin + span.length, length = span.length;

	for (u32 at = 0; at < OPEN_ENDING_KEY_BYTES; at += 8) {
		u64 bytes = word_at(&slot->path[(end - 7 - at) & (SLOT_PATH_BYTES - 1)]);

		word_set(&key->text[at], __builtin_bswap64(bytes) | FOLD);
	}
	key->text[0] = space;
	if (length > OPEN_ENDING_KEY_BYTES - 1)
		length = OPEN_ENDING_KEY_BYTES - 1;
	key->prefix_bits = 8 * (length + 1);
}

/* Keys are built where the record will be: it has not been begun. */
static __always_inline struct open_interest_value *path_lookup(struct slot *slot, struct span span, u32 space)
{
	struct open_path_key *key = (struct open_path_key *)slot->record;

	path_key_fill(key, slot, span, space);
	return bpf_map_lookup_elem(&open_paths, key);
}

static __always_inline struct open_interest_value *ending_lookup(struct slot *slot, struct span span, u32 space)
{
	struct open_ending_key *key = (struct open_ending_key *)slot->record;

	ending_key_fill(key, slot, span, space);
	return bpf_map_lookup_elem(&open_endings, key);
}

/* Interest in the lower half, the pattern in the upper one. */
static __always_inline u64 match_of(const struct open_interest_value *found)
{
	return found ? found->interest | (u64)found->pattern << 32 : 0;
}

/* All that the policy wants to know about a path; see match_of(). Of two patterns, the number is one that neither
 * has: it only tells kinds of opens apart. */
static __noinline u64 path_match(struct slot *slot, struct span *span, u32 half)
{
	const struct open_filter_head *head = &open_filters[half & 1].head;
	u64 match = head->any;

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
static __noinline u32 directory_interest(struct slot *slot, struct span *span, u32 half)
{
	struct span directory = { .begin = span->begin, .length = directory_length(slot, *span) };

	if (!directory.length)
		return ~0U;
	return match_of(path_lookup(slot, directory, OPEN_SPACE_DIRECTORIES + half));
}

#endif
