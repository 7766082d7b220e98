"""What a column that nobody reads holds, by its value or its name; and drawings that are refused before they begin."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from virc.core.errors import UsageError
from virc.data.rows.unread import holds_pictures, meaning
from virc.data.synth.draw import SynthConfig, write

NAMES = {
    "pictures": [], "choices": ["choices", "Options", "candidates", "option_a", "opt1", "distractor", "wrong_answers"],
    "answers": ["answers", "gt", "Ground-Truth", "gold_answer", "correct_option", "answer_index", "label", "solution"],
    "questions": ["questions", "question2", "qa_pairs", "conversations", "messages", "history", "sub_questions"],
    "masks": ["mask", "seg_masks", "segmentation", "polygons", "rle"], "replies": ["rejected_response", "completions"],
    "a system message": ["system", "system_prompt"], "tools": ["tools", "tool_schemas", "functions"],
    "videos": ["video", "video_path"],
}  # fmt: skip


@pytest.mark.parametrize(("means", "name"), [(means, name) for means, names in NAMES.items() for name in names])
def test_a_column_is_known_by_its_name(means: str, name: str, tmp_path: Path) -> None:
    assert meaning(name, "some text", tmp_path) == means
    empty: tuple[Any, ...] = (None, "", "[]", [], {})
    for nothing in empty:
        assert meaning(name, nothing, tmp_path) is None


@pytest.mark.parametrize(
    "name", ["note", "level", "category", "source", "answered_by", "optional", "labelled", "gtx", "tooltip"]
)
def test_any_other_name_says_nothing(name: str, tmp_path: Path) -> None:
    assert meaning(name, "some text", tmp_path) is None


@pytest.mark.parametrize(
    ("name", "value", "means"),
    [
        ("bbox", [1, 2, 3, 4], "boxes"), ("bbox", [[1, 2, 3, 4]], "boxes"), ("boxes", "[1, 2, 3, 4]", "boxes"),
        ("bounding_box", {"x": 1, "y": 2, "w": 3, "h": 4}, "boxes"), ("bbox", [1, 2, 3], None), ("bbox", "left", None),
        ("regions", [{"a": [1, 2, 3, 4]}], "boxes"), ("labels", [{"text": "A"}], None),
        ("answers", [{"text": "A"}], "answers"), ("system", ["a"], None), ("system", "be kind", "a system message"),
        ("alternatives", ["A. x", "B. y"], "choices"), ("my_options", '["x", "y"]', "choices"),
        ("alternatives", ["A. x", "y"], None), ("alternatives", ["A. x"], None), ("my_options", ["x", "y"], "choices"),
        ("my_options", [1, 2], None), ("talk", [{"question": "a"}], "questions"), ("talk", [{"text": "a"}], None),
        ("talk", [], None), ("0", {"user": "a"}, "questions"), ("x_q3", "a", "questions"),
    ],
)  # fmt: skip
def test_a_column_is_known_by_its_value(name: str, value: Any, means: str | None, tmp_path: Path) -> None:
    assert meaning(name, value, tmp_path) == means


def test_pictures_are_known_by_bytes_names_and_addresses(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    whole: list[Any] = [
        "a.png", f"file://{tmp_path}/a.png", ["b.png", "a.png"], '["a.png"]', data, {"bytes": data, "path": None},
        {"bytes": None, "path": "a.png"}, "data:image/png;base64,AA", "data:image/png;base64," + "A" * 2000,
        ["x"] * 63 + ["a.png"],
    ]  # fmt: skip
    none: list[Any] = [
        "b.png", "a.txt", "png", ".png", "a.png\0", b"text", {"bytes": data, "path": None, "more": 1}, [], {}, 5, None,
        {"bytes": None, "path": "b.png"}, ["x"] * 64 + ["a.png"], "A" * 2000 + ".png",
    ]  # fmt: skip
    assert [each for each in whole if not holds_pictures(each, tmp_path)] == []
    assert [each for each in none if holds_pictures(each, tmp_path)] == []
    assert (meaning("seg_mask", "a.png", tmp_path), meaning("figure", "a.png", tmp_path)) == ("masks", "pictures")


@pytest.mark.parametrize(
    ("config", "says", "hint"),
    [
        ({"families": ("polygons",), "sides": (3,)}, "sides are chosen of polygons alone", "--family polygons"),
        ({"paths": 2, "sides": (3,)}, "sides are chosen of polygons alone", "--family polygons"),
        ({"paths": 0}, "a problem has 1 to ", None), ({"paths": 99}, "a problem has 1 to ", None),
        ({"refusals": -0.1}, "a share of refusals from 0 to 1", None), ({"refusals": 1.1}, "a share of refusals", None),
        ({"families": ()}, "one family or more", None),
        ({"pattern": "direct", "paths": 2}, "paths of a problem have different patterns", "--pattern or --paths"),
        ({"counterfactuals": True, "refusals": 0.5}, "a problem that is refused has no counterfactual", "not both"),
        ({"counterfactuals": True, "formats": ("sft",)}, "written in the format batch alone", "--formats batch"),
        ({"sides": (3, 5, 7)}, "no figure has 5, 7 sides", "--sides 3,4"),
        ({"sides": ()}, "no figure has no sides", "--sides 3,4"),
        ({"formats": ("sft", "stf", "x")}, "there is no format stf, x", "--formats "),
        ({"formats": ()}, "there is no format to write", "--formats "),
        ({"formats": ("sft",), "embed": True}, "only parquet files can contain images", "--formats rl --embed"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused_and_leaves_nothing(
    config: dict[str, Any], says: str, hint: str | None, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as refused:
        write(SynthConfig(tmp_path / "to", count=1, **config))
    assert says in refused.value.message
    assert hint is None or hint in (refused.value.hint or "")
    assert not [*tmp_path.iterdir()]
