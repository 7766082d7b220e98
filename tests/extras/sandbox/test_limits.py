"""`virc doctor` says of each limit whether it holds, and says so of one that does not."""

import pytest
from support.called import virc

from virc.core.errors import SetupError
from virc_extras.sandbox import isolator, watch
from virc_extras.sandbox.limits import limits

NAMES = (
    "network", "files of this machine", "devices", "programs", "environment", "memory", "disk", "threads",
    "number of files", "time", "between calls",
)  # fmt: skip


def test_every_limit_holds_here_and_says_how() -> None:
    found = limits()
    assert tuple(limit.name for limit in found) == NAMES
    assert all(limit.holds and limit.how for limit in found), found
    how = {limit.name: limit.how for limit in found}
    assert how["threads"].startswith(f"{watch.MAX_THREADS}; ")
    assert how["number of files"].startswith(f"{watch.MAX_FILES:,}; ")


@pytest.mark.integration
def test_doctor_lists_them() -> None:
    done = virc("doctor", "tiny", "--json")
    assert done.json["sandbox"] is None
    assert [each["name"] for each in done.json["limits"]] == list(NAMES)
    printed = virc("doctor", "tiny", "--all").out
    assert "of the tool python; limits that DO NOT HOLD: none" in printed
    assert "between calls          true  " in printed


def test_doctor_says_that_nothing_is_limited_where_the_user_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(isolator.UNSAFE, "1")
    with pytest.raises(SetupError, match="VIRC_UNSAFE_PYTHON is set"):
        limits()
    found = virc("doctor", "tiny", "--json").json
    assert (found["sandbox"], found["limits"]) == ("VIRC_UNSAFE_PYTHON is set", [])
