"""What an agent gets from each tool of the MCP server, by the official client."""

import asyncio
import io
import json
import re
import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
from mcp import Client
from mcp.types import CallToolResult
from mcp_server import QUESTION, Failures, are_same, called, noise, pixels, refused, talk, tool_calls
from PIL import Image
from support.faults import status
from support.servers import MODEL, Body, dead_url, image_bytes, images_of, serve
from support.solving import CROP, answer, call

from virc_extras.mcp.messages import RESULT, TOOLS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A readable folder with a picture."""
    inside = tmp_path / "pictures"
    inside.mkdir()
    noise(inside / "noise.png", (300, 200))
    return inside


DRAFTS = (jsonschema.Draft202012Validator, jsonschema.Draft7Validator)
"""What the protocol says, and what hosts by the TypeScript SDK read."""


def structured(result: CallToolResult) -> dict[str, Any]:
    """The fields of a result, which fit the schema that the tool published, and stand in its text too."""
    assert not result.is_error, result.content
    fields = result.structured_content
    assert isinstance(fields, dict)
    assert json.loads(result.content[-1].text) == fields  # type: ignore[union-attr]
    return fields


def test_tools_are_listed_with_valid_schemas() -> None:
    listed = talk(tool_calls(), lambda client: client.list_tools()).tools
    assert [tool.name for tool in listed] == list(TOOLS)
    for tool in listed:
        for each in (tool.input_schema, tool.output_schema):
            for draft in DRAFTS:
                draft.check_schema(each)
            assert each["type"] == "object"
            assert "additionalProperties" not in str(each)
            assert str(each).count("'enum'") == str(each).count("'type': 'string', 'enum'")
        assert tool.description
        assert tool.annotations
        assert (tool.annotations.read_only_hint, tool.annotations.destructive_hint) == (True, False)
        assert tool.annotations.open_world_hint is (tool.name not in ("evaluate", "trace"))  # these fetch nothing
        assert all("description" in field or "$ref" in field for field in tool.input_schema["properties"].values())


@pytest.mark.parametrize(
    ("box", "unit", "pixel_box"),
    [
        ([10, 20, 110, 140], "pixel", (10, 20, 110, 140)),
        ([0.1, 0.25, 0.5, 0.5], "fraction", (30, 50, 150, 100)),
        ([0, 0, 500, 1000], "thousand", (0, 0, 150, 200)),
        ([0, 0, 999, 999], "permille", (0, 0, 300, 200)),
    ],
)
def test_a_crop_has_the_exact_pixels_of_the_file(
    folder: Path, box: list[float], unit: str, pixel_box: tuple[int, int, int, int]
) -> None:
    result = called(tool_calls([folder]), "crop", image="noise.png", box=box, unit=unit)
    fields = structured(result)
    assert (tuple(fields["box"]), fields["exact"], fields["clamped"]) == (pixel_box, True, False)
    assert are_same(pixels(result.content[0]), Image.open(folder / "noise.png").convert("RGB").crop(pixel_box))


def test_pictures_go_to_the_named_model_server_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect, reached = socket.socket.connect, set[Any]()

    def connect_and_note(own: socket.socket, address: Any) -> None:
        reached.add(address)
        connect(own, address)

    async def work(client: Client) -> None:
        asked = structured(await client.call_tool("ask", {"image": "noise.png", "question": QUESTION}))
        for tool, words in (
            ("show", {}), ("crop", {"box": [0, 0, 9, 9]}), ("scale", {"factor": 2}),
            ("trace", {"trace_id": asked["trace_id"]}), ("evaluate", {"answer": "97", "reference": "97"}),
        ):  # fmt: skip
            picture = {} if tool in ("trace", "evaluate") else {"image": "noise.png"}
            structured(await client.call_tool(tool, picture | words))

    monkeypatch.setattr(socket.socket, "connect", connect_and_note)
    with serve([CROP, answer("97")]) as server:
        talk(tool_calls([folder], server.url), work)
    assert reached == {(urlsplit(server.url).hostname, urlsplit(server.url).port)}


@pytest.mark.integration
def test_a_result_with_its_pictures_has_no_more_characters_than_a_client_takes(tmp_path: Path) -> None:
    most = 30_000
    picture, small = noise(tmp_path / "a.png", (700, 560)), [0, 0, 10, 10]
    picture.save(tmp_path / "a.png")
    whole = call("crop_image", bbox_2d=[0, 0, 644, 532], image_index=0)

    async def work(client: Client) -> list[CallToolResult]:
        asked = await client.call_tool("ask", {"image": "a.png", "question": QUESTION, "max_side": 8192})
        calls: dict[str, dict[str, Any]] = {
            "show": {"image": "a.png", "max_side": 8192}, "crop": {"image": "a.png", "box": small},
            "scale": {"image": "a.png", "factor": 2, "max_side": 8192},
            "trace": {"trace_id": structured(asked)["trace_id"], "max_side": 8192},
        }  # fmt: skip
        return [asked, *[await client.call_tool(name, words) for name, words in calls.items()]]

    with serve([whole, CROP, whole, answer("97")]) as server:
        asked, shown, cropped, scaled, traced = talk(tool_calls([tmp_path], server.url, most=most), work)
    for result in (asked, shown, cropped, scaled, traced):
        assert len(result.model_dump_json(by_alias=True)) <= most
    for result in (shown, scaled):
        assert f"1 of 1 picture shrunk to fit into {most:,} characters" in result.content[-2].text
        assert structured(result)["exact"] is False
    assert structured(shown)["width"] == 700
    assert (structured(cropped)["exact"], [part.type for part in cropped.content]) == (True, ["image", "text"])
    assert [look["exact"] for look in structured(asked)["looks"]] == [False, True, False]
    for result in (asked, shown, scaled, traced):
        assert len(result.model_dump_json(by_alias=True)) > 0.8 * most
    assert "2 of 3 pictures shrunk" in traced.content[-2].text
    assert 900_000 < RESULT < 2**20  # what Claude Desktop takes
    assert sum(part.type == "image" for part in traced.content) == 3


@pytest.mark.parametrize(
    ("arguments", "verdict", "by"),
    [
        ({"answer": "The answer is 73°.", "reference": "73"}, "right", "rule"),
        ({"answer": "74", "reference": "73", "tolerance": 0.05}, "right", "rule"),
        ({"answer": "B", "reference": "102", "choices": ["97", "102"]}, "right", "rule"),
        ({"answer": "a red car", "reference": "a blue car"}, "undecided", None),
        ({"answer": "2(x+1)", "reference": "2x+3"}, "wrong", "algebra"),
    ],
)  # fmt: skip
def test_evaluate_says_right_wrong_or_undecided(arguments: dict[str, Any], verdict: str, by: str | None) -> None:
    fields = structured(called(tool_calls(), "evaluate", **arguments))
    assert (fields["verdict"], fields["by"]) == (verdict, by)
    assert fields["reason"]
    assert ("the words differ" in fields["reason"]) is (verdict == "undecided")


def test_ask_gives_the_answer_crops_and_progress(folder: Path) -> None:
    lines: list[str] = []

    async def progress(_: float, __: float | None, line: str | None) -> None:
        lines.append(str(line))

    async def work(client: Client) -> tuple[CallToolResult, CallToolResult, CallToolResult]:
        arguments = {"image": "noise.png", "question": QUESTION}
        asked = await client.call_tool("ask", arguments, progress_callback=progress)
        look = structured(asked)["looks"][0]
        again = await client.call_tool("crop", {"image": look["source_id"], "box": look["box"]})
        return asked, again, await client.call_tool("trace", {"trace_id": structured(asked)["trace_id"]})

    with serve([CROP, answer("97")]) as server:
        asked, again, trace = talk(tool_calls([folder], server.url), work)
    fields = structured(asked)
    assert (fields["answer"], fields["turns"], fields["confidence"]) == ("97", 2, None)
    assert [part.type for part in asked.content] == ["text", "text", "image", "text"]
    assert asked.content[0].text == "97"
    assert lines[:2] == ["loading the model", "the model reads the picture"]
    assert (lines[2][:8], lines[2].count("crop"), lines[3:]) == ("turn 1: ", 1, ["turn 2: answer"])
    assert (fields["model"], len(fields["image_ids"])) == (MODEL, 1)
    assert structured(again)["box"] == fields["looks"][0]["box"]
    steps = structured(trace)
    assert (steps["question"], [step["answer"] for step in steps["steps"]]) == (QUESTION, [None, "97"])
    (looked_at,) = [part for part in trace.content if part.type == "image"]
    assert are_same(pixels(looked_at), pixels(asked.content[2]))
    said = [part.text for part in trace.content if part.type == "text"]
    assert "answer: 97" in said
    assert "answer: None" not in said


def test_boxes_of_looks_are_pixels_of_what_was_cut(folder: Path) -> None:
    """Of the file where that is a picture of the question, which is larger than it was shown; else of the crop."""
    Image.new("RGB", (400, 200), "white").save(folder / "small.png")
    Image.new("RGB", (3000, 100), "white").save(folder / "large.png")  # shown as 2996 x 112
    shown: list[tuple[int, int]] = []

    def turns(body: Body) -> str:
        shown[:] = [Image.open(io.BytesIO(image_bytes(each))).size for each in images_of(body)]
        if len(shown) == 4:
            return answer("97")
        index = len(shown) - 1  # of the large picture, then of the crop
        width, height = shown[index]
        return call("crop_image", bbox_2d=[width * 3 // 4, height // 2, width, height], image_index=index)

    arguments = {"image": "small.png", "more_images": ["large.png"], "question": QUESTION}
    with serve(turns) as server:
        result = structured(called(tool_calls([folder], server.url), "ask", **arguments))
    (small, large), (first, second) = result["image_ids"], result["looks"]
    assert max(shown[1]) < 3000
    assert [each["source_id"] for each in (first, second)] == [large, first["image_id"]]
    assert small not in (first["source_id"], second["source_id"])
    assert first["box"] == pytest.approx([2250, 50, 3000, 100], abs=4)
    width, height = shown[2]
    assert second["box"] == pytest.approx([width * 3 / 4, height / 2, width, height], abs=1)


@pytest.mark.parametrize("frank", [True, False])
def test_a_model_that_cannot_be_reached_is_a_tool_error(folder: Path, frank: bool) -> None:
    arguments = {"image": "noise.png", "question": QUESTION}
    url = dead_url()
    trouble = Failures()
    result = talk(tool_calls([folder], url), lambda client: client.call_tool("ask", arguments), trouble, frank)
    assert result.is_error
    assert (url in result.content[0].text) is frank
    assert len(trouble) == 1


def test_a_fault_of_ours_is_told_by_its_kind_alone() -> None:
    async def fails(*_: object) -> None:
        raise RuntimeError("secret")

    behind: Any = SimpleNamespace(call=fails, close=lambda: None)
    result = talk(behind, lambda client: client.call_tool("show", {"image": "a"}), trouble := Failures())
    assert (result.is_error, result.content[0].text) == (True, "internal: RuntimeError")
    assert [str(each) for each in trouble] == ["secret"]


def test_a_cancelled_question_stops_the_model(folder: Path) -> None:
    asked, go, turns = threading.Event(), threading.Event(), []

    def turn(body: dict[str, Any]) -> str:
        turns.append(body)
        asked.set()
        go.wait(60)
        return CROP

    async def work(client: Client) -> CallToolResult:
        with suppress(TimeoutError):
            async with asyncio.timeout(60):
                asking = asyncio.create_task(client.call_tool("ask", {"image": "noise.png", "question": QUESTION}))
                await asyncio.to_thread(asked.wait, 60)
                asking.cancel()
                with suppress(asyncio.CancelledError):
                    await asking
                while behind._model._waiting:  # that is noticed
                    await asyncio.sleep(0.01)
                go.set()
                while behind._model._turns.locked():  # the problem is left
                    await asyncio.sleep(0.01)
        return await client.call_tool("show", {"image": "noise.png"})

    with serve(turn) as server:
        behind = tool_calls([folder], server.url)
        behind._model._at_once = 1
        shown = talk(behind, work)
    assert not shown.is_error
    assert len(turns) == 1


def test_errors_name_arguments_of_the_tool_and_no_option_of_the_server(folder: Path) -> None:
    """Neither its client nor the model that reads the error can set those."""
    with serve(fault=status(401, "no such key")) as server:
        of_key = refused(tool_calls([folder], server.url), "ask", image="noise.png", question=QUESTION)
    assert "wants a key" in of_key or "refuses the key" in of_key
    of_network = refused(tool_calls([folder], offline=True), "show", image="https://example.org/x.png")
    of_argument = refused(tool_calls([folder]), "ask", image="noise.png", question=QUESTION, samples=99)
    assert "samples" in of_argument
    for told in (of_key, of_network, of_argument):
        assert not re.search("--|VIRC_|«", told), told
