/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Folded text of a slot as keys of tries: one that begins where the text begins,
 * one that begins at its end and runs backwards.
 */
#ifndef STOCKADE_TEXT_BPF_H
#define STOCKADE_TEXT_BPF_H

#include "maps.bpf.h"

#define FOLD 0x2020202020202020ULL
#define EACH_BYTE(byte) (0x0101010101010101ULL * (byte))
#define TEXT_KEY_BYTES 256 /* a trie takes no more */

enum fold {
	FOLD_BIT,   /* sets bit 0x20 of every byte: a few bytes more than letters become equal */
	FOLD_ASCII, /* A to Z become a to z, nothing else changes */
};

/* Text in slot->path. A walked path ends where a claimed one begins. */
struct span {
	u32 begin;
	u32 length;
};

struct text_key {
	u32 prefix_bits;
	u8 text[TEXT_KEY_BYTES]; /* a byte that names the space, then the text */
};

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

/* Eight bytes at once: the top bit of a byte says whether it lies between 'A' and 'Z'. */
static __always_inline u64 word_folded(u64 word, enum fold how)
{
	u64 low = word & EACH_BYTE(0x7f), from_a, past_z;

	if (how == FOLD_BIT)
		return word | FOLD;
	from_a = low + EACH_BYTE(0x80 - 'A');
	past_z = low + EACH_BYTE(0x80 - 'Z' - 1);
	return word | (from_a & ~past_z & ~word & EACH_BYTE(0x80)) >> 2;
}

/* The span as a key: up to 255 folded bytes behind the byte that names the space, then a NUL when it fits. The loop
 * reads its end anew each time: from a register the verifier would learn another length at each exit. */
static __always_inline void beginning_key_fill(struct text_key *key, struct slot *slot, struct span span, u32 space,
					       enum fold how)
{
	u32 from = span.begin - 1, length = span.length; /* one byte early: room for the space */

	if (length > TEXT_KEY_BYTES - 1)
		length = TEXT_KEY_BYTES - 1;
	key->prefix_bits = 8 * (length + 1);
	for (u32 at = 0; at < TEXT_KEY_BYTES && at * 8 < *(volatile u32 *)&key->prefix_bits; at += 8)
		word_set(&key->text[at], word_folded(word_at(&slot->path[(from + at) & (SLOT_PATH_BYTES - 1)]), how));
	key->text[0] = space;
	if (length < TEXT_KEY_BYTES - 1) {
		asm volatile("" : "+r"(length));
		key->text[(length + 1) & (TEXT_KEY_BYTES - 1)] = 0;
		key->prefix_bits += 8;
	}
}

/* The end of the span, last byte first, behind the byte that names the space; `bytes` (a constant) in all. */
static __always_inline void ending_key_fill(struct text_key *key, u32 bytes, struct slot *slot, struct span span,
					    u32 space, enum fold how)
{
	u32 end = span.begin + span.length, length = span.length;

	if (length > bytes - 1)
		length = bytes - 1;
	key->prefix_bits = 8 * (length + 1);
	for (u32 at = 0; at < bytes; at += 8) {
		if (bytes == TEXT_KEY_BYTES && at * 8 >= *(volatile u32 *)&key->prefix_bits)
			break; /* the rest of a short key is not read */
		u64 word = word_at(&slot->path[(end - 7 - at) & (SLOT_PATH_BYTES - 1)]);

		word_set(&key->text[at], word_folded(__builtin_bswap64(word), how));
	}
	key->text[0] = space;
}

#endif
