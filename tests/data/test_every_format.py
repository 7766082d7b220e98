"""Records in every format and back, by fixed examples, and what is read off a record or a row of verl."""

import io
import json
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from data.converted import bare
from PIL import Image

from virc.core.errors import DataError, VircError
from virc.core.json_stream import MAX_DEPTH
from virc.data.formats import batch, conversation, pairs, prompts, published, rl, sft, trajectories
from virc.data.formats.registry import Row, Source, Writing
from virc.data.rows import verl as verl_rows
from virc.data.rows.pictures import PictureStore
from virc.data.rows.record import (
    MARK,
    Message,
    Picture,
    Record,
    answers_of,
    check_texts,
    choices_of,
    content_of,
    file_sizes_field,
    file_sizes_of,
    final_answer,
    has_reference,
    images_of,
    input_sizes,
    inputs_of,
    message_of,
    not_offered,
    system_of,
)


def shade(level: int) -> Picture:
    file = io.BytesIO()
    Image.new("RGB", (56, 56), (level, 0, 0)).save(file, "PNG")
    return Picture("", data=file.getvalue())


CROP = json.dumps({"name": "crop_image", "arguments": {"bbox_2d": [0, 0, 28, 28], "image_index": 0}})
CALL = f"<think>look</think><tool_call>{CROP}</tool_call>"
SYSTEM, USER = Message("system", "You look."), Message("user", f"{MARK}Image 0\n{MARK}How long is ∠A?")
LOOK, NEXT = Message("assistant", CALL), Message("user", f"{MARK}Go on.")
REPLY = Message("assistant", "<think>a</think><answer>5</answer>")
PICTURES = tuple(map(shade, (10, 20, 30)))
EXTRA = {"note": "é", "level": 2, "tags": ["a", None], "of": {"x": 1.5}}
WHOLE = Record((SYSTEM, USER, LOOK, NEXT, REPLY), PICTURES, 7, "How long is ∠A?", "5", EXTRA)
SHORT = Record((USER, REPLY), PICTURES[:2], "b", "How long is ∠A?", "6", {})
PAIR = msgspec.structs.replace(WHOLE, rejected="<think>b</think><answer>9</answer>", id="p")
PROBLEM = Record((), PICTURES[:2], "q", "Which?", "red", {"choices": ["red", "blue"]})
OPEN = msgspec.structs.replace(WHOLE, messages=WHOLE.messages[:2], images=PICTURES[:2], extra={"note": "x"})


def written(module: ModuleType, folder: Path, records: list[Record], embed: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    count = module.write(folder, "rows", records, Writing(PictureStore(folder), embed))
    (file,) = (each for each in folder.glob("rows.*") if each.is_file())
    assert count == sum(1 for _ in module.read(source(file, module)))
    return file


def source(file: Path, module: ModuleType) -> Source:
    return Source(file, module.NAME, file.stem, {})


@pytest.mark.parametrize("embed", [False, True])
@pytest.mark.parametrize(
    ("module", "records"),
    [
        (sft, [WHOLE, SHORT]), (trajectories, [WHOLE, SHORT]), (pairs, [PAIR]), (batch, [PROBLEM, PROBLEM]),
        (prompts, [OPEN]), (sft, []), (trajectories, []),
    ],
    ids=lambda value: value.NAME if isinstance(value, ModuleType) else str(len(value)),
)  # fmt: skip
def test_records_come_back(module: ModuleType, records: list[Record], embed: bool, tmp_path: Path) -> None:
    if embed and module is not prompts:
        return
    file = written(module, tmp_path, records, embed)
    rows = [*module.read(source(file, module))]
    assert [row.number for row in rows] == [*range(1, len(records) + 1)]
    assert [row.record and bare(row.record) for row in rows] == records
    assert [row.number for row in module.read(source(file, module), 2)] == [*range(2, len(records) + 1)]
    assert not records or module.recognises(file)
    if module is not prompts:
        assert not module.recognises(file.rename(file.with_suffix(".txt")))


def test_units_come_back_as_they_were_split(tmp_path: Path) -> None:
    file = written(rl, tmp_path, [WHOLE, SHORT])
    rows = [row for row in rl.read(source(file, rl)) if row.record]
    units = [bare(row.record) for row in rows if row.record]
    assert units == [unit for each in (WHOLE, SHORT) for unit in rl.split(each)]
    tool = {"name": "crop_image"}
    sizes = [(len(each.messages), len(each.images), each.extra["turn"]) for each in units]
    assert sizes == [(3, 2, 0), (5, 3, 1), (2, 2, 0)]
    assert [each.extra["tool_info_gt"] for each in units] == [tool, None, None]
    merged = [row.record for row in rl.merged(iter(rows), rl.continued(rows))]
    assert [each and bare(each) for each in merged] == [WHOLE, SHORT]
    backwards = [row.record for row in rl.merged(reversed(rows), rl.continued(rows[::-1]))]
    assert [each and bare(each) for each in backwards] == [SHORT, WHOLE]


OTHER_LOOK = Message("assistant", CALL.replace("look", "kool"))


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, 1), ({"id": 8}, 2), ({"id": "7"}, 2), ({"messages": (SYSTEM, USER, OTHER_LOOK)}, 2),
        ({"images": (PICTURES[0], shade(99))}, 2),
        ({"images": (PICTURES[0], msgspec.structs.replace(PICTURES[1], name="b.png"))}, 2),
        ({"messages": (Message("system", "You Look."), USER, LOOK)}, 2),
    ],
    ids=["same", "id", "kind of id", "reply", "picture", "name", "system"],
)  # fmt: skip
def test_a_unit_goes_on_from_one_with_the_same_id_texts_and_pictures(change: dict[str, Any], kept: int) -> None:
    first, last = rl.split(WHOLE)
    rows = [Row(1, msgspec.structs.replace(first, **change)), Row(2, last)]
    assert len([*rl.merged(rows, rl.continued(rows))]) == kept


def test_published_units_lack_the_last_and_are_cut_there() -> None:
    """A row without its reference is known up to the reply that the next row has."""
    units = [msgspec.structs.replace(each, messages=each.messages[:-1]) for each in rl.split(WHOLE)]
    rows = [Row(at, each) for at, each in enumerate(units, 1)]
    fault = Row(9, fault=DataError("no"))
    (kept, passed) = rl.merged([*rows, fault], rl.continued(rows))
    assert (passed.number, kept.number) == (9, 2)
    assert kept.record
    assert (kept.record.messages, kept.record.extra) == (WHOLE.messages[:-1], EXTRA)
    assert rl.is_cut(kept.record)
    answered = rl.answered(kept.record)
    assert (answered.messages, answered.images) == (WHOLE.messages[:3], WHOLE.images[:2])
    assert rl.answered(WHOLE) is WHOLE
    with_tool = rl.whole(Row(1, msgspec.structs.replace(units[0], extra={"turn": 0, "tool_info_gt": {"name": "x"}})))
    assert with_tool.record
    assert with_tool.record.extra == {"tool_info_gt": {"name": "x"}}


@pytest.mark.parametrize(
    ("module", "record", "says", "hint"),
    [
        *((module, {"extra": {"x": float("nan")}}, "row 7 cannot be JSON: ", None) for module in (sft, trajectories)),
        (batch, {"extra": {"x": float("nan")}}, "row 7 cannot be JSON: ", None),
        (batch, {"question": None}, "the question of row 7 is not known, only the chat protocol around it",
         "name the chat protocol: --protocol virc_protocol.json"),
        (batch, {"question": " "}, "row 7 is no row of a batch: ", None),
        (sft, {"messages": (), "id": None}, "a row without an id has no trajectory, only a problem",
         "virc data sample makes trajectories"),
        *((pairs, without, "row 7 has no rejected reply", "virc data sample FILE --pairs RULE makes pairs")
          for without in ({}, {"messages": (), "rejected": "9"})),
        (published, {}, "rows are not written in the format published", "--format sft, pairs, batch or prompts"),
    ],
    ids=str,
)  # fmt: skip
def test_a_row_that_cannot_be_written_is_named(
    module: ModuleType, record: dict[str, Any], says: str, hint: str | None, tmp_path: Path
) -> None:
    with pytest.raises(VircError) as refused:
        module.write(tmp_path, "rows", [msgspec.structs.replace(WHOLE, **record)], Writing(PictureStore(tmp_path)))
    assert refused.value.message.startswith(says)
    assert refused.value.hint == hint


def test_an_entry_names_columns_and_roles_in_its_own_words() -> None:
    tags = {"role_tag": "who", "content_tag": "says", "user_tag": "U", "assistant_tag": "A"}
    entry = {"formatting": "openai", "columns": {"messages": "m", "images": "i", "system": "s"}, "tags": tags}
    assert sft.columns_of(entry) == sft.Columns("m", "who", "says", {"U": "user", "A": "assistant"}, "i", "s")
    usual = sft.columns_of({"formatting": "sharegpt"})
    assert (usual.messages, usual.role, usual.images) == ("conversations", "from", None)
    assert usual.roles == {"human": "user", "gpt": "assistant", "system": "system"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"messages": ()}, "has no conversation"), ({"messages": (SYSTEM,)}, "has no conversation"),
        ({"messages": (USER, USER)}, "has roles that do not alternate"),
        ({"messages": (REPLY,)}, "has roles that do not alternate"),
        ({"messages": (USER, Message("assistant", ""))}, "has an empty reply"),
        ({"messages": (USER, Message("assistant", f"a{MARK}"))}, "has a reply with an image mark"),
        ({"images": PICTURES[:1]}, "has 2 image marks and 1 images"),
        ({"question": None}, "has no question apart from its conversation"),
        ({"answer": None, "messages": (USER,)}, "has no answer"),
        ({"messages": (Message("user", f"{MARK}{MARK}<video>"), REPLY)}, "message 1 holds <video>"),
        ({"question": "<|image_pad|>"}, "its question holds <|image_pad|>"),
    ],
)  # fmt: skip
def test_what_no_unit_can_be_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError) as refused:
        rl.complete(msgspec.structs.replace(SHORT, **change))
    assert says in refused.value.message


def test_the_answer_of_a_unit_is_its_own_else_its_reply_else_its_boxes() -> None:
    bare_of = {"answer": None, "extra": {"boxes": [[0, 0, 5, 5]]}}
    assert rl.complete(SHORT).answer == "6"
    assert rl.complete(msgspec.structs.replace(SHORT, **bare_of)).answer == "5"
    looked = rl.complete(msgspec.structs.replace(SHORT, messages=(USER,), **bare_of)).answer
    assert json.loads(looked or "") == [[0, 0, 5, 5]]
    assert rl.complete(msgspec.structs.replace(SHORT, extra={"boxes": [[0, 0, 5, 5]]})).answer == "6"


def test_a_reply_in_another_form_names_no_tool() -> None:
    (unit,) = rl.split(msgspec.structs.replace(SHORT, messages=(USER, Message("assistant", "It is 6."))))
    assert unit.extra == {"turn": 0, "tool_info_gt": None}


def test_a_picture_within_a_row_has_a_name_that_any_program_reads_or_none(tmp_path: Path) -> None:
    names = ("", "/of/this/machine/\ud800.png")
    images = tuple(msgspec.structs.replace(each, name=name) for each, name in zip(PICTURES, names, strict=False))
    file = written(prompts, tmp_path, [msgspec.structs.replace(OPEN, images=images)], embed=True)
    (row,) = pq.read_table(file).to_pylist()
    assert row["images"] == [
        {"bytes": image.data, "path": path} for image, path in zip(images, (None, "?.png"), strict=True)
    ]


def test_one_conversation_comes_back_without_what_its_format_has_not(tmp_path: Path) -> None:
    moved = Message("user", f"{MARK * 2}Image 0\nHow long is ∠A?")
    one = msgspec.structs.replace(WHOLE, messages=(SYSTEM, moved, LOOK, NEXT, REPLY))
    file = written(conversation, tmp_path, [one])
    saved = json.loads(file.read_text())
    assert [(turn["role"], "image" in turn, len(turn.get("images", ()))) for turn in saved] == [
        ("system", False, 0), ("user", True, 2), ("assistant", False, 0), ("user", True, 0), ("assistant", False, 0),
    ]  # fmt: skip
    assert saved[1]["image"] == saved[1]["images"][0] != saved[3]["image"]
    assert "∠" in file.read_text()
    (row,) = conversation.read(source(file, conversation))
    assert row.record
    assert bare(row.record) == Record(one.messages, PICTURES)
    assert [*conversation.read(source(file, conversation), 2)] == []
    with pytest.raises(DataError, match="message 2 of row 7 shows an image within its text"):
        written(conversation, tmp_path / "within", [WHOLE])
    with pytest.raises(DataError, match="there are several rows, and a file of this format holds one"):
        written(conversation, tmp_path / "two", [one, one])
    with pytest.raises(DataError, match="row 'q' has no trajectory, only a problem"):
        written(conversation, tmp_path / "none", [PROBLEM])


@pytest.mark.parametrize(
    ("read", "found"),
    [
        (images_of, [[], [0, 1], [], [2], []]), (inputs_of, [0, 1]), (system_of, "You look."), (final_answer, "5"),
        (answers_of, ["5"]), (choices_of, []), (not_offered, None), (has_reference, True), (file_sizes_of, None),
    ],
)  # fmt: skip
def test_what_a_whole_record_shows(read: Callable[[Record], Any], found: Any) -> None:
    assert read(WHOLE) == found


def of(**fields: Any) -> Record:
    return msgspec.structs.replace(WHOLE, **fields)


def test_what_other_records_show() -> None:
    assert inputs_of(PROBLEM) == [0, 1]
    assert (of(id=0).called, of(id="").called, of(id=None).called) == ("row 0", "row ''", "a row without an id")
    assert inputs_of(of(messages=(SYSTEM, REPLY))) == []
    assert inputs_of(of(messages=(SYSTEM, Message("assistant", f"See {MARK}."), USER))) == [1, 2]
    assert (system_of(PROBLEM), system_of(SHORT)) == ("", "")
    assert [final_answer(of(messages=messages)) for messages in ((), (USER,), (USER, Message("assistant", "5")))] == [
        None
    ] * 3
    assert answers_of(of(answer=None, extra={"answers": ["a", 5, "a"]})) == ["a", "5"]
    assert answers_of(of(extra={"answers": ["a", "5"]})) == ["5", "a"]
    assert answers_of(of(extra={"answers": "a"})) == ["5"]
    assert (choices_of(of(extra={"choices": [1, "b"]})), choices_of(of(extra={"choices": "ab"}))) == (["1", "b"], [])
    assert not_offered(PROBLEM) is None
    assert not_offered(msgspec.structs.replace(PROBLEM, answer="green")) == "its answer 'green' is none of its choices"
    assert not_offered(msgspec.structs.replace(PROBLEM, answer=None)) is None
    # the number of the turn says whether the last reply is the prompt's or the reference
    assert [has_reference(of(extra={"turn": turn})) for turn in (0, 1, 2)] == [True, True, False]
    assert not has_reference(OPEN)
    for sizes in ([[9, 8]], [[9, 8], [0, 1]], [[9, 8], [1.5, 1]], "x", [[9, 8], [10**6, 10**6]], [[9, 8], [1]]):
        assert file_sizes_of(of(extra={"file_sizes": sizes})) is None
    known = of(extra={"file_sizes": [[9, 8], [1, 1]]})
    assert (file_sizes_of(known), input_sizes(known, [(2, 2)] * 3)) == ([(9, 8), (1, 1)], [(9, 8), (1, 1)])
    assert input_sizes(WHOLE, [(2, 2), None, (3, 3)]) == [(2, 2), None]
    assert input_sizes(WHOLE, [(2, 2)]) == [(2, 2)]
    with pytest.raises(DataError, match="its rejected reply holds <image_pad>"):
        check_texts(of(rejected="<image_pad>"))
    check_texts(of(rejected="<img> [img] </image>"))


@pytest.mark.parametrize(
    "content", ["How?", f"{MARK}How?", f"{MARK}{MARK}", f"a{MARK}b{MARK}", f"a{MARK}{MARK}b", MARK]
)
def test_a_message_is_the_same_with_marks_and_with_places(content: str) -> None:
    found = message_of(Message("user", content), [*range(5, 5 + content.count(MARK))])
    assert (found.role, found.text, found.images) == (
        "user",
        content.replace(MARK, ""),
        tuple(range(5, 5 + content.count(MARK))),
    )
    assert content_of(found) == content
    fewer = message_of(Message("user", content), [5][: content.count(MARK)])
    assert content_of(fewer).count(MARK) == len(fewer.images) == min(content.count(MARK), 1)


@pytest.mark.parametrize(
    ("sizes", "crops", "found"),
    [
        ([((9, 8), (9, 8))], "file", None), ([((9, 8), (4, 4))], "shown", None), ([((9, 8), (4, 4))], "file", [(9, 8)]),
        ([((9, 8), (4, 4)), ((5, 5), (5, 5)), (None, (2, 2))], "file", [(9, 8), (5, 5)]), ([], "file", None),
    ],
)  # fmt: skip
def test_sizes_of_files_are_kept_where_crops_are_cut_from_larger_ones(sizes: Any, crops: str, found: Any) -> None:
    images: Any = [SimpleNamespace(original=original, size=size) for original, size in sizes]
    protocol: Any = SimpleNamespace(crops=crops)
    assert file_sizes_field(images, protocol) == ({"file_sizes": found} if found else {})


def test_a_picture_on_the_network_has_no_path(tmp_path: Path) -> None:
    for name in ("http://a/b.png", "HTTPS://a/b.png"):
        assert Picture(name).on_network
        assert not Picture(name, data=b"x").on_network
        with pytest.raises(OSError, match="it is on the network, not in a file"):
            Picture(name).path()
    assert not Picture("httpx/b.png").on_network
    assert (
        Picture("a.png", tmp_path).path() == Picture(f"file://{tmp_path}/a.png", tmp_path).path() == tmp_path / "a.png"
    )
    for name in ("../a.png", "/etc/a.png", f"file://{tmp_path.parent}/a.png"):
        with pytest.raises(OSError, match="it is outside the dataset's folder"):
            Picture(name, tmp_path).path()
    assert Picture("../a.png", tmp_path, confined=False).path() == tmp_path.parent / "a.png"
    with pytest.raises(OSError, match="no file can have that name"):
        Picture("a\0.png", tmp_path).path()


ROW = {
    "prompt": [{"role": "user", "content": "<image>Q"}], "images": [{"bytes": b"x", "path": "a.png"}],
    "reward_model": {"style": "rule", "ground_truth": "5"}, "data_source": "theirs",
    "extra_info": {"index": 3, "question": "Q", "prompt": [{"role": "user", "content": "<image>Q"}]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "flaws"),
    [
        ({}, []), ({"prompt": "[]"}, ["prompt is no list", "extra_info.prompt is not the prompt"]),
        ({"images": "a.png"}, ["images is no list"]),
        ({"images": None}, ["prompt has image marks, and images is empty"]),
        ({"images": []}, ["prompt has image marks, and images is empty"]),
        ({"images": [5]}, ["an image is neither an object nor a name"]),
        ({"images": [{"path": "a"}]}, ["an image has a path, but neither bytes nor image"]),
        ({"images": ["a.png", {"image": "b"}]}, []), ({"reward_model": "{}"}, ["reward_model is text, not an object"]),
        ({"extra_info": "{}"}, ["extra_info is text, not an object"]),
        ({"data_source": ""}, ["there is no data_source"]), ({"extra_info": {"prompt": None}}, []),
        ({"extra_info": {"prompt": []}}, ["extra_info.prompt is not the prompt"]),
    ],
)  # fmt: skip
def test_what_verl_stops_at_in_a_row_is_said(change: dict[str, Any], flaws: list[str]) -> None:
    found = verl_rows.flaws_of(ROW | change)
    assert len(found) == len(flaws)
    assert all(one.startswith(other) for one, other in zip(found, flaws, strict=True)), found


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"prompt": [], "extra_info": {}}, "prompt is empty"), ({"prompt": "{"}, "prompt is not JSON: "),
        ({"prompt": "{}"}, "prompt is not a list"),
        ({"prompt": [{"role": "tool", "content": ""}]}, "prompt is not a list of messages"),
        ({"images": [{}]}, "image 0 is neither a file's name nor its bytes"),
        ({"images": ["a", 5]}, "image 1 is neither a file's name"), ({"extra_info": 5}, "extra_info is not an object"),
        ({"extra_info": {"id": 1.5}}, "extra_info.id is neither text nor a whole number"),
        ({"extra_info": {"id": True}}, "extra_info.id is neither text nor a whole number"),
        ({"reward_model": {"ground_truth": reduce(lambda inner, _: [inner], range(MAX_DEPTH + 2), [])}},
         "it is nested too deeply"),
        ({"extra_info": {"id": "x", "id_is_int": True}}, "extra_info.id is not the whole number that it claims to be"),
        ({"extra_info": {"question": 5}}, "extra_info.question is not text"),
        ({"extra_info": {"reference": 5}}, "extra_info.reference is not text"),
    ],
)  # fmt: skip
def test_a_row_of_verl_that_cannot_be_read_says_why(change: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError) as refused:
        verl_rows.record_of(ROW | change, Path())
    assert refused.value.message.startswith(says)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"id": "7", "id_is_int": True}, {"id": 7}), ({"id": "7"}, {"id": "7"}), ({"id": 7}, {"id": 7}),
        ({"reference": "so"}, {"messages": (Message("user", "<image>Q"), Message("assistant", "so")), "turn": 0}),
        ({"reference": "", "turn": 4}, {"messages": (Message("user", "<image>Q"),), "turn": 4}),
        ({"turn": "4"}, {"turn": 0}), ({"tool_info_gt": {"name": "x", "more": 1}}, {"tool": {"name": "x", "more": 1}}),
        ({"tool_info_gt": '"x"'}, {"tool": {"name": "x"}}), ({"tool_info_gt": " x "}, {"tool": {"name": "x"}}),
        ({"tool_info_gt": {"name": ""}}, {"tool": None}), ({"tool_info_gt": '{"name": "x"}'}, {"tool": {"name": "x"}}),
    ],
)  # fmt: skip
def test_a_row_of_verl_is_read_by_its_fields(info: dict[str, Any], expected: dict[str, Any]) -> None:
    found = verl_rows.record_of(ROW | {"extra_info": info}, Path())
    read = {
        "id": found.id,
        "messages": found.messages,
        "turn": found.extra["turn"],
        "tool": found.extra["tool_info_gt"],
    }
    assert {name: read[name] for name in expected} == expected
    assert (found.answer, found.images) == ("5", (Picture("a.png", data=b"x"),))


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ("5", "5"),
        (None, None),
        (5, "5"),
        ({"a": float("nan")}, '{"a": null}'),
        (["é", b"x"], '["é"]'),
        ({"a": b"x", "b": 1}, '{"b": 1}'),
    ],
)
def test_any_right_answer_of_verl_is_a_text(answer: Any, read: str | None) -> None:
    assert verl_rows.record_of(ROW | {"reward_model": {"ground_truth": answer}}, Path()).answer == read
