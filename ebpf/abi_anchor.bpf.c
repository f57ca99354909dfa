// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Keeps every wire type in BTF, where scripts/gen_layout.py reads them: clang drops
 * a struct that is reached only through a local pointer. Never loaded.
 */
#include "kernel_types.bpf.h"
#include "events.h"
#include "policy.h"
#include "guard.h"

struct process_fork_event anchor_process_fork;
struct process_exec_event anchor_process_exec;
struct process_exec_failed_event anchor_process_exec_failed;
struct process_exit_event anchor_process_exit;
struct file_open_event anchor_file_open;
struct denial_event anchor_denial;
struct file_change_event anchor_file_change;
struct process_access_event anchor_process_access;
struct unix_connection_event anchor_unix_connection;
struct cgroup_event anchor_cgroup;
struct task_facts anchor_task_facts;
struct file_identity anchor_file_identity;
struct loss_key anchor_loss_key;
struct bucket anchor_bucket;
struct bucket_key anchor_bucket_key;
struct policy_file_key anchor_policy_file_key;
struct container_root anchor_container_root;
struct open_interest_value anchor_open_interest_value;
struct open_filter_head anchor_open_filter_head;
enum event_type anchor_event_type;
enum file_flag anchor_file_flag;
enum exec_flag anchor_exec_flag;
enum args_size anchor_args_size;
enum open_access anchor_open_access;
enum change_action anchor_change_action;
enum access_action anchor_access_action;
enum loss_reason anchor_loss_reason;
enum bucket_kind anchor_bucket_kind;
enum tag_hierarchy_word anchor_tag_hierarchy_word;
enum cgroup_tag anchor_cgroup_tag;
enum open_interest anchor_open_interest;
enum open_class anchor_open_class;
enum open_filter_size anchor_open_filter_size;
enum open_key_space anchor_open_key_space;
enum policy_size anchor_policy_size;
enum policy_automaton_word anchor_policy_automaton_word;
enum policy_marking_part anchor_policy_marking_part;
enum policy_column anchor_policy_column;
enum policy_dimension anchor_policy_dimension;
enum policy_event anchor_policy_event;
enum policy_container anchor_policy_container;
enum policy_flag anchor_policy_flag;
enum policy_subject anchor_policy_subject;
enum runtime_file_kind anchor_runtime_file_kind;
enum denial_hook anchor_denial_hook;
struct guard_key anchor_guard_key;
enum guard_size anchor_guard_size;
enum guard_kind anchor_guard_kind;
enum guarded_kind anchor_guarded_kind;
enum guard_mark anchor_guard_mark;
