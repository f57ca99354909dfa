// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Tell which file a descriptor of the caller is, as the programs that deny see it:
 * stat(2) shows other numbers on overlayfs and btrfs, and nothing of what lies behind
 * an overlay's file. An object of its own, run by BPF_PROG_TEST_RUN, never attached.
 */
#include "inode.bpf.h"

/* The answer; one caller at a time. Zero: there is no such part. */
struct policy_file_key inspected[POLICY_FILE_PARTS];

struct inspection {
	u64 descriptor;
};

static __always_inline struct file *file_of(struct task_struct *task, u32 descriptor)
{
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **files = BPF_CORE_READ(table, fd), *file = NULL;

	if (descriptor < BPF_CORE_READ(table, max_fds))
		bpf_core_read(&file, sizeof(file), files + descriptor);
	return file;
}

SEC("syscall")
int inspect_file(struct inspection *inspection)
{
	struct file *file = file_of(bpf_get_current_task_btf(), inspection->descriptor);
	struct inode *parts[POLICY_FILE_PARTS] = {};

	if (!file)
		return 1;
	real_inodes(BPF_CORE_READ(file, f_inode), parts);
#pragma unroll /* into a loop that is entered in its middle, which 6.1 refuses, clang would make it else */
	for (u32 part = 0; part < POLICY_FILE_PARTS; part++) {
		struct policy_file_key key = {};

		if (parts[part])
			file_key_fill(&key, parts[part]);
		inspected[part] = key;
	}
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
