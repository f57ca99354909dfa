// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Changes of files and of their names that a rule could ask for.
 *
 * Hooks, all of one program: sys_exit_{rename,renameat,renameat2,link,linkat,symlink,symlinkat}, which have two names;
 * sys_exit_{unlink,unlinkat,rmdir,truncate,chmod,fchmodat,fchmodat2,chown,lchown,fchownat}, which have one;
 * sys_exit_{ftruncate,fchmod,fchown}, which have a descriptor.
 * On exit, of calls that succeeded. A name is a claim: only the LSM's hooks know what it led to. Where those are to be
 * had, change_lsm.bpf.c takes the place of this program.
 */
#include "maps.bpf.h"
#include "bulk.bpf.h"
#include "change.bpf.h"
#include "name_quick.bpf.h"

#define AT_REMOVEDIR 0x200
#define S_IFDIR 0040000
#define S_IFREG 0100000
#define S_IFLNK 0120000
#define MODE_BITS 07777

/* The call that a tracepoint belongs to, by its number, which is ABI (arch/x86/entry/syscalls/syscall_64.tbl). */
enum change_call_number {
	CALL_TRUNCATE = 76,
	CALL_FTRUNCATE = 77,
	CALL_RENAME = 82,
	CALL_RMDIR = 84,
	CALL_LINK = 86,
	CALL_UNLINK = 87,
	CALL_SYMLINK = 88,
	CALL_CHMOD = 90,
	CALL_FCHMOD = 91,
	CALL_CHOWN = 92,
	CALL_FCHOWN = 93,
	CALL_LCHOWN = 94,
	CALL_FCHOWNAT = 260,
	CALL_UNLINKAT = 263,
	CALL_RENAMEAT = 264,
	CALL_LINKAT = 265,
	CALL_SYMLINKAT = 266,
	CALL_FCHMODAT = 268,
	CALL_RENAMEAT2 = 316,
	CALL_FCHMODAT2 = 452,
};

/* A call, as its registers tell it: they cannot change during the call. */
struct change {
	struct file *file;	    /* that a descriptor led to, else NULL */
	struct name_argument path;  /* unless there is a file */
	struct name_argument other; /* of calls with two names */
	u64 size;
	u32 action;
	u32 mode;
	u32 owner;
	u32 group;
};

static __always_inline void change_resolve_file(struct slot *slot, struct file *file, struct task_struct *task)
{
	path_resolve(slot, BPF_CORE_READ(file, f_path.mnt), BPF_CORE_READ(file, f_path.dentry), task);
}

/* What the policy wants to know about what a symbolic link says: that is text, of no folder. */
static __always_inline u64 change_match_text(struct slot *slot, const char *text, u32 half)
{
	struct span span = { .begin = CLAIMED_PATH_BEGIN, .length = name_read(slot, text) };

	return path_match(slot, &span, half);
}

/* Its folder does not interest, and is still the one that the tag was made of: remember it. */
static __always_inline void change_remember(struct slot *slot, struct name_argument *name, u32 generation, u32 interest)
{
	u64 tag = slot->name_tag;

	if (!tag || !change_folder_is_dull(slot, generation & 1, interest))
		return;
	if (name_tag_again(slot, name, generation, interest) == tag)
		chain_tag_remember(tag);
}

/* ... about a name. */
static __noinline u64 change_match_name(struct slot *slot, struct name_argument *name, u32 generation, u32 interest)
{
	u64 match;

	if (name_is_dismissed(slot, name, generation, interest))
		return 0;
	name_place(slot, name);
	match = change_match_path(slot, generation & 1);
	change_remember(slot, name, generation, interest);
	return match;
}

/* All names of a call are asked for all that the call is: who asks for a name hears of it as the new one and as the
 * old one. */
static __noinline u64 change_match(struct slot *slot, struct change *change, u32 generation)
{
	u32 interest = change_interest(change->action);
	u64 match;

	if (change->file) {
		change_resolve_file(slot, change->file, bpf_get_current_task_btf());
		return change_match_path(slot, generation & 1);
	}
	match = change_match_name(slot, &change->path, generation, interest);
	if (change->action == CHANGE_SYMLINK)
		return match | change_match_text(slot, change->other.text, generation & 1);
	if (change->action == CHANGE_RENAME || change->action == CHANGE_LINK)
		match |= change_match_name(slot, &change->other, generation, interest);
	return match;
}

static __always_inline void change_append_file(struct slot *slot, struct file_change_event *event, struct file *file,
					       struct task_struct *task)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);

	change_resolve_file(slot, file, task);
	event->inode = BPF_CORE_READ(inode, i_ino);
	event->device = device_number(BPF_CORE_READ(inode, i_sb, s_dev));
	event->file_mode = BPF_CORE_READ(inode, i_mode);
	event->file_flags = slot->path_flags |
			    file_kind_flags(BPF_CORE_READ(file, f_path.mnt), BPF_CORE_READ(file, f_path.dentry), inode);
	record_append_path(slot, &event->path);
}

static __always_inline void change_append_names(struct slot *slot, struct file_change_event *event,
						struct change *change)
{
	event->inode = 0;
	event->device = 0;
	event->file_mode = change->mode;
	name_resolve(slot, &change->path);
	event->file_flags = slot->path_flags;
	record_append_path(slot, &event->path);
}

static __always_inline void change_append_other(struct slot *slot, struct file_change_event *event,
						struct change *change)
{
	if (change->action == CHANGE_SYMLINK) {
		event->other_flags = FILE_PATH_CLAIMED;
		record_append_user_text(slot, &event->other, change->other.text);
	} else if (change->action == CHANGE_RENAME || change->action == CHANGE_LINK) {
		name_resolve(slot, &change->other);
		event->other_flags = slot->path_flags;
		record_append_path(slot, &event->other);
	} else {
		event->other_flags = 0;
		record_appended(slot, &event->other, 0);
	}
}

/* The names are resolved once more: keys are built where the record goes, and few get as far as this. */
static __noinline int change_submit(struct slot *slot, struct change *change)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct file_change_event *event = record_begin(slot, EVENT_FILE_CHANGE, sizeof(*event), task);

	event->action = change->action;
	event->size = change->size;
	event->owner = change->owner;
	event->group = change->group;
	if (change->file)
		change_append_file(slot, event, change->file, task);
	else
		change_append_names(slot, event, change);
	change_append_other(slot, event, change);
	bulk_submit(slot);
	return 0;
}

/* Takes a slot for what some rule could ask for: a name has to be read before it can be judged. */
__noinline int change_judge(struct change *change)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u32 generation = *(volatile u32 *)&open_policy_generation, asked;
	struct slot *slot;
	u64 match;

	if (!change)
		return 0; /* never; the verifier asks */
	asked = change_asked(generation, change->action, task);
	if (!asked)
		return 0;
	slot = slot_take(EVENT_FILE_CHANGE, task);
	if (!slot)
		return 0;
	match = change_match(slot, change, generation);
	if (match & asked && pattern_admit(task, EVENT_FILE_CHANGE, match >> 32))
		change_submit(slot, change);
	else
		slot_release(slot);
	return 0;
}

static __always_inline struct change change_begin(u32 action)
{
	struct change change = { .action = action, .owner = ID_KEPT, .group = ID_KEPT };

	change.path.folder = AT_FDCWD;
	change.other.folder = AT_FDCWD;
	return change;
}

static __always_inline struct pt_regs *arguments(void)
{
	return (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
}

/* A register as a value: else clang would make one load of several registers and the stack, which is refused. */
static __always_inline u64 argument(u64 value)
{
	asm volatile("" : "+r"(value));
	return value;
}

static __always_inline u32 change_action(u32 call)
{
	switch (call) {
	case CALL_LINK:
	case CALL_LINKAT:
		return CHANGE_LINK;
	case CALL_SYMLINK:
	case CALL_SYMLINKAT:
		return CHANGE_SYMLINK;
	case CALL_UNLINK:
	case CALL_UNLINKAT:
	case CALL_RMDIR:
		return CHANGE_DELETE;
	case CALL_TRUNCATE:
	case CALL_FTRUNCATE:
		return CHANGE_TRUNCATE;
	case CALL_CHMOD:
	case CALL_FCHMOD:
	case CALL_FCHMODAT:
	case CALL_FCHMODAT2:
		return CHANGE_MODE;
	case CALL_CHOWN:
	case CALL_FCHOWN:
	case CALL_LCHOWN:
	case CALL_FCHOWNAT:
		return CHANGE_OWNER;
	}
	return CHANGE_RENAME;
}

static __always_inline bool has_two_names(u32 action)
{
	return action == CHANGE_RENAME || action == CHANGE_LINK || action == CHANGE_SYMLINK;
}

static __always_inline bool has_descriptor(u32 call)
{
	return call == CALL_FTRUNCATE || call == CALL_FCHMOD || call == CALL_FCHOWN;
}

static __always_inline bool has_folder(u32 call)
{
	return call == CALL_UNLINKAT || call == CALL_FCHMODAT || call == CALL_FCHMODAT2 || call == CALL_FCHOWNAT;
}

static __always_inline void change_take_two_names(struct change *change, u32 call, struct pt_regs *regs)
{
	change->mode = change->action == CHANGE_SYMLINK ? S_IFLNK : 0;
	switch (call) {
	case CALL_RENAME:
	case CALL_LINK:
	case CALL_SYMLINK:
		change->other.text = (const char *)argument(regs->di);
		change->path.text = (const char *)argument(regs->si);
		break;
	case CALL_SYMLINKAT:
		change->other.text = (const char *)argument(regs->di);
		change->path.folder = argument(regs->si);
		change->path.text = (const char *)argument(regs->dx);
		break;
	default:
		change->other.folder = argument(regs->di);
		change->other.text = (const char *)argument(regs->si);
		change->path.folder = argument(regs->dx);
		change->path.text = (const char *)argument(regs->r10);
	}
}

/* What the call says besides the file. */
static __always_inline void change_fill(struct change *change, u32 call, u64 first, u64 second)
{
	switch (change->action) {
	case CHANGE_TRUNCATE:
		change->size = first;
		change->mode = S_IFREG;
		break;
	case CHANGE_MODE:
		change->mode = first & MODE_BITS;
		break;
	case CHANGE_OWNER:
		change->owner = first;
		change->group = second;
		break;
	case CHANGE_DELETE:
		if (call == CALL_RMDIR || (call == CALL_UNLINKAT && first & AT_REMOVEDIR))
			change->mode = S_IFDIR;
	}
}

static __always_inline void change_take_one_name(struct change *change, u32 call, struct pt_regs *regs)
{
	if (has_folder(call)) {
		change->path.folder = argument(regs->di);
		change->path.text = (const char *)argument(regs->si);
		change_fill(change, call, argument(regs->dx), argument(regs->r10));
	} else {
		change->path.text = (const char *)argument(regs->di);
		change_fill(change, call, argument(regs->si), argument(regs->dx));
	}
}

/* False: the descriptor is closed already. */
static __always_inline bool change_take_descriptor(struct change *change, u32 call, struct pt_regs *regs)
{
	change->file = opened_file(bpf_get_current_task_btf(), (u32)argument(regs->di), FETCH_PROBE);
	change_fill(change, call, argument(regs->si), argument(regs->dx));
	return change->file;
}

/* One program for all calls: what judges a change is verified once. */
SEC("tp")
int on_change_exit(struct syscall_exit_context *ctx)
{
	struct change change = change_begin(change_action(ctx->number));
	struct pt_regs *regs = arguments();
	struct name_argument swapped;

	if (ctx->result)
		return 0;
	if (has_two_names(change.action)) {
		change_take_two_names(&change, ctx->number, regs);
	} else if (!has_descriptor(ctx->number)) {
		change_take_one_name(&change, ctx->number, regs);
	} else if (!change_take_descriptor(&change, ctx->number, regs)) {
		count(COUNTER_OPEN_VANISHED);
		return 0;
	}
	change_judge(&change);
	if (ctx->number != CALL_RENAMEAT2 || !(regs->r8 & RENAME_EXCHANGE))
		return 0;
	/* Each name leads to the other's file now: two renames. */
	swapped = change.path;
	change.path = change.other;
	change.other = swapped;
	return change_judge(&change);
}

char _license[] SEC("license") = "Dual BSD/GPL";
