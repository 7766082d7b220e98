"""What a model of the families learns from: the same tasks for each, in the chat protocol and sizes of inference."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiny import loop, of_families, sight
from tiny.architecture import build_tokenizer
from tiny.corpus import constants, words
from tiny.encode import IGNORE, encode
from virc.data.synth import worked
from virc.data.synth.families import registry as families
from virc.data.synth.problem import LARGEST
from virc.reasoning.messages import parse

pytestmark = pytest.mark.integration

ALL = tuple(name for name in families.names() if name != "sheets")  # of 12 megapixels
SOME = ("charts", "far")
TASKS = of_families.all_tasks(ALL)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build_tokenizer(constants(worked.PROTOCOL, SOME), words(count=100, names=SOME), loop.VOCABULARY_OF_FAMILIES)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_shows_pictures_as_inference_does_and_ends_with_a_reply(task: str) -> None:
    make, _ = TASKS[task]
    for seed in range(3):
        example = make(random.Random(seed))
        assert example.messages[-1].role == "assistant"
        for image in example.images:
            assert image.width % 28 == image.height % 28 == 0
            assert image.width * image.height <= LARGEST
        if task.startswith(("path", "refusal", "direct")):
            assert example.messages[0].text == worked.PROTOCOL.system
            assert parse(example.messages[-1].text).answer is not None
        if task.startswith("refusal"):
            assert parse(example.messages[-1].text).answer == "unreadable"
        if task.startswith("direct"):
            assert len(example.images) == 1
        assert bool(example.images) != task.startswith("sums")


def test_what_is_read_is_what_is_printed() -> None:
    rng = random.Random(2)
    read = [of_families.read_spot(rng, "charts").messages[-1].text for _ in range(60)]
    assert any(text.startswith("One line is ") for text in read)
    assert any(" is at line " in text for text in read)
    assert any(text.count(" is ") == 1 and text[-2].isdigit() for text in read)
    single = {of_families.read_characters(rng, ("expressions",)).messages[-1].text for _ in range(200)}
    assert set("()x+-") <= single
    assert any(" + " in text for text in single)
    assert all(of_families.read_spot(rng, "far").images[0].width in (56, 140) for _ in range(10))


def test_solutions_of_families_become_few_ids_and_come_back(tokenizer: Any) -> None:
    for name in SOME:
        for seed in range(6):
            example = of_families.path(random.Random(seed), name)
            ids, labels = encode(example, tokenizer)
            learnt = tokenizer.decode([i for i, label in zip(ids, labels, strict=True) if label != IGNORE])
            turns = [message.text for message in example.messages if message.role == "assistant"]
            assert learnt == "".join(f"{turn}<|im_end|>" for turn in turns)
            assert len(ids) < 1000
    assert len(tokenizer) <= loop.VOCABULARY_OF_FAMILIES
    for text in ("Look at the next plate.</think>\n", "2.5", "Mon is at line 4. 4 · 20 = 80."):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode("480")) == 3


def test_the_eye_knows_every_character_of_its_families_and_where_it_stands() -> None:
    eye = of_families.eye(ALL)
    assert eye.classes[-len(sight.TURNS) :] == sight.TURNS
    assert set("0123456789?+-()xMonABC") <= set(eye.classes)
    rng = random.Random(3)
    seen: set[str] = set()
    for _ in range(25):
        for image, labels in (eye.page(rng), eye.slip(rng)):
            assert labels.shape == (image.width * image.height // 784, sight.CELLS * len(eye.classes))
            seen |= {eye.classes[place % len(eye.classes)] for place in np.argwhere(labels)[:, 1].tolist()}
    assert set(sight.TURNS) & seen
    assert len(seen) > 30


def test_the_course_of_tiny_is_as_it_was_and_shares_of_others_are_whole() -> None:
    assert loop.course(()).phases is loop.PHASES
    assert loop.course(()).eye is sight.POLYGONS
    course = loop.course(SOME)
    for phase, mixes in course.phases.items():
        for mix in mixes:
            assert sum(mix.values()) == pytest.approx(1), phase
            assert mix.keys() <= course.tasks.keys()
    for mix in course.phases["sft"]:
        assert sum(share for task, share in mix.items() if task.startswith("refusal")) >= 0.1 - 1e-9


@pytest.mark.slow
def test_a_model_of_the_families_is_trained_and_says_how_large_its_pictures_may_be(tmp_path: Path) -> None:
    loop.train(tmp_path, steps=1, phase="read", families=("far",))
    settings = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert settings["max_pixels"] == LARGEST
    config = json.loads((tmp_path / "config.json").read_text())
    ids = json.loads((tmp_path / "tokenizer.json").read_text())
    rows = config.get("text_config", config)["vocab_size"]
    assert rows == len(ids["model"]["vocab"]) + len(ids["added_tokens"])
    assert (tmp_path / "log.jsonl").read_text()
