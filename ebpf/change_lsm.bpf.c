// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Changes of files and of their names that a rule could ask for, where BPF LSM is to be had: of calls of each kind,
 * io_uring's and 32-bit ones too, with the paths and files that they led to. Takes the place of change.bpf.c.
 *
 * Hooks: path_{rename,unlink,rmdir,link,symlink,truncate,chmod,chown} and file_truncate (from 6.2, for what has a
 * descriptor), which judge; and the ends of vfs_{rename,unlink,rmdir,link,symlink} and notify_change, which tell what
 * was done. Nothing is ever denied here.
 */
#include "maps.bpf.h"
#include "bulk.bpf.h"
#include "change_note.bpf.h"
#include "folder_tag.bpf.h"

#define ATTR_OPEN (1 << 15) /* an open truncates: that is told as an open */

/* What is asked, as the hook tells it. Pointers are told as memory, so that what judges them is verified once. */
struct change_site {
	struct vfsmount *mount;
	struct dentry *path;  /* what will be different; of rename, link and symlink the new name */
	struct dentry *other; /* rename, link: the name that is there already */
	const char *text;     /* symlink: what it says */
	u32 action;
	u32 flags; /* of rename */
	u32 owner;
	u32 group;
};

/* A name that is being judged. */
struct named {
	struct vfsmount *mount;
	struct dentry *dentry;
	struct dentry *folder;
	u64 tag; /* of the folder; 0: not to be remembered */
	u32 generation;
	u32 interest;
};

/* One: walk it and match. Zero: no pattern of this interest can match it. */
__noinline int named_is_suspect(struct named *named)
{
	const struct open_filter *filter;
	struct dentry_facts facts;
	struct vfsmount *mount;

	if (!named)
		return 0; /* never; the verifier asks */
	filter = &open_filters[named->generation & 1];
	mount = named->mount;
	named->tag = 0;
	dentry_probe(named->dentry, &facts);
	named->folder = facts.parent;
	if (filter->head.any & named->interest || facts.parent == named->dentry)
		return 1;
	if (named->dentry == BPF_CORE_READ(mount, mnt_root))
		return 1; /* its name is that of the mount point */
	if (name_is_suspect(filter, OPEN_CLASS_WRITE, named->interest,
			    name_ends_folded(named->dentry, &facts, FETCH_PROBE), facts.length))
		return 1;
	if (!(filter->head.prefixes & named->interest))
		return 0;
	named->tag = folder_tag(named->mount, named->folder, named->generation, named->interest);
	return !chain_tag_known(named->tag);
}

static __noinline u64 named_match(struct slot *slot, struct named *named)
{
	u64 match;

	path_resolve(slot, named->mount, named->dentry, bpf_get_current_task_btf());
	match = change_match_path(slot, named->generation & 1);
	if (named->tag && change_folder_is_dull(slot, named->generation & 1, named->interest) &&
	    folder_tag(named->mount, named->folder, named->generation, named->interest) == named->tag)
		chain_tag_remember(named->tag);
	return match;
}

/* What a symbolic link says is text, of no folder. */
static __noinline u64 text_match(struct slot *slot, const char *text, u32 half)
{
	long length = bpf_probe_read_kernel_str(&slot->path[CLAIMED_PATH_BEGIN], PATH_BYTES_MAX, text);
	struct span span = { .begin = CLAIMED_PATH_BEGIN, .length = length > 0 ? length - 1 : 0 };

	slot->path_flags = 0;
	return path_match(slot, &span, half);
}

/* The pattern in the upper half; see match_of(). All names of an act are asked for all that it is. */
static __noinline u64 site_match(struct change_site *site, u32 generation, struct task_struct *task)
{
	u32 interest = change_interest(site->action);
	struct named path = { .mount = site->mount, .dentry = site->path, .generation = generation };
	struct named other = { .mount = site->mount, .dentry = site->other, .generation = generation };
	bool is_suspect, is_other_suspect;
	struct slot *slot;
	u64 match = 0;

	path.interest = interest;
	other.interest = interest;
	is_suspect = named_is_suspect(&path);
	is_other_suspect = site->other && named_is_suspect(&other);
	if (!is_suspect && !is_other_suspect && !site->text)
		return 0;
	slot = slot_take(EVENT_FILE_CHANGE, task);
	if (!slot)
		return 0;
	if (is_suspect)
		match |= named_match(slot, &path);
	if (is_other_suspect)
		match |= named_match(slot, &other);
	if (site->text)
		match |= text_match(slot, site->text, generation & 1);
	slot_release(slot);
	return match;
}

static __noinline int note_take(struct change_site *site, u32 pattern, struct task_struct *task)
{
	struct change_note *note = bpf_task_storage_get(&change_notes, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	bool is_rename = site->action == CHANGE_RENAME;

	if (!note) {
		count_loss(EVENT_FILE_CHANGE, task_cgroup_id(task), LOSS_NO_SLOT);
		return 0;
	}
	note->subject = site->path;
	note->file = is_rename ? site->other : site->path;
	note->other = is_rename ? site->path : site->other;
	note->mount = site->mount;
	note->text = site->text;
	note->pattern = pattern;
	note->owner = site->owner;
	note->group = site->group;
	note->is_exchange = is_rename && site->flags & RENAME_EXCHANGE;
	note->size = 0;
	if (is_rename || site->action == CHANGE_DELETE)
		note_name(note, note->file);
	if (site->action == CHANGE_DELETE)
		note_file(note, site->mount, site->path);
	note->action = site->action;
	return 0;
}

/* Judge it; note it, if a rule asks for it. */
__noinline int change_consider(struct change_site *site)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u32 generation = *(volatile u32 *)&open_policy_generation, asked;
	u64 match;

	if (!site)
		return 0; /* never; the verifier asks */
	note_clear(task);
	asked = change_asked(generation, site->action, task);
	if (!asked)
		return 0;
	match = site_match(site, generation, task);
	if (match & asked)
		note_take(site, match >> 32, task);
	return 0;
}

static __always_inline struct change_site site_of(u32 action, struct vfsmount *mount, struct dentry *path)
{
	struct change_site site = { .mount = mount, .path = path, .action = action };

	site.owner = ID_KEPT;
	site.group = ID_KEPT;
	return site;
}

/* Two names of one file: nothing will be done. */
static __always_inline bool is_one_file(struct dentry *one, struct dentry *other)
{
	struct inode *inode = BPF_CORE_READ(one, d_inode);

	return inode && inode == BPF_CORE_READ(other, d_inode);
}

SEC("lsm/path_rename")
int on_rename_asked(u64 *ctx)
{
	struct path *folder = (void *)ctx[2];
	struct change_site site = site_of(CHANGE_RENAME, folder->mnt, (void *)ctx[3]);
	int earlier = ctx[5];

	if (earlier)
		return earlier;
	site.other = (void *)ctx[1];
	site.flags = ctx[4];
	if (!is_one_file(site.path, site.other))
		change_consider(&site);
	return 0;
}

SEC("lsm/path_link")
int on_link_asked(u64 *ctx)
{
	struct path *folder = (void *)ctx[1];
	struct change_site site = site_of(CHANGE_LINK, folder->mnt, (void *)ctx[2]);
	int earlier = ctx[3];

	if (earlier)
		return earlier;
	site.other = (void *)ctx[0];
	change_consider(&site);
	return 0;
}

SEC("lsm/path_symlink")
int on_symlink_asked(u64 *ctx)
{
	struct path *folder = (void *)ctx[0];
	struct change_site site = site_of(CHANGE_SYMLINK, folder->mnt, (void *)ctx[1]);
	int earlier = ctx[3];

	if (earlier)
		return earlier;
	site.text = (const char *)ctx[2];
	change_consider(&site);
	return 0;
}

SEC("lsm/path_unlink")
int on_unlink_asked(u64 *ctx)
{
	struct path *folder = (void *)ctx[0];
	struct change_site site = site_of(CHANGE_DELETE, folder->mnt, (void *)ctx[1]);
	int earlier = ctx[2];

	if (earlier)
		return earlier;
	change_consider(&site);
	return 0;
}

SEC("lsm/path_rmdir")
int on_rmdir_asked(u64 *ctx)
{
	struct path *folder = (void *)ctx[0];
	struct change_site site = site_of(CHANGE_DELETE, folder->mnt, (void *)ctx[1]);
	int earlier = ctx[2];

	if (earlier)
		return earlier;
	change_consider(&site);
	return 0;
}

SEC("lsm/path_truncate")
int on_truncate_asked(u64 *ctx)
{
	struct path *path = (void *)ctx[0];
	struct change_site site = site_of(CHANGE_TRUNCATE, path->mnt, path->dentry);
	int earlier = ctx[1];

	if (earlier)
		return earlier;
	change_consider(&site);
	return 0;
}

SEC("lsm/file_truncate")
int on_file_truncate_asked(u64 *ctx)
{
	struct file *file = (void *)ctx[0];
	struct change_site site = site_of(CHANGE_TRUNCATE, file->f_path.mnt, file->f_path.dentry);
	int earlier = ctx[1];

	if (earlier)
		return earlier;
	change_consider(&site);
	return 0;
}

SEC("lsm/path_chmod")
int on_chmod_asked(u64 *ctx)
{
	struct path *path = (void *)ctx[0];
	struct change_site site = site_of(CHANGE_MODE, path->mnt, path->dentry);
	int earlier = ctx[2];

	if (earlier)
		return earlier;
	change_consider(&site);
	return 0;
}

SEC("lsm/path_chown")
int on_chown_asked(u64 *ctx)
{
	struct path *path = (void *)ctx[0];
	struct change_site site = site_of(CHANGE_OWNER, path->mnt, path->dentry);
	int earlier = ctx[3];

	if (earlier)
		return earlier;
	site.owner = ctx[1];
	site.group = ctx[2];
	change_consider(&site);
	return 0;
}

/* A name that was there before: behind the folder that it was in. */
static __always_inline void resolve_former(struct slot *slot, struct change_note *note, struct task_struct *task)
{
	slot->cursor = PATH_BYTES_MAX;
	slot->path_flags = 0;
	path_prepend(slot, note->name, note->name_length);
	path_continue(slot, note->mount, note->folder, task);
}

static __always_inline void append_path(struct slot *slot, struct file_change_event *event, struct change_note *note,
					struct task_struct *task)
{
	struct dentry *file = note->file;
	struct inode *inode;

	if (note->action == CHANGE_DELETE) {
		event->inode = note->inode;
		event->device = note->device;
		event->file_mode = note->file_mode;
		resolve_former(slot, note, task);
		event->file_flags = slot->path_flags | note->file_flags;
	} else {
		inode = BPF_CORE_READ(file, d_inode);
		event->inode = BPF_CORE_READ(inode, i_ino);
		event->device = device_number(BPF_CORE_READ(inode, i_sb, s_dev));
		event->file_mode = BPF_CORE_READ(inode, i_mode);
		path_resolve(slot, note->mount, file, task);
		event->file_flags = slot->path_flags | file_kind_flags(note->mount, file, inode);
	}
	record_append_path(slot, &event->path);
}

static __always_inline void append_other(struct slot *slot, struct file_change_event *event, struct change_note *note,
					 struct task_struct *task)
{
	event->other_flags = 0;
	switch (note->action) {
	case CHANGE_SYMLINK:
		event->other_flags = FILE_PATH_CLAIMED;
		record_append_text(slot, &event->other, note->text);
		return;
	case CHANGE_RENAME:
		resolve_former(slot, note, task);
		break;
	case CHANGE_LINK:
		path_resolve(slot, note->mount, note->other, task);
		break;
	default:
		record_appended(slot, &event->other, 0);
		return;
	}
	event->other_flags = slot->path_flags;
	record_append_path(slot, &event->other);
}

/* It is done: tell it. */
__noinline int change_tell(struct change_note *note)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct file_change_event *event;
	struct slot *slot;

	if (!note || !pattern_admit(task, EVENT_FILE_CHANGE, note->pattern))
		return 0;
	slot = slot_take(EVENT_FILE_CHANGE, task);
	if (!slot)
		return 0;
	event = record_begin(slot, EVENT_FILE_CHANGE, sizeof(*event), task);
	event->action = note->action;
	event->size = note->size;
	event->owner = note->owner;
	event->group = note->group;
	append_path(slot, event, note, task);
	append_other(slot, event, note, task);
	bulk_submit(slot);
	return 0;
}

/* The function that ends has done what the note is about: it was given the dentry, as whichever argument this kernel
 * has it. What overlayfs does below, in the same task, is of another dentry. */
static __always_inline struct change_note *note_ended(void *ctx, u32 actions, struct iattr **attributes)
{
	struct change_note *note = note_of(bpf_get_current_task_btf());
	u64 argument = 0, following = 0;

	if (!note || !(actions >> (note->action & 31) & 1))
		return NULL;
	for (u32 at = 0; at < 4; at++) {
		if (bpf_get_func_arg(ctx, at, &argument) || argument != (u64)note->subject)
			continue;
		bpf_get_func_arg(ctx, at + 1, &following);
		*attributes = (struct iattr *)following;
		return note;
	}
	return NULL;
}

static __always_inline bool has_succeeded(void *ctx)
{
	u64 result = 1;

	return !bpf_get_func_ret(ctx, &result) && !(u32)result;
}

static __always_inline int name_ended(void *ctx, u32 action)
{
	struct iattr *none;
	struct change_note *note = note_ended(ctx, 1 << action, &none);

	if (!note)
		return 0;
	if (has_succeeded(ctx))
		change_tell(note);
	note->action = 0;
	return 0;
}

SEC("fexit/vfs_unlink")
int on_unlink_done(u64 *ctx)
{
	return name_ended(ctx, CHANGE_DELETE);
}

SEC("fexit/vfs_rmdir")
int on_rmdir_done(u64 *ctx)
{
	return name_ended(ctx, CHANGE_DELETE);
}

SEC("fexit/vfs_link")
int on_link_done(u64 *ctx)
{
	return name_ended(ctx, CHANGE_LINK);
}

SEC("fexit/vfs_symlink")
int on_symlink_done(u64 *ctx)
{
	return name_ended(ctx, CHANGE_SYMLINK);
}

SEC("fexit/vfs_rename")
int on_rename_done(u64 *ctx)
{
	struct change_note *note = note_of(bpf_get_current_task_btf());
	struct renamedata *rename = (void *)ctx[0];

	if (!note || note->action != CHANGE_RENAME || rename->new_dentry != note->subject)
		return 0;
	if (!has_succeeded(ctx))
		goto over;
	change_tell(note);
	if (note->is_exchange) {
		/* Each name leads to the other's file now: two renames. */
		note_name(note, note->file);
		note->file = note->other;
		change_tell(note);
	}
over:
	note->action = 0;
	return 0;
}

SEC("fexit/notify_change")
int on_attributes_done(u64 *ctx)
{
	struct iattr *attributes = NULL;
	struct change_note *note =
		note_ended(ctx, 1 << CHANGE_TRUNCATE | 1 << CHANGE_MODE | 1 << CHANGE_OWNER, &attributes);

	if (!note)
		return 0;
	if (note->action == CHANGE_TRUNCATE)
		note->size = BPF_CORE_READ(attributes, ia_size);
	if (has_succeeded(ctx) && !(BPF_CORE_READ(attributes, ia_valid) & ATTR_OPEN))
		change_tell(note);
	note->action = 0;
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
