"""What the card of a merged model says, and what it does not say."""

from pathlib import Path

import yaml
from support.made import make

from virc.merging import card as model_card
from virc.models.provenance import Origin
from virc.runs import run as runs


def head_of(card: str) -> dict[str, str]:
    """The part that the hub reads."""
    _, head, _ = card.split("---\n", 2)
    read: dict[str, str] = yaml.safe_load(head)
    return read


def test_it_tells_nothing_of_the_machine(tmp_path: Path) -> None:
    settings = {"data": "/home/someone/rows.json", "base": "~/x", "judge": "http://10.0.0.7:8000/v1", "epochs": 3}
    info = runs.info(make(tmp_path, "run", settings=settings, data="/home/someone/rows.json"))
    card = model_card.text("run", Origin(kind="model", source="run@3", root="/home/someone/base"), info, 1, [])
    assert "base_model" not in head_of(card)
    assert "| epochs | 3 |" in card
    assert not [word for word in ("someone", "10.0.0.7", "/home", "~") if word in card]
