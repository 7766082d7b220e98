"""Questions and answers as rows that train: `virc data convert --answers`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from data.converted import convert
from data.llamafactory import example
from PIL import Image, ImageDraw
from support.called import Done, virc
from support.replay import ReplayBackend

import virc as library
from virc.backends.chatml import render
from virc.backends.checkpoint import image_grid, image_settings
from virc.backends.interface import Sampling
from virc.backends.tokenizer import tokenizer
from virc.models.chat_protocol import of_weights
from virc.models.load import Opened
from virc.models.registry import EMBEDDED_FOLDER, find
from virc.reasoning.session import Ask, Reply
from virc.training.preflight.lengths import counting, image_tokens
from virc.training.preflight.rl import _plain

Row = dict[str, Any]
BOX = [300.0, 150.0, 390.0, 240.0]
PLACE = (310, 160, 380, 230)
"""What is drawn within the box."""


def make_figure(file: Path, size: tuple[int, int] = (420, 320)) -> Path:
    """A picture with a dark square at PLACE."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).rectangle(PLACE, fill="navy")
    file.parent.mkdir(exist_ok=True)
    image.save(file)
    return file


def make_rows(folder: Path, *rows: Row) -> Path:
    """A file of questions about one figure, whose fields these rows add to or replace."""
    make_figure(folder / "figures/bars.png")
    usual = {"image": "figures/bars.png", "question": "How high is the bar?", "answer": "37"}
    lines = [json.dumps({"id": number, **usual, **row}) for number, row in enumerate(rows)]
    (folder / "own.jsonl").write_text("\n".join(lines))
    return folder / "own.jsonl"


def run_convert(file: Path, to: Path, *words: object) -> Done:
    """The command that makes rows of answers."""
    return virc("data", "convert", file, "--to", to, "--format", "sft", "--answers", "--workers", 1, *words)


def rows_of(folder: Path) -> list[Row]:
    """The rows that were written."""
    found: list[Row] = json.loads((folder / "own.json").read_text())
    return found


def replies(row: Row) -> list[str]:
    """What the model learns to say."""
    return [each["content"] for each in row["messages"] if each["role"] == "assistant"]


@pytest.mark.parametrize(
    ("choices", "answer", "taught"),
    [
        (["cat", "dog"], "B", "dog"),
        (["yes", "no"], "(a)", "yes"),
        (["Dog", "cat"], "dog", "Dog"),
        (["(A) cat", "(B) dog"], "B", "B"),
    ],
)
def test_a_letter_is_taught_only_where_the_question_shows_letters(
    tmp_path: Path, choices: list[str], answer: str, taught: str
) -> None:
    assert run_convert(make_rows(tmp_path, {"choices": choices, "answer": answer}), tmp_path / "to").code == 0
    (row,) = rows_of(tmp_path / "to")
    assert f"<answer>{taught}</answer>" in replies(row)[-1]


class Recorder(ReplayBackend):
    """Says what it is given and keeps what it was asked."""

    def __init__(self, turns: Sequence[str]) -> None:
        super().__init__(turns, image_grid(image_settings(EMBEDDED_FOLDER)))
        self.asked: list[Ask] = []

    def reply(self, ask: Ask, sampling: Sampling, *more: Any) -> Reply:
        """The next turn."""
        self.asked.append(ask)
        return super().reply(ask, sampling)


def trained_ids(folder: Path, row: Row) -> list[int]:
    """The ids that LLaMA-Factory makes of a row for tiny, by the text of its template."""
    rules = counting(EMBEDDED_FOLDER, 3136, 12_845_056, 2048)
    known = example(json.loads((folder / "dataset_info.json").read_text())["own"], row)
    assert known
    text = f"<|im_start|>system\n{known.system}<|im_end|>\n"
    for role, content in known.turns:
        text += f"<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n" if role == "user" else content
        text += "<|im_end|>\n" * (role == "assistant")
    for name in known.images:
        pads = "<|image_pad|>" * image_tokens(Image.open(folder / name).size, rules)
        text = text.replace("<image>", f"<|vision_start|>{pads}<|vision_end|>", 1)
    spoken = tokenizer(EMBEDDED_FOLDER)
    spoken.encode_special_tokens = False
    return list(spoken.encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("fields", [{}, {"boxes": [BOX, [0, 0, 60.5, 50]]}])
def test_training_reads_the_tokens_that_solve_sends(tmp_path: Path, fields: Row) -> None:
    file = make_rows(tmp_path, fields)
    assert run_convert(file, tmp_path / "rows").code == 0
    (row,) = rows_of(tmp_path / "rows")
    backend = Recorder(replies(row))
    opened = Opened("tiny", backend, of_weights(find("tiny", tmp_path)))
    question = "How high is the bar?" + " Choices: 37; 41 cm" * ("choices" in fields)
    assert library.solve(tmp_path / "figures/bars.png", question, opened).answer == "37"
    assert len(backend.asked) == len(fields.get("boxes", ())) + 1
    trained = trained_ids(tmp_path / "rows", row)
    for ask in backend.asked:
        tokens = [shown.width * shown.height // 28**2 for shown in ask.images]
        sent = render(ask.messages, tokens, _plain(EMBEDDED_FOLDER), generate=True).ids
        assert trained[: len(sent)] == sent
    for shown, name in zip(backend.asked[-1].images, row["images"], strict=True):
        assert shown.pixels.tobytes() == Image.open(tmp_path / "rows" / name).convert("RGB").tobytes()


def test_rows_of_answers_are_clean_and_train_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    assert run_convert(make_rows(tmp_path, {}, {"boxes": [BOX]}), tmp_path / "rows").code == 0
    checked = virc("data", "check", "rows", "--json", "--workers", 1)
    assert (checked.code, checked.json["good"]) == (0, 2), checked.err
    done = virc("train", "tiny", "--stage", "instruct", "--data", "rows", "--from", "tiny", "--dry-run")
    assert done.code == 0, done.err
    assert "2 rows, 3 images" in done.err
    assert "another chat protocol" not in done.err


_OURS, _ITS = ("--protocol", "default"), ("--system", "qwen3-vl")


@pytest.mark.parametrize("words", [(), ("--max-pixels", 30_000), _OURS, _ITS, (*_ITS, *_OURS)])
def test_a_crop_shows_what_the_box_holds(tmp_path: Path, words: tuple[object, ...]) -> None:
    assert run_convert(make_rows(tmp_path, {"boxes": [BOX]}), tmp_path / "rows", *words).code == 0
    (row,) = rows_of(tmp_path / "rows")
    assert ("<image>Image 0:" in row["messages"][1]["content"]) == (words != _ITS)
    crop = Image.open(tmp_path / "rows" / row["images"][1]).convert("L")
    dark = [at for at, value in enumerate(crop.tobytes()) if value < 200]
    assert len(dark) / len(crop.tobytes()) == pytest.approx(70 * 70 / (90 * 90), abs=0.12)
    edges = [*crop.crop((0, 0, crop.width, 1)).tobytes(), *crop.crop((0, 0, 1, crop.height)).tobytes()]
    assert min(edges) > 200  # white all around: none of the figure is cut off


def test_a_box_in_the_text_of_an_answer_keeps_its_picture_large(tmp_path: Path) -> None:
    file = make_rows(tmp_path, {"answer": '{"bbox_2d": [1, 2, 3, 4]}'})
    assert "its picture becomes smaller" in run_convert(file, tmp_path / "rows", "--max-pixels", 30_000).err


def dark_part(image: Image.Image) -> tuple[int, int, int, int]:
    """Where what is drawn is: left, top, right, bottom in px."""
    found = image.convert("L").point(lambda value: 255 * (value < 128)).getbbox()
    assert found
    return found


@pytest.mark.parametrize("protocol", ["tiny", "default"])
def test_boxes_and_crops_of_trajectories_follow_smaller_pictures(tmp_path: Path, protocol: str) -> None:
    file = make_rows(tmp_path, {"boxes": [[150, 75, 195, 120]]})
    half = Image.open(tmp_path / "figures/bars.png").resize((224, 168))
    half.paste("white", (0, 0, 224, 168))
    ImageDraw.Draw(half).rectangle((155, 80, 190, 115), fill="navy")
    half.save(tmp_path / "figures/bars.png")
    words = () if protocol == "tiny" else ("--protocol", protocol)
    assert run_convert(file, tmp_path / "rows", *words).code == 0
    for format, name in (("sft", "own.json"), ("batch", "own.jsonl"), ("prompts", "own.parquet")):
        to = tmp_path / format
        assert convert(tmp_path / "rows", "--to", to, "--format", format, "--max-pixels", 20_000) == 0
        assert (to / name).exists()
    row, problem = rows_of(tmp_path / "sft")[0], json.loads((tmp_path / "batch/own.jsonl").read_text())
    small, crop = (Image.open(tmp_path / "sft" / name) for name in row["images"])
    assert small.width * small.height <= 20_000
    assert f"Image 0: {small.width} x {small.height}." in row["messages"][1]["content"]
    left, top, right, bottom = dark_part(small)
    margin = 5 * small.width / 224
    around = [left - margin, top - margin, right + margin, bottom + margin]
    called = json.loads(replies(row)[0].partition("<tool_call>")[2].partition("</tool_call>")[0])
    assert called["arguments"]["bbox_2d"] == pytest.approx(around, abs=2)
    assert row["boxes"] == problem["boxes"] == [pytest.approx(around, abs=2)]
    assert Image.open(tmp_path / "batch" / problem["image"]).size == small.size
    seen = dark_part(crop)
    assert [seen[0], crop.width - seen[2]] == pytest.approx([crop.width / 9] * 2, abs=crop.width / 15)
