"""Judge how far this host can deny. Pure."""

from monitor.bpf.features import KernelFeatures
from monitor.runtime.check import Check, State


def judge_lsm(features: KernelFeatures) -> Check:
    """Whether deny rules get tier lsm."""
    modules = features.security_modules
    if features.can_deny_by_lsm:
        return Check(
            "bpf lsm", State.OK, "deny rules get tier lsm: the call itself is refused; changes of files are facts"
        )
    cost = (
        "rules with deny are tier hold where the gate can decide them (docs/hold.md); else tier kill: the program is "
        "ended before its first instruction, its caller is not refused, and opens cannot be denied; changes of files "
        "are known by the names that calls were given, and cause no response"
    )
    if modules is None:
        fix = "mount -t securityfs securityfs /sys/kernel/security"
        return Check("bpf lsm", State.GAP, "the active security modules cannot be read", cost, fix)
    if "bpf" not in modules:
        finding = f"bpf is not among the active modules: {','.join(modules)}"
        if not features.lsm_programs:
            finding += f"; LSM programs cannot be loaded either ({features.lsm_programs.reason})"
        return Check("bpf lsm", State.GAP, finding, cost, _boot(modules))
    return Check(
        "bpf lsm",
        State.GAP,
        f"bpf is an active module, yet LSM programs are refused ({features.lsm_programs.reason})",
        cost,
        fix="ask who runs this machine to allow LSM programs (a policy of the host or hypervisor refuses them)",
    )


def _boot(modules: tuple[str, ...]) -> str:
    """Answer the command that adds bpf to the modules that are active now, all of which have to be named."""
    line = ",".join([*(name for name in modules if name != "capability"), "bpf"])
    return (
        f"echo 'GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX lsm={line}\"' > /etc/default/grub.d/stockade.cfg "
        "&& update-grub && reboot  # takes a kernel with CONFIG_BPF_LSM=y"
    )


def judge_hold(obstacle: str, *, is_needed: bool) -> Check:
    """Whether deny rules can get tier hold, which is of use where there is no tier lsm."""
    if not obstacle:
        use = "rules with deny about files, containers, parents and users get it" if is_needed else "not needed"
        return Check("hold", State.OK, f"execs and opens can be held for an answer (fanotify): {use}")
    if not is_needed:
        return Check("hold", State.OK, f"not needed, and not to be had: {obstacle}")
    return Check(
        "hold",
        State.GAP,
        obstacle,
        cost="rules with deny are tier kill or only told; opens cannot be denied",
        fix="run the service in the host's pid namespace, on a kernel with CONFIG_FANOTIFY_ACCESS_PERMISSIONS=y",
    )
