"""Run rule samples: single events against the rule, sequences through a whole engine.

A sample that must match must also be a candidate of its event, and an open or a change must
pass the patterns that the rule gives to the kernel's filter: what is tested is
what runs.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct, structs

from monitor.config.settings import EngineSettings
from monitor.engine.engine import Engine
from monitor.model.container import Container
from monitor.model.effects import Effect, EmitAlert
from monitor.model.events import (
    AnyEvent,
    BulkEvent,
    CgroupCreate,
    ContainerResolved,
    ProcessExec,
    ProcessFork,
    TaskEvent,
    Tick,
)
from monitor.model.ids import ProcessKey
from monitor.model.rule import Location, Rule
from monitor.rules.errors import RuleError
from monitor.rules.open_filter import passes
from monitor.rules.response import ResponsePolicy
from monitor.rules.ruleset import CompiledRule, RuleSet
from monitor.rules.samples import HOST_CGROUP, Sample, SampleEvent, build_context, read_samples

KINDS: Final = ("match", "ignore")
_NS: Final = 1_000_000_000
_START_NS: Final = 100 * _NS
_CGROUP_PATHS: Final = {
    "docker": "/docker/{id}",
    "containerd": "/system.slice/cri-containerd-{id}.scope",
    "cri-o": "/system.slice/crio-{id}.scope",
    "podman": "/machine.slice/libpod-{id}.scope",
}
"""Where each runtime would put the container: the engine finds the same id by the path."""


class RuleReport(Struct, frozen=True):
    """What the samples of one rule said."""

    rule: Rule
    passed: int
    failures: tuple[RuleError, ...]
    missing: tuple[str, ...]
    """Of ``match`` and ``ignore``: what it has no samples for."""


class SamplesReport(Struct, frozen=True):
    """What all samples said."""

    rules: tuple[RuleReport, ...]
    strays: tuple[RuleError, ...]
    """Sample folders without a rule, and files that cannot be read."""

    @property
    def passed(self) -> int:
        """Samples that did what they should."""
        return sum(report.passed for report in self.rules)

    @property
    def failures(self) -> tuple[RuleError, ...]:
        """Everything that went wrong, in order."""
        return (*self.strays, *(failure for report in self.rules for failure in report.failures))


def run_samples(rules: RuleSet, folders: Sequence[Path]) -> SamplesReport:
    """Test every rule against ``<folder>/<rule name>/{match,ignore}.jsonl``."""
    by_name = {rule.name: rule for rule in rules.rules}
    compiled = {rule.rule.id: rule for rule in rules.enabled}
    strays = [
        RuleError(Location(str(path), 1, 1), f"no rule is called {path.name}")
        for folder in folders
        for path in sorted(folder.iterdir())
        if path.is_dir() and path.name not in by_name
    ]
    strays += [
        RuleError(Location(str(path), 1, 1), f"samples are in {' and '.join(f'{kind}.jsonl' for kind in KINDS)}")
        for folder in folders
        for path in sorted(folder.glob("*/*.jsonl"))
        if path.stem not in KINDS
    ]
    reports = tuple(
        _test_rule(rule, compiled.get(rule.id), rules, _read_rule_samples(rule, folders)) for rule in rules.rules
    )
    return SamplesReport(reports, tuple(strays))


def _read_rule_samples(rule: Rule, folders: Sequence[Path]) -> Mapping[str, tuple[list[Sample], list[RuleError]]]:
    found: dict[str, tuple[list[Sample], list[RuleError]]] = {}
    for kind in KINDS:
        samples: list[Sample] = []
        errors: list[RuleError] = []
        for folder in folders:
            path = folder / rule.name / f"{kind}.jsonl"
            if path.is_file():
                read, wrong = read_samples(str(path), path.read_bytes())
                samples += read
                errors += wrong
        found[kind] = (samples, errors)
    return found


def _test_rule(
    rule: Rule,
    compiled: CompiledRule | None,
    rules: RuleSet,
    samples: Mapping[str, tuple[list[Sample], list[RuleError]]],
) -> RuleReport:
    failures: list[RuleError] = []
    passed = 0
    for kind, (several, errors) in samples.items():
        failures += errors
        for sample in several:
            reason = _judge(sample, rule, compiled, rules, expected=kind == "match")
            if reason:
                failures.append(RuleError(sample.location, f"{rule.name}: {reason}"))
            else:
                passed += 1
    missing = tuple(kind for kind, (several, _) in samples.items() if not several)
    return RuleReport(rule, passed, tuple(failures), missing)


def _judge(sample: Sample, rule: Rule, compiled: CompiledRule | None, rules: RuleSet, *, expected: bool) -> str:
    """Why a sample did not do what it should; empty when it did."""
    if rule.inactive_reason:
        return f"the rule is inactive: {rule.inactive_reason}" if expected else ""
    if sample.is_sequence or compiled is None:
        fired = rule.id in fired_rules(rules, sample.events)
        return "" if fired is expected else f"{'should' if expected else 'must not'} fire in this sequence"
    return _judge_single(sample.events[0], rule, compiled, rules, expected=expected)


def _judge_single(sample: SampleEvent, rule: Rule, compiled: CompiledRule, rules: RuleSet, *, expected: bool) -> str:
    context = build_context(sample)
    among = [candidate for candidate in rules.candidates(context) if candidate.rule.id == rule.id]
    chosen = any(candidate.matches(context) for candidate in among)
    matched = type(context.event).__name__ in rules.needed_events and compiled.matches(context)
    if chosen is not matched:
        return f"the index says {chosen}, the rule {matched}: a defect of Stockade, please report it"
    if matched is not expected:
        return "should match" if expected else "must not match"
    if expected and isinstance(sample.event, BulkEvent) and not _is_sent(sample, rule, rules):
        return "matches, but the kernel's filter would not send this event: a defect of Stockade, please report it"
    return ""


def _is_sent(sample: SampleEvent, rule: Rule, rules: RuleSet) -> bool:
    event = sample.event
    assert isinstance(event, BulkEvent)
    own = (pattern for pattern in rules.open_patterns if pattern.wanted_by == rule.name)
    return any(passes(pattern, event, in_container=sample.container is not None) for pattern in own)


def fired_rules(rules: RuleSet, events: Sequence[SampleEvent]) -> set[str]:
    """Ids of the rules that alert when an engine sees these events, and nothing else before or for a day after."""
    engine = Engine(rules, EngineSettings(), mode="audit", responses=ResponsePolicy(), boot_id="samples")
    effects: list[Effect] = []
    for event in _tell(events):
        effects += engine.handle(event)
    return {
        detection.rule.id
        for effect in effects
        if isinstance(effect, EmitAlert)
        for detection in effect.alert.detections
    }


def _tell(samples: Sequence[SampleEvent]) -> Iterator[AnyEvent]:
    """The samples as the sensors would tell them: cgroups and processes first, then what happened."""
    teller = _Teller()
    yield CgroupCreate(0, HOST_CGROUP, "/")
    for sample in samples:
        yield from teller.tell(sample)
    # Windows whose condition can only be judged at their end are closed by time.
    for day_part in range(1, 25):
        yield Tick(teller.now_ns + day_part * 3_600 * _NS)


class _Teller:
    """Knows what was told already."""

    def __init__(self) -> None:
        self.now_ns = _START_NS
        self._containers: dict[str, Container] = {}
        self._parents: dict[ProcessExec, ProcessKey] = {}
        self._programs: dict[ProcessKey, ProcessExec] = {}

    def tell(self, sample: SampleEvent) -> Iterator[AnyEvent]:
        """One sample, and what has to be known before."""
        self.now_ns += int(sample.after_s * _NS)
        if sample.container is not None and self._containers.get(sample.container.id) != sample.container:
            self._containers[sample.container.id] = sample.container
            yield from self._tell_container(sample.container)
        program = sample.program
        if sample.parent is not None:
            key = self._parents.get(sample.parent)
            if key is None:
                key = ProcessKey(sample.parent.tgid, len(self._parents) + 1)
                self._parents[sample.parent] = key
                yield self._at_now(structs.replace(sample.parent, start_boottime_ns=key[1], from_proc=True))
            program = structs.replace(program, parent_start_boottime_ns=key.start_boottime_ns)
        yield from self._tell_program(program, is_event=sample.event is sample.program)
        if sample.event is not sample.program:
            exec_id = self._programs[program.key].exec_id
            yield self._at_now(structs.replace(sample.event, exec_id=exec_id))

    def _tell_container(self, container: Container) -> Iterator[AnyEvent]:
        path = _CGROUP_PATHS.get(container.runtime, "/other/{id}").format(id=container.id)
        yield CgroupCreate(self.now_ns, container.cgroup_id, path)
        if not container.pending:
            yield ContainerResolved(self.now_ns, container.id, container.name, container.image_name, container.labels)

    def _tell_program(self, program: ProcessExec, *, is_event: bool) -> Iterator[AnyEvent]:
        """The exec of a program; silent (as the start-up walk tells it) when the sample is about something else."""
        known = self._programs.get(program.key)
        if known is not None and not is_event and known == structs.replace(program, exec_id=known.exec_id):
            return
        exec_id = 2 if known is None else known.exec_id + 1
        started = structs.replace(program, exec_id=exec_id)
        self._programs[program.key] = started
        if is_event and known is None:
            yield self._fork(program)
        yield self._at_now(structs.replace(started, from_proc=not is_event))

    def _fork(self, program: ProcessExec) -> AnyEvent:
        task = {name: getattr(program, name) for name in TaskEvent.__struct_fields__}
        fork = ProcessFork(
            **task,
            parent_tgid=program.parent_tgid,
            parent_start_boottime_ns=program.parent_start_boottime_ns,
            parent_exec_id=1,
        )
        return self._at_now(fork)

    def _at_now(self, event: TaskEvent) -> AnyEvent:
        return structs.replace(event, ktime_ns=self.now_ns)  # type: ignore[return-value]  # of the union
