"""What the card of a merged model says, and what it does not say."""

from pathlib import Path

import yaml
from support.made import make

from virc.merging import card as model_card
from virc.models.provenance import Origin
from virc.runs import run as runs

FROM = Origin(
    kind="shards", source="virc-rl@20", system="virc", stage="rl", step=20, steps=100,
    root="Qwen/Qwen2.5-VL-7B-Instruct",
)  # fmt: skip


def head_of(card: str) -> dict[str, str]:
    """The part that the hub reads."""
    _, head, _ = card.split("---\n", 2)
    read: dict[str, str] = yaml.safe_load(head)
    return read


def test_it_says_what_the_model_was_made_from_and_how_to_use_it(tmp_path: Path) -> None:
    info = runs.info(make(tmp_path, "virc-rl"))
    card = model_card.text("virc-rl", FROM, info, 7_615_616_512, ["LICENSE", "NOTICE"], {"spin.py": "ab12"})
    assert head_of(card)["base_model"] == "Qwen/Qwen2.5-VL-7B-Instruct"
    for said in (
        "# virc-rl", "| made from | virc-rl@20: ", "7,615,616,512", "| step | 20 of 100 |", "| overlays | lora |",
        "1,234 of rows", "| learning_rate | 0.002 |", "virc solve --model virc-rl IMAGE 'QUESTION'",
        "virc_protocol.json", "under its licence (LICENSE, NOTICE next to this file)",
        "| system, stage | tiny, instruct |",
        "derive from Qwen/Qwen2.5-VL-7B-Instruct and", "| code/spin.py | ab12 |", "| seed | 7 |",
    ):  # fmt: skip
        assert said in card, said


def test_it_tells_nothing_of_the_machine(tmp_path: Path) -> None:
    settings = {"data": "/home/someone/rows.json", "base": "~/x", "judge": "http://10.0.0.7:8000/v1", "epochs": 3}
    info = runs.info(make(tmp_path, "run", settings=settings, data="/home/someone/rows.json"))
    card = model_card.text("run", Origin(kind="model", source="run@3", root="/home/someone/base"), info, 1, [])
    assert "base_model" not in head_of(card)
    assert "| epochs | 3 |" in card
    assert not [word for word in ("someone", "10.0.0.7", "/home", "~") if word in card]


def test_words_of_others_cannot_break_it() -> None:
    hostile = Origin(kind="adapter", source="a | b `c`", root="x/y\u2028z: [")
    card = model_card.text("m", hostile, None, 1, ["LICENSE | x"])
    assert head_of(card) == {"library_name": "transformers", "pipeline_tag": "image-text-to-text"}
    rows = [line for line in card.splitlines() if line.startswith("| made from")]
    assert rows[0].count("|") == 3
