"""Pairs of graded replies: the better one is chosen, and all the rows of Critic-V from answers to pairs."""

import json
import re
from pathlib import Path
from typing import Any

from extras.make.made import made, write_rows
from PIL import Image
from support.servers import Body, serve
from support.tables import each_case

from virc.data.formats import pairs
from virc.data.formats.registry import RowsFile
from virc.solving.setup import set_up
from virc.systems import registry as systems
from virc.systems import texts
from virc_extras.make.run import make

TWO: dict[str, Any] = {"replies": ["a", "b"], "grades": ["x", "y"]}
THREE: dict[str, Any] = {"replies": ["a", "b", "c"], "grades": ["x", "y", "z"]}


@each_case(
    ("columns", "options", "expected"),
    [
        ({"a": "A", "b": "B", "x": 1, "y": 0.5}, TWO, [("A", "B", 0.5)]),
        ({"a": "A", "b": "B", "x": 0, "y": 0.5}, TWO, [("B", "A", 0.5)]),
        ({"a": "A", "b": "B", "x": 1, "y": 1}, TWO, []), ({"a": "A", "b": "", "x": 1, "y": 0}, TWO, []),
        ({"a": "A", "b": "B", "x": 1}, TWO, []), ({"a": "A", "b": "B", "x": {"p": 0.1, "q": 0.2}, "y": 0.3}, TWO, []),
        ({"a": "A", "b": "B", "x": 1, "y": 0.5}, {**TWO, "margin": 0.6}, []),
        ({"a": ["is 5. ", " ", "two"], "b": "B", "x": {"p": 0.2, "q": 0.7}, "y": 0.8}, TWO,
            [("\nis \n\ntwo", "B", 0.1)]),
        ({"a": "A", "b": "B", "c": "C", "x": 0.1, "y": 0.3, "z": 0.2}, THREE,
            [("B", "A", 0.2), ("B", "C", 0.1), ("C", "A", 0.1)]),
    ],
)  # fmt: skip
def test_each_better_reply_is_paired_with_each_worse(
    tmp_path: Path, columns: dict[str, Any], options: dict[str, Any], expected: list[tuple[str, str, float]]
) -> None:
    rows, out = made("pair", tmp_path, [{"id": 1, "question": "Q?", "images": [], **columns}], **options)
    found = [(row["chosen"]["content"], row["rejected"]["content"], round(row["margin"], 4)) for row in rows]
    assert found == expected
    assert out == ({} if expected else {"no better reply": 1})


def test_answers_become_pairs_of_critic_v(tmp_path: Path) -> None:
    Image.new("RGB", (56, 56), "white").save(tmp_path / "p.png")
    row = {"id": "a", "image": "p.png", "question": "What is there?", "answer": "Two red cars."}
    rows = write_rows(tmp_path / "answers.jsonl", [row])

    critiques = iter(('["The cars are red."]', '["There is one car."]', '["The cars are red.", "It is so."]'))

    def reply(body: Body) -> str:
        text = json.dumps(body["messages"])
        if "Make the text wrong" in text:
            return '{"changes": [{"original": "red", "replacement": "blue", "detail": "they are red"}]}'
        if "Compare the answer" in text:
            return next(critiques)
        return json.dumps({"likeness": float("cars are red" in text), "mark": 0.5})

    note = next(each for each in systems.get("critic-v").notes if each.startswith("making rows"))
    (steps,) = re.findall(r"`(\[.*\])`", note)
    (tmp_path / "steps.yaml").write_text(steps)
    with serve(reply) as server:
        setup = set_up({"endpoint": server.url})
        make(str(tmp_path / "steps.yaml"), [str(rows)], tmp_path / "pairs.jsonl", setup=setup)
    records = [each.record for each in pairs.read(RowsFile(tmp_path / "pairs.jsonl", "pairs", "pairs"))]
    task = texts.text(systems.get("critic-v").file.parent, "critique")
    asked = f"<image>\n\n#### Question\nWhat is there?\n#### Answer\nTwo blue cars.\n#### Task\n{task}"
    assert [[each.content for each in record.messages] for record in records if record] == [
        [asked, "#### Critique\n\n" + better] for better in ("The cars are red.", "The cars are red. \nIt is so.")
    ]
    assert [record.rejected for record in records if record] == ["#### Critique\n\nThere is one car."] * 2
