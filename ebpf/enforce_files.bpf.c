// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Say no to what is done to a file by its name. A part of the object of enforce.bpf.c;
 * loaded where the policy has a term about it.
 *
 * Hooks: path_{mknod,mkdir,rename,unlink,rmdir,link,symlink,truncate,chmod,chown}. They are called for system calls of
 * each kind (io_uring's and 32-bit ones too), before anything has happened, and overlayfs does its own work below them.
 */
#include "denial.bpf.h"
#include "policy_parent.bpf.h"

#define RENAME_EXCHANGE 0x2

/* A name, and what is done to it. Pointers are told as memory, so that what judges them is verified once a program. */
struct named {
	struct vfsmount *mount;
	struct dentry *dentry;
	u32 event;
	u32 hook;
};

/* Deny it? Says so, once. The name may lead to nothing yet. */
__noinline int name_judge(struct named *named)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct judgement judgement;
	struct dentry *dentry;
	struct inode *inode;
	struct slot *slot;
	bool is_denied;

	if (!named || !judgement_begin(&judgement, named->event & (POLICY_EVENTS - 1), task))
		return 0;
	judge_credentials(&judgement, task);
	judge_program_flags(&judgement, task);
	if (!may_deny(&judgement) || is_exempt(task) || runtime_mark_of(task))
		return 0;
	slot = slot_take(EVENT_DENIAL, task);
	if (!slot)
		return judge_blindly(&judgement);
	judge_parent(&judgement, slot, task);
	judge_program(&judgement, slot, task, task, POLICY_EXECUTABLE);
	dentry = named->dentry;
	inode = BPF_CORE_READ(dentry, d_inode);
	judge_file(&judgement, inode, POLICY_FILE);
	path_resolve(slot, named->mount, dentry, task);
	judge_path(&judgement, slot, POLICY_FILE);
	is_denied = judgement.summary && judgement_conclude(&judgement);
	if (is_denied && denial_admit(inode, task))
		denial_submit(&judgement, slot, inode, task, named->hook,
			      inode ? file_kind_flags(named->mount, dentry, inode) : 0);
	else
		slot_release(slot);
	return is_denied;
}

static __always_inline bool name_is_denied(struct vfsmount *mount, struct dentry *dentry, u32 event, u32 hook)
{
	struct named named = { .mount = mount, .dentry = dentry, .event = event, .hook = hook };

	return is_yes(name_judge(&named));
}

static __always_inline bool is_there(struct dentry *dentry)
{
	return BPF_CORE_READ(dentry, d_inode) != NULL;
}

/* What has a name loses it, what gets it may replace what had it. */
static __always_inline bool rename_is_denied(struct vfsmount *mount, struct dentry *from, struct dentry *to)
{
	return name_is_denied(mount, to, POLICY_RENAME, DENIAL_RENAME) ||
	       name_is_denied(mount, from, POLICY_DELETE, DENIAL_RENAME) ||
	       (is_there(to) && name_is_denied(mount, to, POLICY_DELETE, DENIAL_RENAME));
}

/* Both names are of one mount: the kernel has seen to that. */
SEC("lsm/path_rename")
int on_path_rename(u64 *ctx)
{
	struct dentry *from = (void *)ctx[1], *to = (void *)ctx[3];
	struct vfsmount *mount = ((struct path *)ctx[2])->mnt;
	u32 flags = ctx[4];
	int earlier = ctx[5];

	if (earlier)
		return earlier;
	if (rename_is_denied(mount, from, to))
		return -EPERM;
	if (flags & RENAME_EXCHANGE && name_is_denied(mount, from, POLICY_RENAME, DENIAL_RENAME))
		return -EPERM;
	return 0;
}

SEC("lsm/path_link")
int on_path_link(u64 *ctx)
{
	struct dentry *file = (void *)ctx[0], *name = (void *)ctx[2];
	struct vfsmount *mount = ((struct path *)ctx[1])->mnt;
	int earlier = ctx[3];

	if (earlier)
		return earlier;
	if (name_is_denied(mount, name, POLICY_LINK, DENIAL_LINK) ||
	    name_is_denied(mount, file, POLICY_LINKED, DENIAL_LINK))
		return -EPERM;
	return 0;
}

SEC("lsm/path_symlink")
int on_path_symlink(u64 *ctx)
{
	struct path *folder = (void *)ctx[0];
	int earlier = ctx[3];

	if (earlier)
		return earlier;
	if (name_is_denied(folder->mnt, (void *)ctx[1], POLICY_SYMLINK, DENIAL_SYMLINK))
		return -EPERM;
	return 0;
}

/* An open that would make a file comes here too. */
SEC("lsm/path_mknod")
int on_path_mknod(u64 *ctx)
{
	struct path *folder = (void *)ctx[0];
	int earlier = ctx[4];

	if (earlier)
		return earlier;
	if (name_is_denied(folder->mnt, (void *)ctx[1], POLICY_CREATE, DENIAL_CREATE))
		return -EPERM;
	return 0;
}

SEC("lsm/path_mkdir")
int on_path_mkdir(u64 *ctx)
{
	struct path *folder = (void *)ctx[0];
	int earlier = ctx[3];

	if (earlier)
		return earlier;
	if (name_is_denied(folder->mnt, (void *)ctx[1], POLICY_CREATE, DENIAL_CREATE))
		return -EPERM;
	return 0;
}

SEC("lsm/path_unlink")
int on_path_unlink(u64 *ctx)
{
	struct path *folder = (void *)ctx[0];
	int earlier = ctx[2];

	if (earlier)
		return earlier;
	if (name_is_denied(folder->mnt, (void *)ctx[1], POLICY_DELETE, DENIAL_DELETE))
		return -EPERM;
	return 0;
}

SEC("lsm/path_rmdir")
int on_path_rmdir(u64 *ctx)
{
	struct path *folder = (void *)ctx[0];
	int earlier = ctx[2];

	if (earlier)
		return earlier;
	if (name_is_denied(folder->mnt, (void *)ctx[1], POLICY_DELETE, DENIAL_DELETE))
		return -EPERM;
	return 0;
}

/* By a descriptor only before Linux 6.2; it had to be opened for writing. */
SEC("lsm/path_truncate")
int on_path_truncate(u64 *ctx)
{
	struct path *path = (void *)ctx[0];
	int earlier = ctx[1];

	if (earlier)
		return earlier;
	if (name_is_denied(path->mnt, path->dentry, POLICY_TRUNCATE, DENIAL_TRUNCATE))
		return -EPERM;
	return 0;
}

SEC("lsm/path_chmod")
int on_path_chmod(u64 *ctx)
{
	struct path *path = (void *)ctx[0];
	int earlier = ctx[2];

	if (earlier)
		return earlier;
	if (name_is_denied(path->mnt, path->dentry, POLICY_MODE, DENIAL_MODE))
		return -EPERM;
	return 0;
}

SEC("lsm/path_chown")
int on_path_chown(u64 *ctx)
{
	struct path *path = (void *)ctx[0];
	int earlier = ctx[3];

	if (earlier)
		return earlier;
	if (name_is_denied(path->mnt, path->dentry, POLICY_OWNER, DENIAL_OWNER))
		return -EPERM;
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
