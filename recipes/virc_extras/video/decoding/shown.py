"""What a decoded frame is shown as: in sRGB, in square pixels, on a background and de-interlaced.

`appearance` of the core is the same of pictures. Runs in the process of `worker` alone. Numbers are of ITU-T H.273.
PyAV's own `to_image` takes BT.709 for BT.601 before version 17, and whatever is not tagged in all of them; libswscale's
filter `scale` converts HDR transfers since version 9, at 203 cd/m2 for white (ITU-R BT.2408).
"""

from fractions import Fraction
from itertools import pairwise
from typing import Any

from av.codec.context import CodecContext
from av.filter import Graph
from PIL import Image

from virc.reasoning.pixels.appearance import Stated, credible, in_square_pixels, in_srgb, profile_of

_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7}  # of the standard -> of libswscale
_WIDE_MATRICES = {9: "bt2020", 10: "bt2020"}
_BT2020 = 9  # primaries
_HDR = {16: "smpte2084", 18: "arib-std-b67"}  # transfers
_UNTAGGED, _HD = 2, 720  # lines from which players take BT.709
_LIMITED, _FULL = 1, 2
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""What decodes the alpha that FFmpeg's own decoders of a codec leave out."""


def decoder(stream: Any) -> Any:
    """What decodes the frames of a stream: its own context, or one that decodes its alpha, too."""
    own = stream.codec_context
    tags = {name.lower(): value for name, value in stream.metadata.items()}
    if tags.get("alpha_mode") == "1" and own.name in _ALPHA_DECODERS:
        return CodecContext.create(_ALPHA_DECODERS[own.name], "r")
    return own


class Appearance:
    """How the frames of one stream are shown.

    Attributes:
        shape: width of a pixel by its height.
        notes: sentences behind the clip's name, as of `Facts`, of the frames that were shown up to now.
    """

    def __init__(self, stream: Any) -> None:
        self._context = stream.codec_context
        self.shape = credible(float(stream.sample_aspect_ratio or 1))
        self._notes: dict[str, None] = {}
        self._graphs: dict[str, tuple[Any, Any, Any]] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes)

    def _note(self, sentence: str) -> None:
        self._notes[sentence] = None

    def picture(self, frame: Any) -> Image.Image:
        """A frame that is not interlaced as RGB in square pixels, not turned."""
        return in_square_pixels(self._in_srgb(frame), self.shape)

    def whole(self, frame: Any, before: Any, after: Any) -> Any:
        """An interlaced frame with all lines at one time; the frames around it, or None, tell what stands still."""
        self._note("is interlaced, and its frames are shown with lines made up in place of those of another time")
        before = before if before is not None and before.pts < frame.pts else None
        around = [each for each in (before, frame, after) if each is not None]
        _keep, source, sink = _graph(frame, ("bwdif", "send_frame"))
        for each in around:
            source.push(each)
        source.push(None)
        found = [sink.pull() for _ in around]
        return found[around.index(frame)]

    def _in_srgb(self, frame: Any) -> Image.Image:
        transfer, primaries = (
            int(getattr(frame, name, 0) or getattr(self._context, name) or 0)
            for name in ("color_trc", "color_primaries")
        )
        if transfer in _HDR:
            self._note("is an HDR clip, and is shown without its brightest shades")
        profile = profile_of(_BT2020 if transfer in _HDR and primaries in (0, _UNTAGGED) else primaries)
        image = self._as_rgb(frame, _HDR.get(transfer))
        return in_srgb(image, profile) if profile else image

    def _as_rgb(self, frame: Any, transfer: str | None) -> Image.Image:
        """The frame in its own primaries and the curve of sRGB, from a transfer that is HDR."""
        matrix = int(frame.colorspace)
        has_alpha = any(each.is_alpha for each in frame.format.components)
        if transfer or matrix in _WIDE_MATRICES:
            image = self._filtered(frame, matrix, transfer)
            if has_alpha:
                image.putalpha(_image(frame.reformat(format="rgba")).getchannel("A"))
            return self._on_background(image) if has_alpha else image
        guessed = 1 if frame.height >= _HD else 5
        if matrix == _UNTAGGED and guessed == 1 and len(frame.format.components) >= 3 and not frame.format.is_rgb:
            self._note("does not say how its colours are stored: they are shown as BT.709, as players do")
        rgb = frame.reformat(
            format="rgba" if has_alpha else "rgb24",
            src_colorspace=_MATRICES.get(matrix, guessed), src_color_range=_range(frame),
            dst_colorspace=1, dst_color_range=_FULL,
        )  # fmt: skip
        return self._on_background(_image(rgb)) if has_alpha else _image(rgb)

    def _on_background(self, image: Image.Image) -> Image.Image:
        from virc.reasoning.images import Rendering, as_rgb

        if image.getchannel("A").getextrema() == (255, 255):
            return image.convert("RGB")
        shown, rendering = as_rgb(image, Rendering(), Stated())
        place = f"on {rendering.background}" if rendering.background else "as if nothing were transparent"
        self._note(f"is transparent, and is shown {place}")
        return shown

    def _filtered(self, frame: Any, matrix: int, transfer: str | None) -> Image.Image:
        """A frame by libswscale's newer way, which leaves out alpha."""
        scale = f"in_color_matrix={_WIDE_MATRICES.get(matrix, 'bt709' if matrix == 1 else 'auto')}"
        scale += f":in_range={'pc' if _range(frame) == _FULL else 'tv'}:out_range=pc"
        if transfer:  # in the same primaries, as it would take the edges of the gamut in
            scale += f":in_primaries=bt2020:out_primaries=bt2020:in_transfer={transfer}:out_transfer=iec61966-2-1"
        key = f"{frame.format.name} {frame.width}x{frame.height} {scale}"
        if key not in self._graphs:  # it takes seconds to be made, and then milliseconds a frame
            self._graphs.clear()
            self._graphs[key] = _graph(frame, ("scale", scale), ("format", "rgb24"))
        _, source, sink = self._graphs[key]
        source.push(frame)
        return _image(sink.pull())


def _graph(frame: Any, *filters: tuple[str, str]) -> tuple[Any, Any, Any]:
    """Filters for frames like this one: the graph, which its ends do not keep alive, where they go in and come out."""
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1000)
    )
    steps = [source, *(graph.add(name, options) for name, options in filters), graph.add("buffersink")]
    for one, following in pairwise(steps):
        one.link_to(following)
    graph.configure()
    return graph, source, steps[-1]


def _range(frame: Any) -> int:
    is_full = int(frame.color_range) == _FULL or frame.format.name.startswith("yuvj")
    return _FULL if is_full else _LIMITED


def _image(frame: Any) -> Image.Image:
    """A frame of RGB or RGBA as it is: `to_image` would convert it once more."""
    mode, plane = {"rgb24": "RGB", "rgba": "RGBA"}[frame.format.name], frame.planes[0]
    return Image.frombuffer(mode, (frame.width, frame.height), bytes(plane), "raw", mode, plane.line_size, 1)
