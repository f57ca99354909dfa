"""Run in a guest whose process 1 is systemd: the service's life from installation to removal. Standard library only.

Writes ``facts.json`` to the folder given as first argument: what was seen at each step, ``test_installed`` judges it.
What is denied here is one program of this script's, in a machine that is thrown away.
"""

import ctypes
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

UNIT = "stockade.service"
SERVICE = Path("/etc/stockade")
PINS = Path("/run/stockade/bpf")
CANARY = Path("/srv/canary")
VICTIM = Path("/srv/victim")
HELD = Path("/srv/held/canary")
OTHER = HELD.with_name("other")
"""On a file system of their own."""
NOBODY = 65534
CONTAINER = "570c4ade" * 8
CGROUP = Path(f"/sys/fs/cgroup/docker/{CONTAINER}")
WAIT_S = 400.0
"""A start takes half a minute on an emulated CPU that has nothing else to do."""
DROP_IN = Path("/run/systemd/system/stockade.service.d/emulated.conf")

RULE = """\
title: {name}
name: {name}
id: 6f0d2d61-66d8-4c52-8c4a-0b1b6e4c1d{number}
status: stable
level: high
logsource: {{product: linux, category: process_creation}}
detection:
  s: {{Image: {program}}}
  condition: s
{more}"""
RULES = {
    "alerting": RULE.format(name="canary_run", number="01", program=CANARY, more=""),
    "denying": RULE.format(
        name="canary_denied", number="01", program=f"[{CANARY}, {HELD}]", more="stockade: {response: deny}\n"
    ),
    "killing": RULE.format(name="victim_killed", number="02", program=VICTIM, more="stockade: {response: kill}\n"),
}

Facts = dict[str, Any]


def call(*command: str | Path, **how: Any) -> tuple[int, str]:
    """Status and both outputs."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **how)
    return done.returncode, done.stdout


def wait_until(is_so: Callable[[], bool], wait_s: float = WAIT_S) -> bool:
    """Whether it came to be so in time."""
    end = time.monotonic() + wait_s
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


def show(*names: str) -> dict[str, str]:
    """Properties of the unit."""
    _, output = call("systemctl", "show", UNIT, f"--property={','.join(names)}")
    return dict(line.split("=", 1) for line in output.splitlines())


def main_pid() -> int:
    return int(show("MainPID")["MainPID"])


def is_back_after(restarts: int) -> bool:
    now = show("NRestarts", "ActiveState")
    return int(now["NRestarts"]) > restarts and now["ActiveState"] == "active"


def find_status() -> dict[str, Any]:
    """What ``stockade status`` says; nothing while it does not answer."""
    status, output = call("stockade", "status", "-o", "json")
    return json.loads(output) if status == 0 else {}


def read_stream(*options: str) -> list[dict[str, Any]]:
    """What the service kept of its stream."""
    words = ["stockade", "tail", "--no-follow", "-n", "1000", "-o", "json", *options]
    output = subprocess.run(words, stdout=subprocess.PIPE, check=False).stdout
    return [json.loads(line) for line in output.splitlines()]


def find_alerts(rule: str) -> list[dict[str, Any]]:
    return [each for each in read_stream("--alerts") if each["rule"]["name"] == rule]


def read_journal() -> str:
    return call("journalctl", f"--unit={UNIT}", "--output=cat", "--no-pager")[1]


def runs(program: Path) -> bool:
    """Whether it can be executed, and ends as it should."""
    try:
        return subprocess.run([program], check=False).returncode == 0
    except PermissionError:
        return False


def list_pins() -> list[str]:
    """A bpffs has two files of its own, with a dot in their names."""
    return sorted(path.name for path in PINS.iterdir() if "." not in path.name) if PINS.exists() else []


def count_programs() -> int:
    """BPF programs in the kernel, systemd's own among them."""
    libbpf, number = ctypes.CDLL("libbpf.so.1"), ctypes.c_uint32(0)
    for count in range(100_000):
        if libbpf.bpf_prog_get_next_id(number, ctypes.byref(number)):
            return count
    raise AssertionError("there is no end to them")


def configure(**settings: str) -> None:
    text = "".join(f"{name}: {value}\n" for name, value in settings.items())
    (SERVICE / "stockade.yml").write_text(text)


def put_rules(*names: str) -> None:
    shutil.rmtree(SERVICE / "rules.d")
    (SERVICE / "rules.d").mkdir()
    for name in names:
        (SERVICE / "rules.d" / f"{name}.yml").write_text(RULES[name])


# -- the steps


def install() -> Facts:
    status, output = call("scripts/install", "--wheels", "wheels")
    state = show("ActiveState", "SubState", "NRestarts", "Type", "StatusText")
    asked, told = call("stockade", "status")
    doctor = call("stockade", "doctor")
    return {"status": status, "output": output, "unit": state, "asked": (asked, told), "doctor": doctor}


def analyze() -> Facts:
    return {
        "verify": call("systemd-analyze", "verify", "--man=no", UNIT, "run-stockade-bpf.mount"),
        "security": call("systemd-analyze", "security", "--no-pager", "--threshold=50", UNIT),
    }


def alert() -> Facts:
    program = Path(shutil.copy("/bin/true", "/dev/shm/try"))
    subprocess.run([program], check=True)
    rule = "program_run_from_shared_memory"
    seen = wait_until(lambda: bool(find_alerts(rule)))
    return {"in_stream": seen, "in_journal": wait_until(lambda: rule in read_journal())}


def reload() -> Facts:
    """A new rule; then a broken one."""
    before = main_pid()
    put_rules("alerting")
    status, output = call("systemctl", "reload", UNIT)

    def is_seen() -> bool:
        """``reload`` may return before the new rules are in force: the service reads them aside."""
        runs(CANARY)
        return bool(find_alerts("canary_run"))

    is_loaded = wait_until(is_seen)
    (SERVICE / "rules.d" / "broken.yml").write_text("title: [\n")
    call("systemctl", "reload", UNIT)
    is_told = wait_until(lambda: "broken.yml" in read_journal())
    (SERVICE / "rules.d" / "broken.yml").unlink()
    is_kept = find_status()["rules"]["active"] > 0
    return {
        "reload": (status, output),
        "is_loaded": is_loaded,
        "broken": (is_told, is_kept),
        "is_same_process": main_pid() == before,
        "active": show("ActiveState")["ActiveState"],
    }


def freeze() -> Facts:
    """The service stops moving: systemd ends it and starts another."""
    restarts = int(show("NRestarts")["NRestarts"])
    os.kill(main_pid(), signal.SIGSTOP)
    is_back = wait_until(lambda: is_back_after(restarts))
    return {"is_back": is_back, "journal": "Watchdog timeout" in read_journal(), "answers": bool(find_status())}


def kill() -> Facts:
    restarts = int(show("NRestarts")["NRestarts"])
    os.kill(main_pid(), signal.SIGKILL)
    return {"is_back": wait_until(lambda: is_back_after(restarts)), "answers": bool(find_status())}


def deny() -> Facts:
    """Mode enforce with a rule that denies: restart, crash, stop, start."""
    put_rules("denying", "killing")
    configure(mode="enforce", enforcement="{on_exit: keep}")
    restarted = call("systemctl", "restart", UNIT)
    status = find_status()
    facts = {
        "restarted": restarted,
        "tier": status.get("tier"),
        "mode": status.get("mode"),
        "notes": status.get("notes"),
    }
    facts["is_denied"] = not runs(CANARY)
    facts["mounted_for_all"] = str(PINS) in Path("/proc/1/mountinfo").read_text()
    facts["crash"] = crash()
    return facts


def kill_it() -> None:
    os.kill(main_pid(), signal.SIGKILL)


def crash(kill_service: Callable[[], object] = kill_it) -> Facts:
    """Denial goes on while systemd starts another service."""
    restarts = int(show("NRestarts")["NRestarts"])
    kill_service()
    tries: list[bool] = []

    def is_over() -> bool:
        tries.append(runs(CANARY))
        return is_back_after(restarts)

    is_back = wait_until(is_over)
    return {
        "is_back": is_back,
        "ran": tries.count(True),
        "tries": len(tries),
        "is_adopted": "taken over" in read_journal(),
    }


def guard() -> Facts:
    """Guards on: root is refused, and whom the first process starts takes over at once, after a crash and a restart."""
    configure(mode="enforce", enforcement="{on_exit: keep, guards: on}")
    restarted = call("systemctl", "restart", UNIT)
    facts: Facts = {"restarted": restarted, "is_on": is_guarded(), "attacks": attack()}
    facts["crash"] = crash(lambda: call("systemctl", "kill", "--signal=KILL", UNIT))
    facts["is_on_after_crash"], facts["attacks_after_crash"] = is_guarded(), attack()
    facts["by_hand"] = call("stockade", "run")
    facts["restarted_again"] = call("systemctl", "restart", UNIT)
    facts["is_on_again"], facts["is_denied"] = is_guarded(), not runs(CANARY)
    facts["stopped"] = call("systemctl", "stop", UNIT)
    facts["pins_after_stop"] = list_pins()
    configure(mode="enforce", enforcement="{on_exit: keep}")
    call("systemctl", "start", UNIT)
    return facts


def is_guarded() -> bool:
    return bool(find_status().get("guards", {}).get("on"))


def attack() -> dict[str, str]:
    """What root tries, and how each try ends."""
    pid = main_pid()
    pin = next(path for path in PINS.rglob("link_*"))
    tries: dict[str, Callable[[], object]] = {
        "kill": lambda: os.kill(pid, signal.SIGKILL),
        "stop": lambda: os.kill(pid, signal.SIGSTOP),
        "memory": lambda: Path(f"/proc/{pid}/mem").open("rb").close(),
        "unpin": pin.unlink,
        "join": lambda: Path(f"/sys/fs/cgroup/system.slice/{UNIT}/cgroup.procs").write_text(str(os.getpid())),
        "freeze": lambda: Path(f"/sys/fs/cgroup/system.slice/{UNIT}/cgroup.freeze").write_text("1"),
    }
    return {name: find_ending(act) for name, act in tries.items()}


def find_ending(act: Callable[[], object]) -> str:
    try:
        act()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "?")
    return "done"


def respond() -> Facts:
    """What the unit's sandbox must leave room for: signals to other users' processes, writes to cgroups."""
    victim = subprocess.Popen([VICTIM, "600"], user=NOBODY)
    try:
        ending = victim.wait(WAIT_S)
    except subprocess.TimeoutExpired:
        victim.kill()
        ending = None
    return {"victim": ending, "container": dict(respond_to_container())}


def respond_to_container() -> Iterator[tuple[str, Any]]:
    CGROUP.mkdir(parents=True)
    enter = 'echo $$ >"$0/cgroup.procs"; exec setpriv --reuid=nobody --clear-groups sleep 600'
    inside = subprocess.Popen(["sh", "-c", enter, CGROUP])
    yield "is_known", wait_until(lambda: CONTAINER in json.dumps(find_status()))
    yield "freeze", call("stockade", "freeze", CONTAINER)
    yield "is_frozen", "frozen 1" in (CGROUP / "cgroup.events").read_text()
    yield "thaw", call("stockade", "thaw", CONTAINER)
    yield "kill", call("stockade", "kill", CONTAINER)
    try:
        yield "ending", inside.wait(WAIT_S)
    except subprocess.TimeoutExpired:
        inside.kill()
        yield "ending", None
    CGROUP.rmdir()
    CGROUP.parent.rmdir()


def stop() -> Facts:
    """``on_exit: keep``, the next start, ``stockade detach``; then ``on_exit: detach``."""
    stopped = call("systemctl", "stop", UNIT)
    facts: Facts = {"stopped": stopped, "is_denied": not runs(CANARY), "pins": list_pins()}
    call("systemctl", "start", UNIT)
    facts["told"] = wait_until(lambda: len(read_stream("--filter", "event.action: exec-denied")) >= 1)
    facts["is_denied_again"] = not runs(CANARY)
    call("systemctl", "stop", UNIT)
    facts["detach"] = call("stockade", "detach")
    facts["after_detach"] = {"runs": runs(CANARY), "pins": list_pins()}
    configure(mode="enforce", enforcement="{on_exit: detach}")
    call("systemctl", "start", UNIT)
    facts["is_denied_by_another"] = not runs(CANARY)
    call("systemctl", "stop", UNIT)
    facts["after_stop"] = {"runs": runs(CANARY), "pins": list_pins()}
    return facts


def hold() -> Facts:
    """Tier hold, as on a host without BPF LSM: the gate is a process of the unit, in its sandbox."""
    HELD.parent.mkdir()
    call("mount", "-t", "tmpfs", "held", HELD.parent)
    for program in (HELD, OTHER):
        shutil.copy("/bin/true", program)
    configure(mode="enforce", enforcement=f"{{tier: hold, hold_paths: [{HELD.parent}]}}")
    started = call("systemctl", "start", UNIT)
    facts = {"started": started, "status": find_status(), "is_denied": not runs(HELD), "others_run": runs(OTHER)}
    facts["is_told"] = wait_until(lambda: bool(read_stream("--filter", "event.action: exec-denied")))
    call("systemctl", "stop", UNIT)
    facts["after_stop"] = runs(HELD)
    call("umount", HELD.parent)
    return facts


def uninstall() -> Facts:
    """While it denies and would go on."""
    configure(mode="enforce", enforcement="{on_exit: keep}")
    call("systemctl", "start", UNIT)
    is_denied = not runs(CANARY)
    shutil.rmtree(DROP_IN.parent)
    status, output = call("scripts/uninstall", "--purge")
    listed = call("systemctl", "list-units", "--all", "--plain", "--no-legend", "*stockade*")[1]
    return {
        "was_denied": is_denied,
        "status": status,
        "output": output,
        "runs": runs(CANARY),
        "units": listed,
        "files": call("find", "/", "-xdev", "-path", "/srv", "-prune", "-o", "-name", "*stockade*", "-print")[1],
        "runtime": call("find", "/run", "-xdev", "-name", "*stockade*")[1],
        "mounts": [line for line in Path("/proc/1/mountinfo").read_text().splitlines() if "stockade" in line],
        "groups": [line for line in Path("/etc/group").read_text().splitlines() if "stockade" in line],
        "again": call("scripts/uninstall", "--purge"),
    }


STEPS: tuple[Callable[[], Facts], ...] = (
    *(install, analyze, alert, reload, freeze, kill),
    *(deny, guard, respond, stop, hold, uninstall),
)


def main() -> None:
    results = Path(sys.argv[1])
    shutil.copy("/bin/true", CANARY)
    shutil.copy("/bin/sleep", VICTIM)
    DROP_IN.parent.mkdir(parents=True)
    DROP_IN.write_text(f"[Unit]\nStartLimitIntervalSec=0\n[Service]\nTimeoutStartSec={WAIT_S:.0f}\n")
    facts: Facts = {"programs_before": count_programs()}
    for step in STEPS:
        began = time.monotonic()
        facts[step.__name__] = step()
        print(f"{step.__name__}: {time.monotonic() - began:.0f} s", flush=True)
        (results / "journal").write_text(read_journal())
        (results / "facts.json").write_text(json.dumps(facts, indent=1))
    facts["programs_after"] = count_programs()
    (results / "facts.json").write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
