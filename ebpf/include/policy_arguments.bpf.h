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
#define ARGS_STRIDE 8 /* bytes that one call of a loop's function looks at: it costs as much as two of them */
#define ARGS_BYTES_READ_MAX (256 << 10) /* what is longer, by a stride or more, counts as not read */

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

static __always_inline u32 args_cell(u32 half, u32 place)
{
	return place < POLICY_CELLS ? policy_cells[half][place] : 0;
}

/* What a state itself holds in a column; `none` where it holds nothing. */
static __always_inline u32 args_own(u32 half, u32 state, u32 column, u32 none)
{
	u32 cell = args_cell(half, state + column);

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

/* The state that a byte leads to, and the marks that reaching it makes. */
static __always_inline u32 args_step(struct args_scan *scan, u32 half, u32 state, u8 byte)
{
	u32 column = policy_classes[half][byte], next = args_own(half, state, column, ~0U);

	if (next == ~0U) {
		u32 place = args_own(half, state, POLICY_COLUMN_USUAL, 0) + column;

		next = place < POLICY_DEFAULTS ? policy_defaults[half][place] : 0;
	}
	if (next >= policy_automaton[half][POLICY_AUTOMATON_MARKING_FROM])
		args_mark(scan, args_own(half, next, POLICY_COLUMN_ENTER, 0));
	return next;
}

static __always_inline bool args_fetch(struct args_context *context, struct args_scan *scan, u64 address,
				       enum args_source source)
{
	u64 page = address & ~(u64)(ARGS_PAGE_BYTES - 1);

	if (source == ARGS_BY_ADDRESS)
		return !bpf_probe_read_user(scan->page, ARGS_PAGE_BYTES, (void *)page);
	return page_read(context->mm, page, scan->page, ARGS_PAGE_BYTES);
}

/* The next few bytes, which lie in one page. The last NUL is no step: the text ends before it. */
static __always_inline long args_bytes(u32 index, struct args_context *context, enum args_source source)
{
	struct args_scan *scan = args_scan_of(context->slot);
	u64 begin = scan->address, address = (begin & ~(u64)(ARGS_STRIDE - 1)) + (u64)index * ARGS_STRIDE;
	u32 at = address & (ARGS_PAGE_BYTES - ARGS_STRIDE), half = scan->half & 1, state = scan->state;

	if ((!index || !at) && !args_fetch(context, scan, address, source)) {
		scan->outcome = ARGS_UNREADABLE;
		return 1;
	}
	for (u32 i = 0; i < ARGS_STRIDE; i++) {
		u8 byte = scan->page[at + i];

		if (address + i < begin)
			continue;
		if (!byte && !--scan->strings) {
			scan->state = state;
			scan->outcome = ARGS_READ;
			return 1;
		}
		state = args_step(scan, half, state, byte);
	}
	scan->state = state;
	return 0;
}

static long args_bytes_by_page_tables(u32 index, struct args_context *context)
{
	return args_bytes(index, context, ARGS_BY_PAGE_TABLES);
}

static long args_bytes_by_address(u32 index, struct args_context *context)
{
	return args_bytes(index, context, ARGS_BY_ADDRESS);
}

struct clause_context {
	struct judgement *judgement;
	struct args_scan *scan;
};

/* One clause takes the terms away that its answer does not leave; the last one that is left ends it. */
static long args_clause(u32 index, struct clause_context *context)
{
	struct judgement *judgement = context->judgement;
	struct args_scan *scan = context->scan;
	u32 half = scan->half & 1;
	const u64 *marks, *vector;
	u64 some = 0, left = 0;

	if (index >= POLICY_CLAUSES)
		return 1;
	marks = policy_clause_marks[half][index];
	for (u32 word = 0; word < POLICY_MARK_WORDS; word++)
		some |= marks[word] & scan->marks[word];
	vector = policy_vector(policy_clause_vectors[half][index][some ? 0 : 1]);
	for (u32 word = 0; word < POLICY_WORDS && judgement->summary >> word; word++) {
		if (judgement->summary >> word & 1)
			left |= judgement->terms[word] &= vector[word];
	}
	return !left;
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

/* Where argv begins and how many strings it has. */
static __always_inline void args_begin(struct slot *slot, u64 address, u32 strings)
{
	struct args_scan *scan = args_scan_of(slot);

	scan->address = address;
	scan->strings = strings;
}

/* Of the terms that all else leaves, those that argv leaves too. After args_begin(). */
static __noinline bool args_judge(struct judgement *judgement, struct slot *slot, struct mm_struct *mm,
				  enum args_source source)
{
	struct args_context context = { .slot = slot, .mm = mm };
	struct clause_context clauses = { .judgement = judgement };
	struct args_scan *scan = args_scan_of(slot);
	u32 half = judgement->half & 1;

	__builtin_memset(scan->marks, 0, sizeof(scan->marks));
	scan->half = half;
	scan->state = policy_automaton[half][POLICY_AUTOMATON_START];
	scan->outcome = scan->strings ? ARGS_TOO_LONG : ARGS_READ;
	if (!scan->strings)
		; /* no argument at all, which kernels before 5.18 allowed */
	else if (source == ARGS_BY_ADDRESS)
		bpf_loop(ARGS_BYTES_READ_MAX / ARGS_STRIDE + 1, args_bytes_by_address, &context, 0);
	else
		bpf_loop(ARGS_BYTES_READ_MAX / ARGS_STRIDE + 1, args_bytes_by_page_tables, &context, 0);
	if (scan->outcome != ARGS_READ) {
		args_and(judgement, policy_unread[half][POLICY_ARGUMENTS]);
		return is_enforced(judgement);
	}
	args_mark(scan, args_own(half, scan->state, POLICY_COLUMN_END, 0));
	clauses.scan = scan;
	bpf_loop(policy_automaton[half][POLICY_AUTOMATON_CLAUSES], args_clause, &clauses, 0);
	return is_enforced(judgement);
}

static __always_inline bool judge_arguments(struct judgement *judgement, struct slot *slot, struct linux_binprm *bprm,
					    struct mm_struct *mm, enum args_source source)
{
	args_begin(slot, source == ARGS_BY_ADDRESS ? mm->arg_start : bprm->p, bprm->argc > 0 ? bprm->argc : 0);
	return args_judge(judgement, slot, mm, source);
}

#endif
