"""Evaluations whose answers have traces, made without a model, for the page to look through them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image, ImageDraw
from support.evaluations import summary_of

from virc.evaluation.answered import Answered, Result
from virc.evaluation.answers import AnswerLine, EvalFolder
from virc.evaluation.pages import problem_page
from virc.reasoning.trace import ImageRecord, Message, Rejected, Replies
from virc.solving.rows import as_row

SIZE = (320, 240)  # px of each picture
EVIDENCE = (40, 30, 120, 90)
LOOKS = {True: (32, 24, 128, 96), False: (200, 150, 300, 230)}  # on the evidence, and elsewhere
THOUGHT = "I look at the sign."


def make(
    folder: Path,
    lines: Sequence[str],
    names: Sequence[str] = ("one", "other"),
    text: str = "",
    thought: str = THOUGHT,
    arms: Sequence[str] = (),
) -> Path:
    """Write the page of an evaluation and return it.

    Args:
        lines: of each problem a letter for each model: `r` right, `w` wrong, in capitals with a look at the evidence;
            `u` undecided, `n` no answer, `f` missing, without a crop.
        text: what the question, the answers and replies end with.
        thought: what models say before each crop.
    """
    place = EvalFolder(folder)
    picture = Image.new("RGB", SIZE, "#dfe6ee")
    ImageDraw.Draw(picture).rectangle(EVIDENCE, "#345")
    picture.save(folder / "picture.png")
    rows, results, answers = [], [], {name: {} for name in names}  # type: ignore[var-annotated]
    for number, line in enumerate(lines, 1):
        question = f"What is on sign {number}?{text}"
        fields = {"id": f"p{number}", "image": "picture.png", "question": question, "answer": "4", "looks": [EVIDENCE]}
        rows.append(as_row(number, fields))
        found = {}
        for name, letter in zip(names, line, strict=True):
            if letter != "f":
                line_of, found[name] = _answered(place, name, f"p{number}", letter, text, thought)
                answers[name][f"p{number}"] = line_of
        results.append(Result(f"p{number}", question, "4", {"kind": ("sign",)}, found))
    summary = summary_of(results, *names, benchmark=f"signs{text}")
    problem_page.write(place, rows, folder, summary, answers, results, dict.fromkeys(arms, results), ())
    return place.problems


def _answered(
    place: EvalFolder, name: str, id: str, letter: str, text: str, thought: str
) -> tuple[AnswerLine, Answered]:
    said = {"r": "4", "w": "7", "u": "four", "n": None}[letter.lower()]
    answer = None if said is None else said + text
    right = {"r": True, "w": False, "u": None, "n": False}[letter.lower()]
    replies = (thought + text, f"It says {said}.{text}")
    line = AnswerLine(id, None, name, answer, None, rollout=Replies(replies, "answer"))
    looked = letter.isupper()
    if letter not in "rwRW":
        return line, Answered(answer, right)
    box = LOOKS[looked]
    trace = place.traces(name) / id
    trace.mkdir(parents=True)
    crop = ImageRecord(1, box[2] - box[0], box[3] - box[1], "image-1.png", 0, box)
    record: dict[str, Any] = {
        "answer": answer,
        "images": [ImageRecord(0, *SIZE, "image-0.png"), crop],
        "messages": [
            Message("system", "Look."), Message("user", "What?", (0,)), Message("assistant", replies[0]),
            Message("user", "The crop.", (1,)), Message("assistant", replies[1]),
        ],
        "pending": [Rejected("Hm.", "tags", "it has no tags")] if letter == "w" else [],
    }  # fmt: skip
    (trace / "trace.json").write_bytes(msgspec.json.encode(record))
    Image.new("RGB", (crop.width, crop.height), "#345" if looked else "#dfe6ee").save(trace / crop.file)
    return line, Answered(answer, right, "rule", evidence=[1.0 * looked], regions=[(0, (0.1, 0.1, 0.4, 0.4))])


def data_of(page: Path) -> Any:
    """What the page says of its problems."""
    text = page.read_text("utf-8")
    return json.loads(text.partition('id="data">')[2].partition("</script>")[0])
