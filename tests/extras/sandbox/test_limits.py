"""`virc doctor` says of each limit whether it holds, and says so of one that does not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.called import virc

from virc.core.errors import SetupError
from virc_extras.sandbox import isolator, seccomp, watch
from virc_extras.sandbox.limits import limits

NAMES = (
    "network", "files of this machine", "devices", "programs", "environment", "memory", "disk", "threads",
    "number of files", "time", "between calls",
)  # fmt: skip


def broken() -> set[str]:
    return {limit.name for limit in limits() if not limit.holds}


def test_every_limit_holds_here_and_says_how() -> None:
    found = limits()
    assert tuple(limit.name for limit in found) == NAMES
    assert all(limit.holds and limit.how for limit in found), found
    how = {limit.name: limit.how for limit in found}
    assert how["threads"].startswith(f"{watch.MAX_THREADS}; ")
    assert how["number of files"].startswith(f"{watch.MAX_FILES:,}; ")


@pytest.mark.integration
def test_what_was_not_tried_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("virc_extras.sandbox.limits._said", lambda *_: "Error: the interpreter ended.")
    assert broken() >= set(NAMES[:7])


@pytest.mark.integration
def test_doctor_lists_them() -> None:
    done = virc("doctor", "tiny", "--json")
    assert done.json["sandbox"] is None
    assert [each["name"] for each in done.json["limits"]] == list(NAMES)
    printed = virc("doctor", "tiny").out
    assert "of the tool python; limits that DO NOT HOLD: none" in printed
    assert "between calls          true  " in printed


def test_doctor_says_that_nothing_is_limited_where_the_user_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(isolator.UNSAFE, "1")
    with pytest.raises(SetupError, match="VIRC_UNSAFE_PYTHON is set"):
        limits()
    found = virc("doctor", "tiny", "--json").json
    assert (found["sandbox"], found["limits"]) == ("VIRC_UNSAFE_PYTHON is set", [])


def with_(*flags: str) -> Callable[..., list[str]]:
    """The command with further flags of bubblewrap; without any, that of a sandbox whose root can be written."""
    kept = isolator.command

    def command(*arguments: Any) -> list[str]:
        argv = kept(*arguments)
        at = next(at for at, part in enumerate(argv) if argv[at : at + 2] == ["--remount-ro", "/"])
        return [*argv[:at], *flags, *argv[at + (0 if flags else 2) :]]

    return command


@pytest.mark.integration
@pytest.mark.parametrize(
    ("where", "name", "value", "breaks"),
    [
        (seccomp, "REFUSED", [each for each in seccomp.REFUSED if each != "socket"], {"network"}),
        (seccomp, "last_program", bytes, {"programs"}), (seccomp, "IGNORED", [], {"devices"}),
        (isolator, "command", with_("--setenv", "VIRC_API_KEY", "x"), {"environment"}),
        (isolator, "command", with_(), {"files of this machine"}), (watch, "MAX_FILES", 10**6, {"number of files"}),
        (watch.Watch, "stop", lambda _: None, {"between calls"}),
    ],
)  # fmt: skip
def test_a_limit_that_is_taken_away_does_not_hold(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: Any, name: str, value: object, breaks: set[str]
) -> None:
    nodes = [tmp_path / each for each in ("null", "zero", "random", "urandom")]  # those of the host stay as they are
    for each in nodes:
        each.touch()
    bound = [part for each in nodes for part in ("--bind", str(each), f"/dev/{each.name}")]
    monkeypatch.setattr(isolator, "_devices", lambda: bound)
    monkeypatch.setattr(where, name, value)
    seccomp.program.cache_clear()
    try:
        assert broken() == breaks
    finally:
        monkeypatch.undo()
        seccomp.program.cache_clear()
