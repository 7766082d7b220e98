"""What `virc data check` says of files as a whole, and what it keeps of them."""

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from checking import FILE, NAME, Rows, broken, checked, good_set, report, whole, write
from PIL import Image
from support import crux, picture_kinds
from support.called import virc

from virc.core.parallel import LostWorkerError
from virc.data.check import images, result, run
from virc.data.check.images import decoded
from virc.data.check.result import Fault, RowResult, Rules
from virc.data.formats.registry import Row
from virc.data.rows.record import Message, Picture, Record


def faulty(rows: Rows, folder: Path) -> None:
    """Faults of three kinds, one of them in many rows, and one row in another chat protocol."""
    for row in rows[1:]:
        row["messages"][-1]["content"] += "</answer>"
    rows[0]["messages"][0]["content"] = "Another system."
    rows[2]["images"].pop()
    (folder / rows[3]["images"][0]).unlink()


@pytest.mark.integration
def test_the_output_is_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    folder = broken(tmp_path / "a", faulty)
    rows = json.loads((folder / FILE).read_text()) * 5  # more than a process gets together
    write(folder / FILE, rows)
    one, two = checked(folder), checked(folder, workers=2)
    assert one == two
    assert one.code == 5
    assert f"{folder / FILE}:2: tags: turn" in one.out
    assert "error: 30 of 35 rows have faults" in one.err


def test_as_many_faults_of_each_kind_are_told_as_asked_for_and_all_are_counted(tmp_path: Path) -> None:
    folder = broken(tmp_path / "a", faulty)
    lines = checked(folder, "--first", 2).out.splitlines()
    assert sum(": tags: " in line for line in lines) == 2
    assert sum(": marks: " in line for line in lines) == 1
    assert lines[-4:] == [
        "7 rows, 1 good, faults:",
        "  tags 6 (training takes such rows)",
        "  image_missing 1",
        "  marks 1",
    ]
    assert [fault["row"] for fault in report(folder, "--first", 1)["first"]] == [2, 3, 4]


def test_rows_tell_what_they_hold(tmp_path: Path) -> None:
    [dataset] = report(broken(tmp_path / "a", faulty))["datasets"]
    assert (dataset["name"], dataset["format"], dataset["rows"], dataset["good"]) == (NAME, "sft", 7, 1)
    assert [(each["rows"], each["first"]) for each in dataset["chat_protocols"]] == [(1, 1), (6, 2)]
    held = dataset["counts"]
    assert (held["images"], held["square"], held["on_grid"] + held["off_grid"]) == (17, 0, 7)
    assert held["boxes"] == held["pixel"] + held["both"] == 6


@pytest.mark.parametrize(
    ("name", "words", "coordinates", "why"),
    [
        ("any_scale_fixed", [], "permille", "name"),
        ("any", [], "pixel", "boxes"),
        ("any_scale_fixed", ["--coordinates", "pixel"], "pixel", "--coordinates"),
    ],
)
def test_what_boxes_mean_is_said_and_why(
    tmp_path: Path, name: str, words: list[str], coordinates: str, why: str
) -> None:
    folder = good_set(tmp_path / "a")
    (folder / FILE).rename(folder / f"{name}.json")
    (folder / "dataset_info.json").unlink()
    [dataset] = report(folder / f"{name}.json", *words)["datasets"]
    assert dataset["coordinates"] == coordinates
    assert why in dataset["why"]


def test_boxes_that_fit_only_one_way_decide(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    (folder / "i").mkdir(parents=True)
    Image.new("RGB", (280, 280), "white").save(folder / "i/0.png")
    Image.new("RGB", (112, 112), "white").save(folder / "i/1.png")
    call = json.dumps({"name": "crop_image", "arguments": {"bbox_2d": [600, 600, 999, 999], "image_index": 0}})
    messages = [
        {"role": "user", "content": "<image>Image 0: 280 x 280.\nQuestion: q"},
        {"role": "assistant", "content": f"<think>t</think><tool_call>{call}</tool_call>"},
        {"role": "user", "content": "<image>Image 1: 112 x 112. Go on."},
        {"role": "assistant", "content": "<think>t</think><answer>1</answer>"},
    ]
    write(folder / "rows.json", [{"messages": messages, "images": ["i/0.png", "i/1.png"]}] * 3)
    found = report(folder / "rows.json")
    assert found["faults"] == {"chat_protocol": 1}  # nothing says which tools there are
    assert (found["datasets"][0]["coordinates"], found["datasets"][0]["counts"]["permille"]) == ("permille", 3)
    assert report(folder / "rows.json", "--coordinates", "pixel")["faults"] == {"tool": 3, "chat_protocol": 1}


def test_boxes_are_counted_by_what_they_fit(tmp_path: Path) -> None:
    def change(rows: Rows, folder: Path) -> None:
        for row, number in ((0, 999), (5, 5000)):  # on images of fewer pixels
            call = rows[row]["messages"][2]
            call["content"] = re.sub(r"\[\d+, \d+, \d+, \d+\]", f"[600, 600, {number}, {number}]", call["content"])

    out = checked(broken(tmp_path / "a", change)).out
    assert "  of 6 boxes 2 fit only as pixels, 1 only as 0..999, 2 as either, 1 as neither\n" in out


def protocol(**fields: Any) -> dict[str, Any]:
    """A chat protocol of the good set: its rows have that system message."""
    system = json.loads(whole().dynamic.read_text())[0]["messages"][0]["content"]
    texts = {"system": system, "first": "{images} {question}", "after_image": "a", "after_scale": "a"}
    return {**texts, "image_line": "Image {index}: {width} x {height}.", "schema": "virc.protocol/1", **fields}


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"coordinates": "permille"}, "result_differs"),
        ({"tools": ["crop_image", "scale_image"]}, "tool"),
        ({"repeat_limit": 2}, "repetition"),
        ({"images": "square_1000"}, "size_differs"),
        ({}, None),
    ],
)
def test_the_chat_protocol_beside_rows_is_what_they_are_held_against(
    tmp_path: Path, fields: dict[str, Any], kind: str | None
) -> None:
    folder = good_set(tmp_path / "a")
    write(folder / "virc_protocol.json", protocol(**fields))
    faults = report(folder)["faults"]
    assert (kind in faults) if kind else faults == {}


def test_good_rows_are_kept_in_their_format_and_order(tmp_path: Path) -> None:
    folder, clean = broken(tmp_path / "a", faulty), tmp_path / "clean"
    write(folder / "virc_protocol.json", protocol(name="trained"))
    done = checked(folder, "--clean", clean)
    assert done.code == 5
    assert "1 row is in" in done.err
    assert "6 with faults were left out" in done.err
    rows = json.loads((folder / FILE).read_text())
    assert json.loads((clean / FILE).read_text()) == rows[:1]
    assert json.loads((clean / "dataset_info.json").read_text()).keys() == {NAME}
    assert (clean / "virc_protocol.json").read_bytes() == (folder / "virc_protocol.json").read_bytes()
    assert report(clean)["good"] == 1


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    folder = good_set(tmp_path / "a")
    before = sorted(folder.iterdir())
    done = checked(folder, "--clean", folder)
    assert (done.code, sorted(folder.iterdir())) == (2, before)
    assert not list(tmp_path.glob(".*"))


def reencoded(path: Path) -> bytes:
    """The same pixels in another file."""
    data = io.BytesIO()
    with Image.open(path) as image:
        image.save(data, "PNG", compress_level=9)
    assert data.getvalue() != path.read_bytes()
    return data.getvalue()


@pytest.fixture
def batches(tmp_path: Path) -> Path:
    """Three problems to train on, and two to measure on; one of these has a picture of the others."""
    folder = tmp_path / "b"
    folder.mkdir()
    for number in range(4):
        Image.radial_gradient("L").resize((100 + number, 90)).save(folder / f"{number}.png", compress_level=1)
    (folder / "again.png").write_bytes(reencoded(folder / "1.png"))
    lines(folder / "train.jsonl", [problem(number, f"{number}.png") for number in range(3)])
    lines(folder / "val.jsonl", [problem(3, "3.png"), problem(4, "again.png")])
    return folder


def problem(number: int, image: str, **fields: Any) -> dict[str, Any]:
    return {"id": number, "image": image, "question": "how many?", "answer": "7", **fields}


def lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_picture_that_is_held_out_is_found_in_another_file(batches: Path) -> None:
    for found in (report(batches), report(batches / "train.jsonl", "--against", batches / "val.jsonl")):
        [fault] = found["first"]
        assert (fault["kind"], fault["row"], Path(fault["file"]).name) == ("leak", 2, "train.jsonl")
        assert "val, row 2" in fault["message"]
        assert {each["name"]: each["held_out"] for each in found["datasets"]} == {"train": False, "val": True}
    assert report(batches / "val.jsonl")["faults"] == {}


def test_what_is_held_out_is_not_among_the_rows_that_are_kept(batches: Path, tmp_path: Path) -> None:
    done = checked(batches / "train.jsonl", "--against", batches / "val.jsonl", "--clean", tmp_path / "c")
    assert done.code == 5
    kept = [json.loads(line) for line in (tmp_path / "c/train.jsonl").read_text().splitlines()]
    assert [row["id"] for row in kept] == [0, 2]
    assert not (tmp_path / "c/val.jsonl").exists()


def test_a_folder_of_clean_rows_has_rows_and_one_file_of_a_name(batches: Path, tmp_path: Path) -> None:
    (tmp_path / "TRAIN.jsonl").write_text('{"id": 0, "image": "none.png", "question": "q", "answer": "a"}\n')
    assert checked(tmp_path / "TRAIN.jsonl", "--clean", tmp_path / "c").code == 5
    assert not (tmp_path / "c").exists()
    done = checked(batches / "train.jsonl", tmp_path / "TRAIN.jsonl", "--clean", tmp_path / "c")
    assert (done.code, "2 datasets would be called train" in done.err) == (2, True)  # also on disks that fold case


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (problem(0, "0.png", answer="5", choices=["1", "2"]), "answer_not_offered"),
        (problem(0, "0.png", answer="['5 cm', '5']"), "answer_list"),
        (problem(0, "none.png"), "image_missing"),
        (problem(0, "0.png", question=" "), "row"),
        (problem(1, "0.png"), "duplicate_id"),
        ({"id": 0, "question": "q"}, "row"),
    ],
)
def test_faults_of_problems_are_found(batches: Path, row: dict[str, Any], kind: str) -> None:
    lines(batches / "train.jsonl", [problem(1, "0.png", answer="B", choices=["1", "2"]), row])
    found = report(batches / "train.jsonl")
    assert (found["faults"], found["first"][0]["row"]) == ({kind: 1}, 2)


def test_boxes_are_those_of_the_first_picture_and_where_is_looked_stops_nothing(batches: Path) -> None:
    """Files of 100 x 90 and 103 x 90 px."""
    shown: dict[str, Any] = {"question": "how many?", "answer": "7", "images": ["0.png", "3.png"]}
    out = [[0, 0, 103, 80]]
    lines(batches / "train.jsonl", [{"id": 1, "boxes": out, **shown}, {"id": 2, "looks": out, **shown}])
    found = {each["row"]: each for each in report(batches / "train.jsonl")["first"] if each["kind"] == "reference"}
    assert {row: each["stops"] for row, each in found.items()} == {1: True, 2: False}
    assert all("picture of 100 x 90 px" in each["message"] for each in found.values())


def test_problems_are_for_rl_and_the_command_for_sft_is_said(batches: Path, tmp_path: Path) -> None:
    said = "problems without solutions are for RL and virc eval; for SFT: virc data convert"
    found = checked(batches)
    named = [line.split()[line.split().index("convert") + 1] for line in found.out.splitlines() if said in line]
    assert [Path(each).name for each in named] == ["train.jsonl"]
    assert virc("data", "convert", named[0], "--to", tmp_path / "sft", "--format", "sft", "--answers").code == 0
    assert said not in checked(tmp_path / "sft").out


def test_a_problem_may_have_accepted_answers_alone(batches: Path) -> None:
    lines(
        batches / "train.jsonl",
        [problem(1, "0.png", answer=None, answers=["a", "b"]), problem(2, "0.png", answer=None)],
    )
    found = report(batches / "train.jsonl")
    assert (found["faults"], found["datasets"][0]["counts"]["unanswered"]) == ({}, 1)


def test_the_place_of_a_row_that_cannot_be_read_is_said_once(batches: Path) -> None:
    with (batches / "train.jsonl").open("a") as file:
        file.write('\n{"id": 5\n')
    place = f"{batches / 'train.jsonl'}:5: row: "
    (said,) = [line for line in checked(batches / "train.jsonl").out.splitlines() if line.startswith(place)]
    assert "line 5" not in said
    (batches / "rows.json").write_text('[{"messages": [], "images": []}, {"messages": [}]')
    out = checked(batches / "rows.json").out
    assert f"{batches / 'rows.json'}:2: unread: it is not JSON" in out


def test_pictures_on_the_network_are_counted_and_not_fetched(batches: Path) -> None:
    lines(batches / "train.jsonl", [problem(1, "http://127.0.0.1:9/x.png"), problem(2, "0.png"), problem(3, "bad.png")])
    (batches / "bad.png").write_bytes(b"no picture")
    found = report(batches / "train.jsonl")
    assert found["faults"] == {"image_missing": 1, "image_broken": 1}  # which training does not fetch either
    assert (found["datasets"][0]["counts"]["unseen"], found["datasets"][0]["counts"]["images"]) == (1, 3)


def test_inputs_are_counted_by_their_sizes(batches: Path) -> None:
    sizes = [(1000, 1000), (84, 112), (84, 112), (112, 84), (90, 100), (1000, 90), (84, 112)]
    for number, size in enumerate(sizes[:-1]):
        Image.new("RGB", size, (number, 0, 0)).save(batches / f"{number}.png")
    lines(batches / "train.jsonl", [problem(number, f"{number % 6}.png") for number in range(7)])
    counts = report(batches / "train.jsonl")["datasets"][0]["counts"]
    assert (counts["square"], counts["on_grid"], counts["off_grid"]) == (2, 3, 2)


@pytest.mark.parametrize(("words", "drawn"), [
    ((), ["1-train-row-1.png", "2-train-row-1.png", *(f"{at + 2}-other-row-{at}.png" for at in (1, 2, 3))]),
    (("--ignore", "boxes"), []),
])  # fmt: skip
def test_boxes_of_several_files_are_drawn_apart(batches: Path, words: Sequence[str], drawn: list[str]) -> None:
    (batches / "b").mkdir()
    files = [batches / "train.jsonl", batches / "b" / "train.jsonl", batches / "other.jsonl"]
    for file in files:
        Image.new("RGB", (90, 60)).save(file.parent / "it.png")
        boxes: Any = {"boxes": [[1, 2, 30, 40]]}
        lines(file, [problem(at, "it.png", **boxes) for at in range(4 if file.stem == "other" else 1)])
    done = virc("data", "check", *files, "--workers", 1, "--draw", batches / "drawn", *words)
    assert (done.code, sorted(each.name for each in (batches / "drawn").glob("*"))) == (0, drawn), done.err


def test_nothing_to_check_is_a_mistake_that_looks_like_any_other(tmp_path: Path) -> None:
    done = virc("data", "check", tmp_path, "--json")
    assert done.code == 5
    assert (done.json["schema"], done.json["rows"], done.json["first"]) == ("virc.data.check/1", None, [])
    assert "holds no rows" in done.json["error"]["message"]


def test_the_published_files_have_no_fault() -> None:
    found = report(whole().folder)
    assert found["faults"] == {}
    held = {each["name"]: each["held_out"] for each in found["datasets"]}
    assert sum(held.values()) == 1
    assert held[crux.RL.format(split="val").removesuffix(".parquet")]


def test_the_published_conversation_has_no_fault(tmp_path: Path, sample: Path) -> None:
    turns = json.loads((sample / "conversation.json").read_text())
    names = [f"image-{index}.png" for index in range(3)]
    for name in names:
        (tmp_path / name).write_bytes((sample / name).read_bytes())
    messages = [{"role": turn["role"], "content": "<image>" * ("image" in turn) + turn["content"]} for turn in turns]
    write(tmp_path / "rows.json", [{"messages": messages, "images": names, "answer": "97"}])
    found = report(tmp_path / "rows.json")
    assert found["faults"] == {"chat_protocol": 1}  # the published script leaves the system message out
    [dataset] = found["datasets"]
    assert (dataset["chat_protocols"], dataset["counts"]["boxes"]) == ([{"sha256": "", "rows": 1, "first": 1}], 2)
    assert dataset["coordinates"] == "pixel"


def test_rows_are_counted_once_for_each_kind_of_fault() -> None:
    """However often one is in a row; those named first are the first with any."""
    of_rows = ["", "aa", "ab", "", "baa", "b", "c", "d"]
    rows = [Row(number, Record(images=(Picture("x"),) * (number % 2))) for number in range(1, len(of_rows) + 1)]
    found = result.survey(
        rows, lambda row: [Fault(kind, f"{kind} {row.number}") for kind in of_rows[row.number - 1]], lambda number: None
    )
    assert (found.rows, found.faulty, found.images) == (8, 6, 4)
    assert found.faults == {"a": 3, "b": 3, "c": 1, "d": 1}
    assert [(number, fault.message) for number, fault in found.wrong] == [
        (2, "a 2"), (3, "a 3"), (5, "b 5"), (6, "b 6"), (7, "c 7")
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "rows"), [(result.USUAL_SYSTEM, 3), ("Mine.", 1), ("", 2), ("Yours.", 0)])
def test_a_row_without_a_system_message_is_one_with_the_usual(text: str, rows: int) -> None:
    """As LLaMA-Factory writes it for Qwen2-VL."""
    systems = ["", result.USUAL_SYSTEM, "", "Mine."]
    read = [
        Row(number, Record((Message("system", system), Message("user", "q")) if system else (Message("user", "q"),)))
        for number, system in enumerate(systems, 1)
    ]
    assert result.survey(read, lambda row: ()).with_system(text) == rows


def test_the_last_row_of_many_is_checked_closely() -> None:
    rows = [Row(number, Record(id=number)) for number in range(1, 1000)]
    found = result.survey(rows, lambda row: ())
    assert found.rows == 999
    assert [found.kept[0].number, found.kept[-1].number] == [1, 999]


@pytest.mark.parametrize("deadly", [(), (1,), (3, 14), (20,), (7, 8, 9)])
def test_a_row_that_ends_its_process_costs_no_other(deadly: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are checked in parts by several processes, and one by one where one of them was lost."""

    def in_order(call: Any, given: Any, workers: int, apart: bool = False) -> Any:
        for each in given:
            if {row.number for row in (each if isinstance(each, list) else [each])} & {*deadly}:
                raise LostWorkerError("a worker was killed")
            yield call(each)

    monkeypatch.setattr(run, "in_order", in_order)
    monkeypatch.setattr(run, "check_row", lambda rules, row: RowResult(row.number, row.record.id, ()))
    monkeypatch.setattr(run, "_AT_ONCE", 4)
    rows = [Row(number, Record(id=f"r{number}")) for number in range(1, 21)]
    found = list(run.check_rows(rows, Rules("prompts"), 2))
    assert [(row.number, result.number, result.id) for row, result in found] == [(n, n, f"r{n}") for n in range(1, 21)]
    assert [result.number for _, result in found if result.faults] == [*deadly]
    assert {fault.kind for _, result in found for fault in result.faults} == ({"crash"} if deadly else set())


def test_pictures_that_training_shows_otherwise_are_written_side_by_side(tmp_path: Path) -> None:
    names, shown = picture_kinds.write(tmp_path / "rows"), tmp_path / "shown"
    rows = [{"id": name, "image": file, "question": "Which?", "answer": "7"} for name, file in names.items()]
    rows += [{**rows[0], "id": "once more"}, {**rows[0], "id": "broken", "image": "broken.png"}]
    (tmp_path / "rows" / "broken.png").write_bytes(picture_kinds.KINDS["RGBA"].data[:-50])
    file = tmp_path / "rows" / "problems.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = checked(file, "--as-shown", shown, "--first", 2)
    why = [kind.why for kind in picture_kinds.KINDS.values() if kind.why]
    assert f"shows {len(why)} of {len(names)} pictures otherwise than solving" in done.err
    assert all(f"{each} {why.count(each)}" in done.err for each in why)
    written = sorted(each.name for each in shown.iterdir())
    assert len(written) == sum(min(2, why.count(each)) for each in {*why})
    row = [*names].index("RGBA") + 1
    number = 1 + sum(kind.why == "transparent" for kind in [*picture_kinds.KINDS.values()][: row - 1])
    checked(file, "--as-shown", tmp_path / "all", "--first", 99)
    with Image.open(tmp_path / "all" / f"transparent-{number}-row-{row}.png") as pair:
        assert (pair.getpixel((0, 0)), pair.getpixel((pair.width - 1, 0))) == ((0, 0, 0), (255, 255, 255))
    again = checked(file, "--as-shown", shown)
    assert (again.code, "is in use" in again.err, "--as-shown" in again.err) == (2, True, True)


def test_pictures_that_differ_in_their_last_row_or_their_sides_are_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "_known", known := {})
    monkeypatch.setattr(images, "_MAX_KNOWN", 2)
    Image.new("RGB", (300, 30)).save(tmp_path / "1.png")
    for shade in (0, 255):
        image = Image.new("RGB", (30, 300))
        image.paste((shade,) * 3, (0, 299, 30, 300))
        image.save(tmp_path / f"{shade}.png")
    assert len({decoded(Picture(f"{shade}.png", tmp_path)).pixels for shade in (0, 1, 255)}) == 3
    assert len(known) == 2  # not of all pictures of a large set
