/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Where a Unix socket is bound, as a path in a slot: what its binder called it. That
 * nobody can change any more, while whoever may write the folder can rename what lies
 * there. Of a relative name, and of one below /proc (a descriptor's), it is where the
 * socket lies now in the binder's mount namespace. Abstract names begin with @, and
 * have one for each NUL, as /proc/net/unix shows them.
 */
#ifndef STOCKADE_SOCKET_ADDRESS_BPF_H
#define STOCKADE_SOCKET_ADDRESS_BPF_H

#include "path.bpf.h"

#define AF_UNIX 1
#define SOCKET_NAME_BYTES_MAX 109	   /* the kernel adds a NUL to a path that has none */
#define NAME_PROC 0x2f636f72702fULL	   /* "/proc/" */
#define NAME_VAR_RUN 0x6e75722f7261762fULL /* "/var/run", since long a link to /run */

static __always_inline u8 *slot_byte(struct slot *slot, u32 at)
{
	asm volatile("" : "+r"(at));
	return &slot->path[at & (SLOT_PATH_BYTES - 1)];
}

/* Each NUL of the name that ends where walked paths end. */
static long socket_show_nul(u32 index, struct slot **context)
{
	u8 *byte = slot_byte(*context, PATH_BYTES_MAX - 1 - index);

	if (!*byte)
		*byte = '@';
	return 0;
}

/* Copies a name of so many bytes; a path's ends before its NUL. */
static __always_inline void socket_copy(struct slot *slot, const char *name, u32 length)
{
	u32 cursor = PATH_BYTES_MAX - length;

	asm volatile("" : "+r"(cursor));
	asm volatile("" : "+r"(length));
	bpf_probe_read_kernel(&slot->path[cursor & (SLOT_PATH_BYTES - 1)], length & 127, name);
	slot->cursor = cursor;
	slot->path_flags = 0;
}

static __always_inline void socket_resolve_path(struct slot *slot, struct unix_sock *socket, const char *name,
						u32 length, struct task_struct *task)
{
	u64 head = 0;

	bpf_probe_read_kernel(&head, sizeof(head), name);
	if ((head & 0xff) != '/' || (head & 0xffffffffffffULL) == NAME_PROC) {
		path_resolve(slot, BPF_CORE_READ(socket, path.mnt), BPF_CORE_READ(socket, path.dentry), task);
		return;
	}
	socket_copy(slot, name, length - 1);
	if (head == NAME_VAR_RUN && *slot_byte(slot, slot->cursor + 8) == '/')
		slot->cursor += 4;
}

/* False: it has no name, so that nobody can ask for it. */
static __always_inline bool socket_resolve(struct slot *slot, struct unix_sock *socket, struct task_struct *task)
{
	struct unix_address *address = BPF_CORE_READ(socket, addr);
	u32 length = BPF_CORE_READ(address, len) - sizeof(unsigned short);
	const char *name = (void *)address + bpf_core_field_offset(struct unix_address, name) +
			   bpf_core_field_offset(struct sockaddr_un, sun_path);
	char first = 0;

	if (!address || !length || length > SOCKET_NAME_BYTES_MAX)
		return false;
	bpf_probe_read_kernel(&first, sizeof(first), name);
	if (first) {
		socket_resolve_path(slot, socket, name, length, task);
		return true;
	}
	socket_copy(slot, name, length);
	bpf_loop(length, socket_show_nul, &slot, 0);
	return true;
}

#endif
