// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Keep root from ending us by the way: our BPF objects, their pins, our processes, our cgroup.
 * An object of its own, pinned like what denies.
 *
 * Whose a task is, is a mark in its storage: a task that the first process itself has forked, and that executes
 * something in the cgroup of our unit, is ours, and so is what it forks. Neither a name nor a cgroup that others can
 * join makes one ours.
 *
 * Hooks: bpf, bpf_map, bpf_prog (our objects, by their numbers); inode_unlink, inode_rmdir, inode_rename, sb_umount
 * (our bpffs); task_kill, task_setrlimit, task_setscheduler, ptrace_access_check (our tasks); file_open (files of our
 * cgroup, and what ends or freezes those above); sched_process_fork, sched_process_exec (marks).
 *
 * What another program has decided is not looked at: the kernel calls none after one that refused. All answers are
 * constants, and the last argument, which moves between kernels, is not needed.
 */
#include "kernel_types.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "guard.h"
#include "layout_fingerprint.h"

#define EPERM 1
#define FIRST_PROCESS 1
#define PTRACE_MODE_ATTACH 2
#define FMODE_WRITE 2
#define LINK_GET_FD_BY_ID 30

const volatile u64 layout_fingerprint = LAYOUT_FINGERPRINT;

/* All of it is let go when the service has not written the time here for so long: one that hangs can be
 * ended. 0: there is none yet, or no more. */
u64 guard_beat_boottime_ns = 0;

/* What is guarded besides tasks and objects; 0: nothing. */
u32 guard_bpffs_device = 0;
u32 guard_cgroup_device = 0;

/* Our unit's cgroup, from the inmost name outwards. */
u32 guard_unit_depth = 0;
char guard_unit_names[GUARD_UNIT_DEPTH_MAX][GUARD_NAME_BYTES] = {};

u64 guard_refused[GUARD_KINDS] = {};

/* Full: what does not fit is not guarded; the loader counts. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct guard_key);
	__type(value, u32);
} guarded SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, u32);
} guard_marks SEC(".maps");

static __always_inline bool task_is_ours(struct task_struct *task)
{
	u32 *mark = bpf_task_storage_get(&guard_marks, task, NULL, 0);

	return mark && *mark == GUARD_MARK_OURS;
}

static __always_inline bool is_let_go(void)
{
	u64 beat = *(volatile u64 *)&guard_beat_boottime_ns;

	return !beat || bpf_ktime_get_boot_ns() > beat + GUARD_LET_GO_NS;
}

/* Who may: we, the first process and the kernel. */
static __always_inline bool may(struct task_struct *task)
{
	return !task->mm || task->tgid == FIRST_PROCESS || task_is_ours(task) || is_let_go();
}

static __always_inline int refuse(u32 kind)
{
	__sync_fetch_and_add(&guard_refused[kind % GUARD_KINDS], 1);
	return -EPERM;
}

static __always_inline bool is_guarded(u32 kind, u64 number)
{
	struct guard_key key = { .kind = kind, .number = number };

	return bpf_map_lookup_elem(&guarded, &key);
}

static __always_inline int guard_object(u32 kind, u64 number)
{
	if (!is_guarded(kind, number) || may(bpf_get_current_task_btf()))
		return 0;
	return refuse(GUARD_OBJECT);
}

SEC("lsm/bpf_map")
int on_guard_map(u64 *ctx)
{
	struct bpf_map *map = (void *)ctx[0];

	if (guard_object(GUARDED_MAP, map->id))
		return -EPERM;
	return 0;
}

SEC("lsm/bpf_prog")
int on_guard_program(u64 *ctx)
{
	struct bpf_prog *program = (void *)ctx[0];

	if (guard_object(GUARDED_PROGRAM, program->aux->id))
		return -EPERM;
	return 0;
}

/* The call's first word is the number of the link that is asked for. */
SEC("lsm/bpf")
int on_guard_link(u64 *ctx)
{
	u32 number = 0;

	if ((u32)ctx[0] != LINK_GET_FD_BY_ID)
		return 0;
	bpf_probe_read_kernel(&number, sizeof(number), (void *)ctx[1]);
	if (guard_object(GUARDED_LINK, number))
		return -EPERM;
	return 0;
}

static __always_inline int guard_pins(struct super_block *place)
{
	if (!guard_bpffs_device || place->s_dev != guard_bpffs_device || may(bpf_get_current_task_btf()))
		return 0;
	return refuse(GUARD_PINS);
}

SEC("lsm/inode_unlink")
int on_guard_unlink(u64 *ctx)
{
	struct inode *folder = (void *)ctx[0];

	if (guard_pins(folder->i_sb))
		return -EPERM;
	return 0;
}

SEC("lsm/inode_rmdir")
int on_guard_rmdir(u64 *ctx)
{
	struct inode *folder = (void *)ctx[0];

	if (guard_pins(folder->i_sb))
		return -EPERM;
	return 0;
}

SEC("lsm/inode_rename")
int on_guard_rename(u64 *ctx)
{
	struct inode *folder = (void *)ctx[0];

	if (guard_pins(folder->i_sb))
		return -EPERM;
	return 0;
}

SEC("lsm/sb_umount")
int on_guard_umount(u64 *ctx)
{
	struct vfsmount *mount = (void *)ctx[0];

	if (guard_pins(mount->mnt_sb))
		return -EPERM;
	return 0;
}

static __always_inline int guard_task(struct task_struct *task)
{
	if (!task_is_ours(task) || may(bpf_get_current_task_btf()))
		return 0;
	return refuse(GUARD_TASK);
}

/* Signal 0 only asks whether there is somebody. */
SEC("lsm/task_kill")
int on_guard_kill(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];

	if (ctx[2] && guard_task(task))
		return -EPERM;
	return 0;
}

SEC("lsm/ptrace_access_check")
int on_guard_ptrace(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];

	if (ctx[1] & PTRACE_MODE_ATTACH && guard_task(task))
		return -EPERM;
	return 0;
}

/* A bound on its CPU time would end it. */
SEC("lsm/task_setrlimit")
int on_guard_rlimit(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];

	if (guard_task(task))
		return -EPERM;
	return 0;
}

SEC("lsm/task_setscheduler")
int on_guard_scheduler(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];

	if (guard_task(task))
		return -EPERM;
	return 0;
}

/* Eight letters as the number that they are in memory: constants of text would make a map of their own. */
#define LETTERS(a, b, c, d, e, f, g, h)                                                                                \
	((u64)(a) | (u64)(b) << 8 | (u64)(c) << 16 | (u64)(d) << 24 | (u64)(e) << 32 | (u64)(f) << 40 |                \
	 (u64)(g) << 48 | (u64)(h) << 56)

/* Is it cgroup.kill or cgroup.freeze? */
static __always_inline bool ends_or_freezes(struct dentry *dentry)
{
	u64 name[2] = {};

	bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(dentry, d_name.name));
	if (name[0] == LETTERS('c', 'g', 'r', 'o', 'u', 'p', '.', 'k'))
		return name[1] == LETTERS('i', 'l', 'l', 0, 0, 0, 0, 0);
	return name[0] == LETTERS('c', 'g', 'r', 'o', 'u', 'p', '.', 'f') &&
	       name[1] == LETTERS('r', 'e', 'e', 'z', 'e', 0, 0, 0);
}

static __always_inline int guard_cgroup(struct file *file)
{
	struct dentry *dentry = file->f_path.dentry;
	u64 folder = BPF_CORE_READ(dentry, d_parent, d_inode, i_ino);

	if (!is_guarded(GUARDED_CGROUP, folder) &&
	    !(is_guarded(GUARDED_CGROUP_ABOVE, folder) && ends_or_freezes(dentry)))
		return 0;
	if (may(bpf_get_current_task_btf()))
		return 0;
	return refuse(GUARD_CGROUP);
}

SEC("lsm/file_open")
int on_guard_open(u64 *ctx)
{
	struct file *file = (void *)ctx[0];

	if (!(file->f_mode & FMODE_WRITE) || !guard_cgroup_device)
		return 0;
	if (file->f_inode->i_sb->s_dev == guard_cgroup_device && guard_cgroup(file))
		return -EPERM;
	return 0;
}

static __always_inline void mark(struct task_struct *task, u32 value)
{
	u32 *mark = bpf_task_storage_get(&guard_marks, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (mark)
		*mark = value;
}

SEC("tp_btf/sched_process_fork")
int on_guard_fork(u64 *ctx)
{
	struct task_struct *parent = (void *)ctx[0], *child = (void *)ctx[1];

	if (task_is_ours(parent))
		mark(child, GUARD_MARK_OURS);
	else if (parent->tgid == FIRST_PROCESS)
		mark(child, GUARD_MARK_FORKED_BY_FIRST);
	return 0;
}

static __always_inline bool is_named(struct cgroup *cgroup, u32 level)
{
	u64 name[GUARD_NAME_BYTES / 8] = {};
	const u64 *wanted = (const u64 *)guard_unit_names[level];

	bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(cgroup, kn, name));
	for (u32 i = 0; i < GUARD_NAME_BYTES / 8; i++)
		if (name[i] != wanted[i])
			return false;
	return true;
}

static __always_inline bool is_in_our_unit(struct task_struct *task)
{
	struct cgroup *cgroup = task->cgroups->dfl_cgrp;

	if (!guard_unit_depth || cgroup->level != (int)guard_unit_depth)
		return false;
	for (u32 level = 0; level < GUARD_UNIT_DEPTH_MAX; level++) {
		if (level >= guard_unit_depth)
			break;
		if (!is_named(cgroup, level))
			return false;
		cgroup = BPF_CORE_READ(cgroup, self.parent, cgroup);
	}
	return true;
}

SEC("tp_btf/sched_process_exec")
int on_guard_exec(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	u32 *mark = bpf_task_storage_get(&guard_marks, task, NULL, 0);

	if (mark && *mark == GUARD_MARK_FORKED_BY_FIRST && is_in_our_unit(task))
		*mark = GUARD_MARK_OURS;
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
