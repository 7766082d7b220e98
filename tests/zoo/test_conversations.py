"""A conversation in each system's own grammar, through `virc solve` and a scripted server: its crops are those that the
calls name, and its answer is read.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support import zoo
from support.called import virc
from support.conversations import FILES, gradient, region, searched_in
from support.servers import image_bytes, images_of, serve

from virc.config import yaml
from virc.systems import registry as systems
from virc.systems import texts

_NEAR = 2.5  # of 255 levels; resampling blurs the edges


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_conversation_is_answered_with_the_crops_that_its_calls_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = systems.get(name).file.parent
    told: Mapping[str, Any] = texts.filled(yaml.read_mapping(FILES[name]), folder)
    width, height = told["size"]
    gradient(width, height).save(tmp_path / "page.png")
    given = [] if (is_found := told.get("found", False)) else [tmp_path / "page.png"]
    pages = told.get("pages", {})
    searched_in(pages, tmp_path / "pages", monkeypatch, gradient(width, height) if is_found else None)
    words = ["--system", name, "--json", *(("--protocol", told["protocol"]) if "protocol" in told else ())]
    replies = iter(told["replies"])
    with serve(lambda body: next(replies)) as server, serve((told.get("teacher", ""),)) as teacher:
        monkeypatch.setenv("TEACHER_ENDPOINT", teacher.url)
        done = virc("solve", *given, told["question"], "--endpoint", server.url, *words)
        chats, taught = server.chats(), teacher.chats()
    assert done.code == 0, done.err
    assert len(taught) == ("teacher" in told)
    assert done.json["answer"] == told["answer"]
    shown = [Image.open(io.BytesIO(image_bytes(part))) for part in images_of(chats[-1])]
    crops = shown[1 : 1 + len(told["crops"])]
    assert len(chats) == len(told["replies"])
    # pages that a search shows come last, and first where the picture is found by one
    assert len(shown) == len(given) + len(told["crops"]) + len(pages)
    for crop, box in zip(crops, told["crops"], strict=True):
        near = _NEAR / 255 * max(width, height)
        assert region(crop.convert("RGB"), (width, height)) == pytest.approx(box, abs=near), name


def test_every_supported_system_has_a_conversation_or_is_asked_by_a_pipeline() -> None:
    """A system that works was tried whole: here, or in `test_pipelines.py`."""
    supported = {name for name, system in systems.discover().items() if system.support or system.stages}
    assert supported - {*FILES, *zoo.recorded("pipeline-cases.json")} <= {"hydra"}
