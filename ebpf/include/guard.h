/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What user space and the guards say to each other. Part of the generated layout, like events.h. */
#ifndef STOCKADE_GUARD_H
#define STOCKADE_GUARD_H

#define GUARD_UNIT_DEPTH_MAX 4
#define GUARD_NAME_BYTES 64
#define GUARD_LET_GO_NS 60000000000ULL

enum guard_size {
	GUARD_SIZE_UNIT_DEPTH = GUARD_UNIT_DEPTH_MAX,
	GUARD_SIZE_NAME = GUARD_NAME_BYTES,
	GUARD_SIZE_LET_GO_S = GUARD_LET_GO_NS / 1000000000,
};

/* What was refused. */
enum guard_kind {
	GUARD_OBJECT = 0, /* a map, program or link by its number */
	GUARD_PINS = 1,	  /* removing or renaming a pin, unmounting its bpffs */
	GUARD_TASK = 2,	  /* a signal, ptrace, limits, scheduling */
	GUARD_CGROUP = 3, /* writing to a file of our cgroup, ending or freezing one above it */
	GUARD_KINDS = 4,
};

enum guarded_kind {
	GUARDED_MAP = 1,
	GUARDED_PROGRAM = 2,
	GUARDED_LINK = 3,
	GUARDED_CGROUP = 4,
	GUARDED_CGROUP_ABOVE = 5,
};

struct guard_key {
	__u64 kind; /* enum guarded_kind */
	__u64 number;
};

enum guard_mark {
	GUARD_MARK_FORKED_BY_FIRST = 1,
	GUARD_MARK_OURS = 2,
};

#endif
