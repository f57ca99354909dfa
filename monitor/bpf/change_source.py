"""Where changes of files are told from: the LSM's hooks where this kernel has them, else the ends of system calls.

By hooks, a call of each kind is seen (io_uring's and 32-bit ones too) and its paths are facts. By the ends of system
calls, a path is the text that the call was given.
"""

from typing import Final

from monitor.bpf.features import VMLINUX_BTF, find_lsm_obstacle

HOOKS: Final = "hooks"
CALLS: Final = "calls"
NONE: Final = "none"

SOURCE_TEXTS: Final = {HOOKS: "LSM hooks: paths are facts", CALLS: "system calls: names are claims"}

CALLS_PROGRAM: Final = "on_change_exit"
CALLS_TRACEPOINTS: Final = (
    "sys_exit_rename",
    "sys_exit_renameat",
    "sys_exit_renameat2",
    "sys_exit_link",
    "sys_exit_linkat",
    "sys_exit_symlink",
    "sys_exit_symlinkat",
    "sys_exit_unlink",
    "sys_exit_unlinkat",
    "sys_exit_rmdir",
    "sys_exit_truncate",
    "sys_exit_chmod",
    "sys_exit_fchmodat",
    "sys_exit_fchmodat2",
    "sys_exit_chown",
    "sys_exit_lchown",
    "sys_exit_fchownat",
    "sys_exit_ftruncate",
    "sys_exit_fchmod",
    "sys_exit_fchown",
)
"""The calls that change a file or a name of it without an open. Their links have these names."""

HOOK_PROGRAMS: Final = {
    "on_rename_asked": "bpf_lsm_path_rename",
    "on_link_asked": "bpf_lsm_path_link",
    "on_symlink_asked": "bpf_lsm_path_symlink",
    "on_unlink_asked": "bpf_lsm_path_unlink",
    "on_rmdir_asked": "bpf_lsm_path_rmdir",
    "on_truncate_asked": "bpf_lsm_path_truncate",
    "on_file_truncate_asked": "bpf_lsm_file_truncate",
    "on_chmod_asked": "bpf_lsm_path_chmod",
    "on_chown_asked": "bpf_lsm_path_chown",
    "on_rename_done": "vfs_rename",
    "on_link_done": "vfs_link",
    "on_symlink_done": "vfs_symlink",
    "on_unlink_done": "vfs_unlink",
    "on_rmdir_done": "vfs_rmdir",
    "on_attributes_done": "notify_change",
}
"""Program -> the function of the kernel's that it is attached to."""
_NOT_EVERYWHERE: Final = {"on_file_truncate_asked"}
"""Before 6.2, path_truncate is asked for what has a descriptor, too."""


def list_change_hooks() -> tuple[str, ...]:
    """Programs to be loaded for changes by hooks; none where one that is needed has no place here."""
    if find_lsm_obstacle():
        return ()
    try:
        types = VMLINUX_BTF.read_bytes()
    except OSError:
        return ()
    found = tuple(program for program, place in HOOK_PROGRAMS.items() if b"\0%s\0" % place.encode() in types)
    return () if HOOK_PROGRAMS.keys() - _NOT_EVERYWHERE - set(found) else found
