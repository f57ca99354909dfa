// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Opens of files that a rule could ask for.
 *
 * Hooks: sys_exit_{open,openat,openat2,creat,open_by_handle_at}, all of one
 * program, which is so verified once. The loader takes one of two: *_typed is
 * for kernels before 6.2.
 * On exit only: what counts is the file that was opened, not what was asked for.
 */
#include "maps.bpf.h"
#include "bulk.bpf.h"
#include "open_filter.bpf.h"

static __noinline int open_submit(struct open_site *site, struct slot *slot, struct task_struct *task)
{
	struct file *file = site->file;
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	struct file_open_event *event = record_begin(slot, EVENT_FILE_OPEN, sizeof(*event), task);

	event->inode = BPF_CORE_READ(inode, i_ino);
	event->device = device_number(BPF_CORE_READ(inode, i_sb, s_dev));
	event->open_flags = BPF_CORE_READ(file, f_flags);
	event->access = site->access;
	event->file_flags = slot->path_flags | file_kind_flags(site->place.vfsmount, site->place.dentry, inode);
	event->file_mode = BPF_CORE_READ(inode, i_mode);
	event->link_count = BPF_CORE_READ(inode, __i_nlink);
	event->result = site->result;
	event->padding = 0;
	record_append_path(slot, &event->path);
	bulk_submit(slot);
	return 0;
}

/* The quick tests could not dismiss it: walk, match, report. */
static __always_inline int open_judge(struct open_site *site, enum fetch how)
{
	struct task_struct *task = bpf_get_current_task_btf();
	const struct open_filter *filter = &open_filters[site->generation & 1];
	u32 asked = access_interest(site->access) & scope_interest(task_cgroup_id(task));
	struct slot *slot;
	struct span span;
	u64 match;

	if (!site->tag && !(filter->head.wanted & asked))
		return 0;
	count(COUNTER_OPEN_WALKS);
	slot = slot_take(EVENT_FILE_OPEN, task);
	if (!slot)
		return 0;
	path_resolve(slot, site->place.vfsmount, site->place.dentry, task);
	span.begin = slot->cursor;
	span.length = PATH_BYTES_MAX - span.begin;
	match = path_match(slot, &span, site->generation & 1);
	open_remember(site, slot, &span, how);
	if (match & asked && pattern_admit(task, EVENT_FILE_OPEN, match >> 32))
		open_submit(site, slot, task);
	else
		slot_release(slot);
	return 0;
}

static __noinline int open_judge_cast(struct open_site *site)
{
	return open_judge(site, FETCH_CAST);
}

static __noinline int open_judge_typed(struct open_site *site)
{
	return open_judge(site, FETCH_TYPED);
}

static __noinline int open_judge_probe(struct open_site *site)
{
	return open_judge(site, FETCH_PROBE);
}

/* Every path interests: then only the cgroup can dismiss. */
static __always_inline bool open_any(const struct open_filter_head *head, u32 access, struct task_struct *task)
{
	u32 any = head->any & access_interest(access);

	return any && any & scope_interest(task_cgroup_id(task));
}

/* Fills `site`. False: the quick tests have dismissed it. */
static __always_inline bool open_concerns(struct syscall_exit_context *ctx, struct open_site *site, enum fetch how)
{
	const struct open_filter *filter;
	struct file_facts facts;

	site->tag = 0;
	site->generation = *(volatile u32 *)&open_policy_generation;
	site->result = ctx->result;
	filter = &open_filters[site->generation & 1];
	file_fetch(site->file, &facts, how);
	site->place = facts.place;
	site->access = open_access_of(site->file, facts.mode, site->task, ctx->number, how);
	if (!(filter->head.wanted & access_interest(site->access)))
		return false;
	if (open_is_suspect(site, filter, how) || open_any(&filter->head, site->access, site->task))
		return true;
	OPEN_ON_TAG_HIT(site, how);
	return false;
}

/* Each way has a frame of its own: together they would not fit the stack. */
static __noinline bool open_concerns_typed(struct syscall_exit_context *ctx, struct open_site *site)
{
	return open_concerns(ctx, site, FETCH_TYPED);
}

static __noinline bool open_concerns_probe(struct syscall_exit_context *ctx, struct open_site *site)
{
	return open_concerns(ctx, site, FETCH_PROBE);
}

static __always_inline int open_vanished(void)
{
	count(COUNTER_OPEN_VANISHED);
	return 0;
}

static __always_inline int open_succeeded_cast(struct syscall_exit_context *ctx)
{
	struct open_site site;

	site.task = bpf_get_current_task_btf();
	site.file = opened_file(site.task, ctx->result, FETCH_CAST);
	if (!site.file)
		return open_vanished();
	return open_concerns(ctx, &site, FETCH_CAST) ? open_judge_cast(&site) : 0;
}

static __always_inline int open_succeeded_without_cast(struct syscall_exit_context *ctx)
{
	struct open_site site;

	site.task = bpf_get_current_task_btf();
	if (descriptor_is_embedded(site.task, ctx->result)) {
		site.file = embedded_file(site.task, ctx->result);
		if (!site.file)
			return open_vanished();
		return open_concerns_typed(ctx, &site) ? open_judge_typed(&site) : 0;
	}
	site.file = opened_file(site.task, ctx->result, FETCH_PROBE);
	if (!site.file)
		return open_vanished();
	return open_concerns_probe(ctx, &site) ? open_judge_probe(&site) : 0;
}

/* What the caller said, for an open that came to no file: a claim. */
static __always_inline const char *requested_path(struct task_struct *task, u32 call)
{
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);

	return (const char *)(call == CALL_OPEN || call == CALL_CREAT ? regs->di : regs->si);
}

static __always_inline u32 requested_access(u64 flags)
{
	u32 mode = flags & O_ACCMODE;
	u32 access = (mode == O_WRONLY ? 0 : OPEN_READ) | (mode == O_WRONLY || mode == O_RDWR ? OPEN_WRITE : 0);

	return flags & (O_CREAT | O_TRUNC) ? access | OPEN_WRITE : access;
}

static __always_inline void failed_submit(struct syscall_exit_context *ctx, u32 call, struct slot *slot,
					  struct span span, struct task_struct *task)
{
	struct file_open_event *event = record_begin(slot, EVENT_FILE_OPEN, sizeof(*event), task);

	event->inode = 0;
	event->device = 0;
	event->open_flags = requested_flags(task, call);
	event->access = requested_access(event->open_flags);
	event->file_flags = FILE_PATH_CLAIMED;
	event->file_mode = 0;
	event->link_count = 0;
	event->result = ctx->result;
	event->padding = 0;
	record_append(slot, &event->path, &slot->path[CLAIMED_PATH_BEGIN], span.length);
	bulk_submit(slot);
}

/* Takes a slot at once: failed opens are only looked at when a rule asks for them. */
static __noinline int failed_judge(struct syscall_exit_context *ctx, u32 call, u32 half)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct span span = { .begin = CLAIMED_PATH_BEGIN };
	u32 asked = INTEREST_FAILED & scope_interest(task_cgroup_id(task));
	struct slot *slot;
	long length;
	u64 match;

	if (!(open_filters[half & 1].head.wanted & asked))
		return 0;
	slot = slot_take(EVENT_FILE_OPEN, task);
	if (!slot)
		return 0;
	length = bpf_probe_read_user_str(&slot->path[CLAIMED_PATH_BEGIN], PATH_BYTES_MAX, requested_path(task, call));
	span.length = length > 0 ? length - 1 : 0;
	slot->path_flags = FILE_PATH_CLAIMED;
	match = path_match(slot, &span, half & 1);
	if (match & asked && pattern_admit(task, EVENT_FILE_OPEN, match >> 32))
		failed_submit(ctx, call, slot, span, task);
	else
		slot_release(slot);
	return 0;
}

static __always_inline int open_failed(struct syscall_exit_context *ctx)
{
	u32 half = *(volatile u32 *)&open_policy_generation & 1;

	if (ctx->number == CALL_BY_HANDLE || !(open_filters[half].head.wanted & INTEREST_FAILED))
		return 0; /* a handle has no name */
	return failed_judge(ctx, ctx->number, half);
}

SEC("tp")
int on_open_exit(struct syscall_exit_context *ctx)
{
	return ctx->result < 0 ? open_failed(ctx) : open_succeeded_cast(ctx);
}

SEC("tp")
int on_open_exit_typed(struct syscall_exit_context *ctx)
{
	return ctx->result < 0 ? open_failed(ctx) : open_succeeded_without_cast(ctx);
}

char _license[] SEC("license") = "Dual BSD/GPL";
