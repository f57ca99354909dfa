/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Which terms argv leaves standing: an automaton over its bytes.
 *
 * argv is read a page at a time into the slot, where nobody can change it, and
 * judged from there. Two ways to get at a page: before the program's memory belongs
 * to anybody (bprm->mm) by a walk of its page tables; after the point of no return
 * by address. See monitor/model/argument_automaton.py for what the tables mean.
 */
#ifndef STOCKADE_POLICY_ARGUMENTS_BPF_H
#define STOCKADE_POLICY_ARGUMENTS_BPF_H

#include "page_walk.bpf.h"
#include "policy_match.bpf.h"

#define ARGS_PAGE_BYTES 4096
#define ARGS_BYTES_READ_MAX (256 << 10) /* what is longer counts as not read */

enum args_source {
	ARGS_BY_PAGE_TABLES,
	ARGS_BY_ADDRESS,
};

enum args_outcome {
	ARGS_TOO_LONG = 0, /* the scan came to its end before argv did */
	ARGS_READ,
	ARGS_UNREADABLE,
};

/* Where the record will be: it has not been begun. */
struct args_scan {
	u64 marks[POLICY_MARK_WORDS];
	u64 address; /* of argv[0] */
	u32 strings; /* that have not ended */
	u32 state;
	u32 half;
	u32 outcome;
	u8 page[ARGS_PAGE_BYTES];
};

struct args_context {
	struct slot *slot;
	struct mm_struct *mm;
};

static __always_inline struct args_scan *args_scan_of(struct slot *slot)
{
	return (struct args_scan *)slot->record;
}

static __always_inline u32 args_cell(struct args_scan *scan, u32 state, u32 column)
{
	u32 place = state + column;

	if (place >= POLICY_CELLS)
		return 0;
	return policy_cells[scan->half & 1][place];
}

/* What a state itself holds in a column; `none` where it holds nothing. */
static __always_inline u32 args_own(struct args_scan *scan, u32 state, u32 column, u32 none)
{
	u32 cell = args_cell(scan, state, column);

	return cell >> 16 == state ? cell & 0xffff : none;
}

static __always_inline void args_mark(struct args_scan *scan, u32 number)
{
	const u64 *marking = policy_markings[scan->half & 1][number & (POLICY_MARKINGS - 1)];

	for (u32 word = 0; word < POLICY_MARK_WORDS; word++) {
		u64 marks = scan->marks[word];

		scan->marks[word] = (marks & ~marking[POLICY_MARKING_CLEARS * POLICY_MARK_WORDS + word]) |
				    marking[POLICY_MARKING_SETS * POLICY_MARK_WORDS + word] |
				    (marking[POLICY_MARKING_FOLLOWS * POLICY_MARK_WORDS + word] & marks << 1);
	}
}

static __always_inline void args_step(struct args_scan *scan, u8 byte)
{
	u32 half = scan->half & 1, column = policy_classes[half][byte], state = scan->state;
	u32 next = args_own(scan, state, column, ~0U);

	if (next == ~0U) {
		u32 place = args_own(scan, state, POLICY_COLUMN_USUAL, 0) + column;

		next = place < POLICY_DEFAULTS ? policy_defaults[half][place] : 0;
	}
	scan->state = next;
	if (next >= policy_automaton[half][POLICY_AUTOMATON_MARKING_FROM])
		args_mark(scan, args_own(scan, next, POLICY_COLUMN_ENTER, 0));
}

static __always_inline bool args_fetch(struct args_context *context, struct args_scan *scan, u64 address,
				       enum args_source source)
{
	u64 page = address & ~(u64)(ARGS_PAGE_BYTES - 1);

	if (source == ARGS_BY_ADDRESS)
		return !bpf_probe_read_user(scan->page, ARGS_PAGE_BYTES, (void *)page);
	return page_read(context->mm, page, scan->page, ARGS_PAGE_BYTES);
}

/* One byte. The last NUL is no step: the text ends before it. */
static __always_inline long args_byte(u32 index, struct args_context *context, enum args_source source)
{
	struct args_scan *scan = args_scan_of(context->slot);
	u64 address = scan->address + index;
	u32 at = address & (ARGS_PAGE_BYTES - 1);
	u8 byte;

	if ((!index || !at) && !args_fetch(context, scan, address, source)) {
		scan->outcome = ARGS_UNREADABLE;
		return 1;
	}
	byte = scan->page[at];
	if (!byte && !--scan->strings) {
		scan->outcome = ARGS_READ;
		return 1;
	}
	args_step(scan, byte);
	return 0;
}

static long args_byte_by_page_tables(u32 index, struct args_context *context)
{
	return args_byte(index, context, ARGS_BY_PAGE_TABLES);
}

static long args_byte_by_address(u32 index, struct args_context *context)
{
	return args_byte(index, context, ARGS_BY_ADDRESS);
}

struct clause_context {
	struct judgement *judgement;
	struct args_scan *scan;
};

/* One clause takes the terms away that its answer does not leave. */
static long args_clause(u32 index, struct clause_context *context)
{
	struct judgement *judgement = context->judgement;
	struct args_scan *scan = context->scan;
	u32 half = scan->half & 1;
	const u64 *marks, *vector;
	u64 some = 0;

	if (index >= POLICY_CLAUSES)
		return 1;
	marks = policy_clause_marks[half][index];
	for (u32 word = 0; word < POLICY_MARK_WORDS; word++)
		some |= marks[word] & scan->marks[word];
	vector = policy_vector(policy_clause_vectors[half][index][some ? 0 : 1]);
	for (u32 word = 0; word < POLICY_WORDS; word++)
		judgement->terms[word] &= vector[word];
	return 0;
}

/* Terms that are left, by their bits; true: one that is enforced is among them. */
static __always_inline bool is_enforced(struct judgement *judgement)
{
	const u64 *enforced = policy_vector(judgement->enforced);
	u64 denied = 0;

	for (u32 word = 0; word < POLICY_WORDS; word++)
		denied |= judgement->terms[word] & enforced[word];
	return denied;
}

static __always_inline void args_and(struct judgement *judgement, u32 index)
{
	const u64 *vector = policy_vector(index);

	for (u32 word = 0; word < POLICY_WORDS; word++)
		judgement->terms[word] &= vector[word];
}

/* Of the terms that all else leaves, those that argv leaves too. */
static __noinline bool judge_arguments(struct judgement *judgement, struct slot *slot, struct linux_binprm *bprm,
				       struct mm_struct *mm, enum args_source source)
{
	struct args_context context = { .slot = slot, .mm = mm };
	struct clause_context clauses = { .judgement = judgement };
	struct args_scan *scan = args_scan_of(slot);
	u32 half = judgement->half & 1;

	__builtin_memset(scan->marks, 0, sizeof(scan->marks));
	scan->address = source == ARGS_BY_ADDRESS ? mm->arg_start : bprm->p;
	scan->strings = bprm->argc;
	scan->half = half;
	scan->state = policy_automaton[half][POLICY_AUTOMATON_START];
	scan->outcome = bprm->argc > 0 ? ARGS_TOO_LONG : ARGS_READ;
	if (bprm->argc <= 0)
		; /* no argument at all, which kernels before 5.18 allowed */
	else if (source == ARGS_BY_ADDRESS)
		bpf_loop(ARGS_BYTES_READ_MAX, args_byte_by_address, &context, 0);
	else
		bpf_loop(ARGS_BYTES_READ_MAX, args_byte_by_page_tables, &context, 0);
	if (scan->outcome != ARGS_READ) {
		args_and(judgement, policy_unread[half][POLICY_ARGUMENTS]);
		return is_enforced(judgement);
	}
	args_mark(scan, args_own(scan, scan->state, POLICY_COLUMN_END, 0));
	clauses.scan = scan;
	bpf_loop(policy_automaton[half][POLICY_AUTOMATON_CLAUSES], args_clause, &clauses, 0);
	return is_enforced(judgement);
}

#endif
