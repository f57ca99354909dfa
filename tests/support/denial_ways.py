"""The ways round a rule that denies a program by its exact path, and what else denies those that get past it.

The table of THREAT_MODEL.md ("What denial by a path holds against") says the same in words. ``round.c`` goes each way.
"""

from typing import NamedTuple

LSM, KILL = "lsm", "kill"
BOTH = frozenset({LSM, KILL})

STATIC, DYNAMIC, SCRIPT = "static", "dynamic", "script"


class Stop(NamedTuple):
    """A rule that denies a way; ``{program}`` is the path, ``{folder}`` where it lies."""

    name: str
    detection: str
    category: str = "process_creation"
    tiers: frozenset[str] = BOTH
    needs_overlay: bool = False
    """The folder is an image's layer, and what is made there lands in the upper one."""


ARGUMENTS = Stop("arguments", "CommandLine|contains: /canary")
SUFFIX = Stop("suffix", "Image|endswith: /canary")
READING = Stop("reading", "file.path: {program}", "file_access", frozenset({LSM}))
MEMFD = Stop("memfd", "process.flags.memfd: true")
DELETED = Stop("deleted", "process.flags.deleted: true")
DRIFT = Stop("upper layer", "process.flags.upper_layer: true", needs_overlay=True)


class Way(NamedTuple):
    """One way to execute a program."""

    name: str
    """As ``round.c`` calls it."""
    denied_in: frozenset[str] = BOTH
    """The tiers that deny it by the program's exact path alone."""
    stops: tuple[Stop, ...] = ()
    """Rules of other kinds, each of which denies it."""
    kind: str = STATIC
    """What the program is."""
    by_file: bool = False
    """The name is another one: it is denied for the file that it is."""
    status: int = 0
    """Of what is denied otherwise than by refusing the execution."""
    by_file_system: bool = False
    """The mount hangs nowhere; its path is that below the file system's root: the same where that is mounted on /."""


NOWHERE: frozenset[str] = frozenset()
IN_LSM = frozenset({LSM})

HELD_BY_PATH = frozenset(
    {
        *("direct", "relative", "dot-dot", "symbolic-link", "self-root", "self-fd", "empty-path", "map-files"),
        *("from-before", "vfork", "thread", "32bit-call", "chroot", "replaced", "removed", "script", "asked"),
    }
)
"""The ways that tier `hold` denies by the program's exact path: it knows files by that name alone."""
HELD_STOPS = (SUFFIX, READING, DELETED)
"""Other kinds of rules that tier `hold` decides."""

WAYS = (
    # Another name for the same path: the kernel has resolved it.
    Way("direct"),
    Way("relative"),
    Way("dot-dot"),
    Way("symbolic-link"),
    Way("self-root"),
    Way("self-fd"),
    Way("empty-path"),
    Way("map-files"),
    Way("from-before"),
    Way("vfork"),
    Way("thread"),
    Way("32bit-call"),
    Way("chroot"),
    # Another file under the path, or none any more.
    Way("replaced"),
    Way("removed"),
    # Another path of the same file.
    Way("link-before", by_file=True),
    Way("link-beside", NOWHERE),
    Way("link-after", stops=(DRIFT,), by_file=True),
    Way("renamed", stops=(DRIFT,), by_file=True),
    Way("bind-mount", by_file=True),
    Way("user-namespace", by_file=True),
    Way("pivot-root", stops=(SUFFIX,), by_file=True),
    Way("cloned-tree", stops=(SUFFIX,), by_file=True),
    Way("lazy-unmount", stops=(SUFFIX,), by_file=True, by_file_system=True),
    # Another file with the same content.
    Way("copied", NOWHERE, (READING, DRIFT)),
    Way("memfd", NOWHERE, (READING, MEMFD)),
    Way("removed-copy", NOWHERE, (READING, DELETED, DRIFT)),
    Way("tmpfile", NOWHERE, (READING, DELETED)),
    # What is executed is an interpreter.
    Way("loader", IN_LSM, (READING, ARGUMENTS), DYNAMIC, status=127),
    Way("script", IN_LSM, (ARGUMENTS,), SCRIPT),
    Way("shell", NOWHERE, (READING, ARGUMENTS), SCRIPT),
    Way("sourced", NOWHERE, (READING, ARGUMENTS), SCRIPT),
    Way("shell-input", NOWHERE, (READING,), SCRIPT),
    # Nothing is executed; an interpreter asks whether it might be (AT_EXECVE_CHECK).
    Way("asked", IN_LSM),
    Way("asked", IN_LSM, (), SCRIPT),
)
