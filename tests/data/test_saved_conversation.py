"""`conversation.json`, one conversation as the published script and `virc solve --trace` save it, read as rows are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chat_protocols import ANSWER, CROP, OWN, SCALE, spoken
from support.called import virc

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


def test_the_question_of_the_sample_is_shown_as_it_was_asked(sample: Path) -> None:
    done = virc("data", "show", sample / "conversation.json", "--json")
    asked = json.loads((sample / "conversation.json").read_text())[0]["content"]
    assert done.json["question"] == asked.partition("Question: ")[2].partition("\n")[0]
    assert done.json["format"] == "conversation"
    assert [image["fault"] is not None for image in done.json["images"]] == [True] * 3
    checked = virc("data", "check", sample / "conversation.json", "--json")
    assert checked.code == 5, "images that are not there are not pretended to be"


def changed(change: Callable[[Messages], object]) -> Messages:
    """The messages after a change."""
    content = turns()
    change(content)
    return content


BROKEN = {
"several": ([turns(), turns()], "there are several conversations in it, and a file of this format holds one"),
"no role": (changed(lambda it: it[3].pop("role")), "message 4 has the role None"),
"no announcement after a tool": (
        changed(lambda it: it[2].update(content="Go on.")),
        "no turn after a tool announces the image with number and size",
    ),
"an image that is no text": (changed(lambda it: it[0].update(image=3)), "message 1 does not name its images"),
"cut off": (json.dumps(turns())[:-9], "message 6: the file ends within it"),
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
