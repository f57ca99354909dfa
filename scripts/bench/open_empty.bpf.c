// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The floor: programs on the same tracepoints that do nothing. */
#define SEC(name) __attribute__((section(name), used))

#define EMPTY(call)                                                                                                    \
	SEC("tp/syscalls/sys_exit_" #call) int on_##call##_empty(__attribute__((unused)) void *context)                \
	{                                                                                                              \
		return 0;                                                                                              \
	}

EMPTY(open)
EMPTY(openat)
EMPTY(openat2)
EMPTY(creat)
EMPTY(open_by_handle_at)

char _license[] SEC("license") = "Dual BSD/GPL";
