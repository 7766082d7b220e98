"""Tools of published systems: how they read and write calls, and what they cut out."""

import io
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from support.called import virc

from virc.core import plugins
from virc.core.errors import ConfigError, DataError
from virc.data.rows.record import Message, Picture, Record
from virc.models.chat_protocol import of_system, read_protocol
from virc.reasoning.calls import Box, Call, ToolError, View
from virc.reasoning.checking import as_written, check_call
from virc.reasoning.encoded import as_png
from virc.reasoning.grammar import TAGS
from virc.reasoning.history import boxed
from virc.reasoning.protocol import Protocol, as_fields
from virc.reasoning.session import Rejected, Reply, Session, Unit
from virc.rewards.sample import prompt_of
from virc.solving.reading import example
from virc.systems import registry as systems
from virc.tools import registry as tools
from virc_zoo.visrl import rows as rows_of_visrl

# OpenDCAI/vts-v@9137312, src/tools.py, zoom_in_image_by_bbox, with its crop recorded: size of the image, box, edges
ZOOMED = [
    ((978, 1067), [885, 316, 893, 1056], (840, 279, 938, 1067)),
    ((540, 1462), [254, 601, 320, 746], (251, 594, 323, 753)),
    ((964, 723), [110, 140, 159, 208], (86, 137, 183, 211)),
]
# the same of crop_image_action
CROPPED = [
    ((315, 387), [23, 66, 164, 356], (16, 52, 171, 370)),
    ((1275, 945), [704, 350, 820, 393], (698, 348, 826, 395)),
    ((591, 417), [40, 5, 568, 314], (14, 0, 591, 329)),
]
CORNERS = ("x_min", "y_min", "x_max", "y_max")


def protocol_of(name: str) -> Protocol:
    return of_system(systems.get(name)).protocol


def tool(name: str) -> Any:
    tools.load([name])
    return tools.get(name)


def session(name: str, size: tuple[int, int] = (336, 252), **changed: Any) -> Session:
    protocol = msgspec.structs.replace(protocol_of(name), **changed)
    return Session(protocol, "?", [Image.new("RGB", size, "white")], tools=tools.known())


@pytest.mark.parametrize(
    ("name", "size", "box", "edges"),
    [("zoomin_action", *case) for case in ZOOMED] + [("crop_action", *case) for case in CROPPED],
)
def test_edges_are_those_of_vts_v(name: str, size: tuple[int, int], box: list[int], edges: Box) -> None:
    view = View([size], originals=[size], inputs=1, crops="file", coordinates="original")
    written = {"bbox_2d": dict(zip(CORNERS, box, strict=True)), "image_index": 1}
    call = check_call(tool(name), written, view).call
    cut = boxed(call, size, size, protocol_of("vts-v"))
    made = tool(name).apply(msgspec.structs.replace(call, box=cut), Image.new("RGB", size))
    assert made.box == edges
    assert made.size == (size if name == "zoomin_action" else made.cut.size)


@pytest.mark.parametrize(
    ("box", "edges"),
    [((0, 0, 2, 2), (0, 0, 11, 6)), ((198, 98, 200, 100), (189, 94, 200, 100)), ((90, 40, 130, 45), (90, 38, 130, 48))],
)
def test_a_short_box_is_widened_within_its_image(box: Box, edges: Box) -> None:
    made = tool("zoomin_action").apply(Call("zoomin_action", 0, box), Image.new("RGB", (200, 100)))
    assert (made.box, made.size) == (edges, (200, 100))


@pytest.mark.parametrize("index", [0, -1, 2])
def test_images_of_vts_v_are_counted_from_1(index: int) -> None:
    box = dict(zip(CORNERS, (1, 2, 30, 40), strict=True))
    with pytest.raises(ToolError, match=f"image_index is {index}, but the images are 1 to 1"):
        check_call(tool("crop_action"), {"bbox_2d": box, "image_index": index}, View([(100, 100)]))
    with pytest.raises(ToolError):
        check_call(tool("crop_action"), {"bbox_2d": {"x_min": 1}, "image_index": 1}, View([(100, 100)]))


@pytest.mark.parametrize(
    ("name", "written", "read"),
    [
        ("crop_action", {"bbox_2d": {"y_min": 2, "x_min": 1, "y_max": 40, "x_max": 30}, "image_index": 2}, 1),
        ("crop_observation", {"bbox_2d": [1, 2, 30, 40], "image_index": "observation_1"}, 1),
        ("crop_observation", {"bbox_2d": [1, 2, 30, 40], "image_index": "original_image"}, 0),
        ("crop_region", {"bbox_2d": "1, 2, 30, 40", "image_index": 1}, 1),
        ("zoom_around", {"bbox_2d": [1, 2, 30, 40], "image_index": 0}, 0),
    ],
)
def test_calls_are_written_as_they_are_read(name: str, written: dict[str, Any], read: int) -> None:
    view = View([(100, 100)] * 2, inputs=1)
    call = check_call(tool(name), written, view).call
    assert (call.index, call.box) == (read, (1, 2, 30, 40))
    assert as_written(tool(name), {"bbox_2d": [1, 2, 30, 40], "image_index": read}, view) == written


def test_names_of_mini_o3_count_what_tools_made() -> None:
    talk = session("mini-o3", errors="redraw")
    named = '<think>x</think><grounding>{"bbox_2d": [0.1, 0.1, 0.6, 0.6], "source": "%s"}</grounding>'
    assert isinstance(talk.feed(Reply(named % "original_image")), Unit)
    assert isinstance(talk.feed(Reply(named % "observation_1")), Unit)
    assert talk.trace().images[2].parent == 1
    refused = talk.feed(Reply(named % "observation_3"))
    assert isinstance(refused, Rejected)
    assert "original_image, observation_1, observation_2" in refused.reason
    four, known = View([(9, 9)] * 4, inputs=2), tool("crop_observation")
    assert known.read({"image_index": "observation_2"}, four) == {"image_index": 3}
    assert known.write({"image_index": 2}, four) == {"image_index": "observation_1"}
    with pytest.raises(ToolError, match=r"there are: original_image, observation_1, observation_2$"):
        known.read({"image_index": "observation_3"}, four)


@pytest.mark.parametrize(
    ("box", "issues"),
    [
        ([-1, 0, 84, 84], "x0 (-1) < 0"),
        ([0, 0, 337, 84], "x1 (337) > image width (336)"),
        ([-2, 0, 340, 84], "x0 (-2) < 0, x1 (340) > image width (336)"),
        ([0, 0, 84, 300], "y1 (300) > image height (252)"),
        ([0, -3, 84, 253.5], "y0 (-3) < 0, y1 (253.5) > image height (252)"),
    ],
)
def test_a_box_of_chain_of_focus_that_leaves_its_image_is_refused(box: list[float], issues: str) -> None:
    talk = session("chain-of-focus")
    call = json.dumps({"name": "image_zoom_in_tool", "arguments": {"bbox_2d": box}})
    unit = talk.feed(Reply(f"<think>x</think><tool_call>{call}</tool_call>"))
    assert isinstance(unit, Unit)
    assert unit.results[0].error is not None
    assert unit.results[0].error.endswith(f"[0,0,336,252]. Issues: {issues}".removeprefix("[0,0,"))


@pytest.mark.parametrize(
    ("coordinates", "box", "said"),
    [
        ("unit", [0.1, 0.1, 1.2, 0.5], "x1 (1.2) > image width (1)"),
        ("thousand", [10, 20, 1010, 30], "x1 (1010) > image width (1000)"),
        ("pixel", [2000, 0, 2100, 100], "x1 (2100) > image width (336)"),
        ("pixel", [10, 20, -5, 30], "holds no pixel"),
    ],
)
def test_a_refused_box_is_told_in_the_unit_that_it_is_in(coordinates: Any, box: list[float], said: str) -> None:
    view = View([(336, 252)], coordinates)
    with pytest.raises(ToolError, match=re.escape(said)):
        check_call(tool("zoom_around"), {"bbox_2d": box, "image_index": 0}, view)


def test_a_crop_of_chain_of_focus_has_a_quarter_around_it_at_twice_its_size() -> None:
    talk = session("chain-of-focus", (1120, 840))
    call = json.dumps({"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [200, 200, 424, 424]}})
    talk.feed(Reply(f"<think>x</think><tool_call>{call}</tool_call>"))
    assert talk.images[1].size == (2 * 336, 2 * 336)  # 224 and twice a quarter of it, doubled
    assert talk.trace().images[1].box == (200, 200, 424, 424)  # what the model asked for


@pytest.mark.parametrize("name", ["vts-v", "mini-o3", "chain-of-focus", "visrl"])
def test_an_example_of_its_calls_is_read(name: str) -> None:
    text = example(protocol_of(name), (1120, 840))
    assert text
    unit = session(name, (1120, 840), errors="redraw").feed(Reply(text))
    assert isinstance(unit, Unit), unit
    assert unit.shown == [1]


def test_a_chat_protocol_beside_weights_finds_the_tools_of_its_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "virc_protocol.json"
    file.write_text(json.dumps(as_fields(protocol_of("mini-o3"))))
    monkeypatch.setattr(tools, "_CUSTOM", {})
    assert read_protocol(file).tools == ("crop_observation",)
    assert "crop_observation" in tools.known()
    assert tools.own_files(["crop_observation"]) == {}  # so that a run copies none


def test_a_users_tool_may_not_have_the_name_of_a_published_one(tmp_path: Path) -> None:
    file = tmp_path / "zoom_around.py"
    file.write_text(Path(tool("zoom_around").__file__).read_text())
    with pytest.raises(ConfigError, match="has the NAME 'zoom_around', which is that of a tool of virc"):
        tools.load([str(file)])


def test_a_tool_beside_a_yaml_may_not_have_the_name_of_a_published_one(tmp_path: Path) -> None:
    (tmp_path / "crop_region.py").write_text("raise SystemExit")
    (tmp_path / "s.yaml").write_text("name: s\ntools: [crop_region]\nchat_protocol: {first: '{question}'}\n")
    done = virc("systems", "check", tmp_path / "s.yaml")
    assert (done.code, done.err.count("crop_region.py has the name of a tool of virc")) == (3, 1), done.err


def test_two_packages_may_not_have_a_tool_of_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / "one" / "tools" / "look.py", tmp_path / "two" / "tools" / "look.py"]
    monkeypatch.setattr(plugins, "in_system_folders", lambda _: files)
    with pytest.raises(ConfigError, match=r"one/tools/look.py and .*two/tools/look.py have one name"):
        plugins.of_systems.__wrapped__("tools")


def test_a_stock_model_may_call_a_tool_that_reads() -> None:
    talk = session("mini-o3", reading="lenient", grammar=TAGS, errors="redraw")
    arguments = {"bbox_2d": [0.1, 0.1, 0.6, 0.6], "image_index": "original_image"}
    call = json.dumps({"name": "crop_observation", "arguments": arguments})
    unit = talk.feed(Reply(f"<tool_call>{call}</tool_call>"))
    assert isinstance(unit, Unit), unit
    assert unit.calls[0].index == 0


def test_a_reward_gives_tools_of_systems_the_pixels_of_the_picture() -> None:
    pages = (Picture("", data=as_png(Image.new("RGB", (336, 252), "red")).data),)
    record = Record((Message("user", "<image>Where?"),), pages, question="Where?", answer="5")
    for name, mode in (("mini-o3", "RGB"), ("deepeyes", "1")):  # no tool of virc itself reads any
        prompt = prompt_of(record, "pixel", protocol=protocol_of(name))
        assert prompt._history().images[0].pixels.mode == mode


@pytest.mark.parametrize("function", ["read", "write"])
def test_a_function_of_a_tool_that_fails_is_named_with_its_line(function: str, tmp_path: Path) -> None:
    file = tmp_path / "odd.py"
    lines = ["from virc.tools.crop import TEMPLATE, apply, schema", "NAME = 'odd'", "SCHEMA = schema(NAME, '')"]
    file.write_text("\n".join([*lines, f"def {function}(arguments, view):", "    return arguments['gone']"]))
    (name,) = tools.load([str(file)])
    arguments = {"bbox_2d": [1, 2, 30, 40], "image_index": 0}
    call: Any = check_call if function == "read" else as_written
    with pytest.raises(ConfigError, match=rf"the {function} of the tool odd fails in line 5 of .*odd.py: KeyError"):
        call(tool(name), arguments, View([(100, 100)]))


def test_rows_are_converted_to_and_from_these_tools(tmp_path: Path) -> None:
    assert virc("data", "synth", "--to", tmp_path / "drawn", "--count", "1", "--formats", "sft").code == 0
    rows = tmp_path / "drawn" / "trajectories.json"
    for name, mark in (("mini-o3", '"source": "original_image"'), ("vts-v", '"x_min"')):
        done = virc("data", "convert", rows, "--to", tmp_path / name, "--format", "sft", "--system", name)
        assert done.code == 0, done.err
        rows = tmp_path / name / "trajectories.json"
        replies = [turn["content"] for row in json.loads(rows.read_text()) for turn in row["messages"]
                   if turn["role"] == "assistant"]  # fmt: skip
        assert any(mark in reply for reply in replies), replies[0]


def test_the_second_picture_of_visrl_is_within_a_picture_that_is_not_square(tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 10))
    picture.paste((255, 0, 0), (20, 5, 40, 10))
    picture.save(tmp_path / "a.png")
    for box, size in (("[0.5, 0.5, 1.0, 1.0]", (20, 5)), ("[0.25, 0.1, 1.0, 1.0]", (30, 9))):
        with Image.open(io.BytesIO(rows_of_visrl._crop(box, "a.png", tmp_path))) as cut:
            assert cut.size == size
            assert cut.getpixel((cut.width - 1, cut.height - 1)) == (255, 0, 0)
    inside = {"path": "b.png", "bytes": as_png(picture).data}
    with Image.open(io.BytesIO(rows_of_visrl._crop("[0, 0, 0.5, 0.5]", inside, tmp_path))) as cut:
        assert cut.size == (20, 5)
    for box, said in (("[0.1, 0.5, 0.9, 0.5]", "no pixels"), ("[[0, 0, 1, 1], [0, 0, 1, 1]]", "one box"), ("a", "one")):
        with pytest.raises(DataError, match=said):
            rows_of_visrl._crop(box, "a.png", tmp_path)
    assert tool("crop_region").read({"bbox_2d": [1, 2, 3, 4]}, View([])) == {"bbox_2d": [1, 2, 3, 4]}
