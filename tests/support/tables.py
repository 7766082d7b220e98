"""Tables of cases that are one test: every case runs, and those that fail are shown together."""

import functools
import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml


def cases_of(file: str) -> dict[str, Any]:
    """Return the tables of a test module, from `cases/NAME.yaml` next to `test_NAME.py`."""
    path = Path(file)
    content = (path.parent / "cases" / f"{path.stem.removeprefix('test_')}.yaml").read_bytes()
    found: dict[str, Any] = yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return found


def each_case(names: str | tuple[str, ...], values: Iterable[Any]) -> Callable[[Any], Callable[..., None]]:
    """Return a decorator like `pytest.mark.parametrize` whose cases are one item.

    Each case has a `tmp_path` of its own, and what it patches by `monkeypatch` is undone behind it; other fixtures
    are shared by all cases.
    """
    keys = (names,) if isinstance(names, str) else names
    rows = [dict(zip(keys, (row,) if isinstance(names, str) else row, strict=True)) for row in values]
    assert rows

    def decorate(test: Any) -> Callable[..., None]:
        @functools.wraps(test)
        def run_all(**fixtures: Any) -> None:
            failed = {}
            for number, row in enumerate(rows):
                try:
                    with pytest.MonkeyPatch.context() as patch:
                        test(**_own(fixtures, number, patch), **row)
                except (Exception, pytest.fail.Exception) as error:
                    failed[f"{number}: {row!r:.400}"] = f"{type(error).__name__}: {error}"
            assert failed == {}, "\n".join(f"{case} -> {error}" for case, error in failed.items())

        signature = inspect.signature(test)
        kept = [each for name, each in signature.parameters.items() if name not in keys]
        run_all.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
        return run_all

    return decorate


def _own(fixtures: dict[str, Any], number: int, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Fixtures with a folder and patches of one case."""
    own: dict[str, Any] = {}
    if "tmp_path" in fixtures:
        own["tmp_path"] = fixtures["tmp_path"] / f"case{number}"
        own["tmp_path"].mkdir(parents=True)
    if "monkeypatch" in fixtures:
        own["monkeypatch"] = patch
    return fixtures | own
