"""Tools of published systems: how they read and write calls, and what they cut out."""

import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from support import published_pairs
from support.called import virc
from support.servers import image_bytes, serve
from support.tables import each_case
from support.tool_calls import BLUE, RED, SIZE, checked, made, of_color

from virc.core.errors import ConfigError, DataError
from virc.models.chat_protocol import of_system
from virc.reasoning.calls import Box, Call, View
from virc.reasoning.checking import check_call
from virc.reasoning.encoded import as_png
from virc.reasoning.history import boxed
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Reply, Session
from virc.systems import registry as systems
from virc.systems import texts
from virc.tools import registry as tools
from virc_zoo.visrl import rows as rows_of_visrl

# OpenDCAI/vts-v@9137312, src/tools.py, zoom_in_image_by_bbox, with its crop recorded: size of the image, box, edges


# the same of crop_image_action


def protocol_of(name: str) -> Protocol:
    return of_system(systems.get(name))


def tool(name: str) -> Any:
    tools.load([name])
    return tools.get(name)


def test_a_users_tool_may_not_have_the_name_of_a_published_one(tmp_path: Path) -> None:
    file = tmp_path / "zoom_around.py"
    file.write_text(Path(tool("zoom_around").__file__).read_text())
    with pytest.raises(ConfigError, match="has the NAME 'zoom_around', which is that of a tool of virc"):
        tools.load([str(file)])


@pytest.mark.integration
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


def test_the_entry_of_rows_that_a_layout_reads_is_not_checked(tmp_path: Path) -> None:
    done = virc("data", "check", published_pairs.visrl(tmp_path), "--system", "visrl", "--own-words", "--workers", 1)
    assert (done.code, "layout pairs" in done.out) == (0, True), done.out + done.err


ZOOMED = [
    ((978, 1067), [885, 316, 893, 1056], (840, 279, 938, 1067)),
    ((540, 1462), [254, 601, 320, 746], (251, 594, 323, 753)),
    ((964, 723), [110, 140, 159, 208], (86, 137, 183, 211)),
]


CROPPED = [
    ((315, 387), [23, 66, 164, 356], (16, 52, 171, 370)),
    ((1275, 945), [704, 350, 820, 393], (698, 348, 826, 395)),
    ((591, 417), [40, 5, 568, 314], (14, 0, 591, 329)),
]


CORNERS = ("x_min", "y_min", "x_max", "y_max")


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


def test_adareasoner_cuts_from_the_image_that_it_names_and_from_no_other() -> None:
    pictures = [Image.new("RGB", (400, 300), color) for color in ("red", "lime")]
    session = Session(protocol_of("adareasoner"), "What?", pictures, tools=tools.known())
    told, folder = [], systems.get("adareasoner").file.parent
    for name, box in (
        ("img_2", "[10, 20, 300, 250]"),
        ("img_3", [0, 0, 290, 20]),
        ("img_3", "[0, 0, 291, 9]"),
        ("img_5", ""),
    ):
        call = {"name": "Crop", "parameters": {"image": name, "coordinates": box}}
        session.feed(Reply(f"<think>a</think><tool_call>{json.dumps(call)}</tool_call>"))
        told.append(session.trace().messages[-1].text)
    part, padded = (shown.full for shown in session.images[2:])
    assert part.getcolors() == [(290 * 230, (0, 255, 0))]
    assert padded.getcolors() == [(290 * 12, (255, 255, 255)), (290 * 20, (0, 255, 0))]
    assert ["'width': 290, 'height': 230" in each for each in told[:3]] == [True, False, True]
    assert texts.filled("{text:outside}", folder) in told[2]
    unknown = texts.filled("{text:unknown}", folder).replace("{image}", "img_5")
    assert told[3] == f"{{'text': '{unknown}', 'status': 'failed'}}\n"


def test_framethinker_gets_the_frames_and_the_number_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As linspace(4, 29, 8), cut, and int(1 * 29.97) of its program."""
    pytest.importorskip("av")
    from extras.video.drawn_clips import number_of, written

    (tmp_path / "clip.mp4").write_bytes(written("mp4").data)
    actions = ("choose frames between 3 and 30", "get frame number at time 00:01", "output answer: B")
    with serve([f"<think>3, 30</think><action>{each}</action>" for each in actions]) as server:
        words = ("What?\nB. it", "--system", "framethinker", "--frames", 2, "--endpoint", server.url)
        done = virc("solve", tmp_path / "clip.mp4", *words)
        assert (done.code, done.out) == (0, "B\n")
        chats = server.chats()
    first, chosen = chats[0]["messages"][1]["content"], chats[1]["messages"][-1]["content"]
    lines = "".join(each.get("text", "#") for each in chosen)
    numbers = [4, 7, 11, 14, 18, 21, 25, 29]
    assert "".join(each.get("text", "#") for each in first) == "What?\nB. it\n\nframe 0: #\nframe 59: #"
    assert lines == "\n".join(f"frame {number}: #" for number in numbers)
    shown = [Image.open(io.BytesIO(image_bytes(each))) for each in chosen if each["type"] == "image_url"]
    assert [number_of(each) for each in shown] == numbers
    assert chats[2]["messages"][-1]["content"].endswith("00:01 is: 29.")


# ViGoRL's own function (Gabesarch/grounded-rl, 2025), run on a picture of 200 x 100: point -> its crop, dot at.
WINDOWS = [([100, 50], (50, 0, 150, 100)), ([3, 98], (0, 48, 53, 100)), ([199, 0], (149, 0, 200, 50))]


@each_case(("point", "box"), WINDOWS)
def test_the_window_is_that_of_vigorl(point: list[int], box: tuple[int, int, int, int]) -> None:
    tools.load(["crop_around_point"])
    assert checked("crop_around_point", point_2d=point).call == Call(
        "crop_around_point", 0, box=box, points=((point[0], point[1]),)
    )
    image = Image.new("RGB", SIZE, BLUE)
    assert made("crop_around_point", image, point_2d=point).size == (box[2] - box[0], box[3] - box[1])
    assert not of_color(made("crop_around_point", image, point_2d=point, dot=False), RED)
    dotted = made("crop_around_point", image, point_2d=point, dot=True)
    assert dotted.getpixel((point[0] - box[0], point[1] - box[1])) == RED
    assert made("crop_around_point", image, point_2d=point, size=392).size == (392, 392)
