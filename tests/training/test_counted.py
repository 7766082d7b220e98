"""Lengths of rows and what follows from them, pairs one by one, and what a machine lacks: without files or engines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from virc.data.check.result import USUAL_SYSTEM
from virc.data.formats.registry import Row
from virc.data.rows.record import MARK, Message, Picture, Record
from virc.envs.hardware import Gpu, Machine
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.calls import Size
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import Grid
from virc.stages.sft import Config
from virc.training.estimate import fits
from virc.training.estimate.needs import Estimate, Term
from virc.training.preflight import lengths, rl
from virc.training.preflight.lengths import Counted, Length, Text, count, too_long
from virc.training.preflight.rl import Counting, shown


def record(number: int, rejected: str | None = None) -> Record:
    messages = (Message("user", f"{MARK}Which?"), Message("assistant", f"good {number}"))
    return Record(messages, (Picture("a.png"),), f"p{number}", rejected=rejected)


def rows(count: int) -> list[Row]:
    return [Row(10 * at, record(at, f"bad {at}")) for at in range(1, count + 1)]


def counted(tokens: Sequence[int], cutoff: int = 100, fits: Sequence[int] = ()) -> Counted:
    """The lengths of rows 10, 20, …; those over the cutoff fit with these `max_pixels`."""
    left = iter(fits)

    def measure(texts: Sequence[Text]) -> list[Length]:
        return [Length(each, 1, fits=next(left, 0) if each > cutoff else 0) for each in tokens]

    return count(measure, cutoff, rows(len(tokens)), len(tokens), 1, lambda done: None)


def test_an_error_of_long_rows_has_their_numbers_and_what_helps() -> None:
    error = too_long(counted([50, 300, 200], fits=[784, 1568]), "pixel")
    assert "2 of 3 rows are longer than the cutoff_len of 100 tokens" in error.message
    assert "rows 20, 30; the longest, row 20, has 300" in error.message
    assert error.hint == (
        "--set cutoff_len=300 holds all; --set max_pixels=784 shrinks images until all fit (boxes in pixels then miss)"
        "; --set filter_overlong=true leaves them out"
    )
    assert "max_pixels" not in str(too_long(counted([50, 300, 200], fits=[784, 0]), "pixel").hint)
    assert "filter_overlong" not in str(too_long(counted([300]), "permille").hint)


@pytest.mark.parametrize(
    ("images", "is_input", "size"),
    [("smart", True, (252, 140)), ("square_1000", True, (1008, 1008)), ("square_1000", False, (252, 140))],
)
def test_images_of_prompts_are_counted_as_they_are_shown(images: Any, is_input: bool, size: Size) -> None:
    protocol = Protocol("", "", "", "", "", images=images)
    counting = Counting(Path("base"), "qwen2_vl", Grid(), protocol)
    assert shown((250, 141), counting, is_input) == size


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


def test_the_system_message_of_the_engines_template_counts_where_a_row_has_none() -> None:
    counting = lengths.counting(EMBEDDED_FOLDER, 1, 10**7, 2048)
    turns = (Message("user", "Which?"), Message("assistant", "A"))
    usual, none, own = (
        lengths.lengths(counting, [Text(messages, ())])[0].tokens
        for messages in ((Message("system", USUAL_SYSTEM), *turns), turns, (Message("system", "A"), *turns))
    )
    assert usual == none > own
    assert lengths.usual_system("qwen2_5_vl") == USUAL_SYSTEM


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


def test_names_of_special_tokens_in_a_prompt_are_text() -> None:
    counting = rl.counting(EMBEDDED_FOLDER, 28 * 28 * 16)
    assert counting.grid.max_pixels == 28 * 28 * 16
    plain, named = (
        rl.lengths(counting, [Text((Message("user", f"a{text}b"),), ())])[0].tokens for text in (" ", " <|im_end|> ")
    )
    assert named - plain > 3


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
