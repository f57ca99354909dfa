/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Names that need no path to be dismissed: of one component, relative to a folder, and unlike the end of every pattern.
 * Only a prefix could match them, and whether one matches what lies directly in a folder is remembered by the tag of
 * the folder's chain of directories, as for opens (chain_tag.bpf.h). That is how archives are unpacked and trees
 * removed.
 */
#ifndef STOCKADE_NAME_QUICK_BPF_H
#define STOCKADE_NAME_QUICK_BPF_H

#include "folder_tag.bpf.h"
#include "name.bpf.h"
#include "open_filter.bpf.h"

/* Folded; of the bytes behind a short name none is looked at. */
static __always_inline struct name_ends claimed_ends(struct slot *slot, u32 length)
{
	struct name_ends ends = {};
	u32 padding = 64 - 8 * length, last = (length - 8) & (PATH_BYTES_MAX - 1);

	ends.head = word_at(&slot->path[CLAIMED_PATH_BEGIN]) | FOLD;
	if (length >= 8) {
		ends.tail = word_at(&slot->path[CLAIMED_PATH_BEGIN + last]) | FOLD;
		return ends;
	}
	ends.tail = ends.head << (padding & 63);
	ends.head = ends.tail >> (padding & 63);
	return ends;
}

/* The address alone: of a pointer with a type no tag can be made, and there are some with and some without. */
static __always_inline void *address_of(struct slot *slot, void *pointer)
{
	volatile u64 *address = &slot->name_tag;

	*address = (u64)pointer;
	return (void *)*address;
}

/* The tag of the folder that the name lies directly in, for one kind of interest; 0: none. */
static __always_inline u64 name_tag(struct slot *slot, struct name_argument *name, u32 generation, u32 interest)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct place place = {};

	if (!name_folder(slot, 0, name->folder, task, &place))
		return 0;
	return folder_tag(address_of(slot, place.vfsmount), address_of(slot, place.dentry), generation, interest);
}

static long name_slash_step(u32 index, struct name_walk *walk)
{
	struct slot *slot = walk->slot;
	u64 word = word_at(&slot->path[CLAIMED_PATH_BEGIN + (index * 8 & (PATH_BYTES_MAX - 1))]);
	u32 left = slot->name_end - index * 8;

	if (left < 8)
		word &= (1ULL << (8 * left & 63)) - 1; /* behind it lies what an earlier name has left */
	slot->name_slashes = bytes_equal(word, '/') != 0;
	return slot->name_slashes;
}

static __always_inline bool name_is_component(struct slot *slot, u32 length)
{
	struct name_walk walk = { .slot = slot };

	if (!length || length > NAME_BYTES_MAX || name_byte(slot, 0) == '.' || name_byte(slot, 0) == '/')
		return false;
	slot->name_end = length;
	bpf_loop((length + 7) / 8, name_slash_step, &walk, 0);
	return !slot->name_slashes;
}

/* Reads the name. Can no pattern of this interest match it? Leaves the tag of its folder in the slot, 0 where there is
 * none to be remembered. Global, so that the verifier looks at it once. */
__noinline int name_is_dismissed(struct slot *slot, struct name_argument *name, u32 generation, u32 interest)
{
	const struct open_filter *filter = &open_filters[generation & 1];
	u32 length;

	if (!slot || !name)
		return 0; /* never; the verifier asks */
	slot->name_tag = 0;
	length = name_read(slot, name->text);
	if (filter->head.any & interest || !name_is_component(slot, length))
		return 0;
	if (name_is_suspect(filter, OPEN_CLASS_WRITE, interest, claimed_ends(slot, length), length))
		return 0;
	if (!(filter->head.prefixes & interest))
		return 1;
	slot->name_tag = name_tag(slot, name, generation, interest);
	return chain_tag_known(slot->name_tag);
}

/* The tag of the name's folder once more, from the start. */
__noinline u64 name_tag_again(struct slot *slot, struct name_argument *name, u32 generation, u32 interest)
{
	return slot && name ? name_tag(slot, name, generation, interest) : 0;
}

#endif
