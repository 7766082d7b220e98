"""What systems make of their rows before these are read: pictures and questions as the published program shows them."""

import json
from importlib import import_module
from io import BytesIO
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from virc.core.errors import DataError
from virc.systems import registry as systems
from virc.systems import texts
from virc.systems.layouts.layout import value_of
from virc_zoo import sized_pictures
from virc_zoo.code_as_thought import rows as code_as_thought
from virc_zoo.curr_reft import rows as curr_reft
from virc_zoo.honeybee import rows as honeybee
from virc_zoo.mpcc import rows as mpcc
from virc_zoo.openvlthinker import rows as openvlthinker
from virc_zoo.perception_r1 import rows as perception_r1
from virc_zoo.revisor import rows as revisor
from virc_zoo.rewardmap import rows as rewardmap
from virc_zoo.thinklite_vl import rows as thinklite_vl
from virc_zoo.videorft import rows as videorft
from virc_zoo.vision_g1 import rows as vision_g1
from virc_zoo.visurf import rows as visurf
from virc_zoo.visurf import visurf as visurf_reward
from virc_zoo.vppo import rows as vppo


@pytest.mark.parametrize(
    ("file", "shown"),
    # what `process_image` of yihedeng9/OpenVLThinker@6997b47 returns with its config.yaml
    [((1000, 1000), (512, 512)), ((800, 600), (591, 443)), ((640, 480), (591, 443)), ((512, 512), (512, 512)),
     ((300, 200), (627, 418)), ((28, 28), (512, 512)), ((2000, 100), (2289, 114)), ((5000, 50), (5120, 51)),
     ((1333, 777), (671, 390)), ((700, 375), (699, 374)), ((511, 514), (510, 513))],
)  # fmt: skip
def test_pictures_of_openvlthinker_have_the_published_size(file: tuple[int, int], shown: tuple[int, int]) -> None:
    assert sized_pictures.resized(Image.new("RGB", file), openvlthinker.AREA, openvlthinker.AREA).size == shown


def test_a_row_of_openvlthinker_is_shown_without_blanks_around_it(tmp_path: Path) -> None:
    picture = BytesIO()
    Image.new("RGB", (800, 600)).save(picture, "PNG")
    row = {"problem": "<image>How long is AB? \n", "answer": "5", "images": [{"bytes": picture.getvalue()}]}
    (read,) = openvlthinker.rows(row, 1, "rl", tmp_path)
    assert (read["problem"], read["answer"]) == ("<image>How long is AB?", "5")
    assert Image.open(BytesIO(read["images"][0]["bytes"])).size == (591, 443)


def test_a_row_of_rewardmap_is_shown_without_blanks_around_it(tmp_path: Path) -> None:
    (tmp_path / "lines.json").write_text(json.dumps({"1": ["a", "b"]}))
    (read,) = rewardmap.rows({"json": "lines.json", "question": " Plan. \n", "answer": None}, 1, "train", tmp_path)
    assert read == {"json": {"1": ["a", "b"]}, "question": "Plan.", "answer": "None"}


@pytest.mark.parametrize("system", ["internvl3.5", "vision-g1"])
def test_a_system_message_of_a_row_is_not_its_question(system: str) -> None:
    prompt = [{"content": "Think."}, {"content": "Where?"}]
    row = {"prompt": prompt, "images": [], "reward_model": {"ground_truth": "B"}}
    taken = next(each for each in systems.get(system).rows.values() if each.fits(row))
    assert taken.question
    assert value_of(row, taken.question) == "Where?"


def test_a_row_of_honeybee_has_no_marks_in_its_question() -> None:
    (read,) = honeybee.rows({"question": "<image>\nHow long\n<image>\nis <video>it?", "image_path": ""})
    assert read == {"question": "How long\nis it?", "image_path": None}


@pytest.mark.parametrize(("file", "shown"), [((100, 100), (447, 447)), ((2000, 1500), (1156, 867))])
def test_a_row_of_vppo_is_sized_and_shown_without_blanks_around_it(
    file: tuple[int, int], shown: tuple[int, int], tmp_path: Path
) -> None:
    picture = BytesIO()
    Image.new("RGB", file).save(picture, "PNG")
    (read,) = vppo.rows({"problem": "<image>How many? \n", "images": [picture.getvalue()]}, 1, "rl", tmp_path)
    assert read["problem"] == "<image>How many?"
    assert [Image.open(BytesIO(each["bytes"])).size for each in read["images"]] == [shown]


def test_an_object_of_mpcc_is_covered_and_its_thought_is_a_stored_reply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRC_OWN_WORDS", "1")
    Image.new("RGB", (100, 100), "white").save(tmp_path / "a.png")
    row = {"file_name": "a.png", "bbox": [30.9, 30, 40, 40], "category_name": "dog"}
    (bare,), (told,) = (mpcc.rows(row | more, 1, "coco", tmp_path) for more in ({}, {"cot_data": "A lead."}))
    shown = Image.open(BytesIO(told["image"]["bytes"]))
    assert [shown.getpixel(place) for place in ((5, 5), (50, 50))] == [(255, 255, 255), (0, 0, 0)]
    assert told["stored_reply"] == "<think> A lead.</think><answer>dog</answer>"
    assert "stored_reply" not in bare
    with pytest.raises(DataError, match="its bbox is no box in its picture"):
        [*mpcc.rows(row | {"bbox": [130, 30, 4, 4]}, 1, "coco", tmp_path)]


def test_the_answer_of_a_row_of_visurf_is_a_stored_reply(tmp_path: Path) -> None:
    row = {"problem": "The Dog.", "solution": '[{"bbox_2d":[1,2,3,4],"point_2d":[2,3]}]'}
    (read,) = visurf.rows(row, 1, "objects", tmp_path)
    assert read["problem"] == "the dog"
    assert read["stored_reply"] == '<answer>[{"bbox_2d": [1, 2, 3, 4], "point_2d": [2, 3]}]</answer>'
    with pytest.raises(DataError, match="its solution is no JSON"):
        [*visurf.rows(row | {"solution": "dog"}, 1, "objects", tmp_path)]


@pytest.mark.parametrize(
    ("rewards", "compared"), [([2, 4, 6], [2, 4, 6]), ([2, 6, 6], [2, 6, 4]), ([7, 1, 6], [7, 1, 4]), ([6], [6])]
)
def test_a_stored_reply_of_visurf_counts_as_the_mean_where_a_drawn_one_is_as_good(
    rewards: list[float], compared: list[float]
) -> None:
    assert visurf_reward.group(rewards, []) == compared


@pytest.mark.parametrize(
    ("rows", "column", "file", "shown"),
    # what `process_image` of each repository returns with its own limits
    [(perception_r1, "images", (2000, 1500), (1551, 1163)), (perception_r1, "images", (28, 28), (56, 56)),
     (perception_r1, "images", (640, 480), (640, 480)), (thinklite_vl, "image", (100, 100), (512, 512)),
     (thinklite_vl, "image", (3000, 2000), (2508, 1672)), (vision_g1, "images", (300, 200), (560, 392)),
     (vision_g1, "images", (2000, 1500), (1148, 840)), (code_as_thought, "image", (100, 100), (512, 512)),
     (code_as_thought, "image", (3000, 2000), (2508, 1672))],
)  # fmt: skip
def test_pictures_of_rows_have_the_published_size(
    rows: ModuleType, column: str, file: tuple[int, int], shown: tuple[int, int], tmp_path: Path
) -> None:
    picture = BytesIO()
    Image.new("RGB", file).save(picture, "PNG")
    given: bytes | list[bytes] = [picture.getvalue()] if column == "images" else picture.getvalue()
    (read,) = rows.rows({column: given}, 1, "", tmp_path)
    assert [Image.open(BytesIO(each["bytes"])).size for each in read[column]] == [shown]


@pytest.mark.parametrize(
    ("system", "layout", "begins"),
    [("v_thinker", "sft", True), ("v_thinker", "perception", False), ("thyme", "sft", True)],
)
def test_conversations_with_code_have_the_system_message_of_their_script(
    system: str, layout: str, begins: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRC_OWN_WORDS", "1")
    module, asked = import_module(f"virc_zoo.{system}.rows"), {"role": "user", "content": "Where?"}
    (read,) = module.rows({"messages": [asked]}, 1, layout, tmp_path)
    own = {"role": "system", "content": texts.text(Path(module.__file__ or "").parent, "system")}
    assert read["messages"] == [own] * begins + [asked]
    (released,) = module.rows({"question": "Where?"}, 1, "released", tmp_path)
    assert released == {"question": "Where?", "system": own["content"]}


def test_rows_of_videorfts_sft_alone_have_a_system_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRC_OWN_WORDS", "1")
    row = {"problem": "How many?", "problem_type": "numerical"}
    (sft,), (rl,) = (videorft.rows(row, 1, layout, tmp_path) for layout in ("sft", "rl"))
    assert sft["problem"] == rl["problem"] != "How many?"
    assert (sft["system"], "system" in rl) == (texts.text(Path(videorft.__file__).parent, "system"), False)
    assert systems.get("videorft").rows["sft"].system == "system"


def test_a_conversation_of_curr_reft_may_be_of_text_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [*curr_reft.rows({"messages": []}, 1, "reject", tmp_path)] == [{"images": [], "messages": []}]
    monkeypatch.setenv("VIRC_OWN_WORDS", "1")
    (row,) = curr_reft.rows({"problem": "?", "solution": "So 5"}, 1, "problems", tmp_path)
    assert (row["solution"], row["whole_solution"], row["problem"][:3]) == ("So 5", "So 5", "? T")


def test_a_row_of_revisors_data_set_is_one_that_its_scripts_write(tmp_path: Path) -> None:
    turns = [
        {"role": "system", "content": "Look."},
        {"role": "user", "content": "<video>\nWhich? The video durations is 2 s."},
    ]
    shown = {
        "videos": [{"fps": 1, "video": "videos/video_r1/part_00/a.mp4"}],
        "data_source": "example",
        "prompt": turns,
    }
    row = {"video": "videos/video_r1/part_00/a.mp4", "conversations": json.dumps(turns), "data_source": "example"}
    made = revisor.with_clips({**row, "ground_truth": "B", "subset": "video_r1"}, tmp_path)
    assert made == {**shown, "reward_model": {"ground_truth": "B"}}
    assert revisor.with_clips(made, tmp_path) is made
    (read,) = revisor.rows(
        {"question": "Which? The video durations is 2 s.", "data_source": "example"}, 1, "train", tmp_path
    )
    again = texts.filled("{text:second}", Path(revisor.__file__).parent)
    assert read["question"] == "\nWhich? The video durations is 2 s."
    assert read["second_question"] == f"Which?\n{again}"
