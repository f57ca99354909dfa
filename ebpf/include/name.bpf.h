/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * From a name that a system call was given to a path: text of user memory, put behind the folder that it is relative
 * to. "." and ".." are resolved, as the kernel does it where no link is in the way; links are not. So the result
 * is a claim (FILE_PATH_CLAIMED), the more as another thread can have rewritten the text since.
 *
 * It lies where a walked path does (path.bpf.h), so it is matched and reported like one. A name without dots and
 * double slashes, as most are, is put there as it is; another one is taken apart from its end, as the walk goes. The
 * walk then goes on from the folder.
 */
#ifndef STOCKADE_NAME_BPF_H
#define STOCKADE_NAME_BPF_H

#include "chain_tag.bpf.h"
#include "match.bpf.h"

#define AT_FDCWD (-100)
#define NAME_CLIMB_MAX 64 /* levels that a name may go up above its folder; beyond, its head is missing */

/* A name, and the descriptor of the folder that it is relative to. */
struct name_argument {
	const char *text;
	s32 folder;
};

static __always_inline u8 name_byte(struct slot *slot, u32 at)
{
	return slot->path[CLAIMED_PATH_BEGIN + (at & (PATH_BYTES_MAX - 1))];
}

static __always_inline bool name_is_dots(struct slot *slot, u32 begin, u32 length)
{
	if (name_byte(slot, begin) != '.')
		return false;
	return length == 1 || (length == 2 && name_byte(slot, begin + 1) == '.');
}

/* One component. False: no room for more. */
static __always_inline bool name_prepend(struct slot *slot, u32 begin, u32 length)
{
	if (!length)
		return true; /* slashes side by side, or one at the end */
	if (name_is_dots(slot, begin, length)) {
		slot->name_ups += length - 1;
		return true;
	}
	if (slot->name_ups) {
		slot->name_ups--;
		return true;
	}
	return path_prepend(slot, &slot->path[CLAIMED_PATH_BEGIN + (begin & (PATH_BYTES_MAX - 1))], length);
}

struct name_walk {
	struct slot *slot;
};

/* One byte, from the end; the component is whole at a slash and at the beginning. All that changes on the way lies in
 * the slot: of what lies on the stack the verifier would follow every value. */
static long name_step(u32 index, struct name_walk *walk)
{
	struct slot *slot = walk->slot;
	u32 at = slot->name_at;

	if (at && name_byte(slot, at - 1) != '/') {
		slot->name_at = at - 1;
		return 0;
	}
	if (!name_prepend(slot, at, slot->name_end - at))
		return 1;
	slot->name_at = at - 1;
	slot->name_end = at - 1;
	return !at;
}

/* The top bit of each byte that equals `byte`, and no other. */
static __always_inline u64 bytes_equal(u64 word, u8 byte)
{
	u64 rest = word ^ EACH_BYTE(byte), low = EACH_BYTE(0x7f);

	return ~(((rest & low) + low) | rest | low);
}

/* Eight bytes: is there a slash, and a dot or another slash behind it? */
static long name_plain_step(u32 index, struct name_walk *walk)
{
	struct slot *slot = walk->slot;
	const u8 *text = &slot->path[CLAIMED_PATH_BEGIN + (index * 8 & (PATH_BYTES_MAX - 1))];
	u64 here = bytes_equal(word_at(text), '/'), next = word_at(text + 1);

	if (!(here & (bytes_equal(next, '/') | bytes_equal(next, '.'))))
		return 0;
	slot->name_ups = 1;
	return 1;
}

/* Nothing in it to take out. What an earlier name has left behind its end may say no, which costs time and nothing
 * else. */
static __always_inline bool name_is_plain(struct slot *slot, u32 length, struct name_walk *walk)
{
	if (!length || name_byte(slot, 0) == '.' || name_byte(slot, length - 1) == '/')
		return false;
	slot->name_ups = 0;
	bpf_loop((length + 7) / 8, name_plain_step, walk, 0);
	return !slot->name_ups;
}

/* The whole name at the end of slot->path, with a slash in front. */
static __always_inline void name_copy(struct slot *slot, u32 length)
{
	u32 cursor = PATH_BYTES_MAX - length, bytes = length;
	bool is_absolute = name_byte(slot, 0) == '/';

	asm volatile("" : "+r"(cursor), "+r"(bytes));
	bpf_probe_read_kernel(&slot->path[cursor & (PATH_BYTES_MAX - 1)], bytes & (PATH_BYTES_MAX - 1),
			      &slot->path[CLAIMED_PATH_BEGIN]);
	if (!is_absolute) {
		cursor -= 1;
		asm volatile("" : "+r"(cursor));
		slot->path[cursor & (PATH_BYTES_MAX - 1)] = '/';
	}
	slot->cursor = cursor;
}

/* Is the task's root that of its mount namespace, as it nearly always is? Then an absolute name is a path. */
static __always_inline bool root_is_top(struct task_struct *task)
{
	struct vfsmount *vfsmount = task->fs->root.mnt;
	struct mount *mount = mount_of(vfsmount), *top = task->nsproxy->mnt_ns->root;
	struct mount_facts facts;

	mount_probe(mount, &facts);
	if (!is_same(task->fs->root.dentry, facts.root))
		return false;
	return is_same(mount, top) || chain_covers_top(&facts, top);
}

struct name_climb {
	struct mount *mount;
	struct dentry *dentry;
	struct place root; /* of the task: there ".." stays where it is */
	u32 ups;
};

/* One ".." above the folder, or one mount that is in its way. */
static long name_climb_step(u32 index, struct name_climb *climb)
{
	struct dentry *dentry = climb->dentry;
	struct mount *mount = climb->mount, *above;

	if (!climb->ups || (dentry == climb->root.dentry && mount == mount_of(climb->root.vfsmount)))
		return 1;
	if (dentry == BPF_CORE_READ(mount, mnt.mnt_root)) {
		above = BPF_CORE_READ(mount, mnt_parent);
		if (above == mount)
			return 1;
		climb->dentry = BPF_CORE_READ(mount, mnt_mountpoint);
		climb->mount = above;
		return 0;
	}
	climb->dentry = BPF_CORE_READ(dentry, d_parent);
	climb->ups--;
	return 0;
}

/* Read the text to CLAIMED_PATH_BEGIN; its length, which the slot has too. Zero: it is empty, or not in memory now,
 * which is then marked. */
static __always_inline u32 name_read(struct slot *slot, const char *text)
{
	long length = bpf_probe_read_user_str(&slot->path[CLAIMED_PATH_BEGIN], PATH_BYTES_MAX, text);

	slot->path_flags = FILE_PATH_CLAIMED;
	slot->name_length = 0;
	if (length <= 0) {
		slot->path_flags |= FILE_PATH_TRUNCATED;
		return 0;
	}
	slot->name_length = length - 1;
	return length - 1;
}

/* Where the name begins. False: its folder's descriptor is closed by now. */
static __always_inline bool name_folder(struct slot *slot, u32 length, s32 folder, struct task_struct *task,
					struct place *place)
{
	struct file *file;

	if (length && name_byte(slot, 0) == '/') {
		place->vfsmount = task->fs->root.mnt;
		place->dentry = task->fs->root.dentry;
		return true;
	}
	if (folder == AT_FDCWD) {
		place->vfsmount = task->fs->pwd.mnt;
		place->dentry = task->fs->pwd.dentry;
		return true;
	}
	if ((u32)folder >= task->files->fdt->max_fds)
		return false;
	file = opened_file(task, folder, FETCH_PROBE);
	place->vfsmount = BPF_CORE_READ(file, f_path.mnt);
	place->dentry = BPF_CORE_READ(file, f_path.dentry);
	return file != NULL;
}

static __noinline void name_ascend(struct place *place, u32 ups, struct task_struct *task)
{
	struct name_climb climb = { .mount = mount_of(place->vfsmount), .dentry = place->dentry, .ups = ups };

	climb.root.vfsmount = task->fs->root.mnt;
	climb.root.dentry = task->fs->root.dentry;
	bpf_loop(NAME_CLIMB_MAX, name_climb_step, &climb, 0);
	place->vfsmount = (void *)climb.mount + bpf_core_field_offset(struct mount, mnt);
	place->dentry = climb.dentry;
}

/* Resolve the text that was read last into slot->path; slot->path_flags says that it is a claim, and what was special.
 * Global, so that the verifier looks at it once and not for each call. */
__noinline int name_place(struct slot *slot, struct name_argument *name)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct name_walk walk = { .slot = slot };
	struct place place = {};
	u32 length;

	if (!slot || !name)
		return 0; /* never; the verifier asks */
	length = slot->name_length & (PATH_BYTES_MAX - 1);
	slot->cursor = PATH_BYTES_MAX;
	if (name_is_plain(slot, length, &walk)) {
		name_copy(slot, length);
		if (name_byte(slot, 0) == '/' && root_is_top(task))
			return 0;
	} else {
		slot->name_at = length;
		slot->name_end = length;
		slot->name_ups = 0;
		bpf_loop(PATH_BYTES_MAX, name_step, &walk, 0);
	}
	if (!name_folder(slot, length, name->folder, task, &place)) {
		slot->path_flags |= FILE_PATH_TRUNCATED;
		return 0;
	}
	if (slot->name_ups)
		name_ascend(&place, slot->name_ups, task);
	path_continue(slot, place.vfsmount, place.dentry, task);
	return 0;
}

static __always_inline void name_resolve(struct slot *slot, struct name_argument *name)
{
	name_read(slot, name->text);
	name_place(slot, name);
}

#endif
