"""Files that are no rules, no YAML, no files, or too much of it: each is a mistake at its place, and none hurts."""

import os
from pathlib import Path

import pytest

from monitor.rules.errors import RuleErrors
from monitor.rules.loader import load_rules
from tests.support.rule_texts import rule_text

GOOD = rule_text("sel: {Image|endswith: /sh}\ncondition: sel")


@pytest.mark.parametrize(
    ("content", "mistake"),
    [
        (b'title: "x\n', "not YAML: found unexpected end of stream"),
        (b"title: \xff\n", "1:8: the file is not UTF-8"),
        (b"[" * 100_000, "nested deeper than 40"),
        (b"a: &a [*a]\n", "1:1: an alias within its own anchor"),
        (b"a: *b\n", "1:4: not YAML: found undefined alias"),
        (b"title: 'x\nid: y\n", "3:1: not YAML: found unexpected end of stream (while scanning a quoted scalar that"),
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
        (b"<<: {title: x}\n", "1:1: a rule: keys are not merged (<<); write them out"),
    ],
)  # fmt: skip
def test_hostile_files(tmp_path: Path, content: bytes, mistake: str) -> None:
    (tmp_path / "rule.yml").write_bytes(content)

    with pytest.raises(RuleErrors) as caught:
        load_rules([tmp_path])

    assert any(mistake in str(error) for error in caught.value.errors)


@pytest.mark.parametrize("content", ["", "# nothing yet\n", "---\n---\n", "---\n# nothing\n...\n---\n"])
def test_an_empty_file_is_no_mistake(tmp_path: Path, content: str) -> None:
    (tmp_path / "rule.yml").write_text(content)

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
