/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * From a descriptor to the bytes of its file's name, in two ways: by direct loads
 * through bpf_rdonly_cast() (no helper, about 1 ns a load), and by probe reads for
 * kernels before 6.2, which lack it (6 to 10 ns each). `probe` is a constant in
 * every program.
 */
#ifndef STOCKADE_OPEN_FETCH_BPF_H
#define STOCKADE_OPEN_FETCH_BPF_H

#include "path.bpf.h"

extern void *bpf_rdonly_cast(const void *obj, u32 btf_id) __ksym __weak;

#define cast_to(type, address) ((type *)bpf_rdonly_cast(address, bpf_core_type_id_kernel(type)))

/* What the filter reads of a dentry. */
struct dentry_facts {
	struct dentry *parent;
	u64 hash_len;
	const unsigned char *name;
	u32 sequence;
};

/* Eight bytes of kernel memory. The type only tells the verifier that there are that many. */
static __always_inline u64 load_bytes(const void *address, bool probe)
{
	u64 bytes = 0;

	if (!probe)
		return cast_to(struct timespec64, address)->tv_sec;
	bpf_probe_read_kernel(&bytes, sizeof(bytes), address);
	return bytes;
}

/* NULL: another thread has closed the descriptor since. */
static __always_inline struct file *opened_file(struct task_struct *task, u64 descriptor, bool probe)
{
	struct file **descriptors = task->files->fdt->fd;
	struct file *file = (void *)load_bytes(&descriptors[descriptor], probe);

	return file && !probe ? cast_to(struct file, file) : file;
}

static __always_inline u32 file_mode(struct file *file, bool probe)
{
	return probe ? BPF_CORE_READ(file, f_mode) : file->f_mode;
}

static __always_inline struct vfsmount *file_vfsmount(struct file *file, bool probe)
{
	return probe ? BPF_CORE_READ(file, f_path.mnt) : file->f_path.mnt;
}

static __always_inline struct dentry *file_dentry(struct file *file, bool probe)
{
	return probe ? BPF_CORE_READ(file, f_path.dentry) : file->f_path.dentry;
}

static __always_inline struct dentry *mount_root(struct vfsmount *vfsmount, bool probe)
{
	return probe ? BPF_CORE_READ(vfsmount, mnt_root) : vfsmount->mnt_root;
}

/* d_seq to d_name lie close together, in this order, on every kernel seen: one read instead of four. */
#define DENTRY_BLOCK_BYTES 64

static __always_inline void dentry_probe(struct dentry *dentry, struct dentry_facts *facts)
{
	u32 first = bpf_core_field_offset(struct dentry, d_seq) & ~7; /* the stack wants its words aligned */
	u32 sequence = bpf_core_field_offset(struct dentry, d_seq) & 7;
	u32 parent = bpf_core_field_offset(struct dentry, d_parent) - first;
	u32 name = bpf_core_field_offset(struct dentry, d_name) - first;
	u64 words[DENTRY_BLOCK_BYTES / 8] = {};
	u8 *block = (u8 *)words;

	if (parent <= DENTRY_BLOCK_BYTES - 8 && name <= DENTRY_BLOCK_BYTES - 16) {
		asm volatile("" : "+r"(sequence)); /* added to the pointer, not or-ed */
		bpf_probe_read_kernel(block, sizeof(words), (void *)dentry + first);
		facts->sequence = *(u32 *)(block + sequence);
		facts->parent = *(struct dentry **)(block + parent);
		facts->hash_len = *(u64 *)(block + name);
		facts->name = *(const unsigned char **)(block + name + 8);
		return;
	}
	facts->sequence = BPF_CORE_READ(dentry, d_seq.seqcount.sequence);
	facts->parent = BPF_CORE_READ(dentry, d_parent);
	facts->hash_len = BPF_CORE_READ(dentry, d_name.hash_len);
	facts->name = BPF_CORE_READ(dentry, d_name.name);
}

static __always_inline void dentry_fetch(struct dentry *dentry, struct dentry_facts *facts, bool probe)
{
	if (probe) {
		dentry_probe(dentry, facts);
		return;
	}
	facts->sequence = dentry->d_seq.seqcount.sequence;
	facts->parent = dentry->d_parent;
	facts->hash_len = load_bytes(&dentry->d_name, false);
	facts->name = dentry->d_name.name;
}

#endif
