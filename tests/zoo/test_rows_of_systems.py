"""What systems make of their rows before these are read: pictures and questions as the published program shows them."""

import json
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from virc_zoo.openvlthinker import rows as openvlthinker
from virc_zoo.rewardmap import rows as rewardmap


@pytest.mark.parametrize(
    ("file", "shown"),
    # what `process_image` of yihedeng9/OpenVLThinker@6997b47 returns with its config.yaml
    [((1000, 1000), (512, 512)), ((800, 600), (591, 443)), ((640, 480), (591, 443)), ((512, 512), (512, 512)),
     ((300, 200), (627, 418)), ((28, 28), (512, 512)), ((2000, 100), (2289, 114)), ((5000, 50), (5120, 51)),
     ((1333, 777), (671, 390)), ((700, 375), (699, 374)), ((511, 514), (510, 513))],
)  # fmt: skip
def test_pictures_of_openvlthinker_have_the_published_size(file: tuple[int, int], shown: tuple[int, int]) -> None:
    assert openvlthinker.resized(Image.new("RGB", file)).size == shown


def test_a_row_of_openvlthinker_is_shown_without_blanks_around_it(tmp_path: Path) -> None:
    picture = BytesIO()
    Image.new("RGB", (800, 600)).save(picture, "PNG")
    row = {"problem": "<image>How long is AB? \n", "answer": "5", "images": [{"bytes": picture.getvalue()}]}
    (read,) = openvlthinker.rows(row, 1, "rl", tmp_path)
    assert (read["problem"], read["answer"]) == ("<image>How long is AB?", "5")
    assert Image.open(BytesIO(read["images"][0]["bytes"])).size == (591, 443)


def test_a_row_of_rewardmap_is_shown_without_blanks_around_it(tmp_path: Path) -> None:
    (tmp_path / "lines.json").write_text(json.dumps({"1": ["a", "b"]}))
    (read,) = rewardmap.rows({"json": "lines.json", "question": " How many? \n"}, 1, "train", tmp_path)
    assert read == {"json": {"1": ["a", "b"]}, "question": "How many?"}
