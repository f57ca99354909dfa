"""Options of the whole test run, and the rule about tests that cannot run.

A test marked ``kernel``, ``containers`` or ``vm`` needs root and more. Without them it is skipped, with the
reason; with ``STOCKADE_KERNEL_TESTS=1`` (CI) not being able to run is a failure, so that a job that
tested nothing cannot be green.
"""

import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import settings

from tests.support.leftovers import end_leftovers
from tests.support.oci import find_runtimes
from tests.support.prerequisites import CHECKS, find_obstacle
from tests.support.sandbox import find_modes

pytest_plugins = ("tests.support.failures_at_once",)
settings.register_profile("untimed", deadline=None)
if "CI" not in os.environ:  # hypothesis has a profile for that, without a deadline too
    settings.load_profile("untimed")
MUST_RUN = os.environ.get("STOCKADE_KERNEL_TESTS") == "1"


def pytest_configure() -> None:
    """A job that a script puts in the background ignores SIGINT, and so would all that the tests start."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the tests with large counts too")
    kernels = "kernels of the guest tests: the oldest and the newest (some), or all, with all tests there"
    parser.addoption("--vm", choices=("some", "all"), default="some", help=kernels)
    parser.addoption(
        "--renew-verifier-statistics", action="store_true", help="write tests/vm/verifier-statistics.json anew"
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    """Containers of a test run that was killed would be found by the walks of this one."""
    if os.geteuid() == 0:
        for each in end_leftovers():
            session.config.get_terminal_writer().line(f"ended what a killed test run left: {each}")


def pytest_report_header() -> list[str]:
    modes, runtimes = ", ".join(find_modes()) or "none", ", ".join(find_runtimes()) or "none"
    rule = (
        "must run" if MUST_RUN else "are skipped where they cannot run (STOCKADE_KERNEL_TESTS=1 makes that a failure)"
    )
    return [f"cgroup modes here: {modes}; container runtimes: {runtimes}", f"kernel, container and guest tests {rule}"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    unasked = {
        *(["long"] if not config.getoption("--long") else []),
        *(["every_kernel"] if config.getoption("--vm") != "all" else []),
    }
    left_out = {item for item in items if any(item.get_closest_marker(name) for name in unasked)}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def _is_bound(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in CHECKS)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name in CHECKS:
        if item.get_closest_marker(name) and (reason := find_obstacle(name)):
            pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if MUST_RUN and report.skipped and _is_bound(item) and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: cannot run here, and STOCKADE_KERNEL_TESTS=1 says it must: {reason}"
    return report
