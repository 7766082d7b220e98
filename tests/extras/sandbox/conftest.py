from collections.abc import Iterator

import pytest
from support.sandboxed import pool_of

from virc_extras.sandbox.pool import Pool


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with pool_of(1) as pool:
        yield pool
