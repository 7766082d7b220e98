"""What a probe found out about an endpoint and its model, kept on this machine until the next one.

`probe` asks, with a few requests; `kept` is what solving goes by.
"""

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from virc.config.user import cache_folder
from virc.core.errors import ConfigError
from virc.core.files import read_json, write_whole
from virc.reasoning.protocol import BoxForm, Coordinates

Scaling = Literal["none", "down", "fixed"]

SAME_DAYS, UNKNOWN_DAYS = 30, 1
"""Days for which it is believed how a model counts boxes: where its weights are the same, and where nothing tells."""

_MOST_BYTES = 2**16


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out.

    Args:
        endpoint, model: that were probed.
        server: how the server calls itself, in lower case; what is found of another server does not hold.
        family: of the model, by its name.
        coordinates, box: how its boxes are counted, and in which order their numbers come; None: it gave no box.
        longest: pixels of the longest side that a picture is shown with unchanged; None: no limit was seen.
        max_pixels: pixels of the largest picture that is known to be shown unchanged, where there is a limit; of a
            model that counts boxes in pixels also where none was seen: those of the largest that was tried.
        min_pixels: pixels to which smaller pictures are enlarged; None: that was not seen.
        scaling: whether pictures are scaled down: `none`, `down` to `longest`, `fixed` to one size; None: nothing
            tells.
        ordered: whether pictures of several messages come in their order; None: nothing tells.
        calls: how tool calls come: as `text` of the reply, `structured` by the server, or only where the request lists
            the tools (`native`); None: it made none.
        images: most pictures of a conversation that were taken and seen, up to `asked_images`; None: nothing tells.
        asked_images: how many were tried.
        context: longest conversation in tokens, where the server tells.
        thoughts: whether they come `apart` from the content, in `tags` within it, or not at all (`none`); or the server
            takes all of a reply for one (`all`).
        left_out: parameters that the server refuses, and fields of its own messages that it does not take back.
        zoomed: whether the turn after a call, with a crop, was answered and the crop seen; None: there was no call.
        zoom_refused: what the server said of that turn, where it refused it.
        requests: how many it took.
        ended: why it ended early; None: it did not.
        weights: changes with the weights behind the name (`Identity.digest`); None: nothing tells them from others.
        boxes_alone: nothing but boxes was asked about.
        kept: when it was found, in seconds since 1970; 0: when it is kept.
    """

    endpoint: str
    model: str
    server: str = ""
    family: str | None = None
    coordinates: Coordinates | None = None
    box: BoxForm | None = None
    longest: int | None = None
    max_pixels: int | None = None
    min_pixels: int | None = None
    scaling: Scaling | None = None
    ordered: bool | None = None
    calls: Literal["text", "structured", "native"] | None = None
    images: int | None = None
    asked_images: int | None = None
    context: int | None = None
    thoughts: Literal["apart", "tags", "none", "all"] | None = None
    left_out: tuple[str, ...] = ()
    zoomed: bool | None = None
    zoom_refused: str | None = None
    requests: int = 0
    ended: str | None = None
    weights: str | None = None
    boxes_alone: bool = False
    kept: float = 0
    schema: Literal["virc.probe/1"] = "virc.probe/1"


def shortcomings(probed: Probed) -> Iterator[str]:
    """What of a server was found that the loop has to do without, one sentence each."""
    if probed.thoughts == "all":
        yield "the server's reasoning parser takes answers for thoughts, and they are read from there: serve without it"
    if probed.zoom_refused:
        yield f"the server refuses the turn after a tool call: {probed.zoom_refused}"
    elif probed.zoomed is False:
        yield "the model does not see the crop that it asked for: answers may not be of the crop"
    if probed.ordered is False:
        yield "the server mixes up the order of pictures: answers about crops may be of other pictures"
    if probed.images is not None and probed.asked_images is not None and probed.images < probed.asked_images:
        turns = max(1, probed.images - 1)
        yield f"{probed.images} pictures fit into a conversation: --max-turns {turns} stays within"


def file_of(endpoint: str, model: str) -> Path:
    name = hashlib.sha256(f"{endpoint}\\n{model}".encode()).hexdigest()[:24]
    return cache_folder(os.environ) / "probes" / f"{name}.json"


def keep(probed: Probed) -> Path:
    """Keep a result in place of the one before. Raises OSError: the disk refused; ConfigError: there is no place."""
    file = file_of(probed.endpoint, probed.model)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, msgspec.json.encode(msgspec.structs.replace(probed, kept=probed.kept or time.time())))
    return file


def kept_probe(endpoint: str, model: str, server: str, weights: str | None = None) -> Probed | None:
    """The result that is kept of an endpoint and model; None where there is none, or another server or model is there.

    How boxes are counted is left out after a month, and after a day where nothing tells whether the model is the same.
    """
    try:
        probed = read_json(file_of(endpoint, model), Probed, _MOST_BYTES)
    except ConfigError:
        return None
    if probed.server != server or (weights and probed.weights and weights != probed.weights):
        return None
    days = SAME_DAYS if weights and weights == probed.weights else UNKNOWN_DAYS
    if abs(time.time() - probed.kept) <= days * 86_400:
        return probed
    return msgspec.structs.replace(probed, coordinates=None, box=None)
