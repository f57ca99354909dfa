"""A pytest plugin: ``--failures-at-once`` shows each failure when it happens, and not at the end of the run alone."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--failures-at-once", action="store_true", help="show each failure when it happens, too")


@pytest.hookimpl(trylast=True)  # the terminal must be there
def pytest_configure(config: pytest.Config) -> None:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if config.getoption("--failures-at-once") and terminal:
        config.pluginmanager.register(_Failures(terminal))


class _Failures:
    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._terminal.ensure_newline()
            self._terminal.section(report.nodeid, "-")
            self._terminal.write_line(report.longreprtext)
            self._terminal.flush()  # into a pipe too
