"""`spatial_zoom`: cut a box out of the frame that was found last, in pixels of that frame as shown."""

import re

import msgspec

from virc.reasoning.calls import Call, Conversation, Result
from virc.reasoning.history import input_grid
from virc.reasoning.images import Shown
from virc.reasoning.resample import resampled
from virc.reasoning.resize import smart_resize
from virc_zoo.video_com.tools._written import FRAME, result_of, schema_of, written_in

_BOX = re.compile(r"SPATIAL_ZOOM\((.*?)\)\s*=\s*\[(\d+),\s*(\d+),\s*(\d+),\s*(\d+)\]", re.IGNORECASE)
NAME = "spatial_zoom"
TEMPLATE = "after_image"
SCHEMA = schema_of(NAME, "Cut a box out of the frame that was found last.")


def apply_to_all(call: Call, conversation: Conversation) -> Result:
    """What is in the box, if that has pixels of the frame."""
    found, written = conversation.kept.get(FRAME), _BOX.match(written_in(call))
    if found is None or written is None:
        return result_of("zoom")
    frame, size = conversation.images[found](), conversation.shown[found].size
    sides = [side / shown for side, shown in zip(frame.size, size, strict=True)] * 2
    numbers = [int(int(each) * by) for each, by in zip(written.groups()[1:], sides, strict=True)]
    left, top, right, bottom = (min(most - 1, at) for most, at in zip(frame.size * 2, numbers, strict=True))
    if left >= right or top >= bottom:
        return result_of("zoom")
    cut = frame.crop((left, top, right, bottom))
    protocol = msgspec.structs.replace(conversation.protocol, input_pixels=conversation.protocol.crop_pixels)
    return result_of(
        "zoom", [Shown(resampled(cut, smart_resize(cut.width, cut.height, input_grid(protocol, conversation.grid))))]
    )
