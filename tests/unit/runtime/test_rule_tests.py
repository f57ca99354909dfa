"""Rule samples through index, kernel patterns and engine."""

import json
from pathlib import Path

from monitor.runtime.rule_tests import SamplesReport, run_samples
from tests.support.rule_texts import IDS, load_text, rule_text

RULE = rule_text("sel: {Image|endswith: /one}\ncondition: sel", extra="name: one\n", number=1)
FILE = rule_text("sel: {TargetFilename: /two}\ncondition: sel", category="file_access", extra="name: two\n", number=2)
BOTH = f"""\
title: Both
name: both
id: {IDS[3]}
level: high
correlation: {{type: temporal_ordered, rules: [one, two], group-by: container.id, timespan: 10s}}
"""
ONE = {"event": "process_exec", "Image": "/bin/one", "container.id": "ab"}
TWO = {"event": "file_open", "file.path": "/two", "container.id": "ab"}


def run(folder: Path, **samples: list[object]) -> SamplesReport:
    """``rule__kind=[...]``."""
    rules = folder / "rules"
    rules.mkdir()
    for name, lines in samples.items():
        rule, kind = name.split("__")
        path = folder / "samples" / rule / f"{kind}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run_samples(load_text(rules, RULE, FILE, BOTH), [folder / "samples"])


def test_single_events(tmp_path: Path) -> None:
    report = run(tmp_path, one__match=[ONE], one__ignore=[TWO, {**ONE, "Image": "/bin/two"}], two__match=[TWO])

    assert (report.passed, report.failures) == (4, ())
    assert [rule.missing for rule in report.rules] == [(), ("ignore",), ("match", "ignore")]


def test_what_goes_wrong_has_its_line(tmp_path: Path) -> None:
    report = run(tmp_path, one__match=[ONE, TWO], one__ignore=[ONE], nobody__match=[ONE])

    messages = [
        f"{Path(failure.location.file).name}:{failure.location.line} {failure.message}" for failure in report.failures
    ]
    assert messages == [
        "nobody:1 no rule is called nobody",
        "match.jsonl:2 one: should match",
        "ignore.jsonl:1 one: must not match",
    ]


def test_sequences_go_through_the_engine(tmp_path: Path) -> None:
    in_order = {"sequence": [ONE, {**TWO, "after_s": 5}]}
    backwards = {"sequence": [TWO, {**ONE, "after_s": 5}]}
    too_late = {"sequence": [ONE, {**TWO, "after_s": 11}]}
    elsewhere = {"sequence": [ONE, {**TWO, "after_s": 5, "container.id": "cd"}]}

    report = run(tmp_path, both__match=[in_order], both__ignore=[backwards, too_late, elsewhere, ONE])

    assert (report.passed, report.failures) == (5, ())


def test_parents_and_containers_of_sequences_are_as_written(tmp_path: Path) -> None:
    parent = rule_text(
        "sel: {ParentImage|endswith: /nginx, container.image.name: nginx, container.runtime: podman}\ncondition: sel",
        extra="name: child\n",
    )
    rules = tmp_path / "rules"
    rules.mkdir()
    folder = tmp_path / "samples" / "child"
    folder.mkdir(parents=True)
    sample = {
        **ONE,
        "process.parent.executable": "/usr/sbin/nginx",
        "container.image.name": "nginx",
        "container.runtime": "podman",
    }
    (folder / "match.jsonl").write_text(json.dumps({"sequence": [sample]}) + "\n" + json.dumps(sample) + "\n")
    (folder / "ignore.jsonl").write_text(json.dumps({"sequence": [{**sample, "ParentProcessId": 5, "Image": "/x"}]}))

    report = run_samples(load_text(rules, parent), [tmp_path / "samples"])

    assert report.passed == 2
    assert [failure.message for failure in report.failures] == ["child: must not fire in this sequence"]
