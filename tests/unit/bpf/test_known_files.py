"""The kernel's table of known files: what a program would find there."""

import struct

from monitor.bpf.kernel_policy import KernelPolicyWriter
from monitor.bpf.policy_packing import HALF_VECTORS
from monitor.model.ids import InodeKey
from monitor.model.kernel_policy import ContainerTerms
from monitor.model.rule import Rule, Severity
from monitor.rules.ir import Text
from monitor.rules.kernel_policy import KernelPolicy, build_policy, build_rule_terms
from monitor.wire import _layout as layout
from tests.support.policy_maps import PolicyMemory

ONE, OTHER = InodeKey(8, 100, 1), InodeKey(8, 200, 1)
SLOT, NEXT = 2, 3
RULE = Rule("1", "rule", "", Severity.HIGH, "stable", response="deny")


def policy(*paths: str) -> KernelPolicy:
    """A term for each."""
    texts = [Text("process.executable", "exact", (path,)) for path in paths]
    return build_policy([term for text in texts for term in build_rule_terms(RULE, "process_creation", text)])


class Kernel:
    """A writer and its memory; :meth:`look_up` is what ``ebpf/include/policy_file.bpf.h`` does."""

    def __init__(self, memory: PolicyMemory | None = None) -> None:
        self.memory = memory or PolicyMemory()
        self.writer = KernelPolicyWriter(self.memory)

    def apply(self, *paths: str) -> None:
        containers = {layout.POLICY_HOST: ContainerTerms(0, 0)}
        self.writer.apply(policy(*paths).tables, containers)

    def know(self, slot: int, **files: InodeKey) -> None:
        found: dict[InodeKey, frozenset[str]] = {}
        for path, key in files.items():
            found[key] = found.get(key, frozenset()) | {f"/{path}"}
        self.writer.set_files(slot, found)

    def look_up(self, slot: int, key: InodeKey) -> int:
        """The terms that this file fulfils as a program."""
        packed = struct.pack("<QQII", key.inode, key.device, key.generation, slot)
        value = self.memory.maps["policy_files"].get(packed)
        number = int.from_bytes(value or b"", "little")
        half = self.memory.half
        known = self.memory.variable_view("policy_known").cast("I")[half]
        if not known >> layout.POLICY_SUBJECT_EXECUTABLE & 1:
            return 0
        rows = self.memory.variable_view("policy_known_files").cast("I")
        return self.memory.vector(rows[(half * layout.POLICY_FILE_PATHS + number) * layout.POLICY_SUBJECTS])


def test_a_file_is_known_in_one_container() -> None:
    kernel = Kernel()
    kernel.apply("/a", "/b")
    kernel.know(SLOT, b=ONE)

    assert kernel.look_up(SLOT, ONE) == 0b10
    assert kernel.look_up(NEXT, ONE) == kernel.look_up(SLOT, OTHER) == 0


def test_a_file_that_was_found_at_two_paths() -> None:
    kernel = Kernel()
    kernel.apply("/a", "/b")
    kernel.know(SLOT, a=ONE, b=ONE)
    kernel.know(NEXT, a=ONE)

    assert (kernel.look_up(SLOT, ONE), kernel.look_up(NEXT, ONE)) == (0b11, 0b01)


def test_another_policy_knows_the_same_files() -> None:
    kernel = Kernel()
    kernel.apply("/a", "/b")
    kernel.know(SLOT, a=ONE, b=OTHER)
    kernel.apply("/x", "/a")

    assert (kernel.look_up(SLOT, ONE), kernel.look_up(SLOT, OTHER)) == (0b10, 0)
    kernel.apply("/x")
    assert kernel.look_up(SLOT, ONE) == 0


def test_what_is_not_found_any_more_is_not_known() -> None:
    kernel = Kernel()
    kernel.apply("/a")
    kernel.know(SLOT, a=ONE)
    kernel.know(SLOT, a=OTHER)

    assert (kernel.look_up(SLOT, ONE), kernel.look_up(SLOT, OTHER), len(kernel.writer.files)) == (0, 1, 1)


def test_a_slot_is_given_to_another_container() -> None:
    kernel = Kernel()
    kernel.apply("/a")
    kernel.know(SLOT, a=ONE)
    kernel.writer.files.forget(SLOT)

    assert (kernel.look_up(SLOT, ONE), kernel.memory.maps["policy_files"]) == (0, {})


def test_what_an_earlier_service_knew_holds_until_another_policy_is_in_force() -> None:
    earlier = Kernel()
    earlier.apply("/a", "/b")
    earlier.know(SLOT, a=ONE, b=OTHER)

    later = Kernel(earlier.memory)
    later.know(SLOT, a=ONE)  # found again, before the first policy
    assert (later.look_up(SLOT, ONE), later.look_up(SLOT, OTHER)) == (0b01, 0b10)
    later.apply("/x", "/a", "/b")
    assert (later.look_up(SLOT, ONE), later.look_up(SLOT, OTHER)) == (0b10, 0)
    assert len(later.memory.maps["policy_files"]) == 1


def test_a_full_map_is_told() -> None:
    kernel = Kernel(PolicyMemory(full="policy_files"))
    kernel.apply("/a")
    kernel.know(SLOT, a=ONE)
    assert kernel.writer.files.without_room == {SLOT}

    kernel.memory.full = ""
    kernel.know(SLOT, a=ONE)
    assert (kernel.writer.files.without_room, kernel.look_up(SLOT, ONE)) == (frozenset(), 1)


def test_more_different_sets_of_paths_than_there_are_numbers() -> None:
    kernel = Kernel()
    kernel.apply("/p0")
    files = {InodeKey(8, number, 0): frozenset({f"/p{number}"}) for number in range(layout.POLICY_FILE_PATHS + 1)}
    kernel.writer.set_files(SLOT, files)

    assert kernel.writer.files.without_room == {SLOT}
    assert kernel.look_up(SLOT, InodeKey(8, 0, 0)) == 1
    kernel.writer.set_files(SLOT, {ONE: frozenset({"/new"})})
    assert kernel.writer.files.without_room == {SLOT}, "numbers are free again with the next policy"
    kernel.apply("/new")
    kernel.writer.set_files(SLOT, {ONE: frozenset({"/new"})})
    assert (kernel.writer.files.without_room, kernel.look_up(SLOT, ONE)) == (frozenset(), 1)


def test_no_vector_of_a_half_is_the_one_without_a_bit() -> None:
    assert 2 * HALF_VECTORS < layout.POLICY_NOTHING
