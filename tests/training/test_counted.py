"""Lengths of rows and what follows from them, pairs one by one, and what a machine lacks: without files or engines."""

from pathlib import Path

import msgspec
import pytest
from PIL import Image

from virc.data.rows.record import MARK, Message
from virc.envs.hardware import Gpu, Machine
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import Protocol
from virc.stages.sft import Config
from virc.training.estimate import fits
from virc.training.estimate.needs import Estimate, Term
from virc.training.preflight import lengths, rl
from virc.training.preflight.lengths import Text

GPU = Gpu("NVIDIA A100-SXM4-80GB", 80.0, 80.0, "570")


def lacking(config: Config, here: Machine, device: float = 40, host: float = 50, disk: float = 60) -> list[str]:
    terms = (Term("weights", device, "x"),)
    needed = Estimate(terms, device, terms, host, terms, disk, None, None, None)
    kinds = {"a device": "device", "GPU": "gpus", "of main memory": "memory", "of disk": "disk"}
    clauses = [each.clause for each in fits.lacking(needed, config, here, free=True)]
    return [next(kind for words, kind in kinds.items() if words in clause) for clause in clauses]


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[str, ...]:
    """A picture within the embedded model's limit and one beyond it."""
    for name, side in (("small", 56), ("large", 280)):
        Image.new("RGB", (side, side)).save(tmp_path / f"{name}.png")
    return str(tmp_path / "small.png"), str(tmp_path / "large.png")


def test_the_largest_pictures_that_fit_are_named(pictures: tuple[str, ...]) -> None:
    row = Text((Message("user", f"{MARK}Which?"), Message("assistant", "A")), pictures[1:])
    counting = lengths.counting(EMBEDDED_FOLDER, 1, 10**7, 2048)
    text = lengths.lengths(counting, [row])[0].tokens - 81
    for room in (64, 63, 4):  # the largest side is of 8 tokens, or of 7, or of 2
        short = msgspec.structs.replace(counting, cutoff=text + room)
        fits = lengths.lengths(short, [row])[0].fits
        shown, larger = (msgspec.structs.replace(short, max_pixels=most) for most in (fits, fits + 784))
        assert lengths.lengths(shown, [row])[0].tokens <= text + room < lengths.lengths(larger, [row])[0].tokens
    assert lengths.lengths(msgspec.structs.replace(counting, cutoff=text + 3), [row])[0].fits == 0


def test_a_prompt_is_what_stands_before_the_reference_and_its_crops_are_no_inputs(pictures: tuple[str, ...]) -> None:
    turns = (
        Message("user", f"{MARK}Which?"), Message("assistant", "Look."), Message("user", MARK),
        Message("assistant", "The answer, in many words."),
    )  # fmt: skip
    protocol = Protocol("", "", "", "", "", images="square_1000")
    counting = msgspec.structs.replace(rl.counting(EMBEDDED_FOLDER, 10**7), protocol=protocol)
    texts = [Text(turns[:end], pictures[:many]) for end, many in ((4, 2), (3, 2), (1, 1))]
    whole, prompt, first = (each.tokens for each in rl.lengths(counting, texts))
    assert whole == prompt
    between = rl.lengths(msgspec.structs.replace(counting, protocol=None), texts)
    assert prompt - first == between[1].tokens - between[2].tokens  # a crop is fed at its own size
    assert first > between[2].tokens
