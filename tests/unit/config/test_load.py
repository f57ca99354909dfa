"""Settings from file, environment and flags; mistakes from all of them at once."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.config import load
from monitor.config.document import DEPTH_MAX, FILE_BYTES_MAX
from monitor.config.load import ConfigErrors, load_settings
from monitor.config.settings import Observe, Prevention, Settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "stockade.yml"


def load_text(file: Path, text: str | bytes) -> Settings:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_settings(file, {}, {})


def errors_of(file: Path, text: str | bytes, environ: dict[str, str] | None = None, **flags: object) -> list[str]:
    """Each mistake as ``place: message``, the file's name left out."""
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigErrors) as caught:
        load_settings(file, environ or {}, flags)
    return [str(error).removeprefix(f"{file}:") for error in caught.value.errors]


def test_without_a_default_file_the_defaults_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(load, "DEFAULT_CONFIG", tmp_path / "missing.yml")

    assert load_settings(None, {}, {}) == Settings()


def test_the_default_file_is_read_when_there(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    file.write_text("mode: enforce\n")
    monkeypatch.setattr(load, "DEFAULT_CONFIG", file)

    assert load_settings(None, {}, {}).mode == "enforce"


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"missing\.yml: no such file"):
        load_settings(tmp_path / "missing.yml", {}, {})
    with pytest.raises(ConfigErrors, match=r"missing\.yml: no such file"):
        load_settings(None, {"STOCKADE_CONFIG": str(tmp_path / "missing.yml")}, {})


@pytest.mark.parametrize("text", ["", "# nothing\n", "engine:\n# half_life: 1h\n", "\ufeffmode: audit\n"])
def test_a_file_that_sets_nothing_is_fine(file: Path, text: str) -> None:
    assert load_text(file, text) == Settings()


def test_each_kind_of_value(file: Path) -> None:
    read = load_text(
        file,
        """
        mode: enforce
        shipped_rules: false
        run_dir: /run/other
        response: ~
        engine: {half_life: 2h, risk_alert_at: 60, inherit_share: 0.25, processes_max: 10_000}
        rings: {bulk: 16MiB}
        stream: {group: wheel}
        observe:
        - {path: /srv/**, access: write}
        """,
    )

    assert (read.mode, read.shipped_rules, read.run_dir, read.response) == ("enforce", False, Path("/run/other"), None)
    assert (read.engine.half_life_s, read.engine.risk_alert_at) == (7200.0, 60.0)
    assert (read.engine.inherit_share, read.engine.processes_max) == (0.25, 10_000)
    assert (read.rings.bulk_bytes, read.rings.urgent_bytes) == (16 << 20, Settings().rings.urgent_bytes)
    assert read.stream.group == "wheel"
    assert read.observe == (Observe(path="/srv/**", container="any", access="write"),)


def test_later_sources_win(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file.write_text("mode: audit\nrun_dir: /a\nstate_dir: /a\nengine: {half_life: 1h}\n")
    environ = {"STOCKADE_RUN_DIR": "/b", "STOCKADE_STATE_DIR": "/b", "STOCKADE_ENGINE_HALF_LIFE": "2h"}
    monkeypatch.chdir(tmp_path)

    read = load_settings(file, environ, {"state_dir": Path("c"), "mode": None, "rules": (), "shipped_rules": False})

    assert (read.mode, read.run_dir, read.state_dir) == ("audit", Path("/b"), tmp_path / "c")
    assert (read.engine.half_life_s, read.shipped_rules) == (7200.0, False)
    assert read.rules == Settings().rules


def test_lists_in_environment_and_flags(file: Path, tmp_path: Path) -> None:
    file.write_text("")
    read = load_settings(file, {"STOCKADE_RULES": f"{tmp_path}:/etc/stockade/rules.d"}, {"observe": ["/a/*", "/b"]})

    assert read.rules == (tmp_path, Path("/etc/stockade/rules.d"))
    assert read.observe == (Observe(path="/a/*", container="all"), Observe(path="/b", container="all"))


def test_all_mistakes_at_once_each_with_its_place(file: Path) -> None:
    text = """\
mode: enfroce
run_dri: /run/x
engine:
  half_life: 30
  suppress: 5 parsec
  risk_alert_at: "80"
  processes_max: -4
  inherit_share: 1.5
rings: {urgent: 5MiB, bulk: 8MiB, bulk: 1MiB}
stream: [1]
observe:
  - {path: etc, container: sometimes}
  - /etc
  - {access: read}
rules: [/nope, 3]
limiter: {bulk_per_s: yes}
"""
    assert errors_of(file, text, {"STOCKADE_MOD": "x", "STOCKADE_RINGS_BULK": "3"}, run_dir="/a\0b") == [
        "1:7: expected audit or enforce, not 'enfroce'",
        "2:1: unknown setting 'run_dri', did you mean run_dir?",
        "4:14: '30' needs a unit, one of ms, s, m, h, d: 30m",
        "5:13: unknown unit 'parsec', use one of ms, s, m, h, d: 30m",
        "6:18: expected a number, not the text '80'",
        "7:18: must be from 1024 to 4194304, not -4",
        "8:18: must be from 0 to 1, not 1.5",
        "9:17: must be a power of two, such as 4MiB or 8MiB, not 5MiB",
        "9:35: 'bulk' is set twice (first in line 9)",
        "10:9: expected settings as 'name: value', not a list",
        "12:12: expected an absolute path, not 'etc'",
        "12:28: expected any, none or all, not 'sometimes'",
        "13:5: expected settings as 'name: value', not the text '/etc'",
        "14:5: needs 'path'",
        "15:9: '/nope' is not there",
        "15:16: expected a path, not the number '3'",
        "16:23: expected a whole number, not the truth value 'yes'",
        "STOCKADE_MOD: unknown setting, did you mean STOCKADE_MODE?",
        "STOCKADE_RINGS_BULK: '3' needs a unit, one of B, KiB, MiB, GiB: 8MiB",
        r"--run-dir: expected at most 4096 bytes and no NUL, not '/a\x00b'",
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("mode: audit\n  x: [", "2:4: not YAML: mapping values are not allowed in this context"),
        ("mode: [", "2:1: not YAML: while parsing a flow node, did not find expected node content"),
        ("mode: *nobody", "1:7: not YAML: found undefined alias"),
        ("--- 1\n--- 2\n", "2:1: not YAML: expected a single document in the stream, but found another document"),
        (b"mode: audit\n# caf\xe9\n", "2:6: not valid UTF-8"),
        ("mode: audit\nrun_dir: \x1b[31m", "2:10: not YAML: the character '\\x1b' is not allowed"),
        ("[" * 50_000, f"1:{DEPTH_MAX + 1}: nested deeper than {DEPTH_MAX} levels"),
        ("- mode: audit", "1:1: expected settings as 'name: value', not a list"),
        ("mode:", "1:6: expected audit or enforce, not nothing"),
        ("mode: !!python/object/apply:os.system [id]", "1:7: expected audit or enforce, not a list"),
        ("rules: /etc", "1:8: expected a list of at most 1000, not the text '/etc'"),
        ("<<: {mode: audit}", "1:1: unknown setting '<<'"),
        ("? [a]\n: b", "1:3: unknown setting ''"),
        ('"a\\nb": 1', "1:1: unknown setting 'a\\nb'"),
        ("rules: &a [*a]", "1:8: expected a path, not a list"),
    ],
)
def test_what_is_no_configuration_is_one_mistake(file: Path, text: str | bytes, error: str) -> None:
    assert errors_of(file, text) == [error]


def test_a_huge_file_is_not_read(file: Path) -> None:
    assert errors_of(file, b"#" * (FILE_BYTES_MAX + 1)) == [" larger than 1 MiB: this is no configuration"]


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="not a regular file"):
        load_settings(tmp_path, {}, {})


def test_aliases_do_not_multiply(file: Path) -> None:
    text = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(b)}: &{chr(b)} [{','.join([f'*{chr(b - 1)}'] * 9)}]\n" for b in range(ord("b"), ord("j"))
    )

    assert len(errors_of(file, text)) == 9


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.one_of(st.binary(max_size=300), st.text("mode: [{&*!a\n -'\"#|>}]", max_size=60).map(str.encode)))
def test_any_bytes_are_settings_or_mistakes(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    try:
        load_settings(file, {}, {})
    except ConfigErrors as errors:
        assert errors.errors
        assert all(str(error).isprintable() for error in errors.errors)


def test_preventions_are_named_or_written_out(file: Path) -> None:
    found = load_text(
        file,
        "enforcement:\n  prevent:\n    - no_drift\n"
        "    - {name: no_shells, mode: enforce, containers: [0123456789ab], allow: [/opt/]}\n",
    )
    expected = (
        Prevention("no_drift"),
        Prevention("no_shells", mode="enforce", containers=("0123456789ab",), allow=("/opt/",)),
    )

    assert found.enforcement.prevent == expected
    by_environment = load_settings(None, {"STOCKADE_ENFORCEMENT_PREVENT": "no_drift:no_memfd"}, {})
    assert by_environment.enforcement.prevent == (Prevention("no_drift"), Prevention("no_memfd"))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("no_drfit", "expected no_drift, "),
        ("{mode: audit}", "needs 'name'"),
        ("{name: no_shells, containers: [web]}", "expected a container's id"),
        ("{name: no_shells, allow: [bin/sh]}", "expected an absolute path"),
        ("{name: no_shells, mode: deny}", "expected service, audit or enforce"),
    ],
)
def test_a_wrong_prevention_is_told_with_its_place(file: Path, entry: str, message: str) -> None:
    (error,) = errors_of(file, f"enforcement:\n  prevent:\n    - {entry}\n")

    assert "3:" in error
    assert message in error
