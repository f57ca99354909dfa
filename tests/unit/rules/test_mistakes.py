"""Every mistake of every file is reported at once, at its place."""

import pytest

from monitor.rules.errors import Problems, RuleErrors
from monitor.rules.reading import read_rules
from monitor.rules.source_files import RuleFile
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
        ("Image: [{a: b}]", "6:17: must be a value or a list of values"),
        ("Image: [[a]]", "6:17: must be a single value"),
        ("TargetFilename: /x", "6:9: TargetFilename is no field of process_creation events"),
        ("Image|exists: 5", "6:23: exists takes true or false"),
        ("ParentImage|fieldref: Nothing", "6:31: unknown field 'Nothing'"),
        ("process.args_count: 99999999999999999999", "6:29: "),
        ("process.args_count: 1.5", "6:29: fields are whole numbers: this would match nothing"),
        ("process.args_count|gt: '1'", "6:32: gt takes a number, without quotes"),
        ("CommandLine: 0640", "6:22: 0640 is the number 416 in YAML; quote it"),
        ("CommandLine: 1.50", "6:22: 1.50 is the number 1.5 in YAML; quote it"),
        ("CommandLine: 12:30:45", "6:22: 12:30:45 is the number 45045 in YAML; quote it"),
        ("process.args: [a, 0x10]", "6:27: 0x10 is the number 16 in YAML; quote it"),
        ("event.action: exce", "6:23: event.action is never 'exce'; did you mean 'exec'?"),
        ("process.flags: [memfd, suid]", "6:32: process.flags is never 'suid'; it is of 32bit deleted"),
        ("CommandLine|contains: ''", "6:31: an empty text is part of every value"),
        ("CommandLine|re: ''", "6:25: an empty text is part of every value"),
        ("CommandLine|cased|re: x", "6:31: re, cidr and exists come first, right after the field"),
        ("CommandLine|contains|fieldref: Image", "6:40: fieldref comes first, right after the field"),
        ("CommandLine|utf16le: x", "6:21: unknown modifier 'utf16le'; write wide, which is the same"),
        ("'CommandLine|': x", "6:22: a modifier is missing after |"),
        ("Image: {endswith: /x}", "6:16: must be a value or a list of values; a modifier is part of the key"),
        ("<<: {Image: /x}", "6:9: selection 'sel': keys are not merged (<<); write them out"),
    ],
)
def test_items(item: str, mistake: str) -> None:
    found = mistakes(rule_text(f"sel: {{{item}}}\ncondition: sel"))

    assert len(found) == 1
    assert found[0].startswith(mistake)


def test_every_wrong_value_of_a_list_is_reported() -> None:
    found = mistakes(rule_text("sel: {CommandLine|re: ['(a', b, '[c']}\ncondition: sel"))

    assert [text.split(" ")[0] for text in found] == ["6:26:", "6:35:"]


@pytest.mark.parametrize(
    "item", ["CommandLine: 5", "CommandLine: 2024-01-01", "process.args_count: 0x10", "User: 007a"]
)
def test_numbers_and_dates_that_are_texts_as_they_were_written(item: str) -> None:
    assert mistakes(rule_text(f"sel: {{{item}}}\ncondition: sel")) == []


def test_an_empty_selection() -> None:
    assert mistakes(rule_text("sel:\ncondition: sel")) == ["6:7: selection 'sel' is empty"]


def test_words_of_conditions_are_no_names() -> None:
    found = mistakes(rule_text("not: {Image: /x}\nsel: {Image: /x}\ncondition: sel"))

    assert found == ["6:3: a selection cannot be called 'not', which means something in conditions"]


def test_many_values_take_a_moment_only() -> None:
    values = ", ".join(f"/{number}" for number in range(20_000))

    assert mistakes(rule_text(f"sel: {{Image: [{values}]}}\ncondition: sel")) == []


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
        ("sel AND sel", "7:18: condition: cannot go on at 'AND sel'; write and in small letters"),
        ("2 of sel", "7:16: condition: cannot go on at 'of sel'; it knows 1 of, any of and all of"),
        (f"{'not ' * 900} sel", "7:14: the condition is too long"),
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
        ("level: high", "level: high\nmodified: 2026-1-2", "4:11: must be a date"),
        ("title: A rule", f"title: {'x' * 257}", "1:8: longer than 256 characters"),
        ("level: high", "level: high\nstatus: old", "4:9: 'old' is none of"),
        ("level: high", "level: high\nlevel: high", "4:1: key 'level' is there twice"),
        ("level: high", "level: high\naction: global", "4:1: unknown key 'action'; Sigma's old way"),
        ("level: high", "level: high\nname: 'a b'", "4:7: a name is up to 128 letters"),
        ("level: high", "level: high\nrelated: [{id: x, type: y}]", "4:16: 'x' is not a UUID"),
        ("product: linux", "product: Linux", "4:22: unknown product 'Linux'; did you mean 'linux'?"),
        ("process_creation", "Process_Creation", "4:39: unknown category 'Process_Creation'; did you mean"),
        ("process_creation", "proces_creation", "4:39: unknown category 'proces_creation'; did you mean"),
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
        ("{gte: 5}", "{gte: 10001}", "9:20: must be a number from 0 to 10,000"),
        ("event_count\n  rules: [base]", "temporal\n  rules: base", "6:10: temporal needs two rules or more"),
        ("1m", "60w", "8:13: timespan 60w is longer than 366d"),
        ("1m", "1 minute", "8:13: timespan '1 minute' is not a number with s, m, h, d or w"),
        ("{gte: 5}", "{gte: many}", "9:20: must be a number from 0 to 10,000"),
        ("{gte: 5}", "{gtt: 5}", "9:15: unknown key 'gtt' in condition; did you mean 'gt' or 'gte'?"),
        ("{gte: 5}", "{gte: 5, lt: 9}", "9:14: the condition needs exactly one of"),
        ("{gte: 5}", "{gte: 5, field: Image}", "9:14: event_count counts no field's values"),
        ("{gte: 5}", "base", "9:14: event_count needs a comparison, e.g. {gte: 5}"),
        ("event_count", "value_count", "9:14: value_count needs the field whose values it counts"),
        ("event_count", "temporal", "6:10: temporal needs two rules or more"),
        ("  timespan: 1m\n", "", "5:3: the correlation has no timespan"),
        ("  condition: {gte: 5}\n", "", "5:3: the correlation has no condition; event_count needs one"),
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


def test_what_no_number_of_rules_can_fulfil() -> None:
    other = BASE.replace("name: base", "name: other").replace(IDS[91], IDS[92])
    both = CORRELATION.replace("event_count", "temporal").replace("[base]", "[base, other]")

    for condition, wrong in {"gte: 2": 0, "gt: 1": 0, "lt: 5": 0, "gte: 3": 1, "gt: 2": 1, "eq: 3": 1}.items():
        found = mistakes(BASE, other, both.replace("gte: 5", condition))
        assert found == ["2.yml:9:14: would never hold: there are 2 rules"][:wrong], condition


def test_mistakes_in_the_head_of_a_correlation_are_told_once() -> None:
    found = mistakes(BASE, CORRELATION.replace("level: high", "level: hihg").replace("title: Many", "title: ''"))

    assert [text.split(" ")[0] for text in found] == ["1.yml:1:8:", "1.yml:3:8:"]


def test_a_correlation_that_is_no_map_is_one_mistake() -> None:
    head = CORRELATION.split("correlation:", maxsplit=1)[0]

    assert mistakes(f"{head}correlation: [a]\n") == ["4:14: correlation must be a map of keys and values"]


def test_a_boolean_condition_is_blamed_where_it_stands() -> None:
    other = BASE.replace("name: base", "name: other").replace(IDS[91], IDS[92])
    ordered = CORRELATION.replace("event_count", "temporal").replace("[base]", "[base, other]")

    unknown = mistakes(BASE, other, ordered.replace("{gte: 5}", "base and othr"))
    unused = mistakes(BASE, other, ordered.replace("{gte: 5}", "base"))

    assert unknown[0].startswith("2.yml:9:14: condition: ")
    assert unused == ["2.yml:9:14: condition: these of the rules are not in it: other"]


def test_a_correlation_that_counts_itself() -> None:
    one = CORRELATION.replace("[base]", "[two]") + "name: one\n"
    two = CORRELATION.replace("[base]", "[one]").replace(IDS[90], IDS[89]) + "name: two\n"

    assert any("counts itself" in text for text in mistakes(one, two))


def test_ids_and_names_are_unique_over_all_files() -> None:
    named = GOOD + "name: base\n"

    found = mistakes(named, named)

    assert found[0] == f"1.yml:2:5: id {IDS[0]} is already that of the rule at 0.yml:2:5"
    assert found[1] == "1.yml:8:7: name base is already that of the rule at 0.yml:8:7"


def test_a_name_that_two_files_share() -> None:
    problems = Problems()
    files = [RuleFile(f"{folder}/x.yml", GOOD.replace(IDS[0], IDS[at]).encode()) for at, folder in enumerate("ab")]

    with pytest.raises(RuleErrors) as caught:
        read_rules(files, problems)

    hint = "(the file's, since the rule has no name of its own)"
    assert str(caught.value.errors[0]) == f"b/x.yml:1:1: name x {hint} is already that of the rule at a/x.yml:1:1"


@pytest.mark.parametrize(("key", "hint"), [("action: global", "write each rule out"), ("filter: {}", "not read")])
def test_documents_of_sigma_that_are_no_rules_are_one_mistake(key: str, hint: str) -> None:
    (found,) = mistakes(f"{key}\n")

    assert found.startswith("1:1: unknown key ")
    assert hint in found


def test_all_mistakes_of_all_documents_at_once() -> None:
    broken = with_line(GOOD, "Image", "Imag")

    found = mistakes(broken + "---\n" + broken.replace(IDS[0], IDS[1]), with_line(GOOD, "level: high", "level: 5"))

    assert [text.split(" ")[0] for text in found] == ["0.yml:6:9:", "0.yml:14:9:", "1.yml:2:5:", "1.yml:3:8:"]


def test_a_prefix_that_the_kernel_cannot_hold() -> None:
    text = rule_text(f"sel: {{TargetFilename|startswith: /{'x' * 255}}}\ncondition: sel", category="file_access")

    assert "5:1: the kernel compares at most 255 bytes" in mistakes(text)[0]
