// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The policy's matcher without a hook: judges the facts of one event that a test
 * wrote down, with the functions that deny, and answers the vector of terms. Run by
 * BPF_PROG_TEST_RUN, never attached. argv lies in the memory of whoever runs it.
 *
 * The other programs run parts of it many times and take the time.
 */
#include "policy_arguments.bpf.h"
#include "policy_file.bpf.h"
#include "policy_match.bpf.h"

#define TWIN_EXECUTABLE (POLICY_EXECUTABLE / 2)
#define TWIN_PARENT (POLICY_PARENT / 2)
#define TWIN_FILE (POLICY_FILE / 2)
#define TWIN_SCRIPT (POLICY_SCRIPT / 2)
#define TWIN_PATHS 4

/* Written by tests/support/policy_twin.py. */
struct twin_facts {
	u64 access;
	u64 flags;
	u64 capabilities;
	u64 user;
	u64 args_address; /* in the memory of the running task */
	u32 args_count;
	u32 args_source; /* enum args_source */
	u32 event;
	u32 container; /* its slot */
	u32 unread;    /* bit N: dimension N cannot be read */
	u32 truncated; /* bit N: path N is */
	u32 lengths[TWIN_PATHS];
	u32 known[TWIN_PATHS]; /* number of what the file may be called */
};

struct twin_facts twin_facts;
u8 twin_paths[TWIN_PATHS][PATH_BYTES_MAX];
u32 twin_rounds;

/* The answers. */
u64 twin_terms[POLICY_WORDS];
u32 twin_denied;
u64 twin_elapsed_ns;

struct twin_context {
	struct slot *slot;
};

/* As the path walk leaves it. */
static __always_inline void twin_place(struct slot *slot, u32 path)
{
	u32 length = twin_facts.lengths[path], cursor;

	if (length >= PATH_BYTES_MAX)
		length = PATH_BYTES_MAX - 1;
	cursor = PATH_BYTES_MAX - length;
	slot->cursor = cursor;
	slot->path_flags = twin_facts.truncated >> path & 1 ? FILE_PATH_TRUNCATED : 0;
	asm volatile("" : "+r"(cursor));
	asm volatile("" : "+r"(length));
	bpf_probe_read_kernel(&slot->path[cursor & (SLOT_PATH_BYTES - 1)], length & (PATH_BYTES_MAX - 1),
			      twin_paths[path]);
}

static __always_inline bool twin_is_unread(u32 dimension)
{
	return twin_facts.unread >> dimension & 1;
}

static __always_inline void twin_judge_path(struct judgement *judgement, struct slot *slot, u32 path)
{
	if (!is_path_asked(judgement, path * 2))
		return;
	if (twin_is_unread(path * 2)) {
		judge_unread(judgement, path * 2);
		judge_unread(judgement, path * 2 + 1);
		return;
	}
	twin_place(slot, path);
	if (is_file_asked(judgement, path * 2))
		judge_known(judgement, twin_facts.known[path], path * 2);
	judge_path(judgement, slot, path * 2);
}

/* False: no term is about this event. */
static __always_inline bool twin_judge_numbers(struct judgement *judgement)
{
	if (!judgement_open(judgement, twin_facts.event & (POLICY_EVENTS - 1)))
		return false;
	judge_slot(judgement, twin_facts.container);
	if (twin_facts.event == POLICY_OPEN)
		judge_bits(judgement, POLICY_ACCESS, twin_facts.access);
	if (twin_is_unread(POLICY_FLAGS))
		judge_unread(judgement, POLICY_FLAGS);
	else
		judge_bits(judgement, POLICY_FLAGS, twin_facts.flags);
	judge_number(judgement, POLICY_USER, twin_facts.user);
	judge_bits(judgement, POLICY_CAPABILITIES, twin_facts.capabilities);
	return true;
}

static __always_inline bool twin_judge_arguments(struct judgement *judgement, struct slot *slot)
{
	struct mm_struct *mm = bpf_get_current_task_btf()->mm;

	args_begin(slot, twin_facts.args_address, twin_facts.args_count);
	if (twin_facts.args_source == ARGS_BY_ADDRESS)
		return args_judge(judgement, slot, mm, ARGS_BY_ADDRESS);
	return args_judge(judgement, slot, mm, ARGS_BY_PAGE_TABLES);
}

static __always_inline bool twin_judge(struct judgement *judgement, struct slot *slot)
{
	if (!twin_judge_numbers(judgement))
		return false;
	twin_judge_path(judgement, slot, TWIN_PARENT);
	twin_judge_path(judgement, slot, TWIN_SCRIPT);
	twin_judge_path(judgement, slot, TWIN_EXECUTABLE);
	if (twin_facts.event == POLICY_OPEN)
		twin_judge_path(judgement, slot, TWIN_FILE);
	if (!judgement->summary || !judgement_conclude(judgement))
		return false;
	return twin_facts.event != POLICY_EXEC || !is_asked(judgement, POLICY_ARGUMENTS) ||
	       twin_judge_arguments(judgement, slot);
}

SEC("raw_tp")
int twin_judge_once(void *ctx)
{
	struct judgement judgement = {};
	struct slot *slot = slot_take(EVENT_DENIAL, bpf_get_current_task_btf());

	if (!slot)
		return 1;
	twin_denied = twin_judge(&judgement, slot);
	__builtin_memcpy(twin_terms, judgement.terms, sizeof(twin_terms));
	slot_release(slot);
	return 0;
}

/* The matcher alone: the path has been walked, argv is not looked at. */
static long twin_match_step(u32 index, struct twin_context *context)
{
	struct judgement judgement;

	if (!twin_judge_numbers(&judgement))
		return 1;
	judge_path(&judgement, context->slot, POLICY_EXECUTABLE);
	if (judgement.summary)
		twin_denied = judgement_conclude(&judgement);
	return 0;
}

SEC("raw_tp")
int twin_time_matcher(void *ctx)
{
	struct twin_context context = { .slot = slot_take(EVENT_DENIAL, bpf_get_current_task_btf()) };
	u64 begin;

	if (!context.slot)
		return 1;
	twin_place(context.slot, TWIN_EXECUTABLE);
	begin = bpf_ktime_get_ns();
	bpf_loop(twin_rounds, twin_match_step, &context, 0);
	twin_elapsed_ns = bpf_ktime_get_ns() - begin;
	slot_release(context.slot);
	return 0;
}

static long twin_arguments_step(u32 index, struct twin_context *context)
{
	struct judgement judgement;

	if (!judgement_open(&judgement, POLICY_EXEC))
		return 1;
	judgement.summary = judgement.terms[0] = 1; /* the usual: one term asks for arguments */
	twin_denied = twin_judge_arguments(&judgement, context->slot);
	return 0;
}

SEC("raw_tp")
int twin_time_arguments(void *ctx)
{
	struct twin_context context = { .slot = slot_take(EVENT_DENIAL, bpf_get_current_task_btf()) };
	u64 begin;

	if (!context.slot)
		return 1;
	begin = bpf_ktime_get_ns();
	bpf_loop(twin_rounds, twin_arguments_step, &context, 0);
	twin_elapsed_ns = bpf_ktime_get_ns() - begin;
	slot_release(context.slot);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
