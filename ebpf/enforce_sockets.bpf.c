// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Say no to who asks for a Unix socket: those of the runtimes are not opened but connected to. A part of the object of
 * enforce.bpf.c; loaded where the policy has a term about it.
 *
 * Hooks: unix_stream_connect (connections), unix_may_send (datagrams). What has no name nobody can ask for: pairs, and
 * the answers to who sent without one.
 */
#include "denial.bpf.h"
#include "policy_parent.bpf.h"
#include "socket_address.bpf.h"

/* Pointers are told as memory, so that what judges them is verified once a program. */
struct asked_for {
	struct sock *socket;
	u32 hook;
	u32 padding;
};

/* Deny it? Says so, once. A socket is what it was bound to, whichever name or link led there. */
__noinline int asked_for_judge(struct asked_for *asked_for)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct judgement judgement;
	struct unix_sock *socket;
	struct inode *inode;
	struct slot *slot;
	bool is_denied;

	if (!asked_for || !judgement_begin(&judgement, POLICY_CONNECT, task))
		return 0;
	judge_credentials(&judgement, task);
	judge_program_flags(&judgement, task);
	socket = (struct unix_sock *)asked_for->socket;
	if (!may_deny(&judgement) || is_exempt(task) || runtime_mark_of(task) || !BPF_CORE_READ(socket, addr))
		return 0;
	slot = slot_take(EVENT_DENIAL, task);
	if (!slot)
		return judge_blindly(&judgement);
	judge_parent(&judgement, slot, task);
	judge_program(&judgement, slot, task, task, POLICY_EXECUTABLE);
	inode = BPF_CORE_READ(socket, path.dentry, d_inode);
	if (socket_resolve(slot, socket, task))
		judge_path(&judgement, slot, POLICY_FILE);
	else
		judgement.summary = 0;
	is_denied = judgement.summary && judgement_conclude(&judgement);
	if (is_denied && denial_admit(inode, task))
		denial_submit(&judgement, slot, inode, task, asked_for->hook, 0);
	else
		slot_release(slot);
	return is_denied;
}

SEC("lsm/unix_stream_connect")
int on_socket_connect(u64 *ctx)
{
	struct asked_for asked_for = { .socket = (void *)ctx[1], .hook = DENIAL_CONNECT };
	int earlier = ctx[3];

	if (earlier)
		return earlier;
	if (is_yes(asked_for_judge(&asked_for)))
		return -EPERM;
	return 0;
}

SEC("lsm/unix_may_send")
int on_socket_send(u64 *ctx)
{
	struct asked_for asked_for = { .hook = DENIAL_SEND, .socket = BPF_CORE_READ((struct socket *)ctx[1], sk) };
	int earlier = ctx[2];

	if (earlier)
		return earlier;
	if (is_yes(asked_for_judge(&asked_for)))
		return -EPERM;
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
