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
#include "denial.bpf.h"
#include "open_flags.bpf.h"
#include "policy_arguments.bpf.h"
#include "policy_parent.bpf.h"
#include "policy_script.bpf.h"
#include "system_path.bpf.h"

#define OPENED_FOR_EXEC 0x20 /* __FMODE_EXEC in f_flags */
#define SIGKILL 9

/* What is decided when it has taken place: in tier kill all, in tier lsm what cannot be decided before. */
const volatile u32 kill_event = POLICY_EXEC;
#define ELF_MAGIC 0x464c457f
#define ELF_CLASS 4
#define ELF_CLASS_32 1

static __always_inline bool is_32bit(struct linux_binprm *bprm)
{
	return *(u32 *)bprm->buf == ELF_MAGIC && bprm->buf[ELF_CLASS] == ELF_CLASS_32;
}

/* Deny this execution? Says so, once. */
static __always_inline bool exec_is_denied(struct linux_binprm *bprm, struct task_struct *task, u32 hook,
					   enum args_source source)
{
	struct file *file = bprm->file;
	struct judgement judgement;
	struct slot *slot;
	bool is_script, is_denied;
	u32 file_flags;

	if (!judgement_begin(&judgement, hook == DENIAL_EXEC_KILL ? kill_event & (POLICY_EVENTS - 1) : POLICY_EXEC,
			     task))
		return false;
	file_flags = file_kind_flags(file->f_path.mnt, file->f_path.dentry, file->f_inode);
	if (is_asked(&judgement, POLICY_FLAGS))
		file_flags |= other_filesystem_flag(file->f_inode->i_ino, device_number(file->f_inode->i_sb->s_dev));
	judge_bits(&judgement, POLICY_FLAGS, file_flags | (is_32bit(bprm) ? POLICY_FLAG_32BIT : 0));
	judge_credentials(&judgement, task);
	if (!may_deny(&judgement) || is_exempt(task) || sets_up(task, file, file_flags))
		return false;
	slot = slot_take(EVENT_DENIAL, task);
	if (!slot)
		return judge_blindly(&judgement);
	judge_parent(&judgement, slot, task);
	is_script = hook == DENIAL_EXEC_CHECK || is_script_file(bprm);
	if (!is_script)
		judge_script_name(&judgement, slot, bprm);
	judge_file(&judgement, file->f_inode, POLICY_EXECUTABLE);
	path_resolve(slot, file->f_path.mnt, file->f_path.dentry, task);
	judge_path(&judgement, slot, POLICY_EXECUTABLE);
	if (is_script)
		judge_script_file(&judgement, slot, file->f_inode);
	is_denied = judgement.summary && judgement_conclude(&judgement);
	if (is_denied && is_asked(&judgement, POLICY_ARGUMENTS))
		is_denied = judge_arguments(&judgement, slot, bprm, source == ARGS_BY_ADDRESS ? task->mm : bprm->mm,
					    source);
	if (is_denied && denial_admit(file->f_inode, task))
		denial_submit(&judgement, slot, file->f_inode, task, hook, file_flags);
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
	judge_parent(&judgement, slot, task);
	judge_program(&judgement, slot, task, task, POLICY_EXECUTABLE);
	judge_file(&judgement, file->f_inode, POLICY_FILE);
	judge_system_path(&judgement, slot, file);
	path_resolve(slot, file->f_path.mnt, file->f_path.dentry, task);
	judge_path(&judgement, slot, POLICY_FILE);
	is_denied = judgement.summary && judgement_conclude(&judgement);
	if (is_denied && denial_admit(file->f_inode, task))
		denial_submit(&judgement, slot, file->f_inode, task, DENIAL_OPEN,
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
	forker_remember(parent, child);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int on_policy_exec(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	struct file *file = ((struct linux_binprm *)ctx[2])->file;
	u32 file_flags = file_kind_flags(file->f_path.mnt, file->f_path.dentry, file->f_inode);

	bool on_host = cgroup_slot(task_cgroup(task)) == POLICY_HOST, was_at_work = runtime_mark_of(task) != NULL;

	runtime_mark_exec(task, file, file_flags, on_host);
	if (was_at_work && !on_host && !runtime_mark_of(task))
		container_root_record(task);
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
	container_root_inherit(cgroup);
	return 0;
}

SEC("tp_btf/cgroup_rmdir")
int on_policy_cgroup_remove(u64 *ctx)
{
	struct cgroup *cgroup = (void *)ctx[0];
	u64 id = cgroup_id_of(cgroup);

	bpf_map_delete_elem(&policy_cgroups, &id);
	bpf_map_delete_elem(&container_roots, &id);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
