"""Rows that are longer than the cutoff, and what is done about them."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image
from stage_rows import COUNT, base_of_type, chat_protocol, drawn, request
from tokenizers import Tokenizer

from virc.core.errors import DataError
from virc.data.check.images import file_of
from virc.data.formats.registry import get, only_source
from virc.data.rows.record import Message
from virc.models.chat_protocol import read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.training.preflight.lengths import Counting, Length, Text, counting, image_tokens, lengths
from virc.training.preflight.sft import check


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("drawn") / "rows", "sft,trajectories")


def by_row(file: Path, cutoff: int = 2048, max_pixels: int = 12_845_056) -> list[Length]:
    source = only_source(file)
    records = [row.record for row in get(source.format).read(source)]
    texts = [Text(each.messages, tuple(map(file_of, each.images))) for each in records]
    return lengths(counting(EMBEDDED_FOLDER, 3136, max_pixels, cutoff), texts)


def test_long_rows_are_refused_with_ways_out_that_lead_out(rows: Path) -> None:
    tokens = [each.tokens for each in by_row(rows)]
    cutoff = sorted(tokens)[-4]
    over = [number for number, count in enumerate(tokens, 1) if count > cutoff]
    with pytest.raises(DataError) as error:
        check(request(rows, cutoff=cutoff))
    message, hint = error.value.message, error.value.hint or ""
    assert f"{len(over)} of {COUNT} rows are longer than the cutoff_len of {cutoff} tokens" in message
    assert f"rows {', '.join(map(str, over))};" in message
    assert f"has {max(tokens)}" in message
    enough = int(re.findall(r"cutoff_len=(\d+)", hint)[0])
    assert check(request(rows, cutoff=enough)).longest == max(tokens) == enough
    small = int(re.findall(r"max_pixels=(\d+)", hint)[0])
    shrunk = check(request(rows, cutoff=cutoff, max_pixels=small))
    assert shrunk.longest <= cutoff
    assert shrunk.shrunk > 0
    assert "filter_overlong=true" in hint


@pytest.mark.parametrize("name", ["trajectories.json"])
def test_dropping_leaves_a_dataset_of_the_other_rows(rows: Path, tmp_path: Path, name: str) -> None:
    file = rows.with_name(name)
    tokens = [each.tokens for each in by_row(file)]
    cutoff = sorted(tokens)[COUNT // 2]
    fitting = [count for count in tokens if count <= cutoff]
    found = check(request(file, cutoff=cutoff, filter_overlong=True, folder=tmp_path / "fewer"))
    assert (found.rows, found.dropped) == (len(fitting), COUNT - len(fitting))
    assert (found.longest, found.total) == (max(fitting), sum(fitting))
    assert (found.file.parent, found.file.suffix) == (tmp_path / "fewer", file.suffix)
    source = only_source(found.file)
    records = [row.record for row in get(source.format).read(source)]
    assert [image.name for each in records for image in each.images]
    assert all(Path(image.name).is_file() for each in records for image in each.images)
    before = [row.record for row in get(only_source(file).format).read(only_source(file))]
    kept = [each for each, count in zip(before, tokens, strict=True) if count <= cutoff]
    assert [each.messages for each in records] == [each.messages for each in kept]
    assert found.images == sum(len(each.images) for each in kept)
    assert [each.extra for each in records] == [each.extra for each in kept]
    assert read_protocol(tmp_path / "fewer" / FILE_NAME) == found.protocol
    again = check(request(found.file, cutoff=cutoff))
    assert (again.rows, again.total, again.dropped) == (len(fitting), sum(fitting), 0)


@pytest.mark.integration
def test_several_processes_count_what_one_counts(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "a"}]
    with (tmp_path / "rows.jsonl").open("w") as file:
        for number in range(4100):
            turns[1]["content"] = "word " * (number % 37)
            file.write(json.dumps({"messages": turns}) + "\n\n" * (number % 2) + "\n")
    protocol = chat_protocol(tmp_path, system="")
    one, two = (check(request(tmp_path / "rows.jsonl", protocol=protocol, workers=workers)) for workers in (1, 2))
    assert one == two
    assert one.rows == 4100


def test_a_processor_file_comes_before_the_older_one(rows: Path, tmp_path: Path) -> None:
    base = base_of_type(tmp_path / "base", "qwen2_5_vl")
    settings = json.loads((base / "preprocessor_config.json").read_text())
    settings |= {"patch_size": 28, "min_pixels": None, "max_pixels": None}
    settings["size"] = {"shortest_edge": 3136, "longest_edge": 10**6}
    (base / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    coarse = counting(base, 3136, 10**7, 100)
    assert image_tokens((560, 560), coarse) == 100
    del settings["size"]
    (base / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    assert counting(base, 3136, 10**7, 100).grid.max_pixels == 1280 * 28 * 28  # where nothing is said


def test_a_row_is_as_long_as_its_whole_text_with_a_token_for_each_patch_of_an_image(tmp_path: Path) -> None:
    for name, size in (("a.png", (252, 252)), ("b.png", (252, 224))):
        Image.new("RGB", size).save(tmp_path / name)
    messages = (
        Message("system", "s"), Message("user", "<image> and <image>?"), Message("assistant", "b"),
        Message("user", "c"), Message("assistant", "d"),
    )  # fmt: skip
    first, second = (f"<|vision_start|>{'<|image_pad|>' * tokens}<|vision_end|>" for tokens in (81, 72))
    parts = (
        "<|im_start|>system\ns<|im_end|>\n",
        f"<|im_start|>user\n{first} and {second}?<|im_end|>\n<|im_start|>assistant\n",
        "b<|im_end|>\n",
        "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n",
        "d<|im_end|>\n",
    )
    tokenizer = Tokenizer.from_file(str(EMBEDDED_FOLDER / "tokenizer.json"))
    tokens = sum(len(tokenizer.encode(part, add_special_tokens=False)) for part in parts)
    row = Text(messages, (str(tmp_path / "a.png"), str(tmp_path / "b.png")))
    [found] = lengths(counting(EMBEDDED_FOLDER, 3136, 10**7, 1000), [row])
    assert found == Length(tokens, images=2)


@pytest.mark.parametrize(
    ("size", "tokens"), [((28, 28), 4), ((252, 252), 81), ((504, 504), 81), ((1, 40), 13), ((100_000, 3), None)]
)
def test_tokens_of_an_image(size: tuple[int, int], tokens: int | None) -> None:
    rules: Counting = counting(EMBEDDED_FOLDER, 3136, 40 if tokens is None else 12_845_056, 100)
    if tokens is None:
        with pytest.raises(ValueError, match="come to nothing"):
            image_tokens(size, rules)
    else:
        assert image_tokens(size, rules) == tokens
