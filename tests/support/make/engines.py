"""Engines, and what is asked of the effects that they give."""

from collections.abc import Iterable
from typing import Any

from monitor.config.settings import EngineSettings
from monitor.engine.engine import Engine
from monitor.engine.guardrails import GuardrailFacts
from monitor.model.alert import Alert
from monitor.model.effects import Effect, EmitAlert, EmitEvent
from monitor.model.events import AnyEvent
from monitor.model.process import Context
from monitor.rules.response import ResponsePolicy, parse_responses
from monitor.rules.ruleset import RuleSet
from tests.support.make.events import HOST_CGROUP, SHELL, cgroup_create, exec

BOOT_ID = "6b1f9d0e-0000-4000-8000-000000000000"


def engine(
    rules: RuleSet | None = None,
    *,
    mode: str = "audit",
    responses: str = "",
    facts: GuardrailFacts | None = None,
    **settings: Any,
) -> Engine:
    """An engine that knows the host's root cgroup and the parent that events have unless told."""
    policy = parse_responses(responses.encode(), "response.yml") if responses else ResponsePolicy()
    made = Engine(
        rules or RuleSet(), EngineSettings(**settings), mode=mode, responses=policy, boot_id=BOOT_ID, facts=facts
    )
    made.handle(cgroup_create("/", HOST_CGROUP))
    made.handle(
        exec("/usr/bin/bash", tgid=SHELL.tgid, start_boottime_ns=SHELL.start_boottime_ns, exec_id=1, from_proc=True)
    )
    return made


def alerts(effects: Iterable[Effect]) -> list[Alert]:
    return [effect.alert for effect in effects if isinstance(effect, EmitAlert)]


def contexts(effects: Iterable[Effect]) -> list[Context]:
    return [effect.context for effect in effects if isinstance(effect, EmitEvent)]


def names(found: Iterable[Alert]) -> list[str]:
    """The rules of alerts, leading rule of each."""
    return [alert.detections[0].rule.name for alert in found]


def play(made: Engine, events: Iterable[AnyEvent]) -> list[Effect]:
    """All effects of these events."""
    return [effect for event in events for effect in made.handle(event)]
