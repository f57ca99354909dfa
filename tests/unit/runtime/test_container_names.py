"""Which container is meant: one, or a mistake that names the near ones."""

import pytest

from monitor.runtime.container_names import ContainerNameError, find_named
from tests.support import make

WEB = make.container("a1" * 32, name="web-1")
DB = make.container("b2" * 32, name="db")
POD = make.container("c3" * 32, name="web", labels=(("io.kubernetes.pod.name", "front"),))
PAUSE = make.container("c4" * 32, labels=(("io.kubernetes.pod.name", "front"),))
ALL = [WEB, DB, POD, PAUSE]


@pytest.mark.parametrize(
    ("text", "meant"), [("web-1", WEB), ("db", DB), ("web", POD), ("a1" * 32, WEB), ("b2" * 6, DB), ("c3c3", POD)]
)
def test_a_name_or_enough_of_an_id(text: str, meant: object) -> None:
    assert find_named(text, ALL) is meant


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("wbe-1", "no container is called 'wbe-1'; did you mean 'web-1'?"),
        ("zzzzzz", "no container is called 'zzzzzz'; running: web-1 (a1a1a1a1a1a1), db (b2b2b2b2b2b2), "),
        ("pod/front", "'pod/front' means 2 containers: web (c3c3c3c3c3c3), c4c4c4c4c4c4; give one's id"),
        ("a1", "no container is called 'a1'"),
    ],
)
def test_a_mistake_names_the_near_ones(text: str, told: str) -> None:
    with pytest.raises(ContainerNameError) as caught:
        find_named(text, ALL)
    assert told in str(caught.value)


def test_where_nothing_runs_that_is_said() -> None:
    with pytest.raises(ContainerNameError, match="none is running"):
        find_named("web", [])


def test_two_of_one_name_are_not_guessed() -> None:
    with pytest.raises(ContainerNameError, match="means 2 containers"):
        find_named("web-1", [WEB, make.container("d5" * 32, name="web-1")])
