"""Rollouts by transformers: what is drawn, how it is bounded, and the log-probabilities that are told of it."""

import json
import shutil
from math import exp
from pathlib import Path
from typing import Any

import pytest
from engines.verl.rl_engine import TINY, child
from engines.verl.verl_runs import EQUAL

from virc.backends.interface import Sampling
from virc.backends.local import LocalBackend, load
from virc.models.chat_protocol import read_protocol
from virc.reasoning.images import open_image
from virc.reasoning.protocol import FILE_NAME
from virc.reasoning.session import Ask, Session
from virc.tools.registry import known

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

PICTURE = Path(__file__).parents[2] / "pictures" / "triangle.png"
CHILD = Path(__file__).with_name("rollout_child.py")
WILD = {"temperature": 50.0, "max_tokens": 60}  # nearly every id is as likely


class Drawn:
    """Requests that were drawn together, by name."""

    def __init__(self, names: list[str], found: dict[str, Any]) -> None:
        self.found = found
        self.number = {name: number for number, name in enumerate(names)}

    def ids(self, name: str) -> list[int]:
        ids: list[int] = self.found["ids"][self.number[name]]
        return ids


@pytest.fixture(scope="module")
def backend() -> LocalBackend:
    return load(TINY, "cpu")


@pytest.fixture(scope="module")
def ask() -> Ask:
    session = Session(
        read_protocol(TINY / FILE_NAME), "In triangle BLA, find m∠L.", [open_image(PICTURE, "it")], tools=known()
    )
    asked = session.next()
    assert isinstance(asked, Ask)
    return asked


@pytest.fixture(scope="module")
def drawn(backend: LocalBackend, ask: Ask, tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    folder = tmp_path_factory.mktemp("rollout")
    ask.images[0].pixels.save(folder / "picture.png")
    ids = backend._render(ask.messages, ask.images).ids
    text = backend._tokenizer.encode("What is this?", add_special_tokens=False)
    requests = {
        "greedy": (ids, 1, {"temperature": 0, "max_tokens": 120, "top_p": 1.0, "top_k": -1}),
        "sampled": (ids, 1, {"temperature": 1.0, "max_tokens": 120, "logprobs": True, "repetition_penalty": 1.0}),
        "warm": (ids, 1, {"temperature": 1.0, "max_tokens": 7}),
        "text": (text, 0, {"temperature": 1.0, "max_tokens": 20}),
        "stopped": (ids, 1, {"temperature": 0, "max_tokens": 120, "stop": ["</think>"]}),
        "nucleus": (ids, 1, {"temperature": 50.0, "max_tokens": 40, "top_p": 1e-6}),
        **{f"wild {number}": (ids, 1, WILD) for number in range(12)},
    }
    file = folder / "requests.json"
    file.write_text(
        json.dumps([{"ids": each[0], "images": each[1], "sampling": each[2]} for each in requests.values()])
    )
    return Drawn(list(requests), child(CHILD, peculiar(folder / "model"), folder / "picture.png", file))


def peculiar(folder: Path) -> Path:
    """`tiny` with sampling of its own in `generation_config.json`, as published models have it."""
    shutil.copytree(TINY, folder)
    file = folder / "generation_config.json"
    own = {
        "repetition_penalty": 5.0,
        "no_repeat_ngram_size": 2,
        "temperature": 1e-6,
        "top_p": 0.001,
        "top_k": 1,
        "do_sample": True,
    }
    file.write_text(json.dumps(json.loads(file.read_text()) | own))
    return folder


def test_greedy_replies_are_those_of_solve(drawn: Drawn, backend: LocalBackend, ask: Ask) -> None:
    reply = backend.reply(ask, Sampling(temperature=0, max_tokens=120))
    assert reply.finish == "stop"
    assert tuple(drawn.ids("greedy")[:-1]) == reply.token_ids


def test_log_probabilities_are_those_of_one_pass(drawn: Drawn) -> None:
    """Of the whole vocabulary, though replies are drawn in batches, padded, with a cache, and from a part of it."""
    for chances, passed in zip(drawn.found["chances"], drawn.found["passed"], strict=True):
        assert chances == pytest.approx(passed, abs=2e-4)


def test_weights_of_one_step_before_are_told_from_those_that_learn(drawn: Drawn) -> None:
    """So the tests of runs, which hold the probabilities of rollouts and trainer to be `EQUAL`, see stale weights."""
    pairs = zip(drawn.found["chances"], drawn.found["passed"], strict=True)
    fresh = max(abs(exp(one) - exp(other)) for each in pairs for one, other in zip(*each, strict=True))
    assert fresh < EQUAL
    assert drawn.found["later"] > 10 * EQUAL


def test_a_reply_does_not_depend_on_what_is_drawn_with_it(drawn: Drawn) -> None:
    """With its seed, which is that of its id here, it is the same in another batch, and whenever it comes."""
    assert sorted(drawn.found["batches again"]) != sorted(drawn.found["batches"])
    assert drawn.found["ids again"] == drawn.found["ids"]
    assert len({tuple(drawn.ids(f"wild {number}")) for number in range(12)}) == 12


def test_each_reply_has_its_own_limit(drawn: Drawn) -> None:
    assert len(drawn.ids("warm")) <= 7
    assert len(drawn.ids("text")) <= 20
    assert max(len(drawn.ids(f"wild {number}")) for number in range(12)) == WILD["max_tokens"]


def test_a_stop_string_ends_a_reply(drawn: Drawn, backend: LocalBackend) -> None:
    text = backend._tokenizer.decode(drawn.ids("stopped"))
    assert "</think>" in text
    assert drawn.ids("stopped") == drawn.ids("greedy")[: len(drawn.ids("stopped"))]
    assert len(drawn.ids("stopped")) < len(drawn.ids("greedy"))


def test_images_are_never_drawn(drawn: Drawn, backend: LocalBackend) -> None:
    never = set(backend._never.tolist())
    wild = [token for number in range(12) for token in drawn.ids(f"wild {number}")]
    assert len(wild) > 200
    assert len(never) / 512 * len(wild) > 5  # so many were to be expected
    assert not never & set(wild)


def test_weights_must_be_whole(drawn: Drawn) -> None:
    assert len(drawn.found["faults"]) == 2
    assert "model.visual.patch_embed.proj.weight" in drawn.found["faults"][0]
    assert "extra" in drawn.found["faults"][1]
