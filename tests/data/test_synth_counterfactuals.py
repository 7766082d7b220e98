"""`virc data synth --counterfactuals` and `--pattern`: the same problems, with another picture or solved in one way."""

import json
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops
from support.called import virc

from virc.data.synth.draw import SynthConfig, write
from virc.data.synth.families import registry as families

ALL = tuple(name for name in families.names() if name != "sheets")  # of 12 megapixels


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "problems.jsonl").read_text().splitlines()]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}


def test_problems_with_counterfactuals_are_those_without_and_a_picture_more(tmp_path: Path) -> None:
    plain, counterfactuals = (
        write(SynthConfig(tmp_path / f"{wanted}", 3, 3, workers=1, families=ALL, counterfactuals=wanted))
        for wanted in (False, True)
    )
    known, found = files(plain), files(counterfactuals)
    assert {name for name in found if name not in known} == {
        row["counterfactual"]["image"] for row in rows(counterfactuals)
    }
    assert {name for name in known if found[name] != known[name]} == {"problems.jsonl"}
    assert [
        {key: value for key, value in row.items() if key != "counterfactual"} for row in rows(counterfactuals)
    ] == rows(plain)
    assert {row["category"]["family"] for row in rows(counterfactuals)} == set(ALL)
    for row in rows(counterfactuals):
        with (
            Image.open(counterfactuals / row["image"]) as image,
            Image.open(counterfactuals / row["counterfactual"]["image"]) as counterfactual,
        ):
            assert image.size == counterfactual.size
            assert ImageChops.difference(image, counterfactual).getbbox() is not None
        assert row["counterfactual"]["answer"] != row["answer"]
    assert virc("data", "check", counterfactuals, "--workers", 1).code == 0
