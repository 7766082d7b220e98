"""What `virc data check` says of files as a whole, and what it keeps of them."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checking import FILE, NAME, Rows, broken, checked, good_set, report, whole, write
from PIL import Image
from support.called import virc


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
    on_the_way = re.compile(r"^\d+ rows?, \d+ with faults\n", re.MULTILINE)  # printed after seconds
    assert (one.code, one.out) == (two.code, two.out)
    assert on_the_way.sub("", one.err) == on_the_way.sub("", two.err)
    assert one.code == 5
    assert f"{folder / FILE}:2: tags: turn" in one.out
    assert "error: 30 of 35 rows have faults" in one.err


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


def protocol(**fields: Any) -> dict[str, Any]:
    """A chat protocol of the good set: its rows have that system message."""
    system = json.loads(whole().dynamic.read_text())[0]["messages"][0]["content"]
    texts = {"system": system, "first": "{images} {question}", "after_image": "a", "after_scale": "a"}
    return {**texts, "image_line": "Image {index}: {width} x {height}.", "schema": "virc.protocol/1", **fields}


@pytest.mark.parametrize(
    ("fields", "kind"),
    [({"coordinates": "permille"}, "result_differs"), ({"repeat_limit": 2}, "repetition"), ({}, None)],
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
        image = Image.radial_gradient("L").rotate(45 * number, translate=(40 * number, 0))
        image.resize((100 + number, 90)).save(folder / f"{number}.png", compress_level=1)
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


COPIES: dict[str, Callable[[Image.Image, Path], object]] = {
    "half.png": lambda image, to: image.resize((image.width // 2, image.height // 2)).save(to),
    "low.jpg": lambda image, to: image.save(to, quality=25),
    "large.webp": lambda image, to: image.resize((2 * image.width, 2 * image.height)).save(to, quality=60),
    "both.jpg": lambda image, to: image.resize((image.width // 2, image.height // 2)).save(to, quality=50),
}


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn problems, each also with other numbers in its figure."""
    folder = tmp_path_factory.mktemp("drawn") / "figures"
    words = ("--count", 12, "--seed", 9, "--counterfactuals", "--formats", "batch")
    assert virc("data", "synth", "--to", folder, *words).code == 0
    return folder


def drawn(folder: Path) -> list[tuple[Path, Path]]:
    rows = [json.loads(line) for line in (folder / "problems.jsonl").read_text().splitlines()]
    return [(folder / row["image"], folder / row["counterfactual"]["image"]) for row in rows]


def test_copies_in_another_size_or_encoding_are_found_and_other_figures_are_not(figures: Path, tmp_path: Path) -> None:
    held, others = [], []
    for number, (figure, other) in enumerate(drawn(figures)):
        held.append(problem(number, figure.name))
        others.append(problem(100 + number, other.name))
        (tmp_path / figure.name).write_bytes(figure.read_bytes())
        (tmp_path / other.name).write_bytes(other.read_bytes())
    for number, (name, change) in enumerate(COPIES.items()):
        with Image.open(drawn(figures)[number][0]) as image:
            change(image.convert("RGB"), tmp_path / name)
    lines(tmp_path / "val.jsonl", held)
    lines(tmp_path / "train.jsonl", [*others, *(problem(200 + at, name) for at, name in enumerate(COPIES))])
    found = report(tmp_path / "train.jsonl", "--against", tmp_path / "val.jsonl", "--first", 99)
    places = [(fault["row"], fault["message"]) for fault in found["first"]]
    says = "an input of it is nearly one that is held out: val, row"
    assert places == [(len(others) + at + 1, f"{says} {at + 1}") for at in range(len(COPIES))]


def test_values_of_a_column_are_on_one_side_alone(batches: Path) -> None:
    rows = [problem(number, f"{number}.png", scene=f"s{number}") for number in range(4)]
    lines(batches / "train.jsonl", [*rows[:2], problem(7, "2.png")])
    lines(batches / "val.jsonl", [rows[3] | {"scene": "s1"}, rows[3] | {"id": 8}])
    words = (batches / "train.jsonl", "--against", batches / "val.jsonl", "--group-by")
    assert [(each["row"], each["message"]) for each in report(*words, "scene")["first"]] == [
        (2, "its scene 's1' is held out: val, row 1")
    ]
    done = checked(*words, "seen")
    assert (done.code, "has the column 'seen'\nhint: did you mean 'scene'?" in done.err) == (5, True), done.err
    alone = checked(batches / "train.jsonl", "--group-by", "scene")
    assert (alone.code, "none are\nhint: --against VAL" in alone.err) == (2, True), alone.err


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (problem(0, "0.png", answer="5", choices=["1", "2"]), "answer_not_offered"),
        (problem(0, "none.png"), "image_missing"),
        (problem(0, "https://example.com/a.png"), "image_on_network"),
        (problem(1, "0.png"), "duplicate_id"),
    ],
)
def test_faults_of_problems_are_found(batches: Path, row: dict[str, Any], kind: str) -> None:
    lines(batches / "train.jsonl", [problem(1, "0.png", answer="B", choices=["1", "2"]), row])
    found = report(batches / "train.jsonl")
    assert (found["faults"], found["first"][0]["row"]) == ({kind: 1}, 2)


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
    assert dataset["counts"]["boxes"] == 2
    assert dataset["coordinates"] == "pixel"


def test_what_is_held_out_is_not_among_the_rows_that_are_kept(batches: Path, tmp_path: Path) -> None:
    done = checked(batches / "train.jsonl", "--against", batches / "val.jsonl", "--clean", tmp_path / "c")
    assert done.code == 5
    kept = [json.loads(line) for line in (tmp_path / "c/train.jsonl").read_text().splitlines()]
    assert [row["id"] for row in kept] == [0, 2]
    assert not (tmp_path / "c/val.jsonl").exists()


def test_pictures_on_the_network_are_counted_and_not_fetched(batches: Path) -> None:
    lines(batches / "train.jsonl", [problem(1, "http://127.0.0.1:9/x.png"), problem(2, "0.png"), problem(3, "bad.png")])
    (batches / "bad.png").write_bytes(b"no picture")
    found = report(batches / "train.jsonl")
    assert found["faults"] == {"image_on_network": 1, "image_broken": 1}  # which training does not fetch either
    assert (found["datasets"][0]["counts"]["unseen"], found["datasets"][0]["counts"]["images"]) == (1, 3)


def test_what_nothing_reads_is_left_out_by_an_option_as_it_is_typed(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "<image>What?"},
        {"role": "assistant", "content": "A disk.", "function_call": {"name": "draw"}},
    ]
    Image.new("RGB", (84, 56)).save(tmp_path / "a.png")
    (tmp_path / "rows.jsonl").write_text(json.dumps({"messages": turns, "images": ["a.png"]}))
    done = virc("data", "check", tmp_path / "rows.jsonl")
    assert done.code == 5
    assert "leaves it out" in done.out
    assert "«" not in done.out
