/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Could a rule ask for this open? The order is by cost: what the file was opened
 * for, its name against a bitmap, the chain tag of its directories. Only what
 * none of these dismisses is walked and matched. See docs in open_maps.bpf.h and
 * chain_tag.bpf.h for why a dismissal is always right.
 */
#ifndef STOCKADE_OPEN_FILTER_BPF_H
#define STOCKADE_OPEN_FILTER_BPF_H

#include "chain_tag.bpf.h"
#include "limit.bpf.h"
#include "match.bpf.h"
#include "open_flags.bpf.h"

#define INTEREST_READ (INTEREST_HOST_READ | INTEREST_CONTAINER_READ)
#define INTEREST_WRITE (INTEREST_HOST_WRITE | INTEREST_CONTAINER_WRITE)
#define INTEREST_FAILED (INTEREST_HOST_FAILED | INTEREST_CONTAINER_FAILED)
#define INTEREST_MADE (INTEREST_HOST_MADE | INTEREST_CONTAINER_MADE)
#define INTEREST_RENAMED (INTEREST_HOST_RENAMED | INTEREST_CONTAINER_RENAMED)
#define INTEREST_DELETED (INTEREST_HOST_DELETED | INTEREST_CONTAINER_DELETED)
#define INTEREST_ATTRIBUTES (INTEREST_HOST_ATTRIBUTES | INTEREST_CONTAINER_ATTRIBUTES)
#define INTEREST_CONNECTED (INTEREST_HOST_CONNECTED | INTEREST_CONTAINER_CONNECTED)
#define INTEREST_ACCESSED (INTEREST_HOST_ACCESSED | INTEREST_CONTAINER_ACCESSED)
#define INTEREST_HOST                                                                                                  \
	(INTEREST_HOST_READ | INTEREST_HOST_WRITE | INTEREST_HOST_FAILED | INTEREST_HOST_MADE |                        \
	 INTEREST_HOST_RENAMED | INTEREST_HOST_DELETED | INTEREST_HOST_ATTRIBUTES | INTEREST_HOST_CONNECTED |          \
	 INTEREST_HOST_ACCESSED)
#define INTEREST_CONTAINER                                                                                             \
	(INTEREST_CONTAINER_READ | INTEREST_CONTAINER_WRITE | INTEREST_CONTAINER_FAILED | INTEREST_CONTAINER_MADE |    \
	 INTEREST_CONTAINER_RENAMED | INTEREST_CONTAINER_DELETED | INTEREST_CONTAINER_ATTRIBUTES |                     \
	 INTEREST_CONTAINER_CONNECTED | INTEREST_CONTAINER_ACCESSED)

/* The oracle of the stress test looks over our shoulder; see tests/kernel/open_oracle.bpf.c. */
#ifndef OPEN_ON_TAG_HIT
#define OPEN_ON_TAG_HIT(site, how)
#endif

/* The call that a tracepoint belongs to, by its number, which is ABI (arch/x86/entry/syscalls/syscall_64.tbl). */
enum open_call {
	CALL_OPEN = 2,
	CALL_CREAT = 85,
	CALL_OPENAT = 257,
	CALL_BY_HANDLE = 304,
	CALL_OPENAT2 = 437,
};

/* An open that succeeded, as far as the quick tests looked. */
struct open_site {
	struct task_struct *task;
	struct file *file;
	struct place place;
	u64 tag; /* of its directories; 0: not to be remembered */
	u32 generation;
	u32 access; /* enum open_access */
	u32 result;
};

/* The flags that the caller asked with: f_flags has lost O_TRUNC by now. Registers cannot change during the
 * call; openat2's are in user memory, which another thread can change. */
static __always_inline u64 requested_flags(struct task_struct *task, u32 call)
{
	struct pt_regs *regs;
	u64 flags = 0;

	if (call == CALL_CREAT)
		return O_CREAT | O_WRONLY | O_TRUNC;
	regs = (struct pt_regs *)bpf_task_pt_regs(task);
	if (call == CALL_OPENAT2) {
		bpf_probe_read_user(&flags, sizeof(flags), (void *)regs->dx);
		return flags;
	}
	flags = call == CALL_OPEN ? regs->si : regs->dx;
	/* Else clang makes one load of this and the stack's, and the verifier refuses one through two pointers. */
	asm volatile("" : "+r"(flags));
	return flags;
}

/* Did this open, which can only read, empty the file? A file with something in it was not emptied just now: that
 * answers most of them without a helper. */
static __always_inline bool open_truncates(struct file *file, struct task_struct *task, u32 call, enum fetch how)
{
	if (how != FETCH_PROBE && file->f_inode->i_size)
		return false;
	return requested_flags(task, call) & O_TRUNC;
}

/* No access at all: O_PATH (what is then opened through it is an open of its own), or O_ACCMODE's fourth value,
 * which is for ioctl only. */
static __always_inline u32 open_access_of(struct file *file, u32 mode, struct task_struct *task, u32 call,
					  enum fetch how)
{
	u32 access = (mode & FMODE_READ ? OPEN_READ : 0) | (mode & FMODE_WRITE ? OPEN_WRITE : 0);

	if (mode & FMODE_CREATED)
		access |= OPEN_CREATED;
	if (access == OPEN_READ && open_truncates(file, task, call, how))
		access |= OPEN_WRITE;
	return access;
}

static __always_inline u32 class_of(u32 access)
{
	return access & (OPEN_WRITE | OPEN_CREATED) ? OPEN_CLASS_WRITE : OPEN_CLASS_READ;
}

static __always_inline u32 class_interest(u32 class)
{
	return class == OPEN_CLASS_READ ? INTEREST_READ : INTEREST_READ | INTEREST_WRITE;
}

static __always_inline u32 access_interest(u32 access)
{
	return (access & OPEN_READ ? INTEREST_READ : 0) | (access & (OPEN_WRITE | OPEN_CREATED) ? INTEREST_WRITE : 0);
}

/* Kinds of records for the limiter: one of each pattern and program passes each second, whatever the flood. */
static __always_inline u64 pattern_kind(struct task_struct *task, u32 pattern)
{
	return BPF_CORE_READ(task, mm, exe_file, f_inode, i_ino) * 0x9e3779b97f4a7c15 + pattern;
}

/* May a record of this type leave, which this pattern asks for? What does not is counted. */
static __noinline bool pattern_admit(struct task_struct *task, u32 type, u32 pattern)
{
	u64 cgroup_id = task_cgroup_id(task);

	if (task_is_ours(task)) {
		count(COUNTER_OWN_EVENTS);
		return false;
	}
	if (limit_admits(cgroup_id, BUCKET_BULK, pattern_kind(task, pattern)))
		return true;
	count_loss(type, cgroup_id, LOSS_LIMITED);
	return false;
}

/* A cgroup that user space has not spoken of is both: what we do not know must not be dismissed. */
static __always_inline u32 scope_interest(u64 cgroup_id)
{
	u32 *tag = bpf_map_lookup_elem(&cgroup_tags, &cgroup_id);

	if (!tag)
		return INTEREST_HOST | INTEREST_CONTAINER;
	return *tag == CGROUP_CONTAINER ? INTEREST_CONTAINER : INTEREST_HOST;
}

/* Folded; a short name is padded with zeros, its head behind it and its tail before. */
static __always_inline struct name_ends name_ends_folded(struct dentry *dentry, struct dentry_facts *facts,
							 enum fetch how)
{
	struct name_ends ends = {};
	u32 padding = 64 - 8 * facts->length;

	name_fetch(dentry, facts->name, facts->length, &ends, how);
	ends.head |= FOLD;
	if (facts->length >= 8) {
		ends.tail |= FOLD;
		return ends;
	}
	ends.tail = ends.head << (padding & 63);
	ends.head = ends.tail >> (padding & 63);
	return ends;
}

/* Tag of the file's directories, for its class of opens. */
static __always_inline u64 site_tag(struct open_site *site, struct chain *chain, enum fetch how)
{
	chain->tag = chain_tag_start(site->generation, class_of(site->access));
	return chain_tag(chain, how);
}

static __always_inline struct chain chain_of(struct open_site *site, enum fetch how)
{
	struct chain chain = { .mount = mount_cast(site->place.vfsmount, how) };

	if (how != FETCH_CAST)
		chain.top = site->task->nsproxy->mnt_ns->root;
	return chain;
}

/* True: walk it and match. False: no pattern of the policy can match this open. */
static __always_inline bool open_is_suspect(struct open_site *site, const struct open_filter *filter, enum fetch how)
{
	u32 class = class_of(site->access), interest = class_interest(class);
	struct dentry *dentry = site->place.dentry;
	struct chain chain = chain_of(site, how);
	struct dentry_facts facts;

	mount_fetch(chain.mount, &chain.here, how);
	if (dentry == chain.here.root)
		return true; /* its name is that of the mount point */
	dentry_fetch(dentry, &facts, how);
	chain.dentry = facts.parent;
	if (facts.parent == dentry)
		return true;
	if (name_is_suspect(filter, class, interest, name_ends_folded(dentry, &facts, how), facts.length))
		return true;
	if (!(filter->head.prefixes & interest))
		return false;
	site->tag = site_tag(site, &chain, how);
	return !chain_tag_known(site->tag);
}

/* The same tag once more, from the start. */
static __always_inline u64 site_tag_again(struct open_site *site, enum fetch how)
{
	struct chain chain = chain_of(site, how);
	struct dentry_facts facts;

	mount_fetch(chain.mount, &chain.here, how);
	dentry_fetch(site->place.dentry, &facts, how);
	chain.dentry = facts.parent;
	return site_tag(site, &chain, how);
}

/* Its directories do not interest, and are still the ones that the tag was made of: remember them. */
static __always_inline void open_remember(struct open_site *site, struct slot *slot, struct span *span, enum fetch how)
{
	u32 class = class_of(site->access);

	if (!site->tag || slot->path_flags & FILE_PATH_TRUNCATED)
		return;
	if (directory_interest(slot, span, site->generation & 1) & class_interest(class))
		return;
	if (site_tag_again(site, how) == site->tag)
		chain_tag_remember(site->tag);
}

#endif
