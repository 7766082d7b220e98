"""Parquet that others made: rows are read in every form, and a wrong one says what is wrong with it."""

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from data.parquet_sets import IMAGE, PROMPT, info, only, read, row

from virc.data.rows.record import Message, Picture
from virc.data.rows.unread import PICTURES


@pytest.mark.parametrize(
    ("images", "names", "data"),
    [
        ([{"bytes": IMAGE, "path": "a.png"}], ["a.png"], [IMAGE]),
        ([{"bytes": IMAGE, "path": None}], [""], [IMAGE]),
        ([{"bytes": IMAGE}], [""], [IMAGE]),
        ([{"bytes": None, "path": "i/a.png"}], ["i/a.png"], [None]),
        ([{"path": "i/a.png"}], ["i/a.png"], [None]),
        ([{"image": "i/a.png"}, {"image": "file:///else/b.png"}], ["i/a.png", "file:///else/b.png"], [None, None]),
        ([{"image": IMAGE}], [""], [IMAGE]),
        ([IMAGE, IMAGE + b"2"], ["", ""], [IMAGE, IMAGE + b"2"]),
        (["i/a.png"], ["i/a.png"], [None]),
        ('["i/a.png"]', ["i/a.png"], [None]),
        ([], [], []),
        (None, [], []),
        (..., [], []),
    ],
)
def test_images_are_read_in_every_form(tmp_path: Path, images: Any, names: list[str], data: list[Any]) -> None:
    record = only(read(tmp_path, row(images=images)))
    assert [picture.name for picture in record.images] == names
    assert [picture.data for picture in record.images] == data
    assert {picture.folder for picture in record.images} <= {tmp_path}
    assert all(picture.confined for picture in record.images)


def test_a_url_into_the_folder_becomes_a_name_in_it(tmp_path: Path) -> None:
    record = only(read(tmp_path, row(images=[{"image": f"file://{tmp_path}/i/a.png"}])))
    assert [picture.name for picture in record.images] == ["i/a.png"]


def test_an_image_outside_the_folder_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(IMAGE)
    (tmp_path / "set").mkdir()
    for name in (f"file://{tmp_path}/x.png", "../x.png", f"{tmp_path}/x.png"):
        (picture,) = only(read(tmp_path / "set", row(images=[{"image": name}]))).images
        with pytest.raises(OSError, match="outside"):
            picture.read()


@pytest.mark.parametrize(
    ("tool", "read_as"),
    [
        ({"name": "crop_image"}, {"name": "crop_image"}),
        ({"name": "crop_image", "x": {"y": 0}}, {"name": "crop_image", "x": {"y": 0}}),
        ('{"name": "crop_image"}', {"name": "crop_image"}),
        ("crop_image", {"name": "crop_image"}),
        ('"crop_image"', {"name": "crop_image"}),
        ("", None),
        ("null", None),
        ({"name": None}, None),
        ([1], None),
        (7, None),
        (None, None),
    ],
)  # fmt: skip
def test_the_reference_tool_is_read_in_every_form(tmp_path: Path, tool: Any, read_as: Any) -> None:
    record = only(read(tmp_path, row(**info(tool_info_gt=tool, reference=""))))
    assert record.extra["tool_info_gt"] == read_as


@pytest.mark.parametrize(
    ("changed", "read_as"),
    [
        ({"prompt": '[{"role": "user", "content": "<image>Find it."}]'}, {}),
        ({"prompt": ..., **info(prompt=PROMPT)}, {}),
        ({"images": ..., **info(images=[{"bytes": IMAGE, "path": "a.png"}])}, {}),
        ({"extra_info": '{"question": "Find it.", "id": 5}'}, {"id": 5}),
        ({"extra_info": ...}, {"question": None}),
        ({"reward_model": ...}, {"answer": None}),
        ({"reward_model": '{"ground_truth": "97"}'}, {}),
        ({"reward_model": {"ground_truth": 97}}, {}),
        ({"reward_model": {"ground_truth": ["97", "97.0"]}}, {"answer": '["97", "97.0"]'}),
        (info(id="x"), {"id": "x"}),
        (info(id=12), {"id": 12}),
        (info(id="12", id_is_int=True), {"id": 12}),
        (info(reference="said"), {"messages": (Message("user", "<image>Find it."), Message("assistant", "said"))}),
    ],
)
def test_a_row_is_read_whichever_optional_parts_it_has(
    tmp_path: Path, changed: dict[str, Any], read_as: dict[str, Any]
) -> None:
    if changed.get("prompt") is ...:
        changed["prompt"] = None
    record = only(read(tmp_path, row(**changed)))
    expected: dict[str, Any] = {
        "messages": (Message("user", "<image>Find it."),), "id": None, "question": "Find it.", "answer": "97",
        "images": (Picture("a.png", tmp_path, IMAGE),),
    }  # fmt: skip
    assert {name: getattr(record, name) for name in expected} == expected | read_as


def test_large_and_dictionary_types_are_read(tmp_path: Path) -> None:
    text = pa.dictionary(pa.int32(), pa.string())
    message = pa.struct([("role", text), ("content", pa.large_string())])
    image = pa.struct([("bytes", pa.large_binary()), ("path", pa.string())])
    schema = pa.schema([("prompt", pa.large_list(message)), ("images", pa.large_list(image))])
    record = only(read(tmp_path, {"prompt": PROMPT, "images": [{"bytes": IMAGE}]}, schema=schema))
    assert record.messages == (Message("user", "<image>Find it."),)
    assert record.images[0].read() == IMAGE


def test_text_without_a_text_type_is_refused_row_by_row(tmp_path: Path) -> None:
    (found,) = read(tmp_path, row(prompt=[{"role": b"user", "content": b"x"}]))
    assert found.fault
    assert "prompt is not a list of messages" in found.fault.message


def test_further_columns_pass_and_their_bytes_stay_behind(tmp_path: Path) -> None:
    day = datetime.datetime(2024, 5, 6, 7, 8)
    added = {"level": 3, "made": day, "thumbnail": b"abc", "parts": [{"a": b"x", "b": float("inf")}], "split": "train"}
    rows = read(tmp_path, row(**added, **info(seen=True, choices=["1", "2"])))
    assert [*rows[0].unread.items()] == [("parts", PICTURES), ("thumbnail", PICTURES)]
    assert only(rows).extra == {
        "turn": 0, "tool_info_gt": None, "data_source": "virc", "ability": "math", "index": 0, "level": 3,
        "made": "2024-05-06 07:08:00", "parts": [{"b": None}], "split": "train", "seen": True, "choices": ["1", "2"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"prompt": None}, "prompt is empty"),
        ({"prompt": []}, "prompt is empty"),
        ({"prompt": "no JSON"}, "prompt is not JSON"),
        ({"prompt": "[" * 100_000}, "prompt is not JSON"),
        ({"prompt": "{}"}, "prompt is not a list"),
        ({"prompt": [{"role": "tool", "content": ""}]}, "prompt is not a list of messages"),
        ({"prompt": [{"role": "user", "content": None}]}, "prompt is not a list of messages"),
        ({"prompt": [{"role": "user"}]}, "prompt is not a list of messages"),
        ({"prompt": [None]}, "prompt is not a list of messages"),
        ({"prompt": 5}, "prompt is not a list"),
        ({"images": [None]}, "image 0 is neither"),
        ({"images": [{"bytes": None, "path": None}]}, "image 0 is neither"),
        ({"images": [5]}, "image 0 is neither"),
        ({"images": 5}, "images is not a list"),
        ({"extra_info": 5}, "extra_info is not an object"),
        ({"extra_info": "[]"}, "extra_info is not an object"),
        ({"reward_model": [1]}, "reward_model is not an object"),
        (info(question=5), "extra_info.question is not text"),
        (info(reference=[1]), "extra_info.reference is not text"),
        (info(extra='{"x": ' + "[" * 500 + "]" * 500 + "}"), "it is nested too deeply"),
        (info(id=1.5), "extra_info.id is neither"),
        (info(id="x", id_is_int=True), "extra_info.id is not the whole number"),
    ],
)
def test_a_wrong_row_says_what_is_wrong(tmp_path: Path, changed: dict[str, Any], sentence: str) -> None:
    (found,) = read(tmp_path, row(**changed))
    assert found.fault
    assert found.fault.message.startswith(f"row 1: {sentence}")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"prompt": '[{"role": "user", "content": "<image>"}]'}, "prompt is no list"),
        ({"images": '["a.png"]'}, "images is no list"),
        ({"images": [], **info(images=[{"bytes": IMAGE}])}, "prompt has image marks, and images is empty"),
        ({"images": [IMAGE]}, "an image is neither an object nor a name"),
        ({"images": [{"path": "a.png"}]}, "an image has a path, but neither"),
        ({"images": [{"bytes": None, "path": "a.png"}]}, "an image has a path, but neither"),
        (info(prompt=[{"role": "user", "content": "<image>Another."}]), "extra_info.prompt is not the prompt"),
        (info(prompt=PROMPT), None),
        ({"data_source": None}, "there is no data_source"),
        ({"data_source": ...}, "there is no data_source"),
        ({"extra_info": '{"question": "x"}'}, "extra_info is text"),
        ({"reward_model": '{"ground_truth": "x"}'}, "reward_model is text"),
        ({}, None),
        ({"images": [{"image": "a.png"}]}, None),
    ],
)
def test_what_verl_stumbles_over_is_said_of_a_row_that_can_be_read(
    tmp_path: Path, changed: dict[str, Any], sentence: str | None
) -> None:
    (found,) = read(tmp_path, row(**changed))
    assert found.record
    if sentence is None:
        assert found.flaws == ()
    else:
        (flaw,) = found.flaws
        assert flaw.startswith(sentence)
