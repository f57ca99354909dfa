"""Every mistake of every file is reported at once, at its place."""

import os
from pathlib import Path

import pytest

from monitor.rules.errors import RuleErrors
from monitor.rules.loader import load_rules
from tests.support.rule_texts import IDS, mistakes, rule_text

GOOD = rule_text("sel: {Image|endswith: /sh}\ncondition: sel")
CORRELATION = f"""\
title: Many
id: {IDS[90]}
level: high
correlation:
  type: event_count
  rules: [base]
  group-by: container.id
  timespan: 1m
  condition: {{gte: 5}}
"""
BASE = rule_text("sel: {Image|endswith: /sh}\ncondition: sel", extra="name: base\n", number=91)


def with_line(text: str, before: str, after: str) -> str:
    assert before in text
    return text.replace(before, after)


def test_a_good_rule_has_none() -> None:
    assert mistakes(GOOD) == []


@pytest.mark.parametrize(
    ("item", "mistake"),
    [
        ("Imag: /x", "6:9: unknown field 'Imag'; did you mean 'Image'?"),
        ("Image|contain: x", "6:15: unknown modifier 'contain'; did you mean 'contains'?"),
        ("Image|contains: 5", "6:25: contains takes text; quote the value"),
        ("CommandLine|re: '(?=x)'", "6:25: RE2 refuses this regular expression: invalid perl operator: (?="),
        ("CommandLine|re: ['a', '(']", "6:31: RE2 refuses this regular expression: missing ): ("),
        ("CommandLine|re|contains|base64: x", "6:41: base64 cannot follow the modifiers before it"),
        ("process.flags.memfd: 3", "6:30: "),
        ("ProcessId|contains: x", "6:29: process.pid is a number: text and wildcards cannot match it"),
        ("ProcessId|gt: x", "6:23: gt takes a number"),
        ("Image: true", "6:16: process.executable is text, and this is a boolean in YAML; quote it"),
        ("CommandLine|expand: '%tools%'", "6:29: placeholder %tools% has no values here; write them out"),
        ("Image: []", "6:16: Image has an empty list: it would match nothing"),
        ("Image: [{a: b}]", "6:17: must be a single value"),
        ("TargetFilename: /x", "6:9: TargetFilename is no field of process_creation events"),
        ("Image|exists: 5", "6:23: exists takes true or false"),
        ("ParentImage|fieldref: Nothing", "6:31: unknown field 'Nothing'"),
        ("process.args_count: 99999999999999999999", "6:29: "),
    ],
)
def test_items(item: str, mistake: str) -> None:
    found = mistakes(rule_text(f"sel: {{{item}}}\ncondition: sel"))

    assert len(found) == 1
    assert found[0].startswith(mistake)


@pytest.mark.parametrize(
    ("condition", "mistake"),
    [
        ("other", "7:14: condition names 'other', which is no selection"),
        ("sel and sl", "7:22: condition names 'sl', which is no selection; did you mean 'sel'?"),
        ("'sel and sl'", "7:23: condition names 'sl', which is no selection; did you mean 'sel'?"),
        ("sel and 1 of filter_*", "7:27: condition: no selection is called 'filter_*'"),
        ("sel and", "7:"),
        ("(sel", "7:"),
        ("sel sel", "7:18: condition: cannot go on at 'sel'"),
        ("sel | count() > 5", "7:"),
        ("5", "7:14: a condition must be text"),
        ("[]", "7:14: condition is an empty list"),
        ("''", "7:14: a condition must be text"),
    ],
)
def test_conditions(condition: str, mistake: str) -> None:
    found = mistakes(rule_text(f"sel: {{Image: /x}}\ncondition: {condition}"))

    assert len(found) == 1
    assert found[0].startswith(mistake)


@pytest.mark.parametrize(
    ("before", "after", "mistake"),
    [
        (f"id: {IDS[0]}", "id: 1", "2:5: must be text; quote it"),
        (f"id: {IDS[0]}", "id: abc", "2:5: 'abc' is not a UUID; make one with uuidgen"),
        (f"id: {IDS[0]}\n", "", "1:1: the rule has no id"),
        ("title: A rule\n", "", "1:1: the rule has no title"),
        ("level: high", "level: hihg", "3:8: 'hihg' is none of"),
        ("level: high", "levle: high", "3:1: unknown key 'levle'; did you mean 'level'?"),
        ("level: high", "level: high\ntags: [abc]", "4:8: tag 'abc' is not of the form"),
        ("level: high", "level: high\ntags: attack.t1059", "4:7: must be a list of texts"),
        ("level: high", "level: high\ndate: 1.2.2003", "4:7: must be a date"),
        ("level: high", "level: high\nstatus: old", "4:9: 'old' is none of"),
        ("level: high", "level: high\nlevel: high", "4:1: key 'level' is there twice"),
        ("level: high", "level: high\naction: global", "4:1: unknown key 'action'; Sigma's old way"),
        ("level: high", "level: high\nname: 'a b'", "4:7: a name is up to 128 letters"),
        ("level: high", "level: high\nrelated: [{id: x, type: y}]", "4:16: 'x' is not a UUID"),
        ("category", "categroy", "4:29: unknown key 'categroy' in logsource; did you mean 'category'?"),
        ("condition: sel", "timeframe: 5m", "7:3: timeframe belongs to Sigma's old aggregations"),
    ],
)
def test_heads(before: str, after: str, mistake: str) -> None:
    assert any(found.startswith(mistake) for found in mistakes(with_line(GOOD, before, after)))


@pytest.mark.parametrize(
    ("block", "mistake"),
    [
        ("{scop: container}", "8:12: unknown key 'scop' in stockade; did you mean 'scope' or 'score'?"),
        ("{scope: pods}", "8:19: 'pods' is none of any, container, host"),
        ("{scope: {Imag: x}}", "8:20: unknown field 'Imag'"),
        ("{scope: {}}", "8:19: scope is empty"),
        ("{score: 101}", "8:19: score must be a whole number from 0 to 100"),
        ("{score: true}", "8:19: score must be"),
        ("{response: dny}", "8:22: 'dny' is none of"),
        ("{mode: enforced}", "8:18: 'enforced' is none of audit, enforce"),
        ("{exceptions: {}}", "8:24: exceptions must be a list"),
        ("{exceptions: [{when: {user.id: 0}}]}", "8:25: the exception lacks owner, reason, expires"),
        (
            "{exceptions: [{when: {user.id: 0}, owner: me, reason: x, expires: soon}]}",
            "8:77: 'soon' is no date",
        ),
        (
            "{exceptions: [{when: {Image|contains: SH}, owner: me, reason: x, expires: never}]}",
            "8:25: this exception covers all that the rule matches: nothing is left",
        ),
        ("5", "8:11: stockade must be a map of keys and values"),
    ],
)
def test_blocks(block: str, mistake: str) -> None:
    found = mistakes(GOOD + f"stockade: {block}\n")

    assert len(found) == 1
    assert found[0].startswith(mistake)


def test_exceptions_that_empty_a_rule_together() -> None:
    text = rule_text("sel: {Image|endswith: [/sh, /bash]}\ncondition: sel")
    exception = "{{when: {{Image|endswith: {0}}}, owner: me, reason: x, expires: never}}"
    both = f"stockade: {{exceptions: [{exception.format('/bash')}, {exception.format('h')}]}}\n"
    halves = f"stockade: {{exceptions: [{exception.format('/bash')}, {exception.format('/sh')}]}}\n"
    one = f"stockade: {{exceptions: [{exception.format('/bash')}]}}\n"

    assert len(mistakes(text + both)) == 1
    assert mistakes(text + halves) == ["8:25: the exceptions together cover all that the rule matches: nothing is left"]
    assert mistakes(text + one) == []


@pytest.mark.parametrize(
    ("before", "after", "mistake"),
    [
        ("event_count", "event_cuont", "5:9: 'event_cuont' is none of"),
        ("[base]", "[bas]", "6:11: no rule has the name or id 'bas'; did you mean 'base'?"),
        ("[base]", "[base, base]", "6:10: a rule is named twice"),
        ("container.id", "container.di", "7:13: unknown field 'container.di'"),
        ("container.id", "TargetFilename", "7:13: TargetFilename is no field of process_creation events (rule base)"),
        ("1m", "1 minute", "8:13: timespan '1 minute' is not a number with s, m, h, d or w"),
        ("{gte: 5}", "{gte: many}", "9:20: must be a number, 0 or more"),
        ("{gte: 5}", "{gtt: 5}", "9:15: unknown key 'gtt' in condition; did you mean 'gt' or 'gte'?"),
        ("{gte: 5}", "{gte: 5, lt: 9}", "9:14: the condition needs exactly one of"),
        ("{gte: 5}", "{gte: 5, field: Image}", "9:14: a event_count counts no field's values"),
        ("{gte: 5}", "base", "9:14: a event_count needs a comparison, e.g. {gte: 5}"),
        ("event_count", "value_count", "9:14: value_count needs the field whose values it counts"),
        ("event_count", "temporal", "6:10: a temporal needs two rules or more"),
        ("  timespan: 1m\n", "", "5:3: the correlation has no timespan"),
        ("  condition: {gte: 5}\n", "", "5:3: the correlation has no condition; a event_count needs one"),
        ("  timespan", "  generate: 5\n  timespan", "8:13: generate must be true or false"),
        (
            "  timespan",
            "  aliases: {who: {other: Image}}\n  timespan",
            "8:19: 'other' is none of the correlation's rules",
        ),
    ],
)
def test_correlations(before: str, after: str, mistake: str) -> None:
    found = [text.removeprefix("1.yml:") for text in mistakes(BASE, with_line(CORRELATION, before, after))]

    assert any(text.startswith(mistake) for text in found), found


def test_a_correlation_that_counts_itself() -> None:
    one = CORRELATION.replace("[base]", "[two]") + "name: one\n"
    two = CORRELATION.replace("[base]", "[one]").replace(IDS[90], IDS[89]) + "name: two\n"

    assert any("counts itself" in text for text in mistakes(one, two))


def test_ids_and_names_are_unique_over_all_files() -> None:
    named = GOOD + "name: base\n"

    found = mistakes(named, named)

    assert found[0] == f"1.yml:2:5: id {IDS[0]} is already that of the rule at 0.yml:2:5"
    assert found[1] == "1.yml:8:7: name base is already that of the rule at 0.yml:8:7"


def test_all_mistakes_of_all_documents_at_once() -> None:
    broken = with_line(GOOD, "Image", "Imag")

    found = mistakes(broken + "---\n" + broken.replace(IDS[0], IDS[1]), with_line(GOOD, "level: high", "level: 5"))

    assert [text.split(" ")[0] for text in found] == ["0.yml:6:9:", "0.yml:14:9:", "1.yml:2:5:", "1.yml:3:8:"]


@pytest.mark.parametrize(
    ("content", "mistake"),
    [
        (b'title: "x\n', "not YAML: found unexpected end of stream"),
        (b"title: \xff\n", "1:8: the file is not UTF-8"),
        (b"[" * 100_000, "nested deeper than 40"),
        (b"a: &a [*a]\n", "too large"),
        (b"a: &a [b,b,b,b,b,b,b,b]\n" + b"".join(
            b"%c: &%c [%s]\n" % (key, key, b",".join([b"*%c" % (key - 1)] * 8)) for key in range(ord("b"), ord("l"))
        ), "more than 50,000 nodes"),
        (b"- a\n", "1:1: a rule must be a map of keys and values"),
        (b"\0\0", "1:1: not YAML"),
        (b"title: x\nid: \x07\n", "2:5: not YAML: unacceptable character #x0007"),
        (b"# " + b"x" * (1 << 20), "larger than"),
        (b"!!python/object/apply:os.system ['true']\n", "a rule must be a map"),
        (b"title: !!binary aGk=\n", "1:8: values of type bytes have no meaning here"),
        (b"title: 2001-99-99\n", "1:8: not a value that YAML knows"),
        (b"? [x]\n: y\n", "1:3: a rule: a key must be plain text"),
        (b"<<: {title: x}\n", "1:1: a rule: a key must be plain text"),
    ],
)  # fmt: skip
def test_hostile_files(tmp_path: Path, content: bytes, mistake: str) -> None:
    (tmp_path / "rule.yml").write_bytes(content)

    with pytest.raises(RuleErrors) as caught:
        load_rules([tmp_path])

    assert any(mistake in str(error) for error in caught.value.errors)


def test_an_empty_file_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "rule.yml").write_text("# nothing yet\n")

    assert load_rules([tmp_path]).rules == ()


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RuleErrors) as caught:
        load_rules([tmp_path / "nothing"])

    assert caught.value.errors[0].message == "no such file or folder"


def test_too_many_mistakes_are_counted(tmp_path: Path) -> None:
    items = "\n".join(f"    Field{number}: x" for number in range(1_500))
    (tmp_path / "rule.yml").write_text(GOOD.replace(" {Image|endswith: /sh}", "\n" + items))

    with pytest.raises(RuleErrors) as caught:
        load_rules([tmp_path])

    assert (len(caught.value.errors), caught.value.more) == (1_000, 500)


def test_a_prefix_that_the_kernel_cannot_hold() -> None:
    text = rule_text(f"sel: {{TargetFilename|startswith: /{'x' * 255}}}\ncondition: sel", category="file_access")

    assert "5:1: the kernel compares at most 255 bytes" in mistakes(text)[0]


def test_a_link_that_leads_nowhere_is_no_rule_fewer(tmp_path: Path) -> None:
    (tmp_path / "good.yml").write_text(GOOD)
    (tmp_path / "dangling.yml").symlink_to("nowhere")
    (tmp_path / "device.yml").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "fifo.yml")

    with pytest.raises(RuleErrors) as caught:
        load_rules([tmp_path])

    assert sorted(str(error) for error in caught.value.errors) == [
        f"{tmp_path}/dangling.yml:1:1: a link that leads nowhere",
        f"{tmp_path}/device.yml:1:1: not a file: a folder, pipe or device",
        f"{tmp_path}/fifo.yml:1:1: not a file: a folder, pipe or device",
    ]


def test_a_linked_folder_is_not_read_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.yml").write_text(GOOD)
    (tmp_path / "rules" / "linked").symlink_to(tmp_path / "elsewhere")

    loaded = load_rules([tmp_path / "rules"])

    assert loaded.rules == ()
    assert [warning.message for warning in loaded.warnings] == ["links to folders are not followed: name it in rules:"]


def test_a_source_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")

    with pytest.raises(RuleErrors) as caught:
        load_rules([tmp_path / "fifo", tmp_path / ("x" * 300)])

    assert [error.message for error in caught.value.errors] == [
        "not a file: a folder, pipe or device",
        "cannot be read: File name too long",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody who may not read")
def test_a_folder_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(RuleErrors) as caught:
            load_rules([tmp_path])
    finally:
        os.seteuid(0)

    assert [str(error) for error in caught.value.errors] == [
        f"{tmp_path}/closed:1:1: cannot be read: Permission denied"
    ]


def test_hidden_files_and_folders_hold_no_rules(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.yml").write_text("- no rule")
    (tmp_path / ".x.yml").write_text("- no rule")

    assert load_rules([tmp_path]).rules == ()
