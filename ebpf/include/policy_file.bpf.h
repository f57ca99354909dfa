/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Which file it is, whatever it is called: links, renames and mounts give a file other
 * names, and its inode stays. What overlayfs shows is another file's below: the inode
 * in the upper layer or, until it is changed, the one in the image's, which all
 * containers of that image share. User space finds what lies at the paths that terms
 * name (monitor/host/exact_files.py).
 */
#ifndef STOCKADE_POLICY_FILE_BPF_H
#define STOCKADE_POLICY_FILE_BPF_H

#include "policy_match.bpf.h"

static __always_inline u32 *find_known_file(struct judgement *judgement, struct inode *inode)
{
	struct policy_file_key key = { .slot = judgement->slot };

	file_key_fill(&key, inode);
	return bpf_map_lookup_elem(&policy_files, &key);
}

static __noinline u32 find_known_number(struct judgement *judgement, struct inode *inode)
{
	struct inode *parts[POLICY_FILE_PARTS] = {};
	u32 *number;

	real_inodes(inode, parts);
	for (u32 part = 0; part < POLICY_FILE_PARTS; part++) {
		if (!parts[part])
			continue;
		number = find_known_file(judgement, parts[part]);
		if (number)
			return *number;
	}
	return 0;
}

static __always_inline bool is_file_asked(struct judgement *judgement, u32 dimension)
{
	return policy_known[judgement->half & 1] >> dimension / 2 & 1;
}

/* What a known file may be called, by its number; 0, which leads to no term: it is none. */
static __always_inline void judge_known(struct judgement *judgement, u32 number, u32 dimension)
{
	asm volatile("" : "+r"(number));
	judgement->known[dimension / 2] =
		policy_known_files[judgement->half & 1][number & (POLICY_FILE_PATHS - 1)][dimension / 2];
}

/* Is it a file that terms name, whatever it is called here? Before the path of the same dimension is judged. */
static __always_inline void judge_file(struct judgement *judgement, struct inode *inode, u32 dimension)
{
	if (is_file_asked(judgement, dimension))
		judge_known(judgement, find_known_number(judgement, inode), dimension);
}

#endif
