"""The kernel's policy matcher without a hook: facts of an event in, the terms that it fulfils out.

Nothing is attached: ``tests/kernel/policy_twin.bpf.c`` runs by BPF_PROG_TEST_RUN, in the calling thread.
"""

import ctypes
import mmap
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from msgspec import Struct

from monitor.bpf.kernel_policy import KernelPolicyWriter
from monitor.bpf.libbpf import BpfObject, LibbpfError, load_library
from monitor.model.ids import InodeKey
from monitor.wire import _layout as layout
from tests.support.bpf_build import build_bpf

SOURCE: Final = Path(__file__).resolve().parents[1] / "kernel" / "policy_twin.bpf.c"
BY_PAGE_TABLES, BY_ADDRESS = 0, 1
"""How argv is read: enum args_source."""
ARGS_BYTES_READ_MAX: Final = 256 << 10
EXECUTABLE, PARENT, FILE, SCRIPT = range(4)
"""Places of :attr:`Facts.paths`."""
_FACTS: Final = struct.Struct("<5Q6I4I4I")
_PATHS: Final = 4
_PATH_ROOM: Final = 4096
PATH_BYTES_MAX: Final = _PATH_ROOM - 1
_TERMS: Final = struct.Struct(f"<{layout.POLICY_WORDS}Q")
_PROT_NONE: Final = 0


class _RunOptions(ctypes.Structure):
    """bpf_test_run_opts of libbpf 1.x."""

    _fields_ = (
        *((name, ctypes.c_size_t) for name in ("sz", "data_in", "data_out")),
        *((name, ctypes.c_uint32) for name in ("data_size_in", "data_size_out")),
        *((name, ctypes.c_size_t) for name in ("ctx_in", "ctx_out")),
        *(
            (name, ctypes.c_uint32)
            for name in (
                *("ctx_size_in", "ctx_size_out", "retval", "repeat", "duration"),
                *("flags", "cpu", "batch_size"),
            )
        ),
    )


class Facts(Struct, frozen=True, kw_only=True):
    """What the kernel sees of one event."""

    event: int = layout.POLICY_EXEC
    paths: tuple[bytes, ...] = ()
    """Of the program, its parent's, the file, the script, those left out are empty; at most 4,095 bytes."""
    access: int = 0
    flags: int = 0
    capabilities: int = 0
    user: int = 0
    container: int = layout.POLICY_HOST
    """Its slot."""
    args: bytes = b"\0"
    """As they lie in memory."""
    args_count: int = 1
    args_at: int = 0
    """Where in its first page they begin; negative: they end where nothing can be read any more."""
    args_source: int = BY_ADDRESS
    unread: frozenset[int] = frozenset()
    """Dimensions that cannot be read."""
    truncated: frozenset[int] = frozenset()
    """Paths whose head is missing."""
    known: tuple[int, int, int, int] = (0, 0, 0, 0)
    """By path: the number of what the file is known as; 0: it is none that terms name."""


class ArgumentMemory:
    """Pages that argv is laid into, and one behind them that cannot be read."""

    def __init__(self) -> None:
        self.bytes = ARGS_BYTES_READ_MAX + 4 * mmap.PAGESIZE
        self._pages = mmap.mmap(-1, self.bytes + mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._pages.madvise(mmap.MADV_NOHUGEPAGE)
        self._pages[:] = b"~" * len(self._pages)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._pages))
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mprotect(ctypes.c_void_p(self._address + self.bytes), ctypes.c_size_t(mmap.PAGESIZE), _PROT_NONE):
            raise OSError(ctypes.get_errno(), "mprotect")

    def lay(self, args: bytes, at: int) -> int:
        """Put argv there; answers its address."""
        begin = at if at >= 0 else self.bytes - len(args)
        self._pages[begin : begin + len(args)] = args
        return self._address + begin


class PolicyTwin:
    """The loaded object, and the policy in force in it. A context manager."""

    def __init__(self, folder: Path) -> None:
        target = folder / "policy_twin.bpf.o"
        build_bpf(SOURCE, target)
        self.object = BpfObject(target)
        self.object.load()
        self.policy = KernelPolicyWriter(self.object)
        self._library = load_library()
        self._library.bpf_prog_test_run_opts.argtypes = (ctypes.c_int, ctypes.c_void_p)
        self._memory = ArgumentMemory()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.object.close()

    def litter(self, byte: bytes) -> None:
        """Fill scratch memory with what an earlier event could have left there."""
        for key, value in list(self.object.map_items("slots")):
            size = len(value) // self.object.possible_cpus()
            self.object.map_update("slots", key, bytes(4) + byte * (size - 4))

    def know(self, container: int, path: str) -> int:
        """The number of a file that was found at this path of the policy."""
        key = InodeKey(1, 1 + len(self.policy.files), 1)
        self.policy.set_files(container, {key: frozenset({path})})
        packed = struct.pack("<QQII", key.inode, key.device, key.generation, container)
        value = self.object.map_lookup("policy_files", packed)
        assert value is not None
        return int.from_bytes(value[:4], "little")

    def judge(self, facts: Facts) -> tuple[int, bool]:
        """The terms that are left, and whether one of them is enforced."""
        self.tell(facts)
        self.run("twin_judge_once")
        words = _TERMS.unpack(self.object.variable_view("twin_terms"))
        denied = self.object.variable_view("twin_denied").cast("I")[0]
        return sum(word << 64 * number for number, word in enumerate(words)), bool(denied)

    def tell(self, facts: Facts) -> None:
        """Write the facts where the programs read them."""
        address = self._memory.lay(facts.args, facts.args_at)
        lengths = [len(path) for path in facts.paths] + [0] * (_PATHS - len(facts.paths))
        head = _FACTS.pack(
            *(facts.access, facts.flags, facts.capabilities, facts.user, address, facts.args_count, facts.args_source),
            *(facts.event, facts.container, _bits(facts.unread), _bits(facts.truncated), *lengths),
            *facts.known,
        )
        self.object.variable_view("twin_facts")[:] = head
        paths = self.object.variable_view("twin_paths")
        for number, path in enumerate(facts.paths):
            paths[number * _PATH_ROOM : number * _PATH_ROOM + len(path)] = path

    def time(self, program: str, rounds: int) -> float:
        """Nanoseconds of one round of a program that takes the time."""
        self.object.variable_view("twin_rounds").cast("I")[0] = rounds
        self.run(program)
        return float(self.object.variable_view("twin_elapsed_ns").cast("Q")[0] / rounds)

    def run(self, program: str) -> None:
        """Run a program once, here.

        Raises:
            OSError: the kernel does not run it, or it found no scratch memory.
        """
        options = _RunOptions(sz=ctypes.sizeof(_RunOptions))
        result = self._library.bpf_prog_test_run_opts(self.object.program_fd(program), ctypes.byref(options))
        if result:
            raise LibbpfError(-result, f"run of {program}")
        if options.retval:
            raise BlockingIOError(f"{program} found no free slot")


def _bits(numbers: frozenset[int]) -> int:
    return sum(1 << number for number in numbers)


def lie(argv: Sequence[bytes]) -> bytes:
    """argv as it lies in memory."""
    return b"".join(argument + b"\0" for argument in argv)
