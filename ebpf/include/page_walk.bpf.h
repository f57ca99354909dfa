/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Read memory of a process that does not exist yet: no helper takes a foreign mm, so
 * its page tables are walked (x86-64, four or five levels), and the page is read where
 * the kernel maps all memory. Nobody else can reach that mm, so nothing changes
 * meanwhile. Whether the walk works is proved at start by a canary.
 */
#ifndef STOCKADE_PAGE_WALK_BPF_H
#define STOCKADE_PAGE_WALK_BPF_H

#include "kernel_types.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define PAGE_ADDRESS_MASK 0x000ffffffffff000ULL
#define PAGE_PRESENT 1ULL
#define PAGE_HUGE 0x80ULL
#define TABLE_ENTRIES_MASK 511
#define LEVELS_SHIFT_FIVE 48 /* pgdir_shift with five levels */

/* Variables of the kernel; they may be missing from kallsyms, and are not variables on every configuration. */
extern const void page_offset_base __ksym __weak;
extern const void pgdir_shift __ksym __weak;
extern const void sme_me_mask __ksym __weak;

/* The table that an entry leads to, at the address where the kernel maps it; 0: none. */
static __always_inline u64 page_table_next(u64 table, u64 address, u32 shift, u64 base, u64 mask)
{
	u64 entry = 0;

	if (bpf_probe_read_kernel(&entry, sizeof(entry), (void *)(table + (address >> shift & TABLE_ENTRIES_MASK) * 8)))
		return 0;
	if (!(entry & PAGE_PRESENT) || (shift > 12 && shift < 39 && entry & PAGE_HUGE))
		return 0;
	return base + (entry & mask);
}

/* Read a page of that memory. False: it is not there, or this kernel does not tell how to find it. */
static __always_inline bool page_read(struct mm_struct *mm, u64 address, void *into, u32 bytes)
{
	u64 base = 0, encrypted = 0, mask, table = (u64)BPF_CORE_READ(mm, pgd);
	u32 top = 39;

	if (!&page_offset_base)
		return false;
	bpf_probe_read_kernel(&base, sizeof(base), &page_offset_base);
	if (&sme_me_mask)
		bpf_probe_read_kernel(&encrypted, sizeof(encrypted), &sme_me_mask);
	if (&pgdir_shift)
		bpf_probe_read_kernel(&top, sizeof(top), &pgdir_shift);
	mask = PAGE_ADDRESS_MASK & ~encrypted;
	if (top == LEVELS_SHIFT_FIVE) {
		table = page_table_next(table, address, 48, base, mask);
		if (!table)
			return false;
	}
	table = page_table_next(table, address, 39, base, mask);
	if (!table)
		return false;
	table = page_table_next(table, address, 30, base, mask);
	if (!table)
		return false;
	table = page_table_next(table, address, 21, base, mask);
	if (!table)
		return false;
	table = page_table_next(table, address, 12, base, mask);
	return table && !bpf_probe_read_kernel(into, bytes, (void *)table);
}

#endif
