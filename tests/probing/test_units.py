"""Crops of models of which nobody knows how they count boxes: cut where the model looks, or refused."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.called import virc
from support.servers import Body
from vision_server import Eyes, Vision, VisionServer, see

import virc as package
from virc.models.load import Opened
from virc.reasoning.images import open_file
from virc.solving.one import SolveConfig, Solved, solve

Photo = Callable[[int, int], Path]
Box = tuple[float, float, float, float]
WIDE, HIGH = (1400, 500), (500, 1300)


def target(size: tuple[int, int]) -> Box:
    """Where `photo` paints its rectangle."""
    width, height = size
    return (width * 3 / 5, height / 4, width * 4 / 5, height / 2)


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    wide, high = (max(0.0, min(one[at + 2], other[at + 2]) - max(one[at], other[at])) for at in (0, 1))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return wide * high / (sum(areas) - wide * high)


@contextmanager
def loaded(vision: Vision, family: str | None = None) -> Iterator[tuple[VisionServer, Opened]]:
    with see(vision) as server, package.load(endpoint=server.url, family=family) as model:
        yield server, model


def asked(model: Opened, picture: Path) -> Solved:
    return solve(SolveConfig(), model.backend, model.chat_protocol, [open_file(picture, "it")], "Which colour?")


def cropped(solved: Solved) -> Box:
    """The pixels of the file that the only crop shows."""
    assert solved.answer == "red", solved.error
    (region,) = [each.region for each in solved.attempts[0].trace.images if each.region]
    return region


def share(model: Opened, picture: Path, size: tuple[int, int]) -> float:
    return overlap(cropped(asked(model, picture)), target(size))


UNITS: list[dict[str, Any]] = [
    {"unit": "pixel", "yx": True},
    {"unit": "thousand", "yx": False},
    {"unit": "unit", "yx": True},
]


@pytest.mark.parametrize("size", [WIDE, HIGH], ids=["wide", "high"])
@pytest.mark.parametrize("way", UNITS, ids=lambda way: f"{way['unit']}{'-yx' * way['yx']}")
def test_a_crop_is_where_the_model_looks_whatever_its_unit(
    way: dict[str, Any], size: tuple[int, int], photo: Photo
) -> None:
    with loaded(Vision(model="default", **way)) as (server, model):
        assert share(model, photo(*size), size) > 0.9
        assert len(server.posts()) == 3  # the question, what is asked about boxes, and what the crop shows


ALIASES = [("qwen3-vl:8b", "pixel", False), ("glm-4.6v", "unit", True)]


@pytest.mark.parametrize(("name", "unit", "yx"), ALIASES)
def test_a_name_that_anybody_may_have_given_is_not_believed(name: str, unit: Any, yx: bool, photo: Photo) -> None:
    with loaded(Vision(model=name, owned_by="openai", unit=unit, yx=yx)) as (_, model):
        assert share(model, photo(*WIDE), WIDE) > 0.9


def test_a_server_that_scales_pictures_down_gets_small_ones(photo: Photo) -> None:
    vision = Vision(model="default", owned_by="organization_owner", eyes=Eyes(longest=1000), unit="pixel")
    size = (2000, 1500)
    with see(vision) as server:
        for _ in range(2):
            with package.load(endpoint=server.url) as model:
                solved = asked(model, photo(*size))
            if solved.error:  # it was shown too large a picture before that was known
                assert "the same command again" in str(getattr(solved.error, "hint", ""))
            else:
                assert overlap(cropped(solved), target(size)) > 0.9
        assert not solved.error


def test_what_was_found_is_kept_for_the_next_command(photo: Photo) -> None:
    with see(Vision(model="default", unit="thousand")) as server:
        first = virc("solve", "--endpoint", server.url, "--json", photo(*WIDE), "Which colour?")
        assert (first.code, first.json["answer"], first.json["coordinates"]) == (0, "red", "thousand")
        assert "before its first crop it is asked how it counts boxes" in first.err
        again = virc("solve", "--endpoint", server.url, "--json", photo(*WIDE), "Which colour?")
        assert (again.json["answer"], again.json["coordinates"]) == ("red", "thousand")
        assert len(server.posts()) == 3 + 2


def told(**more: Any) -> Vision:
    """A server that says itself which model it runs."""
    return Vision(**{"model": "qwen2.5-vl", "unit": "thousand", **more})


TELLING = {
    "vLLM, hub id": told(
        model="Qwen/Qwen2.5-VL-7B-Instruct", extra={"root": "Qwen/Qwen2.5-VL-7B-Instruct"}, unit="pixel"
    ),
    "vLLM, root under another name": told(extra={"root": "Qwen/Qwen3-VL-8B-Instruct"}),
    "llama.cpp": told(owned_by="llamacpp", facts={"/props": {"model_path": "/m/Qwen3VL-8B-Instruct-Q4_K_M.gguf"}}),
    "LM Studio": told(
        owned_by="organization_owner",
        facts={"/api/v0/models": {"data": [{"id": "x", "arch": "gemma3"}, {"id": "qwen2.5-vl", "arch": "qwen3_vl"}]}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TELLING)
def test_what_a_server_says_of_its_weights_settles_it(name: str, photo: Photo) -> None:
    with loaded(TELLING[name]) as (server, model):
        assert share(model, photo(*WIDE), WIDE) > 0.9
        assert len(server.posts()) == 2


# Servers that cannot tell


def about_boxes(body: Body) -> bool:
    return "red rectangle exactly" in json.dumps(body["messages"])


def blind(box: list[float]) -> Callable[[Body], Body | None]:
    """Calls with the same box whatever it is shown."""
    call = {"name": "crop_image", "arguments": {"bbox_2d": box, "image_index": 0}}
    return lambda body: {"content": f"<tool_call>\n{json.dumps(call)}\n</tool_call>"}


def speechless(body: Body) -> Body | None:
    return {"content": "I see a picture."} if about_boxes(body) else None


UNABLE: dict[str, Vision] = {
    "the same box for any picture": Vision(model="default", answers=blind([100, 100, 300, 300])),
    "no box in words or calls": Vision(model="default", answers=speechless),
    "percent": Vision(model="default", unit="percent"),
    "a family's name, and a blind model": Vision(model="qwen3-vl-8b", answers=blind([100, 100, 300, 300])),
}


@pytest.mark.parametrize("name", UNABLE)
def test_a_model_that_cannot_tell_is_refused_with_what_settles_it(name: str, photo: Photo) -> None:
    with see(UNABLE[name]) as server:
        done = virc("solve", "--endpoint", server.url, photo(*WIDE), "Which colour?")
        assert (done.code, done.out) == (3, "")
        *_, error, hint = done.err.splitlines()
        assert error.startswith(f"error: it is not known how {server.vision.model} counts boxes")
        assert hint.startswith("hint: --family NAME")
        assert len(server.posts()) <= 3
        assert all(str(body).count("base64,") == 1 for body in server.posts())  # no crop was shown


# What is kept


def another(server: VisionServer, **changed: Any) -> None:
    server.vision = replace(server.vision, **changed)


def solved_at(server: VisionServer, picture: Path) -> float:
    with package.load(endpoint=server.url, model=server.vision.model) as model:
        return share(model, picture, WIDE)


def test_another_model_behind_the_name_is_asked_anew(photo: Photo) -> None:
    picture = photo(*WIDE)
    with see(Vision(model="default", unit="thousand", extra={"root": "/models/one"})) as server:
        assert solved_at(server, picture) > 0.9
        another(server, unit="pixel", extra={"root": "/models/other"})
        assert solved_at(server, picture) > 0.9
        assert sum(map(about_boxes, server.posts())) == 2


ROW = {"image": "photo-1400x500.png", "question": "Which colour?", "answer": "red"}


def rows(folder: Path, *ids: int) -> Path:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps({**ROW, "id": each}) + "\n" for each in ids))
    return file


def test_a_batch_goes_on_as_it_began_before_boxes_were_asked_about(photo: Photo, tmp_path: Path) -> None:
    photo(*WIDE)
    with see(Vision(model="qwen2.5-vl", unit="thousand")) as server:
        words = ("batch", "--endpoint", server.url, "--to", tmp_path / "out.jsonl")
        for ids in ((1,), (1, 2, 3)):
            done = virc(*words, rows(tmp_path, *ids))
            assert done.code == 0, done.err
        lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
        assert [(line["answer"], line["coordinates"]) for line in lines] == [("red", "thousand")] * 3
        assert sum(map(about_boxes, server.posts())) == 1


def test_sampled_rows_teach_the_unit_that_the_model_counts_in(photo: Photo, tmp_path: Path) -> None:
    photo(*WIDE)
    with see(Vision(model="default", unit="thousand")) as server:
        to = tmp_path / "sampled"
        done = virc("data", "sample", rows(tmp_path, 1), "--endpoint", server.url, "--to", to, "--samples", 1)
        assert done.code == 0, done.err
        assert about_boxes(server.posts()[0])
    protocol = json.loads((to / "virc_protocol.json").read_text())
    assert protocol["coordinates"] == "thousand"
    assert "1000" in protocol["system"]
