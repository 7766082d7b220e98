"""The parts of a message's content, as clients of several APIs write them."""

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from typing import Annotated, ClassVar, Literal

import msgspec

_MAX_NAMES = 16  # of fields that are reported
_Detail = Literal["auto", "low", "high", "original"]


class ContentPart(msgspec.Struct, tag_field="type"):
    """A part of a message's content; fields that it does not have are ignored, and named by `unknown_fields`."""


class Text(ContentPart, tag="text"):
    text: str


class InputText(Text, tag="input_text"):
    """A text of the Responses API."""


class OutputText(Text, tag="output_text"):
    """A text of an answer of the Responses API."""

    annotations: msgspec.Raw = msgspec.Raw()
    logprobs: msgspec.Raw = msgspec.Raw()


class Refusal(Text, tag="refusal", rename={"text": "refusal"}):
    text: str  # named again, as only fields of the class itself are renamed


class PicturePart(ContentPart):
    TAKES: ClassVar = ("image_url", "an image", "image/png")  # the field of its address, and what it is

    @property
    def address(self) -> str:
        raise NotImplementedError

    @property
    def unmet(self) -> str | None:
        """The field by which it asks for more than to be seen."""
        return None

    @property
    def frames(self) -> Sequence[str]:
        """The addresses of the frames that it is sent as; none of a picture or a file."""
        return ()

    @property
    def rate(self) -> float | None:
        """Of these frames, how many are a second of the clip."""
        return None


class _Url(msgspec.Struct):
    url: str
    detail: _Detail = "auto"


class ImageUrl(PicturePart, tag="image_url"):
    """An image of the chat API; `uuid` is vLLM's, by which a client names an image that it sent before."""

    image_url: _Url | str
    uuid: str | None = None
    detail: _Detail = "auto"  # of the Responses API

    @property
    def address(self) -> str:
        return self.image_url if isinstance(self.image_url, str) else self.image_url.url  # some send nothing else

    @property
    def unmet(self) -> str | None:
        if self.uuid is not None:
            return "uuid"
        inner = "auto" if isinstance(self.image_url, str) else self.image_url.detail
        return "detail" if (self.detail, inner) != ("auto", "auto") else None


class InputImage(ImageUrl, tag="input_image"):
    """An image of the Responses API; this server keeps no files."""

    image_url: _Url | str = ""
    file_id: str | None = None

    def __post_init__(self) -> None:
        if self.file_id is not None:
            raise ValueError("file_id refers to a file, and files are not kept here: send image_url")
        if not self.image_url:
            raise ValueError("Object missing required field `image_url`")


class Screenshot(InputImage, tag="computer_screenshot"):
    """What a call of a computer returns."""


class _Source(msgspec.Struct):
    data: str | None = None
    url: str | None = None
    type: str = "base64"
    media_type: str = "image/png"


class SourceImage(PicturePart, tag="image"):
    """An image of Anthropic's Messages API, of chat templates, or of the Model Context Protocol (`data`)."""

    source: _Source | None = None
    url: str | None = None
    image: str | None = None
    data: str | None = None
    mime_type: str = msgspec.field(default="image/png", name="mimeType")

    def __post_init__(self) -> None:
        if not (self.url or self.image or self.data or (self.source and (self.source.url or self.source.data))):
            raise ValueError("Object missing required field `source`")

    @property
    def address(self) -> str:
        source = self.source
        if source and source.data:
            return f"data:{source.media_type};base64,{source.data}"
        if self.data:
            return self.data if self.data[:5] == "data:" else f"data:{self.mime_type};base64,{self.data}"
        return (source and source.url) or self.url or self.image or ""


class MediaPart(PicturePart, tag="media", rename="camel"):
    """A file that a tool of the AI SDK returns (its version 5)."""

    data: str
    media_type: str

    def __post_init__(self) -> None:
        if not self.media_type.startswith("image/"):
            raise ValueError(f"a part of type {self.media_type[:40]!r} is no picture")

    @property
    def address(self) -> str:
        return f"data:{self.media_type};base64,{self.data}"


class ImageData(MediaPart, tag="image-data"):
    """A picture that a tool of the AI SDK returns (from its version 6 on)."""


class VideoUrl(PicturePart, tag="video_url"):
    """A clip of the chat API, as vLLM, OpenRouter and others have it."""

    TAKES: ClassVar = ("video_url", "a clip", "video/mp4")
    video_url: _Url | str

    @property
    def address(self) -> str:
        return self.video_url if isinstance(self.video_url, str) else self.video_url.url

    @property
    def frames(self) -> Sequence[str]:  # as vLLM takes them
        kind, _, data = self.address.partition(",")
        return (
            [f"data:image/jpeg;base64,{each}" for each in data.split(",")] if kind == "data:video/jpeg;base64" else ()
        )


class Video(PicturePart, tag="video"):
    """A clip of Qwen's chat templates: its address, or those of its frames, `fps` or `sample_fps` a second."""

    TAKES: ClassVar = ("video", *VideoUrl.TAKES[1:])
    video: str | list[str]
    fps: Annotated[float, msgspec.Meta(gt=0)] | None = None
    sample_fps: Annotated[float, msgspec.Meta(gt=0)] | None = None

    @property
    def address(self) -> str:
        return self.video if isinstance(self.video, str) else ""

    @property
    def frames(self) -> Sequence[str]:
        return self.video if isinstance(self.video, list) else VideoUrl(self.video).frames

    @property
    def rate(self) -> float | None:
        return self.sample_fps or self.fps


class InputFile(PicturePart, tag="input_file"):
    """A clip or a document of the Responses API; this server keeps no files."""

    TAKES: ClassVar = ("file_url", "a file", "application/pdf")
    file_data: str = ""
    file_url: str = ""
    filename: str = ""

    def __post_init__(self) -> None:
        if not (self.file_data or self.file_url):
            raise ValueError("a file is sent as file_data or file_url, since files are not kept here")

    @property
    def address(self) -> str:
        is_base64 = self.file_data and self.file_data[:5] != "data:"
        return f"data:application/pdf;base64,{self.file_data}" if is_base64 else self.file_data or self.file_url


class FilePart(PicturePart, tag="file"):
    """The same of the chat API."""

    TAKES: ClassVar = ("file.file_url", *InputFile.TAKES[1:])
    file: InputFile

    @property
    def address(self) -> str:
        return self.file.address


class _Contents(msgspec.Struct, rename="camel"):
    text: str | None = None
    blob: str | None = None
    mime_type: str = ""


class Resource(ContentPart, tag="resource"):
    """A resource in a result of the Model Context Protocol: a text, or a picture."""

    resource: _Contents

    def __post_init__(self) -> None:
        if self.resource.text is None and not (self.resource.blob and self.resource.mime_type.startswith("image/")):
            raise ValueError(f"a resource of type {self.resource.mime_type[:40]!r} is no text and no picture")

    @property
    def content(self) -> "Text | SourceImage":
        held = self.resource
        return SourceImage(data=held.blob, mime_type=held.mime_type) if held.text is None else Text(held.text)


AnyPart = (
    Text
    | InputText
    | OutputText
    | Refusal
    | ImageUrl
    | InputImage
    | Screenshot
    | SourceImage
    | MediaPart
    | ImageData
    | Resource
    | VideoUrl
    | Video
    | FilePart
    | InputFile
)
_KINDS = {str(kind.__struct_config__.tag): kind for kind in AnyPart.__args__}
_OF_PICTURES = [f'"{tag}"'.encode() for tag, kind in _KINDS.items() if not issubclass(kind, Text)]
_DATA_URL = re.compile(
    r"data:image\\?/(?:png|jpe?g|gif|webp|bmp|tiff);base64,(?=[\w+/\\-]{32})"
    r"[A-Za-z0-9+/_-]*+(?:\\(?:/|u002[Bb]|u002[Ff])[A-Za-z0-9+/_-]*+)*+(?:=|\\u003[Dd]){0,2}",
    re.ASCII | re.IGNORECASE,
)
"""The data URL of a picture in a text, or in a string of JSON, whose writers escape some of its characters; vector
graphics, and the few letters that stand for a picture in a manual, stay text.
"""
_INNER = {"image_url": _Url, "source": _Source, "video_url": _Url, "file": InputFile}


def shown_parts(part: AnyPart) -> list[AnyPart]:
    """What a part consists of: the frames of a clip with a line before each, or what a resource holds, else itself."""
    if isinstance(part, Resource):
        return [part.content]
    if not isinstance(part, PicturePart) or not part.frames:
        return [part]
    times = [f" at {number / part.rate:g} s" if part.rate else "" for number in range(len(part.frames))]
    lines = [Text(f"Frame {number}{time}:") for number, time in enumerate(times, 1)]
    return [each for pair in zip(lines, map(ImageUrl, part.frames), strict=True) for each in pair]


def result_parts(result: bytes) -> list[msgspec.Raw] | None:
    """Return the parts that the result of a tool consists of; None: it is other JSON, or none.

    Clients send a list of parts, one by itself, or the `content` of a result of the Model Context Protocol.
    """
    try:
        found = [msgspec.Raw(result)] if result[:1] == b"{" else msgspec.json.decode(result, type=list[msgspec.Raw])
        fields = [msgspec.json.decode(each, type=dict[str, msgspec.Raw]) for each in found]
    except (ValueError, RecursionError):
        return None
    if result[:1] == b"{" and "type" not in fields[0]:
        return result_parts(bytes(fields[0]["content"])) if "content" in fields[0] else None
    return found if all("type" in each for each in fields) else None


def written_parts(text: str) -> list[AnyPart] | None:
    """Return the parts that are written out in the text of a tool's result, or the picture whose data URL the text is;
    None: there is no picture.

    Raises:
        ValueError: a part next to a picture is none that a model is shown.
    """
    written = text.strip().encode(errors="replace")
    if written[:11] == b"data:image/" and b" " not in written:
        return [ImageUrl(text.strip())]
    if written[:1] not in (b"[", b"{") or not any(tag in written for tag in _OF_PICTURES):
        return None
    parts = result_parts(written) or []
    return (
        msgspec.convert([msgspec.json.decode(each) for each in parts], list[AnyPart])
        if any(map(_is_picture, parts))
        else None
    )


def split_pictures(text: str) -> list[Text | ImageUrl]:
    """Return the data URLs of pictures in the text or JSON of a tool's result as parts, and the texts around them."""
    parts: list[Text | ImageUrl] = []
    end = 0
    for found in _DATA_URL.finditer(text):
        parts += [Text(text[end : found.start()]), ImageUrl(msgspec.json.decode(f'"{found[0]}"', type=str))]
        end = found.end()
    return [part for part in (*parts, Text(text[end:])) if not isinstance(part, Text) or part.text]


def _is_picture(part: msgspec.Raw) -> bool:
    try:
        return isinstance(msgspec.json.decode(part, type=AnyPart), PicturePart | Resource)
    except ValueError:
        return False


def unknown_fields(messages: msgspec.Raw, known: Collection[str]) -> list[str]:
    """Return the names of fields of messages and their parts that have no effect, such as `image_url.format`.

    At most 16 are returned, as printable ASCII.

    Raises:
        ValueError: a message that is no answer has another one than `known`.
    """
    found: dict[str, None] = {}
    for at, message in enumerate(msgspec.json.decode(messages, type=list[dict[str, msgspec.Raw]])):
        others = [name for name, raw in message.items() if name not in known and bytes(memoryview(raw)[:4]) != b"null"]
        wrong = [name for name in others if name != "cache_control"]
        if wrong and bytes(memoryview(message["role"])) != b'"assistant"':
            raise ValueError(f"messages[{at}]: object contains unknown field {wrong[0][:200]}")
        content = message.get("content", msgspec.Raw())
        of_parts = _unknown(content) if bytes(memoryview(content)[:1]) == b"[" else ()
        for name in chain((f"messages.{name}" for name in others), of_parts):
            if len(found) == _MAX_NAMES:
                break
            found[re.sub(r"[^!-+\--~]", "?", name[:64])] = None
    return [*found]


def _unknown(content: msgspec.Raw) -> Iterator[str]:
    for part in msgspec.json.decode(content, type=list[dict[str, msgspec.Raw]]):
        kind = _KINDS.get(bytes(memoryview(part.pop("type"))).decode().strip('"'))
        fields = kind.__struct_encode_fields__ if kind else part.keys()
        yield from (f"content.{name}" for name in part if name not in fields)
        for name in part.keys() & _INNER.keys():
            if bytes(memoryview(part[name])[:1]) == b"{":
                inner = msgspec.json.decode(part[name], type=dict[str, msgspec.Raw])
                yield from (f"{name}.{each}" for each in inner if each not in _INNER[name].__struct_fields__)
