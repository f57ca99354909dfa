/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Keys and values of the maps that user space writes or reads. Part of the
 * generated layout, like events.h.
 */
#ifndef STOCKADE_POLICY_H
#define STOCKADE_POLICY_H

struct loss_key {
	__u64 cgroup_id;
	__u32 type;   /* enum event_type */
	__u32 reason; /* enum loss_reason */
};

/* A token bucket, one for bulk records and one for execs, per cgroup over all CPUs. */
struct bucket {
	__u64 refilled_ktime_ns;
	__s64 tokens;
};

struct bucket_key {
	__u64 cgroup_id;
	__u32 kind; /* enum bucket_kind */
	__u32 padding;
};

enum bucket_kind {
	BUCKET_BULK = 0,
	BUCKET_EXEC = 1,
};

/* Which hierarchy's cgroups tell containers apart, as one word: in the lowest byte the controller whose place in
 * css_set leads there, from the shift on the hierarchy's number (0 is cgroup2). Every cgroup id on the wire carries
 * that number in the same place: hierarchies number their cgroups independently, and the choice may change while
 * records wait in the rings. */
enum tag_hierarchy_word {
	TAG_CONTROLLER_CGROUP2 = 0,
	TAG_CONTROLLER_PIDS = 1,
	TAG_CONTROLLER_MEMORY = 2,
	TAG_CONTROLLER_MASK = 0xff,
	TAG_HIERARCHY_SHIFT = 40, /* ids stay below it, and below what a double holds exactly */
};

/* What a cgroup is to the open filter. No entry: not known yet, and everything interests. */
enum cgroup_tag {
	CGROUP_HOST = 1,
	CGROUP_CONTAINER = 2,
};

/* Which opens (to read, to write, failed) and which changes interest: a bit for the host and one for containers. */
enum open_interest {
	INTEREST_HOST_READ = 1 << 0,
	INTEREST_HOST_WRITE = 1 << 1,
	INTEREST_CONTAINER_READ = 1 << 2,
	INTEREST_CONTAINER_WRITE = 1 << 3,
	INTEREST_HOST_FAILED = 1 << 4,
	INTEREST_CONTAINER_FAILED = 1 << 5,
	INTEREST_HOST_MADE = 1 << 6, /* a name leads to something else now, or its file was cut */
	INTEREST_CONTAINER_MADE = 1 << 7,
	INTEREST_HOST_RENAMED = 1 << 8,
	INTEREST_CONTAINER_RENAMED = 1 << 9,
	INTEREST_HOST_DELETED = 1 << 10,
	INTEREST_CONTAINER_DELETED = 1 << 11,
	INTEREST_HOST_ATTRIBUTES = 1 << 12, /* mode or owner */
	INTEREST_CONTAINER_ATTRIBUTES = 1 << 13,
	INTEREST_HOST_CONNECTED = 1 << 14, /* to the Unix socket of that path */
	INTEREST_CONTAINER_CONNECTED = 1 << 15,
	INTEREST_HOST_ACCESSED = 1 << 16, /* another process: whatever path */
	INTEREST_CONTAINER_ACCESSED = 1 << 17,
};

/* Which bitmap of names judges an open. */
enum open_class {
	OPEN_CLASS_READ = 0,  /* can read, cannot change */
	OPEN_CLASS_WRITE = 1, /* can write, has created or truncated; may read too. And all changes */
	OPEN_CLASS_COUNT = 2,
};

/* Sizes of the open filter that both sides compute with. */
enum open_filter_size {
	OPEN_NAME_BITMAP_BYTES = 8192,
	OPEN_PATH_KEY_BYTES = 256, /* a trie takes no more; one byte says which space */
	OPEN_ENDING_KEY_BYTES = 64,
	OPEN_PATTERNS_MAX = 4096, /* entries of each trie, both halves together */
};

/* First byte of a key in the trie of paths, to which the half of the policy (0, 1) is added. */
enum open_key_space {
	OPEN_SPACE_PATHS = 0,
	OPEN_SPACE_DIRECTORIES = 2, /* what could match a file that lies directly in there */
};

/* What a pattern, and every shorter one that it implies, asks for. */
struct open_interest_value {
	__u32 interest; /* enum open_interest */
	__u32 pattern;	/* index in the policy; for the limiter */
};

/* Unions of interest over the patterns of each kind. Then, for each class, follows a bitmap of names. */
struct open_filter_head {
	__u32 wanted; /* all kinds */
	__u32 any;
	__u32 exacts;
	__u32 prefixes;
	__u32 suffixes;
	__u32 endings_of_four; /* suffixes without a slash, of four bytes or more */
	__u32 endings_of_two;  /* shorter ones */
	__u32 padding;
};

/*
 * Denial: the policy as bit vectors. A term is a bit; for each dimension of an event a lookup answers the index of
 * the vector of all terms that this value satisfies; the AND of them is what the event fulfils. Two halves: new
 * policy is written to the one that is not in force, and one store to policy_generation switches.
 */
enum policy_size {
	POLICY_TERMS_MAX = 1024,
	POLICY_WORDS = 16,	  /* of 64 terms; behind them, one word that says which of them are not zero */
	POLICY_VECTORS = 4096,	  /* both halves; equal vectors are stored once. The first one has every bit */
	POLICY_CONTAINERS = 4096, /* slots; see enum policy_container */
	POLICY_CGROUPS = 65536,	  /* entries of the table of cgroups */
	POLICY_KEY_BYTES = 256,	  /* a trie takes no more; one byte says which space */
	POLICY_TEXTS = 8192,	  /* entries of each trie, both halves */
	POLICY_NUMBERS = 4096,	  /* uids, both halves */
	POLICY_NOTHING = POLICY_VECTORS - 1, /* the vector without a bit; neither half's */
	POLICY_FILES = 32768,		     /* entries of the table of files, of all containers */
	POLICY_FILE_PATHS = 1024,	     /* what one of them may be called, as numbers */
	POLICY_FILE_PARTS = 5,		     /* inodes behind one: itself, and what overlayfs shows of others */
	POLICY_NAMED_BITS = 8,		     /* of each dimension of bits */
	POLICY_COMBINATIONS = 256,
	/* The automaton over argv; see monitor/model/argument_automaton.py for what these are. */
	POLICY_CELLS = 65536 + 256,
	POLICY_DEFAULTS = 32768 + 256,
	POLICY_MARKINGS = 1024,
	POLICY_MARK_WORDS = 4,
	POLICY_CLAUSES = 256,
};

/* Numbers about one half's automaton. */
enum policy_automaton_word {
	POLICY_AUTOMATON_START = 0,
	POLICY_AUTOMATON_MARKING_FROM = 1,
	POLICY_AUTOMATON_CLAUSES = 2,
	POLICY_AUTOMATON_WORDS = 4,
};

/* How a marking changes marks: of each, POLICY_MARK_WORDS words. */
enum policy_marking_part {
	POLICY_MARKING_CLEARS = 0,
	POLICY_MARKING_SETS = 1,
	POLICY_MARKING_FOLLOWS = 2,
	POLICY_MARKING_PARTS = 3,
};

/* Columns of a state that are no byte's. */
enum policy_column {
	POLICY_COLUMN_ENTER = 0,
	POLICY_COLUMN_END = 1,
	POLICY_COLUMN_USUAL = 2,
};

/* The lookups. Those of texts come first, in pairs: where a path begins, how it ends. */
enum policy_dimension {
	POLICY_EXECUTABLE = 0,
	POLICY_EXECUTABLE_END = 1,
	POLICY_PARENT = 2,
	POLICY_PARENT_END = 3,
	POLICY_FILE = 4,
	POLICY_FILE_END = 5,
	POLICY_SCRIPT = 6,
	POLICY_SCRIPT_END = 7,
	POLICY_ACCESS = 8,
	POLICY_FLAGS = 9,
	POLICY_CAPABILITIES = 10,
	POLICY_USER = 11,
	POLICY_CONTAINER = 12,
	POLICY_ARGUMENTS = 13,
	POLICY_SYSTEM_FILE = 14,
	POLICY_EVENT = 15,
	POLICY_DIMENSIONS = 16,
	POLICY_DIMENSIONS_STRIDE = 16, /* of tables with a number for each */
};

/* What a term can be about. From POLICY_CREATE on: what is done to a name. */
enum policy_event {
	POLICY_EXEC = 0,
	POLICY_OPEN = 1,
	POLICY_CREATE = 2, /* a file that was not there, a folder, a node */
	POLICY_RENAME = 3, /* something gets this name by rename */
	POLICY_DELETE = 4, /* what had it has it no more: removed, renamed, replaced */
	POLICY_LINK = 5,   /* this name is made for a file that has one */
	POLICY_LINKED = 6, /* the file of this name gets another one */
	POLICY_SYMLINK = 7,
	POLICY_TRUNCATE = 8,
	POLICY_MODE = 9,
	POLICY_OWNER = 10,
	POLICY_MAP = 11,     /* the file, as the program that it would be, is mapped to be executed */
	POLICY_PTRACE = 12,  /* a process is controlled or read by another; the file is the program that it runs */
	POLICY_CONNECT = 13, /* to a socket; the file is the place that it is bound to */
	POLICY_ENDED = 14,   /* an execution, of tier lsm: decided when it has taken place, by arguments alone */
	POLICY_EVENTS = 16,  /* room */
};

/* Slots of the table of containers. User space gives each container one of those above. */
enum policy_container {
	POLICY_HOST = 0,
	POLICY_PENDING = 1, /* a container of which user space has not spoken yet */
	POLICY_FIRST_CONTAINER = 2,
};

/* A file that user space has found at a path that terms name, in one container: whichever name leads to it, it is that
 * file. Its file system may give the inode to another one: the generation is then another. */
struct policy_file_key {
	__u64 inode;
	__u64 device;
	__u32 generation;
	__u32 slot; /* of the container */
};

/* Whose path it is: half the number of its lookups. */
enum policy_subject {
	POLICY_SUBJECT_EXECUTABLE = 0,
	POLICY_SUBJECT_PARENT = 1,
	POLICY_SUBJECT_FILE = 2,
	POLICY_SUBJECT_SCRIPT = 3,
	POLICY_SUBJECTS = 4,
};

/* The file system that a container's root is on. */
struct container_root {
	__u64 device;
	__u64 is_overlay;
};

/* What a file of the runtimes' is. */
enum runtime_file_kind {
	RUNTIME_FILE_RUNTIME = 1,
	RUNTIME_FILE_HELPER = 2, /* bound into containers: an init */
};

/* Bits of POLICY_FLAGS beside enum file_flag. */
enum policy_flag {
	POLICY_FLAG_32BIT = 1 << 16,
	POLICY_FLAG_RUNTIME_INIT = 1 << 17,
};

#endif
