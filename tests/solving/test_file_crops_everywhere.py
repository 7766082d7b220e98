"""Pixels of the picture's file reach the model through every path: a pattern of single pixels keeps its full range."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image
from support.called import virc
from support.servers import images_of, serve, turn_of
from support.solving import answer
from support.solving import call as look

from virc.backends.interface import Sampling
from virc.data.rows.record import Picture
from virc.engines.verl.agent_ids import shown_once
from virc.models.chat_protocol import written
from virc.reasoning.images import Shown
from virc.reasoning.protocol import own_protocol
from virc.reasoning.resize import QWEN2
from virc.reasoning.session import Ask, Reply, Session
from virc.solving.one import SolveConfig, solve
from virc.tools.registry import DEFAULT, known, schemas

PAGE = (2000, 1500)
PROTOCOL = msgspec.structs.replace(own_protocol(schemas(DEFAULT)), crops="file", input_pixels=(3136, 10**6))
REPLIES = (look("crop_image", bbox_2d=[280, 210, 360, 270], image_index=0), answer("4"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of black and white pixels in turn, that any average makes grey; a row about it; and the chat protocol."""
    place = tmp_path_factory.mktemp("page")
    across, down = np.meshgrid(np.arange(PAGE[0]), np.arange(PAGE[1]))
    Image.fromarray((((across + down) % 2) * 255).astype(np.uint8)).save(place / "page.png")
    row = {"id": "1", "image": "page.png", "question": "How many?", "answer": "4"}
    (place / "rows.jsonl").write_text(json.dumps(row) + "\n")
    (place / "protocol.json").write_bytes(written(PROTOCOL))
    return place


class Told:
    """A backend in this process that says what it is told to, and keeps the images that it is given."""

    grid, context = QWEN2, 10**6

    def __init__(self) -> None:
        self.given: list[Shown] = []

    def reply(self, ask: Ask, sampling: Sampling, *_: object) -> Reply:
        self.given = [*ask.images]
        return Reply(REPLIES[len(ask.images) - 1])


def by_endpoint(*words: str) -> Callable[[Path, Path], Image.Image]:
    """The last image that a command sends."""

    def sent(folder: Path, to: Path) -> Image.Image:
        with serve(lambda body: REPLIES[turn_of(body)]) as server:
            named = [str(word).format(folder=folder, to=to) for word in words]
            done = virc(*named, "--endpoint", server.url, "--protocol", folder / "protocol.json")
            assert done.code == 0, done.err
            url = images_of(server.chats()[-1])[-1]["image_url"]["url"]
        return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))

    return sent


def in_process(folder: Path, to: Path) -> Image.Image:
    told: Any = Told()
    with Image.open(folder / "page.png") as page:
        solve(SolveConfig(tries=1), told, PROTOCOL, [page.convert("RGB")], "How many?")
    return told.given[-1].pixels


def sampled(folder: Path, to: Path) -> Image.Image:
    """The crop as it lies on disk, in a row that passes the check and says how large the page's file was."""
    by_endpoint("data", "sample", "{folder}/rows.jsonl", "--to", "{to}/made", "--samples", "1")(folder, to)
    (row,) = map(json.loads, (to / "made" / "trajectories.jsonl").read_text().splitlines())
    assert row["file_sizes"] == [[*PAGE]]
    checked = virc("data", "check", to / "made")
    assert checked.code == 0, checked.out + checked.err
    return Image.open(to / "made" / row["images"][1])


def rolled_out(folder: Path, to: Path) -> Image.Image:
    shown = shown_once(Picture("page.png", folder), PROTOCOL, QWEN2)
    session = Session(PROTOCOL, "How many?", [shown], QWEN2, tolerate=(), tools=known())
    session.feed(Reply(REPLIES[0]))
    ask = session.next()
    assert isinstance(ask, Ask)
    return [each.pixels for each in ask.images][-1]  # what the agent loop hands on as multi_modal_data


PATHS: dict[str, Callable[[Path, Path], Image.Image]] = {
    "solve in this process": in_process,
    "solve on an endpoint": by_endpoint("solve", "{folder}/page.png", "How many?"),
    "data sample, data check": sampled,
    "a rollout of RL": rolled_out,
}


@pytest.mark.parametrize(
    "path", [pytest.param(each, marks=pytest.mark.integration if each.startswith("data") else ()) for each in PATHS]
)
def test_single_pixels_reach_the_model(path: str, folder: Path, tmp_path: Path) -> None:
    assert PATHS[path](folder, tmp_path).convert("RGB").getextrema() == ((0, 255),) * 3
