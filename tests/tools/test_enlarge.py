"""`enlarge_image` and `crop_image` as VTS-V cuts: the edges are those of its own functions."""

import msgspec
import pytest
from PIL import Image

from virc.models.chat_protocol import of_system
from virc.reasoning.calls import Box, Call, View
from virc.reasoning.checking import check_call
from virc.reasoning.history import boxed
from virc.systems import registry as systems
from virc.tools import crop, enlarge

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


@pytest.mark.parametrize(
    ("tool", "size", "box", "edges"), [(enlarge, *case) for case in ZOOMED] + [(crop, *case) for case in CROPPED]
)
def test_edges_are_those_of_vts_v(tool: object, size: tuple[int, int], box: list[int], edges: Box) -> None:
    view = View([size], originals=[size], inputs=1, crops="file", coordinates="original")
    call = check_call(tool, {"bbox_2d": box, "image_index": 0}, view).call  # type: ignore[arg-type]
    cut = boxed(call, size, size, of_system(systems.get("vts-v")).protocol)
    made = tool.apply(msgspec.structs.replace(call, box=cut), Image.new("RGB", size))  # type: ignore[attr-defined]
    assert made.box == edges
    assert made.size == (size if tool is enlarge else made.cut_size)


@pytest.mark.parametrize(
    ("box", "edges"),
    [((0, 0, 2, 2), (0, 0, 11, 6)), ((198, 98, 200, 100), (189, 94, 200, 100)), ((90, 40, 130, 45), (90, 38, 130, 48))],
)
def test_a_short_box_is_widened_within_its_image(box: Box, edges: Box) -> None:
    made = enlarge.apply(Call("enlarge_image", 0, box), Image.new("RGB", (200, 100)))
    assert (made.box, made.size) == (edges, (200, 100))
