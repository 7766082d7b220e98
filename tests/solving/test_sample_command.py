"""`virc data sample` by its real entry point on a scripted endpoint: what is kept, counted, refused and taken up."""

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from batches import problems, read, write
from PIL import Image
from rollouts import (
    BAD_JSON,
    LATE,
    LOOKED,
    MARKED,
    NO_TAGS,
    OUTSIDE,
    REFUSED,
    RIGHT,
    SHOWN_AGAIN,
    WRONG,
    Rollouts,
    files,
    progress,
    sample,
)  # fmt: skip
from support.called import virc
from support.servers import serve
from support.solving import CROP, answer

from virc.data.formats.registry import sources
from virc.data.rows.record import Record, inputs_of
from virc.models.chat_protocol import written
from virc.reasoning.images import open_image
from virc.reasoning.protocol import FILE_NAME, Protocol
from virc.reasoning.session import Reply, Session
from virc.scoring.rules import same
from virc.tools.registry import known

MIXED = [WRONG, RIGHT, NO_TAGS, LOOKED, RIGHT, SHOWN_AGAIN, OUTSIDE, LATE]
NEVER = [WRONG, REFUSED, BAD_JSON, MARKED, WRONG, OUTSIDE, NO_TAGS, WRONG]


def records(path: Path) -> list[Record]:
    (source,) = sources(path)
    rows = list(source.rows())
    assert not any(row.fault or row.flaws for row in rows)
    return [row.record for row in rows]


def assert_replays(record: Record, protocol: Protocol) -> None:
    """Every turn of a kept record is accepted as it is, and asks and shows what the record has."""
    images = [open_image(record.images[at].read(), "image") for at in inputs_of(record)]
    extra = record.extra.get("choices")
    assert record.question
    question = record.question + (f" Choices: {' '.join(map(str, extra))}" if extra else "")
    session = Session(protocol, question, images, tolerate=(), tools=known())
    for message in record.messages:
        if message.role == "assistant":
            verdict = session.feed(Reply(message.content))
            assert not isinstance(verdict, str)
            assert getattr(verdict, "deviations", None) == ()
    trace = session.trace()
    assert trace.answer is not None
    assert same(trace.answer, str(record.answer), extra and [str(choice) for choice in extra])
    assert [(m.role, m.content.replace("<image>", "")) for m in record.messages] == [
        (m.role, m.text) for m in trace.messages
    ]
    kept = [open_image(picture.read(), "image").tobytes() for picture in record.images]
    assert kept == [shown.pixels.tobytes() for shown in session.images]


@pytest.fixture
def source(image: Path, tmp_path: Path) -> Path:
    """Two problems with the answer 97, one with choices, and fields that pass through."""
    rows = [*problems(image, "a", answer=97, level={"grade": 4}), *problems(image, "b", answer="97", choices=[97, 102])]
    return write(tmp_path / "in.jsonl", rows)


def scripts(a: Sequence[Sequence[str]] = MIXED, b: Sequence[Sequence[str]] = NEVER) -> Rollouts:
    return Rollouts({"q a": a, "q b Choices: 97 102": b})


def test_exactly_the_right_and_exact_ones_are_kept_and_all_are_counted(source: Path, tmp_path: Path) -> None:
    to = tmp_path / "out" / "traj.jsonl"
    with serve(scripts()) as server:
        done = sample(source, to, server.url, "--keep", 3, "--json")
        assert {body["temperature"] for body in server.chats()} == {1.0}
    assert done.code == 0
    counts = ("problems", "rollouts", "right", "kept", "without", "failed", "pass_rate")
    assert [done.json[key] for key in counts] == [2, 16, 4, 3, 1, 0, 0.25]
    assert done.json["settings"]["n"] == 8
    assert "2 problems: 8 rollouts of at most 16 requests each, at most 256 requests and " in done.err
    assert "2 problems: 4 of 16 rollouts right (25.0%), 3 trajectories kept, 1 problem without one" in done.err
    assert [row["id"] for row in read(to)] == ["a-2", "a-4", "a-6"]
    lines = progress(to.with_suffix(".progress"))
    assert [lines["a"][key] for key in ("rollouts", "right", "pass_rate")] == [8, 4, 0.5]
    assert lines["a"]["ended"] == {"wrong": 1, "right": 4, "tags": 2, "deviation": 1}
    assert lines["b"]["ended"] == {
        "wrong": 3, "no_answer": 1, "json": 1, "marks": 1, "deviation": 1, "tags": 1
    }  # fmt: skip
    assert lines["b"]["answers"] == ["98", None, None, "97", "98", None, None, "98"]
    assert (lines["b"]["kept"], lines["b"]["pass_rate"]) == ([], 0)


def test_what_is_kept_is_a_dataset_that_replays_without_a_deviation(source: Path, tmp_path: Path) -> None:
    to = tmp_path / "out"
    with serve(scripts(b=[LOOKED, [answer("A")], *NEVER[2:]])) as server:
        assert sample(source, to, server.url, "--keep", 4).out == f"{to / 'trajectories.jsonl'}\n"
    protocol = msgspec.json.decode((to / FILE_NAME).read_bytes(), type=Protocol)
    found = records(to)
    assert found == records(to / "trajectories.jsonl")
    assert [record.id for record in found] == ["a-2", "a-4", "a-6", "b-1", "b-2"]
    assert (found[0].question, found[0].answer, found[0].extra) == ("q a", "97", {"level": {"grade": 4}})
    assert found[3].extra == {"choices": [97, 102]}
    for record in found:
        assert_replays(record, protocol)


def test_what_is_done_is_not_done_again(source: Path, image: Path, tmp_path: Path) -> None:
    with serve(scripts()) as server:
        assert sample(source, tmp_path / "out", server.url).code == 0
        before, asked_for = files(tmp_path / "out"), len(server.chats())
        done = sample(source, tmp_path / "out", server.url, "--json")
        assert (done.code, done.json["rollouts"], done.json["kept"]) == (0, 16, 2)
        assert (files(tmp_path / "out"), len(server.chats())) == (before, asked_for)
        write(source, [*read(source), *problems(image, "c", answer=1)])
        server.script.turns = [answer("1")]
        said = sample(source, tmp_path / "out", server.url).err
        assert "1 problem: 8 rollouts of at most 16 requests each" in said
        assert ("2 problems done before" in said, "by the first" in said) == (True, False)
        write(source, read(source)[:1])
        assert "requests" not in sample(source, tmp_path / "out", server.url).err  # fewer rows than are done
    assert [row["id"] for row in read(tmp_path / "out" / "trajectories.jsonl")] == ["a-2", "a-4", "c-1"]


def test_rows_that_cannot_be_sampled_are_named_and_counted_and_the_others_are_done(image: Path, tmp_path: Path) -> None:
    rows = [
        *problems(image, "none"),
        *problems(image, "empty", answer=" "),
        *problems(image, "list", answer=[97]),
        {"id": "marked", "image": str(image), "question": "q <image>", "answer": 1},
        {"id": "gone", "image": "gone.png", "question": "q", "answer": 1},
        "text",
        *problems(image, "good", answer=97),
        *problems(image, "good", answer=97),
    ]
    source = write(tmp_path / "in.jsonl", rows)
    with serve([answer("97")]) as server:
        for _ in range(2):
            done = sample(source, tmp_path / "out", server.url, "--samples", 2, "--json")
            assert done.code == 1
            assert [done.json[key] for key in ("problems", "failed", "kept")] == [1, 7, 1]
            for sentence in (
                "row 'none': line 1: it has no answer", "row 'empty': line 2: it has no answer",
                "row 'list': line 3: expected", "line 4: the question holds <image>", "no file gone.png",
                "warning: line 6", "the id 'good' comes twice", "7 rows failed",
            ):  # fmt: skip
                assert sentence in done.err
        assert len(server.chats()) == 2


def test_nothing_right_leaves_the_chat_protocol_and_the_folder_of_a_user(source: Path, tmp_path: Path) -> None:
    made = virc("data", "synth", "--to", tmp_path / "set", "--count", 2, "--formats", "batch,rl")
    assert made.code == 0, made.err
    (tmp_path / "empty").mkdir()
    before = files(tmp_path / "set")
    with serve([answer("98")]) as server:
        words = (server.url, "--samples", 1, "--protocol", tmp_path / "set" / FILE_NAME)
        for folder in ("set", "empty"):
            assert sample(source, tmp_path / folder / "new.jsonl", *words).code == 8
    assert files(tmp_path / "set") == before
    assert files(tmp_path / "empty") == {}


def test_places_in_use_are_left_as_they_are_before_a_model_is_asked(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "taken"
    (folder / "pictures.images").mkdir(parents=True)
    (folder / "rows.jsonl").write_text("{}\n")
    (folder / "dataset_info.json").write_text(json.dumps({"other": {"file_name": "x.json"}}))
    (folder / "file").write_text("")
    before = files(folder)
    cases = {
        source: "is in use",
        folder / "rows.jsonl": "is in use",
        folder / "pictures.jsonl": "is in use",
        folder / "other.jsonl": "has another dataset other",
        folder / "file": "is no folder",
        folder / "rows.parquet": "go to a folder or a .jsonl file",
        folder / "a:b.jsonl": "cannot name a dataset",
    }
    with serve([answer("97")]) as server:
        for to, reason in cases.items():
            done = sample(source, to, server.url)
            assert (done.code, reason in done.err) == (2, True), done.err
        assert server.requests == []
    assert files(folder) == before


def test_a_row_of_crops_from_a_file_says_how_large_the_file_is(own: Protocol, tmp_path: Path) -> None:
    Image.new("RGB", (1200, 900)).save(tmp_path / "page.png")
    protocol = msgspec.structs.replace(own, crops="file", input_pixels=(3136, 10**5))
    (tmp_path / "protocol.json").write_bytes(written(protocol))
    source, to = write(tmp_path / "in.jsonl", problems(tmp_path / "page.png", "a", answer=97)), tmp_path / "out"
    words = ("--to", to, "--samples", 1, "--protocol", tmp_path / "protocol.json")
    with serve([CROP, answer("97")]) as server:
        done = virc("data", "sample", source, *words, "--endpoint", server.url)
    assert done.code == 0, done.err
    (row,) = read(to / "trajectories.jsonl")
    assert row["file_sizes"] == [[1200, 900]]
