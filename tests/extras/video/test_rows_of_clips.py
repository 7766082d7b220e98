"""Rows that name clips and documents: `virc data convert` writes their frames and pages once, beside the rows."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from extras.video.drawn_clips import KINDS, number_of
from extras.video.drawn_documents import scanned
from PIL import Image
from pyarrow import parquet
from support import preflight
from support.called import virc
from support.servers import serve
from support.solving import answer, call
from support.tables import each_case

from virc.core.errors import DataError
from virc.data.formats.registry import only_source
from virc.data.rows.record import placed_in
from virc.data.rows.verl import record_of
from virc.models.chat_protocol import read_protocol, written
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.history import show_input
from virc.reasoning.images import Shown, open_file
from virc.reasoning.media import give_media
from virc.reasoning.protocol import FILE_NAME, with_tools
from virc.reasoning.resize import QWEN2
from virc.reasoning.session import Rejected, Reply, Session
from virc.rewards.rollouts import samples_of
from virc.runs.rollout_stats import Rollout
from virc.solving.evidence import crops, looked_at
from virc.systems.registry import Reward
from virc.tools import registry
from virc.training.preflight import rl
from virc.training.preflight.types import RlRequest
from virc.training.rollout_pages import shown
from virc_extras.video import worker

ASKED, CLIP, FOUR = "What is it?", "clips/phone.mp4", ["0:00", "0:00.66", "0:01.32", "0:01.97"]
NUMBERS = [0, 19, 39, 59]
TURNS = [{"role": "user", "content": f"<video>{ASKED}"}, {"role": "assistant", "content": "a bar"}]
GPT = [{"from": "human", "value": f"<video>\n{ASKED}"}, {"from": "gpt", "value": "a bar"}]
LLAVA_VIDEO = [GPT[0] | {"value": f"<image>\n{ASKED}"}, GPT[1]]
REPLY = TURNS[1]
VIDEO_R1 = {"problem": ASKED, "data_type": "video", "problem_type": "free-form", "solution": "<answer>97</answer>",
            "options": [], "path": f"./{CLIP}"}  # fmt: skip
VERL = {"data_source": "d", "prompt": [{"role": "user", "content": f"<video>{ASKED}"}],
        "reward_model": {"style": "rule", "ground_truth": "97"}, "extra_info": {"index": 0}}  # fmt: skip


def parts(clip: dict[str, Any]) -> dict[str, Any]:
    """A turn of content parts, as of TRL and Qwen."""
    return {"role": "user", "content": [clip, {"type": "text", "text": ASKED, "video": None}]}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clip of a phone, a scan and a picture, as rows name them."""
    monkeypatch.chdir(tmp_path)
    Path("clips").mkdir()
    Path(CLIP).write_bytes(KINDS["turned"]().data)
    Path("scan.pdf").write_bytes(scanned(3))
    Path("damaged.mp4").write_bytes(Path(CLIP).read_bytes()[:300])
    Image.new("RGB", (56, 56), "red").save("red.png")
    return tmp_path


def rows_file(*rows: dict[str, Any], name: str = "rows.json") -> Path:
    text = json.dumps(rows) if name.endswith(".json") else "".join(f"{json.dumps(row)}\n" for row in rows)
    Path(name).write_text(text)
    return Path(name)


def converted(file: Path, *words: str, form: str = "batch") -> list[dict[str, Any]]:
    """The rows, whose pictures are named from the working folder; `virc data check` finds nothing wrong with them."""
    to = Path(f"{file.stem}-{form}")
    done = virc("data", "convert", file, "--to", to, "--format", form, "--workers", 1, *words)
    assert done.code == 0, done.err
    assert virc("data", "check", to, "--workers", 1).code == 0
    made = to / f"{file.stem}{'.jsonl' if form == 'batch' else '.json'}"
    rows = (
        [json.loads(line) for line in made.read_text().splitlines()]
        if form == "batch"
        else json.loads(made.read_text())
    )
    return [row | {"images": [str(to / name) for name in row.get("images", [row.get("image")])]} for row in rows]


def pictures(row: dict[str, Any]) -> list[int]:
    return [number_of(Image.open(name)) for name in row["images"]]


def lines(row: dict[str, Any]) -> list[str]:
    return [place["line"] if place else "" for place in row["image_places"]]


@each_case(
    ("row", "words", "name", "numbers", "times"),
    [
        (VIDEO_R1, [], "a.json", NUMBERS, FOUR),
        (VIDEO_R1, ["--frames", "2"], "b.jsonl", [0, 59], ["0:00", "0:01.97"]),
        (VERL | {"videos": [{"type": "video", "video": CLIP}]}, [], "c.jsonl", NUMBERS, FOUR),
        (VERL | {"videos": [{"video": CLIP, "nframes": 3}]}, [], "d.jsonl", [0, 29, 59],
         ["0:00", "0:00.99", "0:01.97"]),
        (VERL | {"videos": [{"video": CLIP, "fps": 1.0}]}, [], "e.jsonl", [0, 29, 59], ["0:00", "0:01", "0:02"]),
        (VERL | {"videos": [{"video": CLIP, "fps": 1.0}]}, ["--frames", "1"], "f.jsonl", [0], ["0:00"]),
        (VERL | {"videos": [{"video": CLIP, "nframes": 2, "video_start": 0.5, "video_end": 1.5}]}, [], "j.jsonl",
         [14, 44], ["0:00.5", "0:01.5"]),
        ({"id": "1", "video": CLIP, "start": 1, "end": 2, "question": ASKED, "answer": "97"}, ["--fps", "2"],
         "k.jsonl", [29, 44], ["0:01", "0:01.5"]),
        ({"messages": TURNS, "videos": [CLIP]}, [], "g.json", NUMBERS, FOUR),
        ({"conversations": GPT, "video": CLIP}, [], "h.json", NUMBERS, FOUR),
        ({"id": "1", "video": CLIP, "question": ASKED, "answer": "97"}, [], "i.jsonl", NUMBERS, FOUR),
        ({"conversations": LLAVA_VIDEO, "video": CLIP}, [], "l.json", NUMBERS, FOUR),
        ({"messages": [parts({"type": "video", "video": CLIP}), REPLY]}, [], "m.jsonl", NUMBERS, FOUR),
        ({"messages": [parts({"type": "video", "video": f"file://{CLIP}", "nframes": 2}), REPLY]}, [], "n.jsonl",
         [0, 59], ["0:00", "0:01.97"]),
        ({"messages": [parts({"type": "video", "text": None}), REPLY], "videos": [CLIP]}, [], "o.json", NUMBERS, FOUR),
        ({"messages": [parts({"type": "video_url", "video_url": {"url": CLIP}}), REPLY]}, [], "p.json", NUMBERS, FOUR),
        ({"messages": [{"role": "user", "content": f"<video>{CLIP}</video>{ASKED}"}, REPLY]}, [], "q.jsonl", NUMBERS,
         FOUR),
        (VERL | {"prompt": [parts({"type": "video", "video": CLIP})]}, [], "r.jsonl", NUMBERS, FOUR),
    ],
)  # fmt: skip
def test_published_layouts_give_the_frames_of_their_clips_with_their_times(
    row: dict[str, Any], words: list[str], name: str, numbers: list[int], times: list[str]
) -> None:
    (made,) = converted(rows_file(row, name=name), *words)
    assert (pictures(made), made["question"]) == (numbers, ASKED)
    assert lines(made) == [f"Frame {number} at {time}:" for number, time in enumerate(times, 1)]
    assert made["answer"] == ("a bar" if {"messages", "conversations"} & row.keys() else "97")


def test_the_bytes_of_a_clip_are_read_and_their_path_is_its_name_alone() -> None:
    """As `Video` of datasets 5 stores it."""
    video = {"bytes": Path(CLIP).read_bytes(), "path": "/elsewhere/bars.mp4"}
    parquet.write_table(
        pyarrow.table({"id": ["1"], "video": [video], "question": [ASKED], "answer": ["97"]}), "t.parquet"
    )
    (made,) = converted(Path("t.parquet"))
    assert (pictures(made), lines(made)[1]) == (NUMBERS, "Frame 2 at 0:00.66:")
    assert "bars" in made["images"][0]


def test_rows_on_parts_of_one_clip_are_on_one_side_of_a_split_and_are_found_on_both() -> None:
    Path("other.mp4").write_bytes(KINDS["two rates"]().data)
    Path("third.mp4").write_bytes(KINDS["B-frames"]().data)
    rows = [
        {"id": f"{clip} {at}", "video": {"video": clip, "at": at}, "question": ASKED, "answer": "97"}
        for clip in (CLIP, "other.mp4", "third.mp4")
        for at in (0.3, 0.9, 1.5)
    ]
    file = rows_file(*rows)
    for words in ((), ("--group-by", "video"), ("--group-by", "clip_path")):
        to = Path("".join(("split", *words)))
        done = virc("data", "convert", file, "--to", to, "--format", "batch", "--split", "val=0.4", *words)
        assert done.code == 0, done.err
        sides = [
            {json.loads(line)["image_places"][0]["source"] for line in each.read_text().splitlines()}
            for each in sorted(to.glob("*.jsonl"))
        ]
        assert [len(each) for each in sides] in ([1, 2], [2, 1])
        assert not sides[0] & sides[1]
    for name, chosen in (("one", rows[:1]), ("two", rows[1:4])):
        converted(rows_file(*chosen, name=f"{name}.jsonl"))
    found = virc("data", "check", "two-batch", "--against", "one-batch")
    assert "a clip or document of it is held out: one, row 1" in found.out + found.err


def test_rows_of_clips_name_no_folder_of_this_machine_and_find_their_clips_from_any_folder() -> None:
    row = {"id": "1", "video": CLIP, "question": ASKED, "answer": "97"}
    converted(rows_file(row, name="first.jsonl"))
    Path("deep").mkdir()
    for form in ("batch", "prompts"):
        protocol = () if form == "batch" else ("--protocol", "default")
        to = f"deep/{form}"
        done = virc("data", "convert", "first-batch/first.jsonl", "--to", to, "--format", form, *protocol)
        assert done.code == 0, done.err
    fields = json.loads(Path("deep/batch/first.jsonl").read_text())
    assert fields["image_media"][0]["path"] == f"../../{CLIP}"
    assert virc("push", "deep/batch", "me/rows", "--dry-run").code == 0
    record = record_of(parquet.read_table("deep/prompts/first.parquet").to_pylist()[0], Path("deep/prompts"))
    images = [
        show_input(open_file(each.read(), "it"), read_protocol(EMBEDDED_FOLDER / FILE_NAME), QWEN2)
        for each in record.images
    ]
    give_media(images, record.extra, record.folder)
    assert images[0].medium.source().resolve() == Path(CLIP).resolve()
    protocol = read_protocol(EMBEDDED_FOLDER / FILE_NAME)
    found = rl.check(preflight.request(
        RlRequest, source=only_source(Path("deep/prompts")), base=EMBEDDED_FOLDER, folder=Path("run"), home=Path("run"),
        chat_protocol=protocol, rollout="multi_turn", train_batch_size=1, reward=Reward("outcome"),
    ))  # fmt: skip
    of_run = record_of(parquet.read_table("run/train.parquet").to_pylist()[0], found.media)
    assert of_run.extra["image_media"][0]["path"] == str(Path(CLIP).resolve())


def test_turns_show_each_frame_behind_its_line() -> None:
    (row,) = converted(rows_file({"messages": TURNS, "videos": [CLIP]}), form="sft")
    shown = [f"Frame {number} at {time}:<image>" for number, time in enumerate(FOUR, 1)]
    assert row["messages"][0]["content"] == "\n".join([*shown, ASKED])


def test_each_clip_of_a_row_may_have_times_of_its_own() -> None:
    clips = [{"video": CLIP, "at": [0.5, 1]}, {"video": CLIP, "video_start": 1, "video_end": 2, "nframes": 2}]
    (row,) = converted(rows_file({"id": "1", "videos": clips, "question": ASKED, "answer": "1"}))
    assert [place["seconds"] for place in row["image_places"]] == [0.5, 1, 1, 2]


def test_a_reply_follows_the_lines_of_frames_of_its_system() -> None:
    Path("mine.yaml").write_text(
        "name: mine\nchat_protocol: {frame_line: 'At {seconds} s:', image_line: '', first: '{images}{question}'}\n"
        "rows: {told: {about: replies, question: asked, reply: told, images: images}}\n"
    )
    file = rows_file({"asked": ASKED, "told": "97", "video": CLIP})
    (row,) = converted(file, "--system", "./mine.yaml", "--frames", "2", form="sft")
    assert row["messages"][-2]["content"] == f"At 0 s:<image>\nAt 1.97 s:<image>{ASKED}"


def test_answers_are_learnt_from_what_solving_a_clip_shows() -> None:
    rows = rows_file({"id": "1", "video": CLIP, "question": ASKED, "answer": "97"}, name="learnt.jsonl")
    (row,) = converted(rows, "--answers", form="sft")
    with serve([answer("97")]) as server:
        assert virc("solve", CLIP, ASKED, "--endpoint", server.url).code == 0
        content = server.chats()[0]["messages"][1]["content"]
    told = "".join(part.get("text", "<image>") for part in content)
    shown, learnt = (text.partition("Question: ")[0].split() for text in (told, row["messages"][1]["content"]))
    assert shown == learnt


def test_a_first_view_of_32_frames_is_a_problem_of_a_batch_and_of_training() -> None:
    rows = rows_file({"id": "1", "video": CLIP, "question": ASKED, "answer": "97"}, name="many.jsonl")
    (row,) = converted(rows, "--frames", "32")
    assert len(row["images"]) == 32
    words = ("train", "tiny", "--stage", "rl", "--with", "multi-turn", "--from", "tiny", "--data", "many-batch")
    assert "images are too many" not in virc(*words, "--dry-run").err


def test_a_clip_of_several_rows_is_decoded_and_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    read = worker.Reader.pictures
    rows = [{"id": at, "video": CLIP, "question": f"{ASKED} {at}", "answer": "97"} for at in range(4)]
    monkeypatch.setattr(worker.Reader, "pictures", lambda *args: asked.append(args) or read(*args))
    made = converted(rows_file(*rows, name="q.jsonl"))
    assert [pictures(row) for row in made] == [NUMBERS] * 4
    assert (len(asked), len([*Path("q-batch").rglob("*.jpg")])) == (2, len(NUMBERS))  # pictures, and times of all
    assert sorted(each.name for each in Path("q-batch").iterdir()) == ["frames", "q.jsonl"]


def test_pages_frames_and_pictures_stand_in_one_file() -> None:
    rows = [
        {"id": "scan", "document": "scan.pdf", "question": ASKED, "answer": "1"},
        {"id": "picture", "image": "red.png", "question": ASKED, "answer": "2"},
        {
            "id": "both",
            "images": ["red.png"],
            "videos": [CLIP],
            "question": f"<image> or <video>? {ASKED}",
            "answer": "3",
        },
        {"id": "taken out", "videos": [["red.png", "red.png"]], "question": ASKED, "answer": "4"},
    ]
    scan, picture, both, taken_out = converted(rows_file(*rows, name="mixed.jsonl"), "--frames", "2")
    assert (pictures(scan), lines(scan)) == ([1, 2, 3], [f"Page {number} of 3:" for number in (1, 2, 3)])
    assert (pictures(picture), "image_places" in picture) == ([-1], False)
    assert (pictures(both), lines(both)) == (
        [-1, 0, 59], ["", "Clip 2, frame 1 at 0:00:", "Clip 2, frame 2 at 0:01.97:"]
    )  # fmt: skip
    assert (len(taken_out["images"]), "image_places" in taken_out) == (2, False)


def test_a_clip_behind_many_rows_of_pictures_is_shown() -> None:
    picture = VIDEO_R1 | {"data_type": "image", "path": "red.png"}
    *_, last = converted(rows_file(*[picture] * 30, VIDEO_R1, name="late.json"), "--frames", "4")
    assert (pictures(last), lines(last)[0]) == (NUMBERS, "Frame 1 at 0:00:")


def test_a_clip_behind_many_rows_of_pictures_is_shown_of_a_table() -> None:
    table = [f"red.png,{ASKED},1"] * 30 + [f"{CLIP},{ASKED},97"]
    Path("table.csv").write_text("\n".join(["path,question,answer", *table]) + "\n")
    assert pictures(converted(Path("table.csv"), "--frames", "4")[-1]) == NUMBERS


@each_case(
    ("option", "shown", "missing"),
    [
        ("--page", {"image": "red.png"}, "clips and documents, and no row names one"),
        ("--fps", {"image": "red.png"}, "clips and documents, and no row names one"),
        ("--frames", {"image": "red.png"}, "clips and documents, and no row names one"),
        ("--frames", {"document": "scan.pdf"}, "a clip, and there is none"),
        ("--frames", {"videos": [["red.png", "red.png"]]}, "a clip, and there is none"),
        ("--page", {"video": CLIP}, "a document or a picture, and there is none"),
    ],
)
def test_a_choice_of_parts_that_no_row_has_is_refused(option: str, shown: dict[str, Any], missing: str) -> None:
    file = rows_file({"id": 1, "question": ASKED, "answer": "1"} | shown, name="plain.jsonl")
    done = virc("data", "convert", file, "--to", "plain", "--format", "batch", option, 2)
    assert (done.code, Path("plain").exists()) == (2, False)
    assert f"{option} chooses in {missing}\nhint: leave {option} out" in done.err


@each_case("command", [("data", "check"), ("data", "show"), ("train", "tiny", "--stage", "rl", "--dry-run", "--data")])
def test_rows_that_name_clips_are_to_be_converted_first(command: tuple[str, ...]) -> None:
    done = virc(*command, rows_file(VIDEO_R1, name="named.json"))
    assert done.code == 5
    assert "named.json names clips or documents in its column path, which no engine opens\n" in done.err
    assert "named.json --to DIR --format batch, sft or prompts, writes their frames and pages as images" in done.err
    done = virc("batch", rows_file({"messages": TURNS, "videos": [CLIP]}, name="turns.json"))
    assert (done.code, "turns.json --to DIR --format batch writes their frames and pages as images" in done.err) == (
        2,
        True,
    )


def test_a_clip_behind_many_rows_of_pictures_is_to_be_converted_first() -> None:
    picture = {"id": 1, "image": "red.png", "question": ASKED, "answer": "1"}
    talk = {"messages": [{"role": "user", "content": f"<image>{ASKED}"}, TURNS[1]], "images": ["red.png"]}
    rows: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "late.jsonl": (picture, {"id": 2, "video": CLIP, "question": ASKED, "answer": "97"}),
        "turns.json": (talk, {"messages": TURNS, "videos": [CLIP]}),
        "r1.json": (VIDEO_R1 | {"data_type": "image", "path": "red.png"}, VIDEO_R1),
    }
    for name, (first, last) in rows.items():
        done = virc("data", "check", rows_file(*[first] * 25, last, name=name), "--workers", 1)
        assert (done.code, f"{name}:26: row: {name} names clips or documents in its column" in done.out) == (5, True)


@each_case("named", [{"video": "v_7", "images": ["red.png"]}, {"document": "A text about it.", "image": "red.png"},
                     {"path": "red.png"}, {"video": 7, "image": "red.png"}])  # fmt: skip
def test_other_columns_name_no_clips(named: dict[str, Any]) -> None:
    done = virc("data", "check", rows_file({"question": ASKED, "answer": "1"} | named, name="others.jsonl"))
    assert "no engine opens" not in done.err


def test_rewards_and_pages_of_rollouts_show_what_tools_did() -> None:
    protocol = with_tools(read_protocol(EMBEDDED_FOLDER / FILE_NAME), registry.schemas(["watch", "select_frames"]))
    row = {"id": "1", "videos": [CLIP], "images": ["red.png"], "question": ASKED, "answer": "97"}
    words = ("--to", "rl", "--format", "prompts", "--frames", "2", "--protocol", EMBEDDED_FOLDER / FILE_NAME)
    assert virc("data", "convert", rows_file(row, name="rl.jsonl"), *words, "--workers", 1).code == 0
    (fields,) = parquet.read_table("rl/rl.parquet").to_pylist()
    record = record_of(fields, Path("rl"))
    images = [show_input(open_file(each.read(), "it"), protocol) for each in record.images]
    record = placed_in(None, record)  # as a run has it
    give_media(images, record.extra)
    session = Session(protocol, ASKED, images, tools=registry.known())
    for reply in (call("watch", start=1, clip=1), call("select_frames", target_frames=[3], clip=1), answer("97")):
        assert not isinstance(session.feed(Reply(reply)), Rejected)
    trace = session.trace()
    samples, ended = samples_of(record, trace, protocol, QWEN2, 4)
    assert (ended, [number_of(each.pixels) for each in samples[-1].prompt.shown]) == ("answer", [0, 59, -1, 29, 29])
    looks = [region for _, region in crops(trace.images, [(56, 56)] * 3)]
    assert looked_at(looks), "a frame that was watched counts as a look"
    known = {"images": [f"rl/{each.name}" for each in record.images], "media": record.extra["image_media"]}
    rollout = Rollout(group="1", reward=1, values={}, tokens=9, trace=trace, **known)
    assert [number_of(each.pixels) for each in shown(rollout)[1]] == [0, 59, -1, 29, 29]
    for other in ({"path": str(Path("damaged.mp4").absolute())}, {"beginning": ""}):  # of whoever trains on the row
        give_media(images, record.extra | {"image_media": [record.extra["image_media"][0] | other, None]})
        with pytest.raises(DataError, match="is not the file that its row was made of"):
            Session(protocol, ASKED, images, tools=registry.known()).feed(Reply(call("watch", start=1, clip=1)))


@each_case(
    ("media", "sentence"),
    [
        ([], "its image_media has 0 files, and its question 1"),
        ([{"path": "a", "kind": "song", "name": "a", "facts": {}}], "its image_media has the kind 'song'"),
        ("a", "its image_media cannot be read"),
    ],
)
def test_files_that_are_not_those_of_the_question_are_refused(media: object, sentence: str) -> None:
    places = [{"source": "a", "index": 1, "line": "Frame 1:", "sha256": ""}]
    with pytest.raises(DataError, match=sentence):
        give_media([Shown(Image.new("RGB", (56, 56)))], {"image_places": places, "image_media": media})


def test_a_clip_that_cannot_be_read_costs_its_row_alone() -> None:
    rows = [
        {"id": at, "video": name, "question": ASKED, "answer": "1"} for at, name in enumerate(["damaged.mp4", CLIP])
    ]
    words = ("data", "convert", rows_file(*rows, name="some.jsonl"), "--to", "some", "--format", "batch")
    ended = virc(*words)
    assert (ended.code, Path("some").exists()) == (5, False)
    assert "row 1 of some.jsonl: damaged.mp4 is damaged" in ended.err
    skipped = virc(*words, "--skip-faulty")
    assert (skipped.code, len(Path("some/some.jsonl").read_text().splitlines())) == (0, 1)
    assert "row 1 of some.jsonl: damaged.mp4 is damaged" in skipped.err
    assert "2 rows read, 1 written, 1 left out" in skipped.err
    assert ".clips" not in skipped.err


@each_case(
    ("row", "sentence"),
    [
        ({"video": "../clip.mp4"}, "../clip.mp4 cannot be read"),
        ({"video": "https://a.example/a.mp4"}, "is on the network"),
        ({"video": "gone.mp4"}, "gone.mp4 cannot be read"),
        ({"videos": [{"fps": 2}]}, "it names no file of a clip"),
        (
            {"videos": [CLIP, CLIP], "question": "<video>?"},
            "its texts have 1 <video> marks, and it has 2 files for them",
        ),
        ({"videos": [{"video": CLIP, "fps": 100.0}]}, "over 128"),
        ({"video": CLIP, "start": 1, "end": 9}, "it has nothing at"),
        ({"video": CLIP, "start": 2, "end": 1}, "the part of its clip from 2 to 1 has no frames"),
        ({"video": CLIP, "start": 1, "end": 2, "answer": None}, "are a part of its clip, or the answer"),
    ],
)
def test_what_keeps_a_clip_from_being_read_is_said(row: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    file = rows_file({"id": 1, "question": ASKED, "answer": "1"} | row, name="odd.jsonl")
    done = virc("data", "convert", file, "--to", tmp_path / "o", "--format", "batch")
    assert done.code == 5
    assert "row 1 of odd.jsonl: " in done.err
    assert sentence in done.err


def test_rows_with_frames_are_answered_as_their_clip_is() -> None:
    rows = rows_file({"id": "1", "video": CLIP, "question": ASKED, "answer": "97"}, name="asked.jsonl")
    converted(rows)
    with serve([answer("97")] * 2) as server:
        for file in (rows, Path("asked-batch/asked.jsonl")):
            to = f"{file.parent.name}answers.jsonl"
            assert virc("batch", file, "--to", to, "--endpoint", server.url).code == 0
        of_clip, of_rows = (chat["messages"] for chat in server.chats())
    assert of_rows == of_clip
    said, again = (json.loads(Path(f"{name}answers.jsonl").read_text()) for name in ("", "asked-batch"))
    places = [each["place"] | {"frame": at} for each, at in zip(said["pictures"], NUMBERS, strict=True)]
    assert [each["place"] for each in again["pictures"]] == places


def test_a_clip_beside_pictures_is_not_left_out_without_a_word() -> None:
    row = {"id": "1", "image": "red.png", "video": CLIP, "question": ASKED, "answer": "97"}
    with serve([answer("97")]) as server:
        done = virc("batch", rows_file(row, name="both.jsonl"), "--to", "both", "--endpoint", server.url)
    assert (done.code, f"it has pictures, and the clip or document {CLIP}, of which nothing" in done.err) == (1, True)


def test_tools_look_into_the_clip_that_rows_were_made_of() -> None:
    converted(rows_file({"id": "1", "video": CLIP, "question": ASKED, "answer": "97"}, name="looks.jsonl"))
    file, replies = Path("looks-batch/looks.jsonl"), [call("watch", start=1), answer("97")]
    protocol = with_tools(read_protocol(EMBEDDED_FOLDER / FILE_NAME), registry.schemas(["watch"]))
    Path("watch.json").write_bytes(written(protocol))
    with serve([*replies, *replies, replies[0]]) as server:
        asked = ("--endpoint", server.url, "--protocol", "watch.json")
        assert virc("batch", file, "--to", "answers.jsonl", *asked).code == 0
        assert virc("eval", file, "--to", "evaluated", *asked).code == 0
        for chat in (server.chats()[1], server.chats()[3]):
            assert "Frame 5 at 0:01:" in str(chat["messages"][-1]["content"])
        Path(CLIP).write_bytes(KINDS["WebM"]().data)
        changed = virc("batch", file, "--to", "changed.jsonl", *asked)
    assert changed.code == 1
    assert "phone.mp4 is not the file that its row was made of" in changed.err


@each_case("places", [[None], "x", [{"line": "a"}]])
def test_places_that_are_not_those_of_the_pictures_are_refused(places: object, tmp_path: Path) -> None:
    row = {"id": "1", "images": ["red.png", "red.png"], "question": ASKED, "answer": "1", "image_places": places}
    file = rows_file(row, name="places.jsonl")
    done = virc("data", "convert", file, "--to", tmp_path / "o", "--format", "sft", "--answers")
    assert (done.code, "its image_places " in done.err) == (5, True)
