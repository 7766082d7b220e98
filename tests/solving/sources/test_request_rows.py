"""Files for OpenAI's batch API as rows of `virc batch`."""

import json
from pathlib import Path
from typing import Any

from support.tables import each_case

from virc.core.events import Event, Reporter
from virc.solving.sources.row_files import open_rows

URL = "data:image/png;base64,iVBORw0KGgo="
PICTURE = {"type": "image_url", "image_url": {"url": URL}}
TEXT = {"type": "text", "text": "How large is A?"}


def request(content: Any, *before: dict[str, Any], **fields: Any) -> dict[str, Any]:
    body = {"model": "m", "messages": [*before, {"role": "user", "content": content}], **fields}
    return {"custom_id": "r-1", "method": "POST", "url": "/v1/chat/completions", "body": body}


def row_of(line: dict[str, Any], folder: Path) -> Any:
    file = folder / "batch.jsonl"
    file.write_text(json.dumps(line) + "\n")
    with open_rows(str(file)) as rows:
        (row,) = rows.rows
    return row


@each_case(
    ("line", "images", "question"),
    [
        (request([PICTURE, TEXT]), (URL,), "<image>\nHow large is A?"),
        (request([TEXT, PICTURE]), (URL,), "How large is A?\n<image>"),
        (request([TEXT]), (), "How large is A?"),
        (request("How large is A?"), (), "How large is A?"),
        (request([TEXT], {"role": "system", "content": "Be brief."}), (), "Be brief.\nHow large is A?"),
        (request([PICTURE, TEXT, PICTURE]), (URL, URL), "<image>\nHow large is A?\n<image>"),
        ({"custom_id": "r-1", "body": {"input": "How large is A?"}}, (), "How large is A?"),
        (
            {
                "custom_id": "r-1",
                "body": {
                    "instructions": "Be brief.",
                    "input": [{"role": "user", "content": [{"type": "input_image", "image_url": URL}]}],
                },
            },
            (URL,),
            "Be brief.\n<image>",
        ),
    ],
)
def test_a_request_is_a_row(line: dict[str, Any], images: tuple[str, ...], question: str, tmp_path: Path) -> None:
    row = row_of(line, tmp_path)
    assert (row.fault, row.id, row.images, row.question) == (None, "r-1", images, question)


def asked(content: Any, *after: Any, **columns: Any) -> dict[str, Any]:
    return {"id": "r-1", "messages": [{"role": "user", "content": content}, *after], **columns}


@each_case(
    ("line", "images", "question"),
    [
        (asked([PICTURE, TEXT]), (URL,), "<image>\nHow large is A?"),
        (asked([{"type": "image", "image": "a.png"}, TEXT], answer="7"), ("a.png",), "<image>\nHow large is A?"),
        (asked([{"type": "image"}, TEXT], images=["a.png"]), ("a.png",), "<image>\nHow large is A?"),
        (asked("How large is A?", image="a.png", choices=["7", "8"]), ("a.png",), "How large is A? Choices: 7 8"),
        (asked("Before.", query="How large is A?", image="a.png"), ("a.png",), "How large is A?"),
        (asked("How large is A?", {"role": "assistant", "content": "7"}, answer="7"), (), "How large is A?"),
    ],
)
def test_messages_are_the_question_of_a_row_without_one(line: Any, images: Any, question: str, tmp_path: Path) -> None:
    row = row_of(line, tmp_path)
    assert (row.fault, row.id, row.images, row.question) == (None, "r-1", images, question)
    assert row.passed.get("answer") == line.get("answer")


@each_case(
    ("line", "said"),
    [
        (request(TEXT, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}), "several turns"),
        (request([{"type": "input_audio", "input_audio": {}}]), "'input_audio' is neither text nor a picture"),
        (request([{"type": "input_image", "file_id": "f"}]), "'input_image' is neither"),
        ({"custom_id": "r-1", "body": {"prompt": "a"}}, "has no messages"),
        ({**request(TEXT), "url": "/v1/embeddings"}, "'/v1/embeddings' is not of a question"),
        (asked([PICTURE, TEXT], images=["b.png"]), "other pictures than its images"),
        ({**asked(TEXT), "messages": [{"role": "user", "tool_calls": [1]}]}, "nothing reads tool_calls"),
    ],
)
def test_what_is_no_single_question_is_a_fault_of_its_row(line: dict[str, Any], said: str, tmp_path: Path) -> None:
    row = row_of(line, tmp_path)
    assert (said in str(row.fault), row.id) == (True, "r-1")


def test_fields_of_the_bodies_that_are_not_used_are_noted_once(tmp_path: Path) -> None:
    file, events = tmp_path / "batch.jsonl", list[Event]()
    lines = [request([TEXT], max_tokens=9), request([TEXT], max_tokens=8), request([TEXT], seed=1)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with open_rows(str(file), report=Reporter(events.append)) as rows:
        assert (rows.count(), len(list(rows.rows))) == (3, 3)
    assert [event.text for event in events] == [
        "the requests are asked without 'model', 'max_tokens' of their bodies; --model, --max-tokens and --temperature "
        "set those of all rows",
        "the requests are asked without 'seed' of their bodies",
    ]
