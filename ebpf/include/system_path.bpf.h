/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What a file of the kernel's own is called wherever its file system is mounted, and whatever part of it is bound
 * elsewhere: the kind of file system, and the path from its root. /proc:/sys/kernel/core_pattern
 */
#ifndef STOCKADE_SYSTEM_PATH_BPF_H
#define STOCKADE_SYSTEM_PATH_BPF_H

#include "policy_match.bpf.h"

#define PROC_MAGIC 0x9fa0
#define SYSFS_MAGIC 0x62656572
#define CGROUP_MAGIC 0x27e0eb
#define CGROUP2_MAGIC 0x63677270
#define DEBUGFS_MAGIC 0x64626720
#define TRACEFS_MAGIC 0x74726163
#define SECURITYFS_MAGIC 0x73636673
#define BINFMT_MISC_MAGIC 0x42494e4d

#define KIND_BYTES 16

struct system_kind {
	unsigned long magic;
	u32 length;
	unsigned char name[KIND_BYTES];
};

#define SYSTEM_KIND(number, text)                                                                                      \
	{                                                                                                              \
		.magic = number, .length = sizeof(text) - 1, .name = text                                              \
	}

static const struct system_kind system_kinds[] = {
	SYSTEM_KIND(PROC_MAGIC, "proc:"),
	SYSTEM_KIND(SYSFS_MAGIC, "sysfs:"),
	SYSTEM_KIND(CGROUP_MAGIC, "cgroup:"),
	SYSTEM_KIND(CGROUP2_MAGIC, "cgroup:"),
	SYSTEM_KIND(DEBUGFS_MAGIC, "debugfs:"),
	SYSTEM_KIND(TRACEFS_MAGIC, "tracefs:"),
	SYSTEM_KIND(SECURITYFS_MAGIC, "securityfs:"),
	SYSTEM_KIND(BINFMT_MISC_MAGIC, "binfmt_misc:"),
};

static __always_inline const struct system_kind *find_kind(unsigned long magic)
{
	for (u32 i = 0; i < sizeof(system_kinds) / sizeof(system_kinds[0]); i++) {
		if (system_kinds[i].magic == magic)
			return &system_kinds[i];
	}
	return NULL;
}

/* A dentry's name into slot->path. Zero: it is no file of the kernel's own. A global function, verified once; on 6.1 it
 * takes no pointers of the kernel's. */
__noinline int system_path_resolve(struct slot *slot, u64 dentry)
{
	struct dentry *file = (void *)dentry;
	struct path_walk walk = { .slot = slot, .dentry = file };
	const struct system_kind *kind = find_kind(BPF_CORE_READ(file, d_sb, s_magic));

	if (!slot || !kind)
		return 0;
	slot->cursor = PATH_BYTES_MAX;
	slot->path_flags = 0;
	if (bpf_loop(PATH_DEPTH_MAX, path_step, &walk, 0) == PATH_DEPTH_MAX)
		slot->path_flags |= FILE_PATH_TRUNCATED;
	path_prepend(slot, kind->name, kind->length);
	return 1;
}

/* One way out, and a number that the verifier knows nothing of: what follows is verified once. */
static __always_inline void judge_system_path(struct judgement *judgement, struct slot *slot, struct file *file)
{
	u32 index = unnamed(judgement, POLICY_SYSTEM_FILE), half = judgement->half & 1;
	u64 dentry = 0;

	if (is_asked(judgement, POLICY_SYSTEM_FILE)) {
		bpf_core_read(&dentry, sizeof(dentry), &file->f_path.dentry); /* a number, for 6.1 */
		if (system_path_resolve(slot, dentry)) {
			if (slot->path_flags & FILE_PATH_TRUNCATED)
				index = policy_unread[half][POLICY_SYSTEM_FILE];
			else
				index = find_beginning(slot, POLICY_SYSTEM_FILE, half);
		}
	}
	judge(judgement, POLICY_SYSTEM_FILE, index);
}

#endif
