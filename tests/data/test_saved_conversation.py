"""`conversation.json`, one conversation as the published script and `virc solve --trace` save it, read as rows are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chat_protocols import ANSWER, CROP, OWN, SCALE, reworded, spoken, trained
from data.converted import records
from PIL import Image
from support.called import virc
from support.servers import serve

from virc.core.json_stream import MAX_ROW_BYTES
from virc.data.formats.registry import recognised
from virc.data.protocol.extract import NO_SYSTEM
from virc.models.chat_protocol import read_protocol
from virc.reasoning.protocol import Protocol
from virc.tools.registry import DEFAULT

Messages = list[dict[str, Any]]


def saved(folder: Path, content: object, name: str = "conversation.json") -> Path:
    file = folder / name
    text = content if isinstance(content, str) else json.dumps(content)
    file.write_text(text, encoding="utf-8")
    return file


def turns(replies: tuple[str, ...] = (CROP, SCALE, ANSWER), inputs: int = 1, system: bool = False) -> Messages:
    """A conversation in our own chat protocol as it is saved."""
    found: Messages = []
    shown = 0
    for message in spoken(OWN, "How long?", replies, inputs).messages:
        count = message.content.count("<image>")
        names = [f"image-{shown + at}.png" for at in range(count)]
        shown += count
        turn: dict[str, Any] = {"role": message.role, "content": message.content.replace("<image>", "")}
        turn |= {"image": names[0]} if names else {}
        turn |= {"images": names} if count > 1 else {}
        found += [turn] if system or message.role != "system" else []
    return found


def protocol_of(file: Path, *words: object) -> Protocol:
    to = file.parent / "found.json"
    done = virc("data", "protocol", file, "--to", to, *words)
    assert done.code == 0, done.err
    return read_protocol(to)


def test_the_published_sample_gives_its_templates_and_says_that_its_system_message_is_missing(
    sample: Path, tmp_path: Path
) -> None:
    done = virc("data", "protocol", sample / "conversation.json", "--json")
    assert done.code == 0, done.err
    said = json.loads((sample / "conversation.json").read_text())
    line = "Image {index}: {width} x {height}."
    tail = said[0]["content"].partition("\n\n")[2]
    found = done.json["protocol"]
    assert found["first"] == f"{{images}}\nQuestion: {{question}}\n\n{tail}"
    assert found["image_line"] == line
    assert found["after_image"] == said[2]["content"].replace("Image 1: 336 x 252.", line)
    assert (found["system"], found["tools"]) == ("", list(DEFAULT))
    assert (done.json["rows"], done.json["units"], done.json["calls"]) == (1, 3, {"crop_image": 2})
    assert done.json["notes"][0] == NO_SYSTEM
    warning, hint = done.err.partition(f"warning: {NO_SYSTEM}\n")[1:]
    assert warning
    assert hint.startswith("hint: --system-message FILE adds it; ")
    assert "virc download ViRC-7B" in hint.splitlines()[0]


def test_the_question_of_the_sample_is_shown_as_it_was_asked(sample: Path) -> None:
    done = virc("data", "show", sample / "conversation.json", "--json")
    asked = json.loads((sample / "conversation.json").read_text())[0]["content"]
    assert done.json["question"] == asked.partition("Question: ")[2].partition("\n")[0]
    assert done.json["format"] == "conversation"
    assert [image["fault"] is not None for image in done.json["images"]] == [True] * 3
    checked = virc("data", "check", sample / "conversation.json", "--json")
    assert checked.code == 5, "images that are not there are not pretended to be"


def test_a_solution_in_the_protocol_found_is_the_conversation_it_was_found_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "config.yaml"))
    told = turns()
    (tmp_path / "system.txt").write_text(OWN.system + "\n")
    found = protocol_of(saved(tmp_path, told), "--system-message", tmp_path / "system.txt")
    assert found == trained()
    Image.new("RGB", (168, 112), "white").save(tmp_path / "picture.png")
    words = ("--trace", tmp_path / "trace", "--protocol", tmp_path / "found.json")
    with serve([turn["content"] for turn in told[1::2]]) as server:
        done = virc("solve", tmp_path / "picture.png", "How long?", "--endpoint", server.url, *words)
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "trace" / "conversation.json").read_text()) == told
    assert virc("data", "check", tmp_path / "trace" / "conversation.json").code == 0


def test_a_system_message_in_the_file_is_used(tmp_path: Path) -> None:
    file = saved(tmp_path, turns(system=True))
    assert protocol_of(file) == trained()
    assert NO_SYSTEM not in virc("data", "protocol", file).err
    (tmp_path / "other.txt").write_text(OWN.system.replace("You answer", "You solve"))
    done = virc("data", "protocol", file, "--system-message", tmp_path / "other.txt")
    assert done.code == 5
    assert "row 1: its system message is not the one that was given" in done.err


def test_rows_of_the_other_formats_take_the_system_message_too_and_are_refused_without(tmp_path: Path) -> None:
    content = [{**turn, "content": "<image>" * ("image" in turn) + turn["content"]} for turn in turns()]
    row = {"messages": content, "images": [f"image-{at}.png" for at in range(3)]}
    file = saved(tmp_path, [row], "rows.json")
    done = virc("data", "protocol", file)
    assert (done.code, "row 1: it has no system message" in done.err) == (5, True)
    (tmp_path / "system.txt").write_text(OWN.system)
    assert protocol_of(file, "--system-message", tmp_path / "system.txt") == trained()


def test_a_system_message_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    file = saved(tmp_path, turns())
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "text").write_text("You have no tools.")
    for name, code, said in (
        ("none", 3, "cannot read the system message"),
        ("bytes", 3, "cannot read the system message"),
        ("text", 5, "the system message lists no tools inside <tools></tools>"),
    ):
        done = virc("data", "protocol", file, "--system-message", tmp_path / name)
        assert (done.code, said in done.err) == (code, True), done.err


def test_tools_that_are_called_are_offered_beside_the_usual_ones(tmp_path: Path) -> None:
    last = CROP.replace("crop_image", "zoom_image")
    found = protocol_of(saved(tmp_path, [*turns((CROP,)), {"role": "assistant", "content": last}]))
    assert found.tools == (*DEFAULT, "zoom_image")
    strange = last.replace("zoom_image", "tilt_image")
    found = protocol_of(saved(tmp_path, [*turns((CROP,)), {"role": "assistant", "content": strange}]))
    assert found.tools == DEFAULT


def test_the_unit_of_boxes_is_what_the_caller_the_system_message_or_the_boxes_say(tmp_path: Path) -> None:
    wide = reworded(spoken(OWN, "How long?", (CROP, ANSWER)), 2, "[0, 0, 84, 56]", "[0, 0, 500, 900]")
    content = turns((CROP, ANSWER))
    file = saved(tmp_path, content)
    assert virc("data", "protocol", file).err.count("coordinates: pixel (not known from the rows") == 1
    assert protocol_of(file, "--coordinates", "permille").coordinates == "permille"
    content[1]["content"] = wide.messages[2].content
    file = saved(tmp_path, content)
    assert virc("data", "protocol", file).err.count("coordinates: permille (as more boxes fit so)") == 1
    (tmp_path / "system.txt").write_text(OWN.system)
    assert protocol_of(file, "--system-message", tmp_path / "system.txt").coordinates == "pixel"


def test_a_conversation_becomes_rows_and_rows_a_conversation(tmp_path: Path) -> None:
    content = turns(inputs=2, system=True)
    for at, image in enumerate(spoken(OWN, "How long?", (CROP, SCALE, ANSWER), 2).images):
        (tmp_path / f"image-{at}.png").write_bytes(image.read())
    file = saved(tmp_path, content)
    assert virc("data", "check", file).code == 0
    rows, again = tmp_path / "rows", tmp_path / "again"
    assert virc("data", "convert", file, "--format", "sft", "--to", rows).code == 0
    assert records(rows)["conversation"] == records(file)["conversation"]
    done = virc("data", "convert", rows, "--format", "conversation", "--to", again)
    assert done.code == 0, done.err
    assert json.loads((again / "conversation.json").read_text()) == content
    text = (rows / "conversation.json").read_text()
    saved(rows, [*json.loads(text), *json.loads(text)])
    done = virc("data", "convert", rows, "--format", "conversation", "--to", tmp_path / "two")
    assert (done.code, (tmp_path / "two").exists()) == (5, False)
    assert "there are several rows, and a file of this format holds one" in done.err
    words = ("--format", "conversation", "--to", tmp_path / "one", "--limit", "1")
    assert virc("data", "convert", rows, *words).code == 0


def changed(change: Callable[[Messages], object]) -> Messages:
    """The messages after a change."""
    content = turns()
    change(content)
    return content


BROKEN = {
    "several": ([turns(), turns()], "there are several conversations in it, and a file of this format holds one"),
    "one after the other": (turns() + turns(), "it continues after its answer"),
    "a role of another API": (
        changed(lambda it: it[2].update(role="tool", image=None)),
        "message 3 has the role 'tool', not one of user, assistant, system",
    ),
    "two users": (changed(lambda it: it.pop(1)), "its turns do not alternate between user and assistant"),
    "no role": (changed(lambda it: it[3].pop("role")), "message 4 has the role None"),
    "no text": (changed(lambda it: it[1].pop("content")), "message 2 has no text as content"),
    "parts for text": (changed(lambda it: it[0].update(content=[{"text": "x"}])), "message 1 has no text as content"),
    "no announcement": (
        changed(lambda it: it[0].update(content="Question: How long?\n\nThink.")),
        "no first user turn announces its image with its number, width and height",
    ),
    "no announcement after a tool": (
        changed(lambda it: it[2].update(content="Go on.")),
        "no turn after a tool announces the image with number and size",
    ),
    "no image": (changed(lambda it: it[0].pop("image")), "its first user turn shows no image"),
    "no image after a tool": (changed(lambda it: it[2].pop("image")), "message 3 shows 0 images"),
    "an image of the model": (changed(lambda it: it[1].update(image="x.png")), "message 2 shows an image"),
    "an image that is no text": (changed(lambda it: it[0].update(image=3)), "message 1 does not name its images"),
    "marks": (changed(lambda it: it[0].update(content="<image>Image 0")), "message 1 has <image> in its text"),
    "no turn": (turns(system=True)[:1], "it has no conversation"),
    "a list in it": ([*turns(), []], "message 7: it is a list, not an object"),
    "cut off": (json.dumps(turns())[:-9], "message 6: the file ends within it"),
    "more behind it": (json.dumps(turns()) + "[]", "there is more behind the end of the array"),
    "NaN": ('[{"role": "user", "content": "x", "image": NaN}]', "it contains NaN"),
    "deep": (
        '[{"role": "user", "content": "x"}, {"x": ' + "[" * 5000 + "]" * 5000 + "}]",
        "message 2: it is nested too deeply",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_conversation_is_one_sentence(tmp_path: Path, case: str) -> None:
    content, said = BROKEN[case]
    done = virc("data", "protocol", saved(tmp_path, content))
    assert done.code == 5
    assert done.out == ""
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert said in errors[0], done.err
    assert "Traceback" not in done.err


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    file = saved(tmp_path, turns())
    with file.open("ab") as out:
        out.truncate(MAX_ROW_BYTES + 1)
    done = virc("data", "protocol", file)
    assert (done.code, "it is over 64 MiB" in done.err) == (5, True)


@pytest.mark.parametrize(
    ("name", "text", "format"),
    [
        ("a.json", '[{"role": "user", "content": "x", "images": ["a.png"]}]', "conversation"),
        ("a.json", '\ufeff\n[\n [ {"role": "user"}]]', "conversation"),
        ("a.json", '[{"messages": [{"role": "user"}], "role": "a teacher"}]', "sft"),
        ("a.json", '[{"dialog": [{"who": "me"}], "role": "a teacher"}]', "sft"),
        ("a.json", '[{"role": 1}]', "sft"),
        ("a.json", "[]", "sft"),
        ("a.json", "[[1]]", None),
        ("a.jsonl", '{"role": "user", "content": "x"}', None),
    ],
)  # fmt: skip
def test_saved_conversations_are_told_from_rows(tmp_path: Path, name: str, text: str, format: str | None) -> None:
    assert recognised(saved(tmp_path, text, name)) == format
