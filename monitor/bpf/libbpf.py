"""libbpf through ctypes: one object file, its maps, globals, programs and links.

The only module that knows libbpf. Names in, bytes out; what the bytes mean is
:mod:`monitor.wire` and the callers. Errors are :class:`LibbpfError` with the
kernel's or libbpf's own words.
"""

import ctypes
import errno
import mmap
import os
from collections.abc import Iterator
from ctypes import POINTER, byref, c_bool, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Final

_KIND_DATASEC: Final = 15
_SHARED_SECTIONS: Final = (".bss", ".data", ".data.open")
"""Where the programs' variables lie: our memory is theirs, once loaded."""
_LOG_LINES_MAX: Final = 30
_LOG_BYTES: Final = 17 << 20
"""What the verifier says comes as one text; libbpf asks for up to 16 MiB of it."""
_BPF_ANY: Final = 0

_PrintFunction = ctypes.CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)


class LibbpfError(OSError):
    """A call into libbpf failed; ``log`` holds what libbpf and the verifier said."""

    def __init__(self, number: int, what: str, log: str = "") -> None:
        super().__init__(number, f"{what}: {os.strerror(number)}")
        self.log = log


class _BtfType(ctypes.Structure):
    _fields_ = (("name_off", c_uint32), ("info", c_uint32), ("size", c_uint32))


class _BtfSectionVariable(ctypes.Structure):
    _fields_ = (("type", c_uint32), ("offset", c_uint32), ("size", c_uint32))


class _RunOptions(ctypes.Structure):
    """bpf_test_run_opts of libbpf 1.x."""

    _fields_ = (
        *((name, c_size_t) for name in ("sz", "data_in", "data_out")),
        *((name, c_uint32) for name in ("data_size_in", "data_size_out")),
        *((name, c_size_t) for name in ("ctx_in", "ctx_out")),
        *((name, c_uint32) for name in ("ctx_size_in", "ctx_size_out", "retval", "repeat")),
        *((name, c_uint32) for name in ("duration", "flags", "cpu", "batch_size")),
    )


_SIGNATURES: Final[dict[str, tuple[object, ...]]] = {
    # name: (result, arguments...)
    "libbpf_set_print": (c_void_p, c_void_p),
    "libbpf_version_string": (c_char_p,),
    "libbpf_num_possible_cpus": (c_int,),
    "bpf_object__open_file": (c_void_p, c_char_p, c_void_p),
    "bpf_object__load": (c_int, c_void_p),
    "bpf_object__close": (None, c_void_p),
    "bpf_object__find_map_by_name": (c_void_p, c_void_p, c_char_p),
    "bpf_object__find_program_by_name": (c_void_p, c_void_p, c_char_p),
    "bpf_object__next_program": (c_void_p, c_void_p, c_void_p),
    "bpf_object__btf": (c_void_p, c_void_p),
    "bpf_program__name": (c_char_p, c_void_p),
    "bpf_program__section_name": (c_char_p, c_void_p),
    "bpf_program__set_autoload": (c_int, c_void_p, c_bool),
    "bpf_program__fd": (c_int, c_void_p),
    "bpf_program__attach": (c_void_p, c_void_p),
    "bpf_program__attach_perf_event": (c_void_p, c_void_p, c_int),
    "bpf_link__fd": (c_int, c_void_p),
    "bpf_link__open": (c_void_p, c_char_p),
    "bpf_link__pin": (c_int, c_void_p, c_char_p),
    "bpf_map__pin": (c_int, c_void_p, c_char_p),
    "bpf_map__reuse_fd": (c_int, c_void_p, c_int),
    "bpf_object__next_map": (c_void_p, c_void_p, c_void_p),
    "bpf_map__name": (c_char_p, c_void_p),
    "bpf_obj_get": (c_int, c_char_p),
    "bpf_link__destroy": (c_int, c_void_p),
    "bpf_iter_create": (c_int, c_int),
    "bpf_prog_test_run_opts": (c_int, c_int, c_void_p),
    "bpf_map__fd": (c_int, c_void_p),
    "bpf_map__type": (c_int, c_void_p),
    "bpf_map__key_size": (c_uint32, c_void_p),
    "bpf_map__value_size": (c_uint32, c_void_p),
    "bpf_map__max_entries": (c_uint32, c_void_p),
    "bpf_map__set_max_entries": (c_int, c_void_p, c_uint32),
    "bpf_map__initial_value": (c_void_p, c_void_p, POINTER(c_size_t)),
    "bpf_map_update_elem": (c_int, c_int, c_char_p, c_char_p, c_uint64),
    "bpf_map_lookup_elem": (c_int, c_int, c_char_p, c_char_p),
    "bpf_map_delete_elem": (c_int, c_int, c_char_p),
    "bpf_map_get_next_key": (c_int, c_int, c_char_p, c_char_p),
    "libbpf_find_vmlinux_btf_id": (c_int, c_char_p, c_int),
    "btf__find_by_name_kind": (c_int, c_void_p, c_char_p, c_uint32),
    "btf__type_by_id": (c_void_p, c_void_p, c_uint32),
    "btf__name_by_offset": (c_char_p, c_void_p, c_uint32),
}


def load_library() -> ctypes.CDLL:
    """libbpf with typed functions, silent.

    Raises:
        LibbpfError: there is no libbpf 1.x (Debian: ``apt-get install libbpf1``).
    """
    try:
        library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise LibbpfError(errno.ENOENT, "libbpf.so.1 (Debian package libbpf1) cannot be loaded") from error
    for name, (result, *arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    library.libbpf_set_print(None)
    return library


def open_pin(path: Path) -> int:
    """Descriptor of what is pinned there.

    Raises:
        LibbpfError: nothing is, or we may not.
    """
    fd = int(load_library().bpf_obj_get(os.fsencode(path)))
    if fd < 0:
        raise LibbpfError(-fd, f"pin {path.name}")
    return fd


class BpfObject:
    """One object file: open, set up, load, attach, read and write.

    A context manager: leaving it detaches and frees all that was not pinned.
    """

    def __init__(self, path: Path) -> None:
        self._library = load_library()
        self.path = path
        self._links: dict[str, int] = {}
        self._autoload: dict[str, bool] = {}
        self._variables: dict[str, tuple[str, int, int]] = {}
        self._map_fds: dict[str, int] = {}
        self._shared: dict[str, mmap.mmap] = {}
        self._object = self._library.bpf_object__open_file(os.fsencode(path), None)
        if not self._object:
            raise LibbpfError(ctypes.get_errno(), f"{path} cannot be opened")
        for section in (".rodata", *_SHARED_SECTIONS):
            self._read_section(section)

    def __enter__(self) -> "BpfObject":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- before load

    def program_names(self) -> dict[str, str]:
        """Section (``tp/syscalls/sys_exit_openat``) by program name."""
        programs: dict[str, str] = {}
        program = self._library.bpf_object__next_program(self._opened(), None)
        while program:
            name = self._library.bpf_program__name(program).decode()
            programs[name] = self._library.bpf_program__section_name(program).decode()
            program = self._library.bpf_object__next_program(self._object, program)
        return programs

    def set_autoload(self, program: str, *, enabled: bool) -> None:
        """Say whether :meth:`load` loads this program."""
        self._check(self._library.bpf_program__set_autoload(self._program(program), enabled), f"autoload of {program}")
        self._autoload[program] = enabled

    def set_max_entries(self, name: str, entries: int) -> None:
        """Size a map before load."""
        self._check(self._library.bpf_map__set_max_entries(self._map(name), entries), f"size of map {name}")

    def set_rodata(self, name: str, value: bytes) -> None:
        """Set a ``const volatile`` variable before load."""
        view = self.variable_view(name)
        if len(view) != len(value):
            raise ValueError(f"{name} has {len(view)} bytes, not {len(value)}")
        view[:] = value

    def load(self, *, explain: bool = True) -> None:
        """Load maps and programs.

        Raises:
            LibbpfError: with ``explain``, what libbpf and the verifier said last is in ``log``.
        """
        result = self._library.bpf_object__load(self._object)
        if result:
            raise LibbpfError(-result, f"{self.path.name} cannot be loaded", self._explain_load() if explain else "")
        self._share_sections()

    def _share_sections(self) -> None:
        for section in set(_SHARED_SECTIONS) & {section for section, _, _ in self._variables.values()}:
            self._share(section)

    def _share(self, section: str) -> None:
        """Map a section's map: libbpf before 1.6 does so for skeletons only, and else keeps a private copy."""
        size = int(self._library.bpf_map__value_size(self._map(section)))
        self._shared[section] = mmap.mmap(self.map_fd(section), size)

    def _explain_load(self) -> str:
        """Load once more, with libbpf's words kept: it says them only through a callback."""
        lines: list[str] = []
        buffer = ctypes.create_string_buffer(_LOG_BYTES)
        libc = ctypes.CDLL(None)

        def keep(_level: int, text: bytes, arguments: int) -> int:
            libc.vsnprintf(buffer, c_size_t(len(buffer)), c_char_p(text), c_void_p(arguments))
            lines.extend(buffer.value.decode(errors="replace").splitlines())
            return 0

        callback = _PrintFunction(keep)
        self._library.libbpf_set_print(ctypes.cast(callback, c_void_p))
        try:
            again = self._library.bpf_object__open_file(os.fsencode(self.path), None)
            if again:
                for name, is_wanted in self._autoload.items():
                    program = self._library.bpf_object__find_program_by_name(again, name.encode())
                    self._library.bpf_program__set_autoload(program, is_wanted)
                self._library.bpf_object__load(again)
                self._library.bpf_object__close(again)
        finally:
            self._library.libbpf_set_print(None)
        return "\n".join(lines[-_LOG_LINES_MAX:])

    # -- globals

    def variable_view(self, name: str) -> memoryview:
        """Writable memory of a global variable (.rodata before load; .bss shared with the programs after it)."""
        section, offset, size = self._variables[name]
        shared = self._shared.get(section)
        if shared is not None:
            return memoryview(shared)[offset : offset + size]
        length = c_size_t()
        base = self._library.bpf_map__initial_value(self._map(section), byref(length))
        if not base:
            raise LibbpfError(errno.ENOENT, f"memory of {section}")
        return memoryview((ctypes.c_ubyte * size).from_address(base + offset)).cast("B")

    def has_variable(self, name: str) -> bool:
        """Whether the object has this global."""
        return name in self._variables

    def _read_section(self, section: str) -> None:
        """Find the variables of one data section in the object's BTF."""
        library = self._library
        btf = library.bpf_object__btf(self._object)
        section_id = library.btf__find_by_name_kind(btf, section.encode(), _KIND_DATASEC)
        if section_id <= 0:
            return
        address = library.btf__type_by_id(btf, section_id)
        count = _BtfType.from_address(address).info & 0xFFFF
        variables = (_BtfSectionVariable * count).from_address(address + ctypes.sizeof(_BtfType))
        for variable in variables:
            named = _BtfType.from_address(library.btf__type_by_id(btf, variable.type))
            name = library.btf__name_by_offset(btf, named.name_off).decode()
            self._variables[name] = (section, variable.offset, variable.size)

    # -- programs and links

    def program_fd(self, name: str) -> int:
        """Descriptor of a loaded program; it stays the object's."""
        return int(self._library.bpf_program__fd(self._program(name)))

    def run(self, program: str, context: bytearray) -> int:
        """Run a program of section ``syscall`` once, in this thread; it reads and writes ``context``. Its result.

        Raises:
            LibbpfError: the kernel does not run it.
        """
        memory = (ctypes.c_char * len(context)).from_buffer(context)
        options = _RunOptions(sz=ctypes.sizeof(_RunOptions), ctx_in=ctypes.addressof(memory), ctx_size_in=len(context))
        result = self._library.bpf_prog_test_run_opts(self.program_fd(program), byref(options))
        self._check(result, f"run of {program}")
        return int(options.retval)

    def attach(self, program: str) -> None:
        """Attach where the program's section says (tp_btf, raw_tp, iter)."""
        link = self._library.bpf_program__attach(self._program(program))
        if not link:
            raise LibbpfError(ctypes.get_errno(), f"{program} cannot be attached")
        self._links[program] = link

    def attach_perf_event(self, program: str, event_fd: int, *, link_name: str = "") -> None:
        """Attach to a perf event (a tracepoint of :mod:`monitor.bpf.tracefs`); takes the descriptor.

        ``link_name`` tells the links of one program on several events apart; it is the program's when not given.
        """
        link = self._library.bpf_program__attach_perf_event(self._program(program), event_fd)
        if not link:
            number = ctypes.get_errno()
            os.close(event_fd)
            raise LibbpfError(number, f"{program} cannot be attached")
        self._links[link_name or program] = link

    def detach(self, link_name: str) -> None:
        """Destroy a link, named as its program where nothing else was said; if there is one."""
        link = self._links.pop(link_name, None)
        if link is not None:
            self._library.bpf_link__destroy(link)

    def read_iterator(self, program: str) -> bytes:
        """Attach an iterator, read all that it writes, detach it."""
        self.attach(program)
        try:
            fd = self._library.bpf_iter_create(self._library.bpf_link__fd(self._links[program]))
            if fd < 0:
                raise LibbpfError(-fd, f"{program} cannot be iterated")
            with open(fd, "rb", buffering=0) as file:  # noqa: PTH123  (a descriptor, not a path)
                return b"".join(iter(lambda: file.read(65536), b""))
        finally:
            self.detach(program)

    @property
    def attached(self) -> tuple[str, ...]:
        """Names of the links that are attached now: of their programs, where nothing else was said."""
        return tuple(self._links)

    # -- maps

    def map_fd(self, name: str) -> int:
        """Descriptor of a map; it stays the object's."""
        fd = self._map_fds.get(name)
        if fd is None:
            fd = self._map_fds[name] = int(self._library.bpf_map__fd(self._map(name)))
        return fd

    def map_max_entries(self, name: str) -> int:
        """How many entries (or ring bytes) the map was made with."""
        return int(self._library.bpf_map__max_entries(self._map(name)))

    def map_update(self, name: str, key: bytes, value: bytes) -> None:
        """Set one entry.

        Raises:
            LibbpfError: E2BIG when the map is full.
        """
        result = self._library.bpf_map_update_elem(self.map_fd(name), key, value, _BPF_ANY)
        self._check(result, f"map {name}")

    def map_lookup(self, name: str, key: bytes) -> bytes | None:
        """One value, or None. Of a per-CPU map: the values of all possible CPUs, each padded to 8 bytes."""
        buffer = ctypes.create_string_buffer(self._value_bytes(name))
        if self._library.bpf_map_lookup_elem(self.map_fd(name), key, buffer):
            return None
        return buffer.raw

    def map_delete(self, name: str, key: bytes) -> None:
        """Remove one entry, if it is there."""
        self._library.bpf_map_delete_elem(self.map_fd(name), key)

    def map_items(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        """All entries, as far as they stay while we look; bounded by the map's size."""
        key_bytes = self._library.bpf_map__key_size(self._map(name))
        fd, key = self.map_fd(name), None
        following = ctypes.create_string_buffer(key_bytes)
        for _ in range(self.map_max_entries(name) + 1):
            if self._library.bpf_map_get_next_key(fd, key, following):
                return
            key = following.raw
            value = self.map_lookup(name, key)
            if value is not None:
                yield key, value

    def _value_bytes(self, name: str) -> int:
        """Room for a lookup: as if the map were per CPU, which user space cannot tell cheaply."""
        size = (self._library.bpf_map__value_size(self._map(name)) + 7) & ~7
        return int(size * self.possible_cpus())

    def possible_cpus(self) -> int:
        """How many CPUs the kernel may ever bring up: values a per-CPU entry has."""
        return int(self._library.libbpf_num_possible_cpus())

    # -- pins

    def map_names(self) -> list[str]:
        """Names of all maps, those of data sections as their section (``.bss``)."""
        names = []
        found = self._library.bpf_object__next_map(self._opened(), None)
        while found:
            name = self._library.bpf_map__name(found).decode()
            names.append("." + name.rpartition(".")[2] if "." in name else name)
            found = self._library.bpf_object__next_map(self._object, found)
        return names

    def pin_map(self, name: str, path: Path) -> None:
        """Let a map live on without us."""
        self._check(self._library.bpf_map__pin(self._map(name), os.fsencode(path)), f"pin of map {name}")

    def pin_link(self, name: str, path: Path) -> None:
        """Let an attached program stay attached without us; see :meth:`attached` for names."""
        self._check(self._library.bpf_link__pin(self._links[name], os.fsencode(path)), f"pin of {name}")

    def adopt_map(self, name: str, path: Path) -> None:
        """Before load, or instead of it: use the map that is pinned there. libbpf takes whatever lies there."""
        fd = open_pin(path)
        try:
            self.reuse_map(name, fd, f"pin {path.name}")
        finally:
            os.close(fd)

    def reuse_map(self, name: str, fd: int, what: str) -> None:
        """Before load, or instead of it: use a map that there is. ``what``: whose it is, for who is told of errors."""
        own = self._map(name)
        wanted = self._read_shape(own)
        self._check(self._library.bpf_map__reuse_fd(own, fd), what)
        if self._read_shape(own) != wanted:
            raise LibbpfError(errno.EINVAL, f"{what}: another kind of map")

    def _read_shape(self, of: int) -> tuple[int, int, int]:
        library = self._library
        return (
            library.bpf_map__type(of),
            library.bpf_map__key_size(of),
            library.bpf_map__value_size(of),
        )

    def adopt_link(self, name: str, path: Path) -> None:
        """Use the link that is pinned there; :meth:`detach` does not detach it while it is pinned."""
        link = self._library.bpf_link__open(os.fsencode(path))
        if not link:
            raise LibbpfError(ctypes.get_errno(), f"pin {path.name}")
        self._links[name] = link

    def share(self) -> None:
        """Instead of load, when every map was adopted: see the variables that the programs see."""
        self._share_sections()

    # -- end

    def close(self) -> None:
        """Detach and free. Views of globals must not be used afterwards."""
        for program in list(self._links):
            self.detach(program)
        if self._object:
            self._library.bpf_object__close(self._object)
            self._object = None
        self._map_fds.clear()
        self._shared.clear()

    def _opened(self) -> int:
        """The object; libbpf takes NULL for one, and ends the process."""
        if not self._object:
            raise ValueError(f"{self.path.name} is closed")
        return int(self._object)

    def _map(self, name: str) -> int:
        found = self._library.bpf_object__find_map_by_name(self._opened(), name.encode())
        if not found:
            raise KeyError(f"{self.path.name} has no map {name}")
        return int(found)

    def _program(self, name: str) -> int:
        found = self._library.bpf_object__find_program_by_name(self._opened(), name.encode())
        if not found:
            raise KeyError(f"{self.path.name} has no program {name}")
        return int(found)

    @staticmethod
    def _check(result: int, what: str) -> None:
        if result:
            raise LibbpfError(-result, what)
