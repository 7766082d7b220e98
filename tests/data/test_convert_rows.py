"""`virc data convert`: which rows are written; faulty and hostile ones."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from data.converted import convert, records, told, tree, write
from PIL import Image
from support.called import virc
from support.tables import each_case

from virc.data.rows.record import MARK, Message, Picture, Record

pytestmark = pytest.mark.usefixtures("capfd")


def picture(number: int) -> Picture:
    return Picture(f"images/{number}.png", data=b"\x89PNG" + number.to_bytes(4, "big") * 500)


def row(id: int, shown: Sequence[int] = (0,)) -> Record:
    """A trajectory with an answer at once, about pictures of these numbers."""
    reply = f"<think>{id}</think><answer>{id}</answer>"
    messages = Message("user", f"{MARK * len(shown)}Question: {id}?"), Message("assistant", reply)
    return Record(messages, tuple(map(picture, shown)), id, f"{id}?", str(id))


def dataset(folder: Path, count: int, pictures: int = 1, start: int = 0) -> Path:
    numbers = range(start, start + count)
    return write(folder, "trajectories", [row(number, [number % pictures]) for number in numbers])


def ids(path: Path) -> dict[str, list[object]]:
    return {name: [record.id for record in rows] for name, rows in records(path).items()}


def test_a_subset_is_exact_ordered_seeded_and_within_a_larger_one(tmp_path: Path) -> None:
    source = dataset(tmp_path / "a", 100)
    found = []
    for number, (count, seed) in enumerate([(50, 7), (75, 7), (50, 8)]):
        to = tmp_path / f"out-{number}"
        assert convert(source, "--to", to, "--format", "sft", "--limit", count, "--seed", seed) == 0
        found.append(ids(to)["rows"])
    half, more, other = found
    assert (len(half), len(more), len(other)) == (50, 75, 50)
    assert half == [id for id in range(100) if id in half]
    assert set(half) < set(more)
    assert set(half) != set(other)
    assert convert(tmp_path / "out-1", "--to", tmp_path / "again", "--format", "sft", "--limit", 50, "--seed", 7) == 0
    assert ids(tmp_path / "again")["rows"] == half


def test_a_mix_has_its_weights_and_one_name(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sources = [dataset(tmp_path / "a", 70), dataset(tmp_path / "b", 40, start=1000)]
    words = (*sources, "--format", "sft", "--weights", "2,1")
    assert convert(*words, "--to", tmp_path / "mix", "--limit", 90) == 0
    mixed = ids(tmp_path / "mix")["mix"]
    assert [sum(1 for id in mixed if int(str(id)) < 1000), len(mixed)] == [60, 90]
    assert convert(*words, "--to", tmp_path / "all", "--name", "both") == 0
    assert len(ids(tmp_path / "all")["both"]) == 105
    assert convert(*words, "--to", tmp_path / "more", "--limit", 120) == 5
    assert "rows has 70 rows, and 80 are to be taken from it" in capfd.readouterr().err
    assert convert(*sources, "--format", "sft", "--weights", "2", "--to", tmp_path / "more") == 2
    assert convert(*sources, "--format", "sft", "--weights", "2,0", "--to", tmp_path / "more") == 2


def test_ids_choose_the_same_rows_wherever_they_stand(tmp_path: Path) -> None:
    numbers = range(40)
    for name, order in (("a", numbers), ("b", reversed(numbers))):
        write(tmp_path / name, "trajectories", [row(number) for number in order])
        words = ("--to", tmp_path / f"{name}-less", "--format", "sft", "--limit", 10)
        assert convert(tmp_path / name, *words) == 0
    assert {*ids(tmp_path / "a-less")["rows"]} == {*ids(tmp_path / "b-less")["rows"]}


@pytest.mark.integration
@pytest.mark.parametrize("format", ["sft", "rl"])
def test_a_split_never_shows_one_picture_on_both_sides(tmp_path: Path, format: str) -> None:
    """Pictures under two names, alone and beside others; of two datasets at once."""
    rng = random.Random(3)
    rows = [row(id, rng.sample(range(30), rng.choice((1, 1, 1, 2)))) for id in range(80)]
    write(tmp_path / "a", "trajectories", rows[:50], "one")
    copies = [
        Record(each.messages, tuple(Picture("", data=shown.data) for shown in each.images), each.id, "?", "1")
        for each in rows[50:]
    ]
    write(tmp_path / "b", "trajectories", copies, "two")
    words = (tmp_path / "a", tmp_path / "b", "--format", format, "--split", "val=0.25")
    assert convert(*words, "--to", tmp_path / "out") == 0
    sides: dict[str, set[bytes]] = {"train": set(), "val": set()}
    counts = {"train": 0, "val": 0}
    for name, found in records(tmp_path / "out").items():
        side = name.rpartition("_")[2]
        counts[side] += len(found)
        sides[side] |= {shown.data or b"" for record in found for shown in record.images}
    assert not sides["train"] & sides["val"]
    assert sum(counts.values()) == 80  # of one reply each
    assert 0 < counts["val"] <= 20
    assert convert(*words, "--to", tmp_path / "again") == 0
    assert ids(tmp_path / "again") == ids(tmp_path / "out")


def test_copies_and_values_of_a_column_stay_on_one_side_of_a_split(tmp_path: Path) -> None:
    draw, rows = random.Random(1), []
    for number in range(12):
        small = Image.frombytes("L", (16, 12), draw.randbytes(16 * 12))
        image = small.resize((160, 120), Image.Resampling.NEAREST)
        image.save(tmp_path / f"{number}.png")
        image.resize((80, 60)).save(tmp_path / f"{number}.jpg", quality=40)
        for kind in ("png", "jpg"):
            about = {"question": "how many?", "answer": "7", "scene": f"s{number // 3}"}
            rows.append({"id": f"{number}{kind}", "image": f"{number}.{kind}", **about})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = (tmp_path / "rows.jsonl", "--format", "batch", "--split", "val=0.3", "--to")
    assert convert(*words, tmp_path / "a") == 0
    assert convert(*words, tmp_path / "b", "--group-by", "scene") == 0
    for to, size, key in (("a", 6, lambda row: row["image"].partition(".")[0]), ("b", 6, lambda row: row["scene"])):
        files = (tmp_path / to / f"rows_{side}.jsonl" for side in ("train", "val"))
        train, val = ([json.loads(line) for line in file.read_text().splitlines()] for file in files)
        assert (len(train), len(val)) == (24 - size, size)
        assert not {*map(key, train)} & {*map(key, val)}
    assert convert(*words, tmp_path / "c", "--group-by", "seen") == 5
    assert convert(*words[:3], "--to", tmp_path / "c", "--group-by", "scene") == 2


@pytest.mark.parametrize(("column", "code"), [("clip", 0), ("video", 5)])
def test_a_split_names_the_column_that_keeps_recordings_together(tmp_path: Path, column: str, code: int) -> None:
    rows = [{"image": f"{n}.png", "question": "?", "answer": "7", column: f"walk{n % 2}"} for n in range(8)]
    for n, row in enumerate(rows):
        Image.frombytes("L", (8, 8), random.Random(n).randbytes(64)).save(tmp_path / row["image"])
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("data", "convert", tmp_path / "rows.jsonl", "--format", "batch", "--split", "val=0.5", "--to")
    done = virc(*words, tmp_path / "a")
    assert (done.code, f"--group-by {column} keeps rows of one {column} on one side" in done.err) == (code, True)
    assert virc(*words, tmp_path / "b", "--group-by", column).code == 0


def spoil(folder: Path, changes: dict[int, object]) -> Path:
    """The dataset with other text in these lines."""
    file = folder / "rows.jsonl"
    lines = file.read_text().splitlines()
    for number, value in changes.items():
        lines[number - 1] = value if isinstance(value, str) else json.dumps(value)
    file.write_text("\n".join(lines) + "\n")
    return folder


FAULTS: dict[int, object] = {
    2: "no JSON",
    4: {"messages": [{"role": "user", "content": "only"}], "images": []},
    5: {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "images": ["no.png"]},
    6: {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b\ud83d"}]},
}
BOX = '{"bbox_2d": [700, 420, 1100, 700]}'


def test_a_faulty_row_is_an_error_before_anything_is_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for number, what in ((2, "JSON"), (4, "last message"), (5, "no.png cannot be read"), (6, "half a")):
        source = spoil(dataset(tmp_path / f"a{number}", 6), {number: FAULTS[number]})
        assert convert(source, "--to", tmp_path / "out", "--format", "sft") == 5
        said = capfd.readouterr().err
        assert f"{source / 'rows.jsonl'}, " in said
        assert f" {number}: " in said
        assert what in said
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("target", ["sft", "prompts"])
def test_faulty_rows_can_be_left_out(tmp_path: Path, capfd: pytest.CaptureFixture[str], target: str) -> None:
    source = spoil(dataset(tmp_path / "a", 6), FAULTS)
    words = (source, "--to", tmp_path / "out", "--format", target, "--skip-faulty", "--json")
    assert convert(*words) == 0
    said = capfd.readouterr()
    assert "rows: 6 rows read, 2 written, 4 left out" in said.err
    fields = told(said.out)
    (counts,) = fields["datasets"]
    assert counts["left_out"] == len(fields["faults"]) == 4
    assert (counts["rows_in"], counts["rows_out"]) == (6, 2)
    assert ids(tmp_path / "out")["rows"] == [0, 2]


@each_case(("reply", "changes", "code"), [
    *((text, {}, 5) for text in (f"```json\n[{BOX}]\n```", BOX.replace('"', "'"), '{"point_2d": [700, 420]}',
      "<|box_start|>(700,420),(1100,700)<|box_end|>", "click(start_box='(70,42)')")),
    ("a", {"question": f"What is at {BOX}?"}, 5), ("a", {"answer": BOX}, 5), ("a", {"rejected_response": BOX}, 5),
    (BOX, {"images": ["small.png"]}, 0), ("It is [1, 2, 3, 4].", {}, 0),
])  # fmt: skip
def test_a_text_with_a_box_keeps_its_picture_from_becoming_smaller(
    reply: str, changes: dict[str, object], code: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, size in (("large.png", (1400, 840)), ("small.png", (280, 168))):
        Image.new("RGB", size).save(tmp_path / name)
    turns = [{"role": "user", "content": "<image>?"}, {"role": "assistant", "content": reply}]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"messages": turns, "images": ["large.png"], **changes}))
    target = ("--format", "pairs" if "rejected_response" in changes else "sft", "--max-pixels", 63504)
    assert convert(tmp_path / "rows.jsonl", "--to", tmp_path / "out", *target) == code
    assert ("row 1: its picture becomes smaller, and its text has" in capfd.readouterr().err) == bool(code)


@each_case(
    ("image", "question", "options", "code"),
    [
        ("http://192.168.0.5/a.png", "a", (), 5),
        ("http://192.168.0.5/a.png", "a", ("--trust-rows",), 0),
        ("data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciLz4=", "a", (), 5),
        ("https://8.8.8.8/a.png", "half \ud83d", (), 5),
    ],
)
def test_problems_without_a_picture_or_text_for_batch_are_faults(
    image: str, question: str, options: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    pairs = (image, question), ("https://8.8.8.8/a.png", "a")
    rows = [{"id": at, "image": image, "question": question} for at, (image, question) in enumerate(pairs, 1)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = (tmp_path / "rows.jsonl", "--format", "batch", *options)
    assert convert(*words, "--to", tmp_path / "a") == code
    assert convert(*words, "--to", tmp_path / "b", "--skip-faulty") == 0
    written = [json.loads(line)["id"] for line in (tmp_path / "b/rows.jsonl").read_text().splitlines()]
    assert written == ([2] if code else [1, 2])


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/passwd", "file:///etc/passwd", "images/../../secret.png", "a\0b", "link.png", "~/x"]
)
def test_images_from_elsewhere_never_come_in(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    source = dataset(tmp_path / "a", 2)
    (source / "link.png").symlink_to(tmp_path / "secret.png")
    line = json.loads((source / "rows.jsonl").read_text().splitlines()[0]) | {"images": [name]}
    spoil(source, {1: line})
    for format in ("sft", "rl", "batch"):
        assert convert(source, "--to", tmp_path / "out", "--format", format) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "secret.png"]


@pytest.mark.parametrize(
    "name", ["../evil", "/tmp/evil", "a/b", "..", "", ".hidden", "a\nb", "x" * 300, "dataset_info"]
)
def test_names_of_datasets_never_leave_the_folder(tmp_path: Path, name: str) -> None:
    source = dataset(tmp_path / "in" / "a", 2)
    info = json.loads((source / "dataset_info.json").read_text())
    (source / "dataset_info.json").write_text(json.dumps({name: info["rows"]}))
    before = tree(tmp_path)
    for format in ("sft", "trajectories", "rl", "prompts", "batch"):
        assert convert(source, "--to", tmp_path / "out", "--format", format) == 2
    assert tree(tmp_path) == before
    assert convert(source, "--to", tmp_path / "out", "--format", "sft", "--name", "good") == 0
