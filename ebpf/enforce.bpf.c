// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Say no. An object of its own, which may be pinned and then outlives the service:
 * it has its own ring, scratch memory and counters, and keeps the table of cgroups
 * itself.
 *
 * Hooks: bprm_check_security (denies an execution), bprm_creds_for_exec (denies what only asks for one),
 * file_open (denies an open); sched_process_exec (ends an execution, where there is no BPF LSM);
 * sched_process_fork, sched_process_exec, cgroup_mkdir, cgroup_rmdir for whose a task and a cgroup is.
 */
#define SLOT_TRIES 16

#include "emit.bpf.h"
#include "limit.bpf.h"
#include "open_flags.bpf.h"
#include "policy_arguments.bpf.h"
#include "policy_match.bpf.h"
#include "runtime_mark.bpf.h"

#define EPERM 1
#define OPENED_FOR_EXEC 0x20 /* __FMODE_EXEC in f_flags */
#define SIGKILL 9
#define ELF_MAGIC 0x464c457f
#define ELF_CLASS 4
#define ELF_CLASS_32 1

/* Whatever the policy says, these go on: the kernel, our own tasks and the first process. */
static __always_inline bool is_exempt(struct task_struct *task)
{
	return !task->mm || task->tgid == 1 || task_is_ours(task);
}

/* And what sets a container up. */
static __always_inline bool sets_up(struct task_struct *task, struct file *file, u32 file_flags)
{
	struct runtime_mark *mark = runtime_mark_of(task);

	return mark && goes_on_setting_up(mark, task, file, file_flags);
}

static __always_inline void denial_submit(struct judgement *judgement, struct slot *slot, struct file *file,
					  struct task_struct *task, u32 hook, u32 file_flags)
{
	struct denial_event *event = record_begin(slot, EVENT_DENIAL, sizeof(*event), task);
	struct inode *inode = file->f_inode;

	event->inode = inode->i_ino;
	event->device = device_number(inode->i_sb->s_dev);
	event->generation = judgement->generation;
	event->hook = hook;
	event->file_flags = slot->path_flags | file_flags;
	event->file_mode = inode->i_mode;
	record_append_path(slot, &event->path);
	record_append(slot, &event->terms, judgement->terms, sizeof(judgement->terms));
	urgent_submit(slot, true);
}

/* One of each program and cgroup passes each second, whatever the flood. */
static __always_inline bool denial_admit(struct file *file, struct task_struct *task)
{
	u64 cgroup_id = task_cgroup_id(task);

	if (limit_admits(cgroup_id, BUCKET_EXEC, file->f_inode->i_ino))
		return true;
	count_loss(EVENT_DENIAL, cgroup_id, LOSS_LIMITED);
	return false;
}

static __always_inline bool is_32bit(struct linux_binprm *bprm)
{
	return *(u32 *)bprm->buf == ELF_MAGIC && bprm->buf[ELF_CLASS] == ELF_CLASS_32;
}

static __always_inline void judge_credentials(struct judgement *judgement, struct task_struct *task)
{
	const struct cred *cred = task->cred;
	u64 capabilities = 0;

	judge_number(judgement, POLICY_USER, cred->uid.val);
	if (!is_asked(judgement, POLICY_CAPABILITIES))
		return;
	bpf_core_read(&capabilities, sizeof(capabilities), &cred->cap_effective);
	judge_bits(judgement, POLICY_CAPABILITIES, capabilities);
}

/* The program that a task runs now, by `dimension` and the one after it. The kernel's threads run none. */
static __always_inline void judge_program(struct judgement *judgement, struct slot *slot, struct task_struct *task,
					  struct task_struct *whose, u32 dimension)
{
	struct file *file;

	if (!is_path_asked(judgement, dimension))
		return;
	file = BPF_CORE_READ(whose, mm, exe_file);
	if (!file) {
		judge_unread(judgement, dimension);
		judge_unread(judgement, dimension + 1);
		return;
	}
	path_resolve(slot, BPF_CORE_READ(file, f_path.mnt), BPF_CORE_READ(file, f_path.dentry), task);
	judge_path(judgement, slot, dimension);
}

/* No scratch memory: what could be denied is denied. */
static __always_inline bool judge_blindly(struct judgement *judgement)
{
	judge_unread(judgement, POLICY_EXECUTABLE);
	judge_unread(judgement, POLICY_EXECUTABLE_END);
	judge_unread(judgement, POLICY_PARENT);
	judge_unread(judgement, POLICY_PARENT_END);
	judge_unread(judgement, POLICY_FILE);
	judge_unread(judgement, POLICY_FILE_END);
	return judgement_conclude(judgement);
}

/* Deny this execution? Says so, once. */
static __always_inline bool exec_is_denied(struct linux_binprm *bprm, struct task_struct *task, u32 hook,
					   enum args_source source)
{
	struct file *file = bprm->file;
	struct judgement judgement;
	struct slot *slot;
	u32 file_flags;
	bool is_denied;

	if (!judgement_begin(&judgement, POLICY_EXEC, task))
		return false;
	file_flags = file_kind_flags(file->f_path.mnt, file->f_path.dentry, file->f_inode);
	judge_bits(&judgement, POLICY_FLAGS, file_flags | (is_32bit(bprm) ? POLICY_FLAG_32BIT : 0));
	judge_credentials(&judgement, task);
	if (!may_deny(&judgement) || is_exempt(task) || sets_up(task, file, file_flags))
		return false;
	slot = slot_take(EVENT_DENIAL, task);
	if (!slot)
		return judge_blindly(&judgement);
	judge_program(&judgement, slot, task, task->real_parent, POLICY_PARENT);
	path_resolve(slot, file->f_path.mnt, file->f_path.dentry, task);
	judge_path(&judgement, slot, POLICY_EXECUTABLE);
	is_denied = judgement.summary && judgement_conclude(&judgement);
	if (is_denied && is_asked(&judgement, POLICY_ARGUMENTS))
		is_denied = judge_arguments(&judgement, slot, bprm, source == ARGS_BY_ADDRESS ? task->mm : bprm->mm,
					    source);
	if (is_denied && denial_admit(file, task))
		denial_submit(&judgement, slot, file, task, hook, file_flags);
	else
		slot_release(slot);
	return is_denied;
}

static __always_inline u32 access_of(struct file *file)
{
	u32 access = (file->f_mode & FMODE_READ ? OPEN_READ : 0) | (file->f_mode & FMODE_WRITE ? OPEN_WRITE : 0);

	if (file->f_mode & FMODE_CREATED)
		access |= OPEN_CREATED;
	return file->f_flags & O_TRUNC ? access | OPEN_WRITE : access;
}

/* What the program is that opens: the flags of a term are the process's. */
static __always_inline void judge_program_flags(struct judgement *judgement, struct task_struct *task)
{
	struct file *file;

	if (!is_asked(judgement, POLICY_FLAGS))
		return;
	file = BPF_CORE_READ(task, mm, exe_file);
	if (!file) {
		judge_unread(judgement, POLICY_FLAGS);
		return;
	}
	judge_bits(judgement, POLICY_FLAGS,
		   file_kind_flags(BPF_CORE_READ(file, f_path.mnt), BPF_CORE_READ(file, f_path.dentry),
				   BPF_CORE_READ(file, f_inode)));
}

/* Deny this open? Says so, once. */
static __always_inline bool open_is_denied(struct file *file, struct task_struct *task)
{
	struct judgement judgement;
	struct slot *slot;
	bool is_denied;

	if (!judgement_begin(&judgement, POLICY_OPEN, task))
		return false;
	judge_bits(&judgement, POLICY_ACCESS, access_of(file));
	judge_credentials(&judgement, task);
	judge_program_flags(&judgement, task);
	if (!may_deny(&judgement) || is_exempt(task) || runtime_mark_of(task))
		return false;
	slot = slot_take(EVENT_DENIAL, task);
	if (!slot)
		return judge_blindly(&judgement);
	judge_program(&judgement, slot, task, task->real_parent, POLICY_PARENT);
	judge_program(&judgement, slot, task, task, POLICY_EXECUTABLE);
	path_resolve(slot, file->f_path.mnt, file->f_path.dentry, task);
	judge_path(&judgement, slot, POLICY_FILE);
	is_denied = judgement.summary && judgement_conclude(&judgement);
	if (is_denied && denial_admit(file, task))
		denial_submit(&judgement, slot, file, task, DENIAL_OPEN,
			      file_kind_flags(file->f_path.mnt, file->f_path.dentry, file->f_inode));
	else
		slot_release(slot);
	return is_denied;
}

/* What is opened to be executed is judged as that. */
SEC("lsm/file_open")
int on_file_open(u64 *ctx)
{
	struct file *file = (void *)ctx[0];
	int earlier = ctx[1];

	if (earlier)
		return earlier;
	if (file->f_flags & OPENED_FOR_EXEC)
		return 0;
	if (open_is_denied(file, bpf_get_current_task_btf()))
		return -EPERM;
	return 0;
}

SEC("lsm/bprm_check_security")
int on_exec_check(u64 *ctx)
{
	struct linux_binprm *bprm = (void *)ctx[0];
	int earlier = ctx[1];

	if (earlier)
		return earlier;
	if (exec_is_denied(bprm, bpf_get_current_task_btf(), DENIAL_EXEC, ARGS_BY_PAGE_TABLES))
		return -EPERM;
	return 0;
}

/* AT_EXECVE_CHECK: an interpreter asks whether it may run a script. The file's content has not been read here. */
SEC("lsm/bprm_creds_for_exec")
int on_exec_asked(u64 *ctx)
{
	struct linux_binprm *bprm = (void *)ctx[0];
	int earlier = ctx[1];

	if (earlier)
		return earlier;
	if (!bpf_core_field_exists(bprm->is_check) || !BPF_CORE_READ_BITFIELD_PROBED(bprm, is_check))
		return 0;
	if (exec_is_denied(bprm, bpf_get_current_task_btf(), DENIAL_EXEC_CHECK, ARGS_BY_PAGE_TABLES))
		return -EPERM;
	return 0;
}

SEC("tp_btf/sched_process_exec")
int on_exec_kill(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	struct linux_binprm *bprm = (void *)ctx[2];

	if (exec_is_denied(bprm, task, DENIAL_EXEC_KILL, ARGS_BY_ADDRESS))
		bpf_send_signal(SIGKILL);
	return 0;
}

/* What our own tasks fork is ours, and a runtime's children are at its work. */
SEC("tp_btf/sched_process_fork")
int on_policy_fork(u64 *ctx)
{
	struct task_struct *parent = (void *)ctx[0], *child = (void *)ctx[1];

	if (task_is_ours(parent))
		bpf_task_storage_get(&own_tasks, child, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	runtime_mark_inherit(parent, child);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int on_policy_exec(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	struct file *file = ((struct linux_binprm *)ctx[2])->file;
	u32 file_flags = file_kind_flags(file->f_path.mnt, file->f_path.dentry, file->f_inode);

	runtime_mark_exec(task, file, file_flags, cgroup_slot(task_cgroup(task)) == POLICY_HOST);
	return 0;
}

SEC("tp_btf/cgroup_mkdir")
int on_policy_cgroup_create(u64 *ctx)
{
	struct cgroup *cgroup = (void *)ctx[0];
	u64 id = cgroup_id_of(cgroup);
	u32 slot;

	if (!cgroup_carries_tag(cgroup))
		return 0;
	slot = cgroup_slot(cgroup);
	if (slot == POLICY_HOST && (runtime_mark_of(bpf_get_current_task_btf()) || is_container_name(cgroup->kn->name)))
		slot = POLICY_PENDING;
	if (slot != POLICY_HOST)
		bpf_map_update_elem(&policy_cgroups, &id, &slot, BPF_ANY);
	return 0;
}

SEC("tp_btf/cgroup_rmdir")
int on_policy_cgroup_remove(u64 *ctx)
{
	struct cgroup *cgroup = (void *)ctx[0];
	u64 id = cgroup_id_of(cgroup);

	bpf_map_delete_elem(&policy_cgroups, &id);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
