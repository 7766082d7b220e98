"""What an agent gets from each tool of the MCP server, by the official client."""

import asyncio
import base64
import io
import json
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jsonschema
import pytest
from mcp import Client
from mcp.types import CallToolResult
from mcp_server import QUESTION, Failures, are_same, called, in_base64, noise, pixels, refused, talk, tool_calls
from msgspec.structs import replace
from PIL import Image
from support.faults import status
from support.servers import MODEL, Body, dead_url, image_bytes, images_of, serve
from support.solving import CROP, answer, call

from virc.core.errors import DataError, SetupError
from virc.reasoning.encoded import as_png
from virc.reasoning.session import Unit
from virc.serving.agent.request_queue import LeftError
from virc.serving.mcp import asking, calls, server
from virc.serving.mcp.messages import RESULT, TOOLS, schema
from virc.serving.mcp.pictures import Readable, file_of, given, in_reply, smaller
from virc.serving.mcp.result_store import ResultStore
from virc.solving import one


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


def test_a_box_that_leaves_the_picture_is_cut_at_its_edge(folder: Path) -> None:
    fields = structured(called(tool_calls([folder]), "crop", image="noise.png", box=[250, -9, 350, 150]))
    assert (fields["box"], fields["clamped"], fields["width"], fields["height"]) == ([250, 0, 300, 150], True, 50, 150)


def test_formulas_are_undecided_where_algebra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise SetupError("math-verify is missing")

    monkeypatch.setattr("virc.serving.mcp.calls.Symbolic", missing)
    fields = structured(called(tool_calls(), "evaluate", answer="2(x+1)", reference="2x+3"))
    assert (fields["verdict"], fields["by"]) == ("undecided", None)
    assert fields["reason"].startswith("only algebra could tell, which the server lacks")
    closed = list[bool]()
    known = SimpleNamespace(same=lambda *_: True, close=lambda: closed.append(True))
    monkeypatch.setattr("virc.serving.mcp.calls.Symbolic", lambda: known)
    fields = structured(called(tool_calls(), "evaluate", answer="2(x+1)", reference="2x+3"))
    assert (fields["verdict"], fields["by"], closed) == ("right", "algebra", [True])  # its process ends with ours


def test_a_large_picture_is_shrunk_in_the_reply_only(tmp_path: Path) -> None:
    whole = noise(tmp_path / "large.png", (3000, 400))

    async def work(client: Client) -> tuple[CallToolResult, CallToolResult]:
        shown = await client.call_tool("show", {"image": "large.png", "max_side": 600})
        words = {"image": structured(shown)["image_id"], "box": [2000, 100, 2200, 300]}
        small = await client.call_tool("crop", {**words, "max_side": 50})
        assert (pixels(small.content[0]).size, structured(small)["exact"]) == ((50, 50), False)
        return shown, await client.call_tool("crop", words)

    shown, cut = talk(tool_calls([tmp_path]), work)
    assert pixels(shown.content[0]).size == (600, 80)
    assert (structured(shown)["width"], structured(shown)["exact"]) == (3000, False)
    assert are_same(pixels(cut.content[0]), whole.crop((2000, 100, 2200, 300)))


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


@pytest.mark.parametrize("noise_share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("most", [3_000, 20_000, 200_000])
def test_a_shrunk_picture_fills_the_bytes_that_it_may_have(most: int, noise_share: float) -> None:
    plain, rough = Image.linear_gradient("L").resize((1200, 900)), Image.effect_noise((1200, 900), 80)
    file = smaller(as_png(Image.blend(plain, rough, noise_share).convert("RGB")), most)
    is_whole = Image.open(io.BytesIO(file.data)).size == (1200, 900)
    assert is_whole or 0.8 * most <= len(file.data)
    assert len(file.data) <= most


def test_a_shrunk_picture_fits_also_where_the_last_try_did_not() -> None:
    for side in (19, 20):
        noisy = Image.frombytes("RGB", (side, side), random.Random(side).randbytes(3 * side**2))
        whole = len(smaller(as_png(noisy), 2**20).data)
        for most in range(3 * whole // 4, 9 * whole // 10, 9):
            assert len(smaller(as_png(noisy), most).data) <= most


def test_a_result_for_which_there_is_no_room_is_refused(tmp_path: Path) -> None:
    noise(tmp_path / "a.png", (900, 900))
    assert refused(tool_calls([tmp_path], most=1500), "show", image="a.png") == (
        "the result does not fit into 1,500 characters (virc mcp --max-result N)"
    )


def test_structured_content_may_be_left_out_beside_pictures(folder: Path) -> None:
    async def work(client: Client) -> tuple[Any, ...]:
        listed = (await client.list_tools()).tools
        shown = await client.call_tool("show", {"image": "noise.png"})
        return listed, shown, await client.call_tool("evaluate", {"answer": "1", "reference": "1"})

    listed, shown, evaluated = talk(tool_calls([folder]), work, structured=False)
    assert [tool.name for tool in listed if tool.output_schema] == ["evaluate"]
    assert shown.structured_content is None
    assert json.loads(shown.content[-1].text)["width"] == 300
    assert structured(evaluated)["verdict"] == "right"


def test_a_picture_comes_as_base64_data_url_path_or_kept(folder: Path) -> None:
    path, content = folder / "noise.png", in_base64(folder / "noise.png")

    async def work(client: Client) -> list[CallToolResult]:
        first = await client.call_tool("show", {"image": "noise.png"})
        sources = [str(path), content, f"data:image/png;base64,{content}", structured(first)["image_id"]]
        return [await client.call_tool("show", {"image": each}) for each in sources]

    for result in talk(tool_calls([folder]), work):
        assert structured(result)["width"] == 300
        assert are_same(pixels(result.content[0]), Image.open(path).convert("RGB"))


def test_results_fit_their_schemas_in_old_and_new_drafts(folder: Path) -> None:
    async def work(client: Client) -> dict[str, CallToolResult]:
        asked = await client.call_tool("ask", {"image": "noise.png", "question": QUESTION})
        calls: dict[str, dict[str, Any]] = {
            "crop": {"image": "noise.png", "box": [0, 0, 50, 50]},
            "scale": {"image": "noise.png", "factor": 2},
            "show": {"image": "noise.png"},
            "evaluate": {"answer": "1", "reference": "2"},
            "trace": {"trace_id": structured(asked)["trace_id"]},
        }
        return {"ask": asked} | {name: await client.call_tool(name, words) for name, words in calls.items()}

    with serve([CROP, answer("97")]) as server:
        results = talk(tool_calls([folder], server.url), work)
    assert list(results) == list(TOOLS)
    for name, result in results.items():
        for draft in DRAFTS:
            draft(schema(TOOLS[name].returns)).validate(structured(result))


def _frames(path: Path) -> None:
    frames = [Image.new("RGB", (60, 60), (shade, 0, 0)) for shade in (0, 100, 200)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def _white_lines(path: Path) -> None:
    lines = Image.new("RGBA", (60, 60), (255, 255, 255, 0))
    lines.paste("white", (10, 10, 50, 13))
    lines.save(path)


def _deep(path: Path) -> None:
    Image.new("I", (60, 60), 4000).convert("I;16").save(path)


def _unknown(path: Path) -> None:
    image = Image.new("F", (60, 60), 0.5)
    image.putpixel((0, 0), float("nan"))
    image.save(path)


LOSSES: dict[str, tuple[Any, str]] = {
    "a.gif": (_frames, "has 3 frames, and 2 of them are not looked at"),
    "a.tif": (_frames, "has 3 frames, and 2 of them are not looked at"),
    "lines.png": (_white_lines, "is transparent, and is shown on black: white would hide what it shows"),
    "deep.tif": (_deep, "is shown from 0, as black, to 4095, as white"),
    "nan.tif": (_unknown, "has 1 pixel without a finite number, shown as white background"),
    "noise.png": (lambda path: noise(path, (60, 60)), ""),
}


@pytest.mark.parametrize("name", LOSSES)
def test_what_is_not_shown_as_it_is_is_said_by_each_tool(name: str, tmp_path: Path) -> None:
    make, sentence = LOSSES[name]
    make(tmp_path / name)
    expected = [f"{name} {sentence}"] if sentence else []

    async def work(client: Client) -> Any:
        shown = await client.call_tool("show", {"image": name})
        again = await client.call_tool("show", {"image": structured(shown)["image_id"]})
        cut = await client.call_tool("crop", {"image": name, "box": [0, 0, 30, 30]})
        return shown, again, cut, await client.call_tool("ask", {"image": name, "question": QUESTION})

    with serve([answer("5")]) as server:
        shown, again, cut, asked = talk(tool_calls([tmp_path], server.url), work)
    assert structured(again)["warnings"] == [each.replace(name, "picture 1", 1) for each in expected]
    for result in (shown, cut, asked):
        assert structured(result)["warnings"] == expected
        assert [part.text for part in result.content[1:-1] if part.type == "text"] == expected


def test_scale_uses_the_factor_of_the_tool_of_virc(folder: Path) -> None:
    result = called(tool_calls([folder]), "scale", image="noise.png", factor=1.6)
    assert structured(result)["factor"] == 1.5
    assert pixels(result.content[0]).size == (450, 300)


def test_scale_by_one_returns_the_picture_unchanged(folder: Path) -> None:
    result = called(tool_calls([folder]), "scale", image="noise.png", factor=1)
    assert structured(result)["factor"] == 1
    assert are_same(pixels(result.content[0]), Image.open(folder / "noise.png").convert("RGB"))


@pytest.mark.parametrize(
    ("tool", "arguments", "sentence"),
    [
        ("crop", {"box": [50, 50, 50, 90]}, "box [50.0, 50.0, 50.0, 90.0] holds no pixel of an image of 300 x 200"),
        ("crop", {"box": [1, 2, 3]}, "crop: box is wrong: expected a list of length >= 4 (left, top, right, bottom, "),
        ("crop", {"box": [1, 2, 3, "x"]}, "crop: box[3] is wrong: expected a number, got a text (left, top, "),
        ("crop", {"bbox_2d": [1, 2, 3, 4]}, "crop: unknown argument 'bbox_2d' (did you mean 'box'?)"),
        ("crop", {}, "crop: box is missing"),
        ("crop", {"box": [1, 2, 3, 4], "unit": "px"}, "invalid enum value 'px' (fraction, permille, pixel, thousand)"),
        ("scale", {"factor": 9}, "scale: factor is wrong: expected a number <= 4.0 (From 0.25 to 4; "),
    ],
)
def test_a_refused_call_is_in_the_words_of_its_schema(
    folder: Path, tool: str, arguments: dict[str, Any], sentence: str
) -> None:
    said = refused(tool_calls([folder]), tool, image="noise.png", **arguments)
    assert sentence in said
    assert "`" not in said
    assert "bbox_2d" not in said.replace("argument 'bbox_2d'", "")


@pytest.mark.parametrize(
    ("arguments", "verdict", "by"),
    [
        ({"answer": "The answer is 73°.", "reference": "73"}, "right", "rule"),
        ({"answer": "74", "reference": "73"}, "wrong", "rule"),
        ({"answer": "74", "reference": "73", "tolerance": 0.05}, "right", "rule"),
        ({"answer": "B", "reference": "102", "choices": ["97", "102"]}, "right", "rule"),
        ({"answer": "73.04", "reference": "73.0", "decimals": 1}, "right", "rule"),
        ({"answer": "a red car", "reference": "a blue car"}, "undecided", None),
        ({"answer": "2(x+1)", "reference": "a blue car"}, "undecided", None),
        ({"answer": "2(x+1)", "reference": "2x+2"}, "right", "algebra"),
        ({"answer": "2(x+1)", "reference": "2x+3"}, "wrong", "algebra"),
    ],
)
def test_evaluate_says_right_wrong_or_undecided(arguments: dict[str, Any], verdict: str, by: str | None) -> None:
    fields = structured(called(tool_calls(), "evaluate", **arguments))
    assert (fields["verdict"], fields["by"]) == (verdict, by)
    assert fields["reason"]
    assert ("the words differ" in fields["reason"]) is (verdict == "undecided")


def test_a_picture_too_large_as_png_is_sent_as_jpeg() -> None:
    draw = random.Random(0)
    large, small = (Image.frombytes("RGB", (side, side), draw.randbytes(3 * side**2)) for side in (640, 64))
    found = [in_reply(each, 4096) for each in (large, small)]
    assert [(file.media, exact) for file, exact in found] == [("jpeg", False), ("png", True)]
    store = ResultStore()
    names = [store.keep("", "image", as_png(each).data, 9) for each in (large, small)]

    async def work(client: Client) -> list[str]:
        results = [await client.call_tool("show", {"image": name, "max_side": 4096}) for name in names]
        return [result.content[0].mime_type for result in results]

    assert talk(tool_calls(store=store), work) == ["image/jpeg", "image/png"]


@pytest.mark.parametrize("start", [b"\0\0\0\x18ftypheic", b"\x89PNG\r\n\x1a\n", b"RIFF", b"BM"])
def test_base64_that_begins_as_a_picture_is_no_path(start: bytes) -> None:
    content, nothing = start + bytes(9), cast("Any", None)
    assert asyncio.run(given(base64.b64encode(content).decode(), nothing, "", Readable())) == content


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("DATA:image/png;base64,AAAA", bytes(3)),
        (f"image-{'0' * 32}x", Path(f"image-{'0' * 32}x")),
        (f"image-{'0' * 32}", "this session has no image-0"),
        ("FTP://h/a", "FTP URLs are not read"),
        ("ftp://h/a", "ftp URLs are not read"),
        ("HTTP://h/a", "only https URLs are fetched"),
        ("https://user@h/a", "this is no https URL"),
        ("c:folder", Path("c:folder")),
    ],
)
def test_what_a_picture_is_named_by(source: str, found: bytes | Path | str) -> None:
    asked = given(source, ResultStore(), "", Readable())
    if not isinstance(found, str):
        assert asyncio.run(asked) == found
        return
    with pytest.raises(DataError, match=found):
        asyncio.run(asked)
    if "http" in source.lower():
        with pytest.raises(DataError, match="fetches nothing from the network"):
            asyncio.run(given(source, ResultStore(), "", Readable(offline=True)))


def test_an_address_may_hold_the_sign_of_users_in_its_path_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fetch(url: str, *_: object) -> bytes:
        return url.encode()

    monkeypatch.setattr("virc.serving.agent.fetch.fetch", fetch)
    url = "https://example.org/logo@2x.png"
    assert asyncio.run(given(url, ResultStore(), "", Readable())) == url.encode()
    with pytest.raises(DataError, match="this is no https URL"):
        asyncio.run(given("https://me@example.org/logo.png", ResultStore(), "", Readable()))


def test_ask_gives_the_answer_crops_and_progress(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    solve = one.solve

    def twice(*words: Any, on_event: Callable[[Any], None], **more: Any) -> Any:
        """As if each turn had every call twice."""

        def doubled(event: Any) -> None:
            on_event(replace(event, results=event.results * 2) if isinstance(event, Unit) else event)

        assert more["deadline"].seconds == 60
        return solve(*words, on_event=doubled, **more)

    monkeypatch.setattr(one, "solve", twice)

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
    assert (lines[2][:8], lines[2].count("crop"), lines[3:]) == ("turn 1: ", 2, ["turn 2: answer"])
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


def test_samples_give_the_share_of_the_answer(folder: Path) -> None:
    answers, lines = iter(["97", "5", "97", "97"]), list[str]()

    async def progress(_: float, __: float | None, line: str | None) -> None:
        lines.append(str(line))

    async def work(client: Client) -> CallToolResult:
        arguments = {"image": "noise.png", "question": QUESTION, "samples": 4}
        return await client.call_tool("ask", arguments, progress_callback=progress)

    with serve(lambda _: answer(next(answers))) as server:
        result = talk(tool_calls([folder], server.url), work)
    assert (structured(result)["answer"], structured(result)["confidence"]) == ("97", 0.75)
    assert lines[1:] == [
        line for number in range(1, 5) for line in (f"sample {number} of 4", "turn 1: answer")
    ]  # fmt: skip


def test_what_was_asked_for_reaches_the_model_and_its_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many are answered at a time, every call in the progress, and every picture before a model is loaded."""
    closed, chosen, lines = list[bool](), list[int | None](), list[str]()
    monkeypatch.setattr(asking, "workers_for", lambda count, *_: chosen.append(count) or 2)
    with serve([CROP, answer("97")]) as server:
        behind = tool_calls([folder], server.url)
        behind._model._at_once = 3
        (folder / "broken.png").write_bytes(b"x")
        words = {"image": "noise.png", "question": QUESTION}

        async def progress(_: float, __: float | None, line: str | None) -> None:
            lines.append(str(line))

        async def work(client: Client) -> CallToolResult:
            refused = await client.call_tool("ask", {**words, "more_images": ["broken.png"]})
            assert (refused.is_error, behind._model._loading) == (True, None)
            asked = await client.call_tool("ask", words, progress_callback=progress)
            _, opened = behind._model._loading.result()  # type: ignore[union-attr]
            close = type(opened).close
            monkeypatch.setattr(type(opened), "close", lambda each: (closed.append(True), close(each)))
            return asked

        assert structured(talk(behind, work))["answer"] == "97"
    assert (closed, chosen) == ([True], [3])


def test_the_last_lines_of_progress_come_before_the_result() -> None:
    async def call(name: str, given: object, session: str, progress: Callable[[str], None]) -> str:
        sessions.append(session)
        for number in range(9):
            progress(f"line {number}")
            progress("")
        return "reply"

    lines, sessions = list[tuple[float, str]](), list[str]()

    async def report(done: float, total: None, line: str) -> None:
        await asyncio.sleep(0)
        lines.append((done, line))

    served: Any = SimpleNamespace(tool_calls=lambda: SimpleNamespace(call=call))
    context: Any = SimpleNamespace(session=SimpleNamespace(report_progress=report), request=None)
    asked: Any = SimpleNamespace(name="ask", arguments=None)
    assert asyncio.run(server._called(served, context, asked)) == "reply"  # type: ignore[comparison-overlap]
    assert lines == [(number + 1, f"line {number}") for number in range(9)]
    context.request = SimpleNamespace(headers={"mcp-session-id": "s1"})
    for version in ("2025-06-18", "2026-07-28"):  # the newer one has no sessions: what names one is not believed
        context.protocol_version = version
        asyncio.run(server._called(served, context, asked))
    assert sessions == ["", "s1", ""]


def test_a_picture_that_nobody_waits_for_any_more_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    checks, begun, go = list[Callable[[], None]](), threading.Event(), threading.Event()

    def opened(*_: object) -> tuple[bytes, str]:
        begun.set()
        go.wait(60)
        return b"", "it"

    monkeypatch.setattr(calls, "file_of", opened)
    monkeypatch.setattr(calls, "of_client", checks.append)

    async def work(client: Client) -> None:
        showing = asyncio.create_task(client.call_tool("show", {"image": "noise.png"}))
        await asyncio.to_thread(begun.wait, 60)
        showing.cancel()
        with suppress(asyncio.CancelledError):
            await showing
        await client.call_tool("evaluate", {"answer": "1", "reference": "1"})  # the cancelling was before it
        go.set()

    talk(tool_calls(), work)
    with pytest.raises(LeftError, match="nobody waits for the picture"):
        checks[0]()


def test_one_byte_more_is_read_than_a_picture_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(bytes(99))
    monkeypatch.setattr("virc.serving.mcp.pictures.MAX_BYTES", 10)
    content, name = file_of(Path("a"), Readable([tmp_path]))
    assert (len(content), name) == (11, "a")  # so that a longer one is seen to be longer


def test_no_answer_is_a_result_with_its_reason(folder: Path) -> None:
    async def work(client: Client) -> tuple[CallToolResult, CallToolResult]:
        asked = await client.call_tool("ask", {"image": "noise.png", "question": QUESTION})
        return asked, await client.call_tool("trace", {"trace_id": structured(asked)["trace_id"]})

    with serve([answer("unreadable")]) as server:
        result, trace = talk(tool_calls([folder], server.url), work)
    assert structured(result)["answer"] is None
    assert result.content[0].text == f"no answer: {structured(result)['reason']}"
    assert structured(trace)["failure"]
    assert structured(trace)["question"] == QUESTION


def test_a_fault_of_ours_is_told_by_its_kind_alone() -> None:
    async def fails(*_: object) -> None:
        raise RuntimeError("secret")

    behind: Any = SimpleNamespace(call=fails, close=lambda: None)
    result = talk(behind, lambda client: client.call_tool("show", {"image": "a"}), trouble := Failures())
    assert (result.is_error, result.content[0].text) == (True, "internal: RuntimeError")
    assert [str(each) for each in trouble] == ["secret"]


@pytest.mark.parametrize("frank", [True, False])
def test_a_model_that_cannot_be_reached_is_a_tool_error(folder: Path, frank: bool) -> None:
    arguments = {"image": "noise.png", "question": QUESTION}
    url = dead_url()
    trouble = Failures()
    result = talk(tool_calls([folder], url), lambda client: client.call_tool("ask", arguments), trouble, frank)
    assert result.is_error
    assert (url in result.content[0].text) is frank
    assert len(trouble) == 1


def test_a_model_that_could_not_be_loaded_or_asked_is_so_at_the_next_question(folder: Path) -> None:
    asked = {"image": "noise.png", "question": QUESTION}
    faults = [status(500), None]

    async def work(client: Client) -> list[CallToolResult]:
        found = [await client.call_tool("ask", asked)]  # it cannot be loaded yet
        for server.script.fault in faults:
            found.append(await client.call_tool("ask", asked))
        return found

    with serve([answer("97")]) as server:
        behind = tool_calls([folder], server.url)
        setup, waits = behind._model._setup, [SetupError("no memory is free")]

        def ready() -> Any:
            if waits:
                raise waits.pop()
            return setup()

        behind._model._setup = ready
        unloaded, broken, answered = talk(behind, work)
    assert unloaded.is_error
    assert unloaded.content[0].text == "no memory is free"
    assert broken.is_error  # what failed behind it is no answer of the model
    assert structured(answered)["answer"] == "97"


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
                while behind._model._workers._pending:  # the problem is left
                    await asyncio.sleep(0.01)
        return await client.call_tool("show", {"image": "noise.png"})

    with serve(turn) as server:
        behind = tool_calls([folder], server.url)
        shown = talk(behind, work)
    assert not shown.is_error
    assert len(turns) == 1


def test_questions_above_the_limit_are_turned_away(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MAX_WAITING", 1)
    asked = {"image": "noise.png", "question": QUESTION}

    go = threading.Event()

    async def work(client: Client) -> list[CallToolResult]:
        two = [asyncio.create_task(client.call_tool("ask", asked)) for _ in range(2)]
        await asyncio.wait(two, return_when=asyncio.FIRST_COMPLETED)  # the one that is turned away
        go.set()
        return [*await asyncio.gather(*two), await client.call_tool("ask", asked)]

    with serve(lambda _: answer("97") if go.wait(60) else "") as server:
        both_and_later = talk(tool_calls([folder], server.url), work)
    errors = [result.content[0].text for result in both_and_later if result.is_error]
    assert len(errors) == 1
    assert "too many questions" in errors[0]
    assert not both_and_later[2].is_error  # the first has ended
