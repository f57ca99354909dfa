/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * From a descriptor to the bytes of its file's name, in three ways. `how` is a
 * constant in every program.
 */
#ifndef STOCKADE_OPEN_FETCH_BPF_H
#define STOCKADE_OPEN_FETCH_BPF_H

#include "path.bpf.h"

extern void *bpf_rdonly_cast(const void *obj, u32 btf_id) __ksym __weak;

#define cast_to(type, address) ((type *)bpf_rdonly_cast(address, bpf_core_type_id_kernel(type)))

enum fetch {
	/* Direct loads through bpf_rdonly_cast(), from 6.2: no helper, about 1 ns a load. */
	FETCH_CAST,
	/* Direct loads where the types lead that the verifier follows: from the task to its first 64 descriptors,
	 * their files and the directories above, as far as the mount goes. Probe reads for the rest. */
	FETCH_TYPED,
	/* Probe reads: 6 to 10 ns each, 30 where the CPU needs its returns guarded. */
	FETCH_PROBE,
};

/* Eight bytes of kernel memory. The type only tells the verifier that there are that many. */
static __always_inline u64 load_bytes(const void *address, enum fetch how)
{
	u64 bytes = 0;

	if (how == FETCH_CAST)
		return cast_to(struct timespec64, address)->tv_sec;
	bpf_probe_read_kernel(&bytes, sizeof(bytes), address);
	return bytes;
}

/* NULL: another thread has closed the descriptor since. */
static __always_inline struct file *opened_file(struct task_struct *task, u64 descriptor, enum fetch how)
{
	struct file **descriptors = task->files->fdt->fd;
	struct file *file = (void *)load_bytes(&descriptors[descriptor], how);

	return file && how == FETCH_CAST ? cast_to(struct file, file) : file;
}

/* Branches that the compiler must not melt into one sum: on each way through them the verifier knows the number. */
#define ADD_BIT(number, bits, bit)                                                                                     \
	do {                                                                                                           \
		if ((bits) & (bit))                                                                                    \
			asm volatile("%0 += %1" : "+r"(number) : "i"((bit) * sizeof(void *)));                         \
	} while (0)

/* Is it one of the first, and has the table not grown out of its first place? */
static __always_inline bool descriptor_is_embedded(struct task_struct *task, u64 descriptor)
{
	return descriptor < EMBEDDED_DESCRIPTORS && task->files->fdt->max_fds == EMBEDDED_DESCRIPTORS;
}

/* The file of such a descriptor, with its type. NULL: another thread has closed the descriptor since. */
static __always_inline struct file *embedded_file(struct task_struct *task, u64 descriptor)
{
	struct files_struct *files = task->files;
	u64 offset = 0;

	ADD_BIT(offset, descriptor, 1);
	ADD_BIT(offset, descriptor, 2);
	ADD_BIT(offset, descriptor, 4);
	ADD_BIT(offset, descriptor, 8);
	ADD_BIT(offset, descriptor, 16);
	ADD_BIT(offset, descriptor, 32);
	return *(struct file **)((void *)files->fd_array + offset);
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

static __always_inline void file_fetch(struct file *file, struct file_facts *facts, enum fetch how)
{
	if (how == FETCH_PROBE) {
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

/* The words of a name that lies in its dentry. False: it does not. */
static __always_inline bool name_words(struct dentry *dentry, const unsigned char *name, u64 words[NAME_WORDS])
{
	struct dentry___words *newer = (void *)dentry;

	if (bpf_core_field_exists(dentry->d_iname)) {
		if (name != dentry->d_iname)
			return false;
		words[0] = *(u64 *)&dentry->d_iname[0];
		words[1] = *(u64 *)&dentry->d_iname[8];
		words[2] = *(u64 *)&dentry->d_iname[16];
		words[3] = *(u64 *)&dentry->d_iname[24];
		return true;
	}
	if (!bpf_core_field_exists(newer->d_shortname) || name != (void *)&newer->d_shortname)
		return false;
	words[0] = newer->d_shortname.words[0];
	words[1] = newer->d_shortname.words[1];
	words[2] = newer->d_shortname.words[2];
	words[3] = newer->d_shortname.words[3];
	words[4] = newer->d_shortname.words[4];
	return true;
}

/* One read for most names, or none, with their end cut out of two words of it. */
static __always_inline void name_cut(struct dentry *dentry, const unsigned char *name, u32 length,
				     struct name_ends *ends, enum fetch how)
{
	u64 words[NAME_WORDS + 1] = {};
	u32 last = length - 8, shift;

	if (how == FETCH_PROBE || !name_words(dentry, name, words))
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
static __always_inline void name_fetch(struct dentry *dentry, const unsigned char *name, u32 length,
				       struct name_ends *ends, enum fetch how)
{
	if (how != FETCH_CAST) {
		name_cut(dentry, name, length, ends, how);
		return;
	}
	ends->head = load_bytes(name, how);
	if (length >= 8)
		ends->tail = load_bytes(name + length - 8, how);
}

/* What the caller does not use is not loaded. */
static __always_inline void dentry_fetch(struct dentry *dentry, struct dentry_facts *facts, enum fetch how)
{
	if (how == FETCH_PROBE) {
		dentry_probe(dentry, facts);
		return;
	}
	facts->sequence = dentry->d_seq.seqcount.sequence;
	facts->parent = dentry->d_parent;
	facts->hash = dentry->d_name.hash;
	facts->length = dentry->d_name.len;
	facts->name = dentry->d_name.name;
}

static __always_inline void mount_fetch(struct mount *mount, struct mount_facts *facts, enum fetch how)
{
	if (how != FETCH_CAST) {
		mount_probe(mount, facts);
		return;
	}
	facts->parent = mount->mnt_parent;
	facts->mountpoint = mount->mnt_mountpoint;
	facts->root = mount->mnt.mnt_root;
}

static __always_inline struct mount *mount_cast(struct vfsmount *vfsmount, enum fetch how)
{
	struct mount *mount = mount_of(vfsmount);

	return how == FETCH_CAST ? cast_to(struct mount, mount) : mount;
}

#endif
