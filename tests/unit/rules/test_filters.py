"""Stream filters."""

import subprocess
import sys

import pytest

from monitor.rules.filters import FilterError, parse_filter
from tests.support.rule_texts import event

CURL = event(
    process__executable="/usr/bin/curl",
    process__args=["curl", "http://x/a b"],
    container__id="ab",
    container__name="web",
    user__id=0,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("Image|endswith: /curl and not container.name: web", False),
        ("Image|endswith: /curl and container.name:web", True),
        ("Image:/usr/bin/curl", True),
        ("Image|endswith: [/wget, /curl]", True),
        ("not Image|endswith: [/wget, /curl]", False),
        ("Image: '*/cu?l'", True),
        ('CommandLine|contains: "/a b"', True),
        ("CommandLine|contains|all: [curl, http]", True),
        ("CommandLine|contains|all: [curl, ftp]", False),
        ("CommandLine|re: '^curl\\s'", True),
        ("CommandLine|re: ^CURL", False),
        ("CommandLine|re|i: ^CURL", True),
        ("user.id: 0 or user.id: 5", True),
        ("user.id|gt: 0", False),
        ("user.id|lte: 0", True),
        ("container.id|exists: true", True),
        ("container.id|exists: false", False),
        ("container.name: null", False),
        ("ParentImage: null", True),
        ("container.name: 'null'", False),
        ("process.flags.memfd: false", True),
        ("curl", True),
        ("wget or curl", True),
        ("http://x/a", True),
        ("not (wget or not curl)", True),
        ("wget and wget or curl", True),
        ("event.action: exec", True),
        ("process.args: curl", True),
        ("Image|cased: /USR/bin/curl", False),
        ("Image|neq: /bin/ls", True),
        ("TargetFilename|startswith: /etc", False),
        ("container.runtime: docker and Image|endswith:/curl", True),
        ("CommandLine|base64offset|contains: whoami", False),
    ],
)
def test_filters(text: str, expected: bool) -> None:
    assert parse_filter(text)(CURL) is expected


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("Imag: x", 1, "unknown field 'Imag'; did you mean 'Image'?"),
        ("curl and Imag: x", 10, "unknown field 'Imag'"),
        ("Image: x and", 13, "expected an item"),
        ("Image: x y", 10, "expected 'and', 'or' or the end, found 'y'"),
        ("(Image: x", 10, "expected ')'"),
        ("Image: [x", 10, "expected ',' or ']'"),
        ("Image:", 7, "expected a value"),
        ("Image: 'x", 8, "expected a value"),
        ("Image|contain: x", 1, "unknown modifier 'contain'"),
        ("Image|contains|startswith: x", 1, "contains and startswith do not go together"),
        ("Image|i: x", 1, "i, m and s are flags of re"),
        ("user.id|gt: x", 1, "'x' is no number"),
        ("user.id: x", 1, "user.id is a number"),
        ("CommandLine|re: (", 17, "expected a value"),
        ("CommandLine|re: '('", 1, "RE2 refuses"),
        ("DestinationIp: 1.2.3.4", 1, "field DestinationIp: no network sensor yet"),
        ("not " * 40 + "x", 133, "nested deeper than 32"),
        ("x" * 5_000, 4_096, "longer than 4,096 characters"),
        ("Image|base64offset|contains: x", 1, "the value is too short"),
        (": x", 1, "expected a field before ':'"),
        ("*", 1, "an empty word is in every event"),
    ],
)
def test_mistakes_say_the_column(text: str, column: int, message: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_filter(text)

    assert (caught.value.column, caught.value.message[: len(message)]) == (column, message)


def test_a_running_service_does_not_import_pysigma_for_a_filter() -> None:
    program = (
        "import sys\nfrom monitor.rules.filters import parse_filter\n"
        "parse_filter('Image|endswith: /curl and not container.name|re: ^web')\n"
        "sys.exit('sigma' in sys.modules or 'yaml' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
