"""The guests of all tests here, several at once."""

from collections.abc import Iterator

import pytest

from tests.support.vm_pool import GuestJob, GuestPool


@pytest.fixture(scope="session")
def guests(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuestPool]:
    parameters = [item.callspec.params.values() for item in request.session.items if hasattr(item, "callspec")]
    jobs = [each for values in parameters for each in values if isinstance(each, GuestJob)]
    with GuestPool(jobs, tmp_path_factory.mktemp("guests")) as pool:
        yield pool
