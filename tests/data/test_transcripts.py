"""Conversations that call tools of others: each layout is read into LLaMA-Factory's, or refused with one sentence."""

import json
from pathlib import Path
from typing import Any

import pytest
from support import row_files
from support.called import Done, virc

from virc.data.rows.laid_out import message_of

TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"properties": {"at": {"type": "integer"}}}}}]
ASKED: dict[str, Any] = {"role": "user", "content": "<image>Which number?"}
TOLD: dict[str, Any] = {"role": "assistant", "content": "It is 12."}
CALL = {"name": "look", "arguments": {"at": 1}}
CALLED, TWO, TWO_RESULTS = json.dumps(CALL), json.dumps([CALL, CALL]), "12\n</tool_response>\n<tool_response>\n<image>"
OURS = ("role", "content")
IN_TEXT = f"<tool_call>\n{CALLED}\n</tool_call>"


def calls(*made: dict[str, Any], text: object = None) -> dict[str, Any]:
    return {"role": "assistant", "content": text, "tool_calls": [*made]}


def call(id: str | None = "c", arguments: object = '{"at": 1}', **more: object) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": "look", "arguments": arguments}, **more}


def result(id: str | None = "c", content: object = "12", **more: object) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content, **more}


def said(*turns: tuple[str, str], keys: tuple[str, str] = ("from", "value")) -> list[dict[str, Any]]:
    return [dict(zip(keys, turn, strict=True)) for turn in turns]


def converted(folder: Path, row: dict[str, Any], *words: str) -> Done:
    for number, name in enumerate("ab"):
        (folder / f"{name}.png").write_bytes(row_files.png(number))
    (folder / "rows.jsonl").write_text(2 * (json.dumps({"tools": TOOLS, "images": ["a.png"], **row}) + "\n"))
    return virc("data", "convert", folder / "rows.jsonl", "--to", folder / "out", "--workers", 1, *words)


PART = [{"type": "image_url", "image_url": {"url": "b.png"}}]
PARTS = {"role": "user", "content": [{"type": "image", "image": "a.png"}, {"type": "text", "text": "Which number?"}]}
THOUGHT, FRAMED = "<think>\nHm.\n</think>\n", "<tool_response>\n12\n</tool_response>"
READ: dict[str, tuple[dict[str, Any], list[str]]] = {
    "OpenAI": ({"messages": [ASKED, calls(call()), result(name="look"), TOLD]}, [CALLED, "12"]),
    "beside text": ({"messages": [ASKED, calls(call(), text="Hm."), result(), TOLD]},
                    [f"Hm.\n<tool_call>{CALLED}</tool_call>", "12"]),
    "TRL": ({"messages": [ASKED, calls(call(None, {"at": 1, "to": None})), result(None), TOLD]}, [CALLED, "12"]),
    "no arguments": ({"messages": [ASKED, calls(call(arguments=""))]}, ['{"name": "look", "arguments": {}}']),
    "a mark": ({"messages": [ASKED, calls(call(arguments='{"at": "</tool_call>"}')), result(), TOLD]},
               [r'{"name": "look", "arguments": {"at": "\u003c/tool_call>"}}', "12"]),
    "parts": ({"messages": [PARTS, calls(call("1"), call("2")), result("1"), result("2", PART), TOLD], "images": None},
              [TWO, TWO_RESULTS]),
    "ms-swift": ({"messages": [ASKED, *said(("assistant", THOUGHT), ("tool_call", CALLED), ("tool_call", CALLED),
                                            ("tool_response", "12"), ("tool_response", "<image>"), keys=OURS), TOLD],
                  "images": ["a.png", "b.png"], "tools": json.dumps(TOOLS)},
                 [f"{THOUGHT}<tool_call>{TWO}</tool_call>", TWO_RESULTS]),
    "LLaMA-Factory": ({"conversations": said(("human", "<image>?"), ("function_call", CALLED), ("observation", "12"),
                                             ("gpt", "It is 12.")), "tools": f'[{json.dumps(TOOLS[0]["function"])}]'},
                      [CALLED, "12"]),
    "Hermes": ({"conversations": said(("human", "<image>?"), ("gpt", IN_TEXT), ("tool", FRAMED), ("gpt", "It is 12."))},
               [CALLED, "12"]),
}  # fmt: skip


@pytest.mark.parametrize(("row", "texts"), READ.values(), ids=READ)
def test_every_layout_becomes_that_of_llamafactory(tmp_path: Path, row: dict[str, Any], texts: list[str]) -> None:
    assert converted(tmp_path, row, "--format", "sft").code == 0
    first = json.loads((tmp_path / "out" / "rows.json").read_text())[0]
    turns = [(each["role"], each["content"]) for each in first["messages"][1:]]
    assert (
        turns == [*zip(("function_call", "observation"), texts, strict=False), ("assistant", "It is 12.")][: len(turns)]
    )
    assert json.loads(first["tools"]) == TOOLS
    entry = json.loads((tmp_path / "out" / "dataset_info.json").read_text())["rows"]
    assert (entry["columns"]["tools"], entry["tags"]["function_tag"]) == ("tools", "function_call")
    assert virc("data", "check", tmp_path / "out").code == 0


WRONG: dict[str, list[dict[str, Any]]] = {
    "message 3 (2, 1) does not answer the calls before it (look 1, look 2), in order": [
        ASKED, calls(call("1"), call("2")), result("2"), result("1"), TOLD],
    "message 3 (1) does not answer": [ASKED, calls(call("1"), call("2")), result("1"), TOLD],
    "message 3 (find c) does not answer": [ASKED, calls(call()), result(name="find"), TOLD],
    "message 3 (assistant) does not answer": [ASKED, calls(call()), TOLD],
    "nothing reads its tools": [{"role": "system", "content": "<tools></tools>"}, ASKED, TOLD],
    "message 2 (c) does not answer": [ASKED, result(), TOLD],
    "an object of arguments: look(1)": [ASKED, *said(("tool_call", "look(1)"), ("tool", "12"), keys=OURS), TOLD],
    "has <tool_call> in its text": [ASKED, calls(call(), text="<tool_call>"), result(), TOLD],
    "it has l twice, with two values": [
        ASKED, calls({"function": {"name": "look", "arguments": '{"l": 1, "l": 2}'}}), TOLD],
    "it ends with the result of a tool": [ASKED, calls(call()), result()],
    "Out of range float": [ASKED, calls({"function": {"name": "look", "arguments": '{"l": 1e999}'}}), TOLD],
    "but function_call, which nothing reads": [ASKED, {"role": "assistant", "content": None, "function_call": CALL}],
}  # fmt: skip


@pytest.mark.parametrize("sentence", WRONG)
def test_what_does_not_belong_together_is_refused(tmp_path: Path, sentence: str) -> None:
    done = converted(tmp_path, {"messages": WRONG[sentence]}, "--format", "sft")
    assert (done.code, sentence in done.err) == (5, True)


def test_other_formats_keep_the_question_or_refuse(tmp_path: Path) -> None:
    for words in (("prompts",), ("rl",), ("sft", "--system", "qwen3-vl")):
        assert (
            "calls of tools are not written in a chat" in converted(tmp_path, READ["OpenAI"][0], "--format", *words).err
        )
    assert converted(tmp_path, READ["OpenAI"][0], "--format", "batch").code == 0
    problem = json.loads((tmp_path / "out" / "rows.jsonl").read_text().splitlines()[0])
    assert problem == {"id": "rows-1", "image": "a.png", "question": "Which number?", "answer": "It is 12."}


def test_a_call_of_a_table_is_shown_with_its_result(tmp_path: Path) -> None:
    row = {"messages": READ["TRL"][0]["messages"], "images": [row_files.embedded(0)], "tools": TOOLS}
    other = {**row, "messages": [{"role": "system", "content": "Look."}, *row["messages"]]}
    row_files.parquet(tmp_path / "rows.parquet", [row, other])
    assert virc("data", "check", tmp_path / "rows.parquet").code == 0  # though their system messages differ
    said = virc("data", "show", tmp_path / "rows.parquet").out
    assert f"turn 1     {CALLED}\n           result: 12\n\nturn 2\n           answer: It is 12." in said


def test_a_text_that_became_a_number_in_a_column_of_texts_and_parts_is_a_text() -> None:
    """datasets 5.2.0 stores the text "4" of such a column as the number."""
    contents = [message_of({"role": "assistant", "content": content}, 1).content for content in (4, 1.5, True)]
    assert contents == ["4", "1.5", "true"]


def test_tools_of_a_row_are_left_out_by_their_name(tmp_path: Path) -> None:
    row = {"messages": [{"role": "system", "content": "<tools></tools>"}, ASKED, TOLD], "tools": json.dumps(TOOLS)}
    done = converted(tmp_path, row, "--format", "sft", "--ignore", "tools")
    assert (done.code, "tools" in json.loads((tmp_path / "out/rows.json").read_text())[0]) == (0, False), done.err
