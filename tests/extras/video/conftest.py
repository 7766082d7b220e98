"""Clips and documents read in the process of the test, unless it asks for that of the worker."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("av")
pytest.importorskip("pypdfium2")


@pytest.fixture(autouse=True)
def read_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer tasks of the worker without a process, but in tests marked `integration`."""
    if request.node.get_closest_marker("integration"):
        return
    from virc.core.errors import error_of
    from virc_extras.video import worker

    def pictures(self: object, kind: str, source: bytes | Path, name: str, wish: worker.Wish, check: Any) -> Any:
        check()
        path, content = (str(source), b"") if isinstance(source, Path) else (None, source)
        facts, found = worker.Facts(), []
        for answer, data in worker._answers(worker._Task(kind, name, wish, path), content):
            facts = answer.facts or facts
            if answer.picture:
                found.append(worker.Picture(len(data), answer.picture.seconds, answer.picture.page, data))
            if answer.error:
                raise error_of(answer.error)
        return facts, found

    monkeypatch.setattr(worker.Reader, "pictures", pictures)
