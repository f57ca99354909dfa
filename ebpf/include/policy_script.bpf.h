/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Which script a program is to run. The kernel checks an execution twice then: of the
 * script's own file first, whose path is a fact, and of its interpreter with the name
 * that execve was given, which its caller has chosen.
 */
#ifndef STOCKADE_POLICY_SCRIPT_BPF_H
#define STOCKADE_POLICY_SCRIPT_BPF_H

#include "policy_file.bpf.h"

#define SCRIPT_MAGIC 0x2123 /* "#!" */

/* Is it the script's own file that is checked? */
static __always_inline bool is_script_file(struct linux_binprm *bprm)
{
	return bprm->interp == bprm->filename && *(u16 *)bprm->buf == SCRIPT_MAGIC;
}

/* The name of the script, where a walked path would stand; nothing where there is no script. Zero: it is too long. */
static __noinline u32 script_place(struct slot *slot, struct linux_binprm *bprm)
{
	u32 cursor = PATH_BYTES_MAX;
	long bytes = 1;

	if (bprm->interp != bprm->filename)
		bytes = bpf_probe_read_kernel_str(slot->record, PATH_BYTES_MAX, bprm->filename);
	if (bytes <= 0 || bytes >= PATH_BYTES_MAX)
		return 0;
	cursor -= bytes - 1;
	slot->cursor = cursor;
	slot->path_flags = 0;
	asm volatile("" : "+r"(cursor));
	asm volatile("" : "+r"(bytes));
	bpf_probe_read_kernel(&slot->path[cursor & (SLOT_PATH_BYTES - 1)], (bytes - 1) & (PATH_BYTES_MAX - 1),
			      slot->record);
	return 1;
}

/* By the name that was given; before the program's own path is walked, which stands in the same place. */
static __always_inline void judge_script_name(struct judgement *judgement, struct slot *slot, struct linux_binprm *bprm)
{
	if (!is_path_asked(judgement, POLICY_SCRIPT))
		return;
	if (script_place(slot, bprm)) {
		judge_path(judgement, slot, POLICY_SCRIPT);
		return;
	}
	judge_unread(judgement, POLICY_SCRIPT);
	judge_unread(judgement, POLICY_SCRIPT_END);
}

/* By the file that is checked, whose path has just been walked. */
static __always_inline void judge_script_file(struct judgement *judgement, struct slot *slot, struct inode *inode)
{
	if (!is_path_asked(judgement, POLICY_SCRIPT))
		return;
	judge_file(judgement, inode, POLICY_SCRIPT);
	judge_path(judgement, slot, POLICY_SCRIPT);
}

#endif
