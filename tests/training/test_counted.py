"""Lengths of rows and what follows from them, pairs one by one, and what a machine lacks: without files or engines."""

from array import array
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from stage_rows import base_of_type
from tokenizers import Tokenizer

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
from virc.training.preflight.lengths import Counted, Length, Text, count, percentiles, too_long
from virc.training.preflight.pairs import _longer, one_by_one, rejected_side
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


def test_a_row_of_exactly_the_limit_fits() -> None:
    found = counted([99, 100, 101, 5])
    assert ([*found.within], [*found.over]) == ([0, 1, 3], [2])
    assert found.longest(2) == [1, 0]  # of those that fit; of equal ones the earlier
    assert counted([7, 9, 9]).longest(2) == [1, 2]
    assert [*found.numbers] == [10, 20, 30, 40]
    found.differ |= {0: {"a.png": "palette"}, 2: {"c.png": "palette"}, 3: {"a.png": "palette", "d.png": "mode"}}
    assert found.files(found.within) == {"a.png", "d.png"}  # of rows that are left out none is written


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
    ("tokens", "shares"),
    [(range(1, 101), (50, 90, 99)), (range(1, 201), (100, 180, 198)), ([7], (7, 7, 7)), ([3, 1, 2], (2, 3, 3))],
)
def test_so_many_rows_are_no_longer(tokens: Sequence[int], shares: tuple[int, int, int]) -> None:
    assert percentiles(array("q", tokens)) == shares


def test_the_longer_side_of_a_pair_counts() -> None:
    found = _longer(counted([10, 300], fits=[784]), counted([20, 200], fits=[1568]))
    assert [*found.tokens] == [20, 300]
    assert found.fits == 784
    assert _longer(counted([10]), counted([9])).fits is None


def test_the_worse_side_of_a_pair_stands_alone() -> None:
    (pair,) = rows(1)
    found = rejected_side(pair)
    assert found.number == pair.number
    assert found.known() == msgspec.structs.replace(
        record(1), messages=(record(1).messages[0], Message("assistant", "bad 1"))
    )


@pytest.mark.parametrize("count", [2, 3, 5])
def test_kto_gets_both_replies_and_never_two_to_one_prompt_in_a_row(count: int) -> None:
    found = [(each.id, each.messages[-1].content, wanted) for each, wanted in one_by_one(rows(count))]
    assert sorted(found) == sorted(
        (f"p{at}", f"{side} {at}", side == "good") for at in range(1, count + 1) for side in ("good", "bad")
    )
    assert all(one[0] != other[0] for one, other in pairwise(found))
    assert {wanted for _, _, wanted in found[:2]} == {True, False}


GRID = Grid(min_pixels=56 * 56, max_pixels=28 * 28 * 100)


@pytest.mark.parametrize(
    ("size", "tokens"),
    [
        ((280, 140), 50),
        ((140, 280), 50),
        ((294, 140), 50),  # 10.5 columns: the even one of two
        ((560, 560), 100),  # shrunk to the base's own limit
        ((1120, 280), 100),
        ((28, 28), 4),  # enlarged to it
        ((28 * 300, 28), 134),  # so narrow that it is made 180 : 1; a side has a token at least
        ((28, 28 * 300), 134),
    ],
)
def test_tokens_of_an_image_are_those_of_the_engine(size: Size, tokens: int) -> None:
    counting = lengths.Counting(Path("base"), "qwen2_vl", GRID, 1, 10**7, 100)
    assert lengths.image_tokens(size, counting) == tokens


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


@pytest.mark.parametrize(
    ("changes", "gpus", "machine", "found"),
    [
        ({}, [GPU], {}, []),
        ({}, [GPU], {"free_gib": 49}, ["memory"]),  # whatever there is in all
        ({}, [GPU], {"memory_gib": 49}, []),
        ({}, [GPU], {"disk_gib": 59}, ["disk"]),
        ({}, [msgspec.structs.replace(GPU, free_gib=39)], {}, ["device"]),
        ({}, [msgspec.structs.replace(GPU, gib=39)], {}, []),
        ({}, [msgspec.structs.replace(GPU, free_gib=39), GPU], {}, ["device"]),  # torch takes the first
        ({}, [GPU, msgspec.structs.replace(GPU, free_gib=39)], {}, []),
        ({"gpus": (1,)}, [msgspec.structs.replace(GPU, free_gib=39), GPU], {}, []),
        ({"devices": 2}, [GPU], {}, ["gpus"]),
        ({"devices": 2}, [msgspec.structs.replace(GPU, free_gib=39), GPU], {}, ["device"]),  # the smallest decides
        ({"devices": 2}, [msgspec.structs.replace(GPU, free_gib=39), GPU, GPU], {}, ["device"]),
        ({"device": "cpu"}, [], {"free_gib": 49}, ["memory"]),
        ({"device": "cpu"}, [], {}, []),
    ],
)
def test_what_is_free_now_decides(changes: Any, gpus: list[Gpu], machine: Any, found: list[str]) -> None:
    config = msgspec.convert({"data": "x", "learning_rate": 1e-5, "devices": 1, "zero": 0} | changes, Config)
    room = {"memory_gib": 500, "free_gib": 500, "disk_gib": 500} | machine
    assert lacking(config, Machine(cores=8, gpus=tuple(gpus), **room)) == found


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[str, ...]:
    """A picture within the embedded model's limit and one beyond it."""
    for name, side in (("small", 56), ("large", 280)):
        Image.new("RGB", (side, side)).save(tmp_path / f"{name}.png")
    return str(tmp_path / "small.png"), str(tmp_path / "large.png")


def test_pictures_over_the_bases_limit_are_shrunk_whatever_max_pixels(pictures: tuple[str, ...]) -> None:
    text = Text((Message("user", f"{MARK}{MARK}Which?"), Message("assistant", "A")), pictures)
    found = [
        lengths.lengths(lengths.counting(EMBEDDED_FOLDER, 1, most, 2048), [text])[0].shrunk
        for most in (10**7, 252 * 252, 56 * 56, 55 * 55)
    ]
    assert found == [1, 1, 1, 2]


def test_the_system_message_of_the_engines_template_counts_where_a_row_has_none() -> None:
    counting = lengths.counting(EMBEDDED_FOLDER, 1, 10**7, 2048)
    turns = (Message("user", "Which?"), Message("assistant", "A"))
    usual, none, own = (
        lengths.lengths(counting, [Text(messages, ())])[0].tokens
        for messages in ((Message("system", USUAL_SYSTEM), *turns), turns, (Message("system", "A"), *turns))
    )
    assert usual == none > own
    assert lengths.usual_system("qwen2_5_vl") == USUAL_SYSTEM


def test_no_system_message_counts_where_the_template_writes_none(tmp_path: Path) -> None:
    counting = lengths.counting(base_of_type(tmp_path / "base", "qwen3_vl"), 1, 10**7, 2048)
    tokens = lengths.lengths(counting, [Text((Message("user", "Which?"), Message("assistant", "A")), ())])[0].tokens
    text = "<|im_start|>user\nWhich?<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
    whole = Tokenizer.from_file(str(EMBEDDED_FOLDER / "tokenizer.json")).encode(text, add_special_tokens=False)
    assert (tokens, lengths.usual_system("qwen3_vl")) == (len(whole), "")


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
