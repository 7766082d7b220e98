"""Files that are no text: pictures, clips, documents, tables with types, and weights, by their names."""

import base64
import io
import json
import random
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache, partial
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin
from support import picture_kinds, row_files

from virc.data.synth.families import polygons
from virc.models.registry import EMBEDDED_FOLDER


def made(name: str) -> bytes:
    """The bytes of a file; `tiny NAME` is one of the model in the package, `picture KIND` one of `picture_kinds`."""
    kind, _, rest = name.partition(" ")
    if kind == "tiny":
        return (EMBEDDED_FOLDER / rest).read_bytes()
    if kind == "picture" and rest in picture_kinds.KINDS:
        return picture_kinds.KINDS[rest].data
    return _made(name)


def data_url(name: str) -> str:
    return f"data:image/png;base64,{base64.b64encode(made(name)).decode()}"


@cache
def _made(name: str) -> bytes:
    return FILES[name]()


def _png(**options: Any) -> bytes:
    return row_files.encoded(Image.open(io.BytesIO(picture_kinds.KINDS["RGB"].data)), **options)


def _commented() -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "Made by hand.")
    return _png(pnginfo=text)


def _by_camera() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = "Camera 5"
    return _png(exif=exif)


def _chunk(name: bytes, data: bytes) -> bytes:
    """The picture with a further chunk behind its header."""
    plain = _png()
    return plain[:33] + row_files.png_chunk(name, data) + plain[33:]


def _table(answer: Any, kind: Mapping[str, Any] | None = None) -> bytes:
    """Rows with an answer each, whose type `datasets` writes into the file."""
    import pyarrow  # type: ignore[import-untyped, unused-ignore]
    import pyarrow.parquet  # type: ignore[import-untyped, unused-ignore]

    table = pyarrow.Table.from_pylist(
        [
            {"question": asked, "answer": answer, "image": row_files.embedded(at)}
            for at, asked in enumerate(("Which number?", "Which one?"))
        ]
    )
    if kind:
        features = {"question": {"dtype": "string", "_type": "Value"}, "answer": kind, "image": {"_type": "Image"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    file = io.BytesIO()
    pyarrow.parquet.write_table(table, file)
    return file.getvalue()


_CLASS = {"names": ["seven", "twelve"], "_type": "ClassLabel"}


def _diagram() -> bytes:
    """What the model in the package can read: how large is angle R?"""
    return row_files.encoded(polygons.draw(polygons.generate(random.Random(0), "heldout")))


def _clip(
    tracks: int = 1, options: Mapping[str, str] = {}, title: str = "", sound: bool = False, **about: Any
) -> bytes:
    """A clip of one second; `about` are attributes of its codec."""
    import av
    import numpy
    from extras.video.drawn_clips import painted

    video: Any = av.VideoFrame

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        if title:
            output.metadata["title"] = title
        streams: list[Any] = [output.add_stream("libx264", rate=10) for _ in range(tracks)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt, stream.options = 160, 48, "yuv420p", dict(options)
            for name, value in about.items():
                setattr(stream.codec_context, name, value)
        heard: Any = output.add_stream("aac", rate=8000) if sound else None
        for at, stream in enumerate(streams):
            for number in range(10):
                drawn = painted(number + 100 * at).getchannel(0)
                parts = (drawn, drawn.point([each * 3 // 4 for each in range(256)]), Image.new("L", drawn.size))
                frame = video.from_image(Image.merge("RGB", parts))  # orange: of greys, colours tell nothing
                frame.pts = number
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        if heard:
            quiet = av.AudioFrame.from_ndarray(numpy.zeros((1, 1024), "float32"), "fltp", "mono")
            quiet.sample_rate, quiet.pts = 8000, 0
            output.mux(heard.encode(quiet))
            output.mux(heard.encode(None))
    return file.getvalue()


def _of_clips(name: str) -> bytes:
    from extras.video import drawn_clips

    if name == "restarted":  # two recordings one behind the other, whose clocks both begin with 0
        return drawn_clips.written("mpegts", frames=10).data * 2
    plain = drawn_clips.written("mp4", frames=30, options={"bf": "0"})
    turned = drawn_clips.with_matrix(plain.data, drawn_clips.TURNED[90])
    return drawn_clips.edited(plain, 0.5).data if name == "edited" else turned


def _document(name: str) -> bytes:
    from extras.video import drawn_documents

    enclosed = "/Names <</EmbeddedFiles <</Names [(a.csv) <</Type /Filespec /F (a.csv)>>]>>>>"
    roots = {
        "XFA": "/AcroForm <</Fields [] /XFA (<xdp/>)>>", "enclosed": enclosed, "language": "/Lang (de)",
        "portfolio": f"/Collection <</Type /Collection>> {enclosed}",
    }  # fmt: skip
    parts: dict[str, dict[str, Any]] = {
        "turned": {"page": "/Rotate 90"}, "title": {"trailer": "/Info <</Title (Report)>>"},
        **{each: {"root": root} for each, root in roots.items()},
    }  # fmt: skip
    whole: dict[str, Any] = {"form": drawn_documents.filled_in, "locked": lambda: drawn_documents.ENCRYPTED}
    data: bytes = whole[name]() if name in whole else drawn_documents.by_hand(**parts.get(name, {}))
    return data


def _weights(*further: str) -> bytes:
    """The factors of a small adapter, with further weights by their names."""
    import torch
    from safetensors.torch import save
    from support import small_lora

    return save(small_lora.tensors() | {name: torch.ones(4, 4) for name in further})


FILES: Mapping[str, Callable[[], bytes]] = {
    "red": lambda: row_files.png(0), "green": lambda: row_files.png(1), "blue": lambda: row_files.png(2),
    "picture comment": _commented, "picture camera": _by_camera, "picture density": lambda: _png(dpi=(300, 300)),
    "picture bytes behind": lambda: _png() + b"behind the end", "picture oblong pixels": lambda: _png(dpi=(72, 144)),
    "picture gamma": lambda: _chunk(b"gAMA", (100000).to_bytes(4, "big")),
    "diagram": _diagram, "texts of answers": lambda: _table("twelve"), "classes": lambda: _table(1, _CLASS),
    "lists of classes": lambda: _table([1], {"feature": _CLASS, "_type": "List"}),
    "clip": _clip, "clip two tracks": lambda: _clip(2), "clip title": lambda: _clip(title="Bars"),
    "clip with sound": lambda: _clip(sound=True),
    "clip wide pixels": lambda: _clip(sample_aspect_ratio=Fraction(2)), "clip PQ": lambda: _clip(color_trc=16),
    "clip BT.2020": lambda: _clip(color_primaries=9, colorspace=9), "clip full range": lambda: _clip(color_range=2),
    "clip interlaced": lambda: _clip(options={"x264-params": "tff=1"}),
    **{f"clip {name}": partial(_of_clips, name) for name in ("edited", "turned", "restarted")},
    **{f"document{f' {name}' if name else ''}": partial(_document, name) for name in (
        "", "turned", "form", "XFA", "portfolio", "enclosed", "locked", "title", "language",
    )},
    "factors": _weights, "factors and a base": lambda: _weights("base_model.model.model.norm.base_layer.weight"),
    "other weights": lambda: _weights("mm_projector.0.weight"), "bytes": lambda: b"PK\3\4 pickled",
}  # fmt: skip
