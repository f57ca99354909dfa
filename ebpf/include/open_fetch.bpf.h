/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * From a descriptor to the bytes of its file's name, in two ways: by direct loads
 * through bpf_rdonly_cast() (no helper, about 1 ns a load), and by probe reads for
 * kernels before 6.2, which lack it (6 to 10 ns each, 30 where the CPU needs its
 * returns guarded). `probe` is a constant in every program.
 */
#ifndef STOCKADE_OPEN_FETCH_BPF_H
#define STOCKADE_OPEN_FETCH_BPF_H

#include "path.bpf.h"

extern void *bpf_rdonly_cast(const void *obj, u32 btf_id) __ksym __weak;

#define cast_to(type, address) ((type *)bpf_rdonly_cast(address, bpf_core_type_id_kernel(type)))

/* What the filter reads of a dentry. */
struct dentry_facts {
	struct dentry *parent;
	const unsigned char *name;
	u32 length;
	u32 hash; /* of the name, salted with the parent's address */
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

/* Our own struct path: copies of the kernel's would be relocated. */
struct place {
	struct vfsmount *vfsmount;
	struct dentry *dentry;
};

/* What the filter reads of an opened file. */
struct file_facts {
	struct place place;
	u32 mode;
};

#define FILE_BLOCK_BYTES 80

/* f_mode and f_path lie within this many bytes on every kernel seen, in either order: one read instead of two. */
static __always_inline void file_probe(struct file *file, struct file_facts *facts)
{
	u32 mode = bpf_core_field_offset(struct file, f_mode), path = bpf_core_field_offset(struct file, f_path);
	u32 first = (mode < path ? mode : path) & ~7; /* the stack wants its words aligned */
	u64 words[FILE_BLOCK_BYTES / 8] = {};
	u8 *block = (u8 *)words;

	mode -= first;
	path -= first;
	if (mode <= FILE_BLOCK_BYTES - 4 && path <= FILE_BLOCK_BYTES - 16) {
		asm volatile("" : "+r"(mode), "+r"(path)); /* added to the pointer, not or-ed */
		bpf_probe_read_kernel(block, sizeof(words), (void *)file + first);
		facts->mode = *(u32 *)(block + mode);
		facts->place.vfsmount = *(struct vfsmount **)(block + path);
		facts->place.dentry = *(struct dentry **)(block + path + 8);
		return;
	}
	facts->mode = BPF_CORE_READ(file, f_mode);
	facts->place.vfsmount = BPF_CORE_READ(file, f_path.mnt);
	facts->place.dentry = BPF_CORE_READ(file, f_path.dentry);
}

static __always_inline void file_fetch(struct file *file, struct file_facts *facts, bool probe)
{
	if (probe) {
		file_probe(file, facts);
		return;
	}
	facts->mode = file->f_mode;
	facts->place.vfsmount = file->f_path.mnt;
	facts->place.dentry = file->f_path.dentry;
}

/* A name's first and last eight bytes; of a shorter name, one of the two holds it all. */
struct name_ends {
	u64 head;
	u64 tail;
};

#define NAME_WORDS 5 /* what a dentry holds in itself: longer names lie elsewhere, in as much memory at least */

/* One read for most names, with their end cut out of two words of it. */
static __always_inline void name_probe(const unsigned char *name, u32 length, struct name_ends *ends)
{
	u64 words[NAME_WORDS + 1] = {};
	u32 last = length - 8, shift;

	bpf_probe_read_kernel(words, NAME_WORDS * 8, name);
	ends->head = words[0];
	if (length < 8)
		return;
	if (last > (NAME_WORDS - 1) * 8) {
		bpf_probe_read_kernel(&ends->tail, sizeof(ends->tail), name + last);
		return;
	}
	shift = 8 * (last & 7);
	asm volatile("" : "+r"(last));
	last = last >> 3 & 7;
	if (last >= NAME_WORDS)
		return; /* for the verifier */
	ends->tail = shift ? words[last] >> shift | words[last + 1] << (64 - shift) : words[last];
}

/* Kernel names are at least 32 bytes of memory: the first eight can be read whatever the length. */
static __always_inline void name_fetch(const unsigned char *name, u32 length, struct name_ends *ends, bool probe)
{
	if (probe) {
		name_probe(name, length, ends);
		return;
	}
	ends->head = load_bytes(name, false);
	if (length >= 8)
		ends->tail = load_bytes(name + length - 8, false);
}

/* d_seq to d_name lie close together, in this order, on every kernel seen: one read instead of five. */
#define DENTRY_BLOCK_BYTES 48

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
		facts->hash = *(u64 *)(block + name);
		facts->length = *(u64 *)(block + name) >> 32;
		facts->name = *(const unsigned char **)(block + name + 8);
		return;
	}
	facts->sequence = BPF_CORE_READ(dentry, d_seq.seqcount.sequence);
	facts->parent = BPF_CORE_READ(dentry, d_parent);
	facts->hash = BPF_CORE_READ(dentry, d_name.hash);
	facts->length = BPF_CORE_READ(dentry, d_name.len);
	facts->name = BPF_CORE_READ(dentry, d_name.name);
}

/* What the caller does not use is not loaded. */
static __always_inline void dentry_fetch(struct dentry *dentry, struct dentry_facts *facts, bool probe)
{
	if (probe) {
		dentry_probe(dentry, facts);
		return;
	}
	facts->sequence = dentry->d_seq.seqcount.sequence;
	facts->parent = dentry->d_parent;
	facts->hash = dentry->d_name.hash;
	facts->length = dentry->d_name.len;
	facts->name = dentry->d_name.name;
}

/* What the filter reads of a mount. */
struct mount_facts {
	struct mount *parent;
	struct dentry *mountpoint;
	struct dentry *root;
};

/* The three are neighbours on every kernel seen: one read instead of three. */
static __always_inline void mount_probe(struct mount *mount, struct mount_facts *facts)
{
	u32 parent = bpf_core_field_offset(struct mount, mnt_parent);
	u32 root = bpf_core_field_offset(struct mount, mnt) + bpf_core_field_offset(struct vfsmount, mnt_root);

	if (bpf_core_field_offset(struct mount, mnt_mountpoint) == parent + 8 && root == parent + 16) {
		bpf_probe_read_kernel(facts, sizeof(*facts), (void *)mount + parent);
		return;
	}
	facts->parent = BPF_CORE_READ(mount, mnt_parent);
	facts->mountpoint = BPF_CORE_READ(mount, mnt_mountpoint);
	facts->root = BPF_CORE_READ(mount, mnt.mnt_root);
}

static __always_inline void mount_fetch(struct mount *mount, struct mount_facts *facts, bool probe)
{
	if (probe) {
		mount_probe(mount, facts);
		return;
	}
	facts->parent = mount->mnt_parent;
	facts->mountpoint = mount->mnt_mountpoint;
	facts->root = mount->mnt.mnt_root;
}

static __always_inline struct mount *mount_cast(struct vfsmount *vfsmount, bool probe)
{
	struct mount *mount = mount_of(vfsmount);

	return probe ? mount : cast_to(struct mount, mount);
}

#endif
