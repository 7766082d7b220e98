"""Chat protocol is data: the exact system message and turn sentences a checkpoint was trained with.

`virc_protocol.json` next to the weights holds one `Protocol`. A model that has none gets `own_protocol()`,
this project's chat protocol.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from virc.core.errors import ConfigError
from virc.reasoning.grammar import TAGS, Grammar

Coordinates = Literal["pixel", "permille", "thousand", "unit", "original"]
BoxForm = Literal["corners", "center", "corners_yx"]
UNITS: Mapping[Coordinates, str] = {
    "pixel": "pixels",
    "permille": "thousandths of the sides, 0 to 999",
    "thousand": "thousandths of the sides, 0 to 1000",
    "unit": "fractions of the sides, 0 to 1",
    "original": "pixels of the file",
}
"""What boxes are counted in, in words."""
IndexCounts = Literal["all", "inputs"]
Bounds = tuple[Annotated[int, Meta(ge=1)], Annotated[int, Meta(ge=1)]]
LeastSide = Annotated[int, Meta(ge=0, le=4096)]
Crops = Literal["file", "shown"]
Edges = Literal["round", "floor", "inclusive", "exclusive"]
ShortBoxes = Literal["grow", "refuse"]
ErrorKind = Literal[
    "call", "tool", "arguments", "image", "numbers", "outside", "no_width", "no_height", "short", "long"
]
Results = Literal["user", "assistant", "inline"]
Reading = Literal["strict", "lenient"]
SCHEMA: Literal["virc.protocol/1"] = "virc.protocol/1"
FILE_NAME = "virc_protocol.json"

TOOLS = "{tools}"
"""What stands for the schemas of the tools in a system message that a system's file words."""

QUESTION = "{question}"
"""The template of a first turn that is the question alone."""

_LIST_END = "\n</tools>"
IMAGE = "{image}"
"""Where an image stands in a template; in one without it, images stand before the text."""
_OF_TURN = frozenset({"question", "turn", "turn_from_0"})
_OF_IMAGE = frozenset({"image", "index", "number", "count", "width", "height"})
FRAME = "{frame}"
"""In `frame_line`, the number of a frame in the file of its clip, from 0."""
PLACEHOLDERS: Mapping[str, frozenset[str]] = {
    "system": frozenset({"tools"}),
    "first": frozenset({"question", "images", "image"}),
    "image_line": _OF_IMAGE,
    "frame_line": frozenset({"frame", "number", "seconds"}),
    "after_image": _OF_TURN | _OF_IMAGE | {"text"},
    "after_scale": _OF_TURN | _OF_IMAGE | {"text"},
    "after_text": _OF_TURN | {"text"},
    "after_error": _OF_TURN | {"error"},
    "error_texts": frozenset("error box pixels x0 y0 x1 y1 width height image ratio name body parser".split()),
}
"""What is filled into each text of a chat protocol."""
_PLACEHOLDER = re.compile(rf"\{{({'|'.join(sorted(frozenset().union(*PLACEHOLDERS.values()) - {'tools'}))})\}}")


class Drawing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a model is sampled where nobody says.

    Args:
        temperature: of every first try; 0 is greedy. None: 0, or 1 with several samples.
        repetition_penalty: divides logits of tokens in the conversation; 1: none. None: none here, on a server its own.
        max_tokens: longest reply in tokens, with its thought. None: 1024.
        top_p, top_k: of tries that are not greedy; a `top_k` of 0 is all tokens. None: 0.95 and 50.
        min_p: of tries that are not greedy: tokens under `min_p` times the likeliest's share are left out. None: none
            here, on a server its own.
    """

    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=100)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=2**20)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=2**31)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None


PICTURES = ("images", "crops", "input_pixels", "crop_pixels", "edges", "least_side", "short_boxes")
"""The fields of a chat protocol that say how pictures are shown and cut; a system's YAML has them too."""

USUAL = Drawing()
"""How models are sampled whose chat protocol says nothing."""


PACKAGES = (
    "numpy", "pillow", "matplotlib", "opencv-python", "opencv-python-headless", "scipy", "sympy", "pandas",
    "scikit-image",
)  # fmt: skip
"""Distributions that code of models may import, unless a chat protocol names others."""


class CodeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How code is run.

    In texts, `{index}` is the number of an image from 0, `{number}` the same from 1; `{stdout}` is what the code
    printed, `{stderr}` what it printed there and its error, `{output}` both.

    Args:
        state: whether code finds the variables and files of the code before it (`kept`).
        images: which images the code is given; `inputs`: the question's.
        file: name of an image's file in the folder of the code.
        variable: variable of an image, opened by PIL; empty: none.
        path_variable: variable of the path of an image's file; empty: none. Without a number in it: of the first image.
        files: image files that come back in addition to what is shown: those `saved`, or whose paths are `printed`.
        text: what the model is sent of code without an image.
        text_with_images: the same for code with images.
        faults: an error of the code is its `result`, or a `call` that cannot be carried out (`errors`).
        seconds: of the clock.
        memory_mib: address space, interpreter and packages included.
        disk_mib: of the files in its folder.
        most_characters: of each text; longer ones lose their middle.
        most_images: that one piece of code gives back.
        packages: what it may import if installed, with what these require.
    """

    state: Literal["kept", "fresh"] = "kept"
    images: Literal["all", "inputs"] = "all"
    file: Annotated[str, Meta(pattern=r"^[\w.{}-]+\.png\Z")] = "image_{index}.png"
    variable: Annotated[str, Meta(pattern=r"^([A-Za-z_][\w{}]*)?\Z")] = "image_{index}"
    path_variable: Annotated[str, Meta(pattern=r"^([A-Za-z_][\w{}]*)?\Z")] = ""
    files: Literal["saved", "printed", "none"] = "saved"
    text: str = "{output}"
    text_with_images: str = "{output}"
    faults: Literal["result", "call"] = "result"
    seconds: Annotated[float, Meta(gt=0, le=3600)] = 20
    memory_mib: Annotated[int, Meta(ge=512, le=2**20)] = 4096
    disk_mib: Annotated[int, Meta(ge=1, le=2**14)] = 64
    most_characters: Annotated[int, Meta(ge=100, le=200_000)] = 10_000
    most_images: Annotated[int, Meta(ge=0, le=64)] = 8
    packages: tuple[str, ...] = PACKAGES


class Protocol(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model's chat protocol. Templates hold {index}, {width}, {height}, {question}, {images} for `fill`.

    In `first`, `image_line`, `after_image`, `after_scale` and `after_error`, {image} is where an image stands; in a
    turn without it, images stand before the text. What has {text} is said once of several images if it counts none.

    Args:
        system: whole system message with the tool schemas; empty: none.
        first: first user turn; `{images}`: an `image_line` for each input image; `{question}`.
        image_line: announces an image; `{index}`: its number from 0; `{width}`, `{height}`: pixels as shown.
        frame_line: announces a frame of a clip; `{frame}`: its number in the file, from 0; `{number}`: of those shown;
            `{seconds}`. null: as `Frame 1 at 0:02:`.
        after_image: user turn after `crop_image` and `display_image`; `{index}`, `{width}`, `{height}` of the new
            image; `{count}`: images so far; `{number}`: those by tools; `{question}`.
        after_scale: the same after `scale_image`.
        complete_with: a question that contains this text, such as `<think>`, is the whole first turn, without `first`.
        after_text: user turn after a tool that returns a `{text}`; `{question}`.
        after_error: user turn after a call that cannot be carried out, with `errors: show`; `{error}`: why;
            `{question}`.
        error_texts: `{error}` by the fault; else our own clause. `call`: unreadable; `tool`, `arguments`, `image`:
            unknown; `numbers`: not four; `outside`: leaves the image; `no_width`, `no_height`: no pixel; `short`,
            `long`: of a side. Placeholders: {box} as written, its {x0}, {y0}, {x1}, {y1}; {pixels}: it in pixels;
            {width}, {height}, {image}, {ratio}; {name} of the tool; {body} of the call; what the {parser} reports.
        results: where results are: in turns of the user, of the assistant, or inside the model's own turn, which goes
            on.
        images_stay: how many replies see the images of a result, which then leave the conversation; null: all.
        image_gone: what replaces an image that left.
        errors: after a call that cannot be carried out: `redraw` the reply (a rollout of RL ends), `show` the turn of
            `after_error`, or `end` without an answer.
        tools: tools that are offered; others are refused.
        coordinates: unit of boxes: `pixel` of the image as shown; `permille`: 0..999; `thousand`: 0..1000; `unit`:
            0..1; `original`: pixels of the input's file.
        box: left, top, right, bottom (`corners`); top, left, bottom, right (`corners_yx`); centre x and y, width,
            height.
        float_boxes: whether boxes may have fractions of pixels or thousandths.
        index_counts: what numbers of images in calls count; `inputs`: the question's images alone.
        crops: what crops are cut from: the picture's file, or the pixels that the model saw.
        input_pixels: least and most pixels of the question's images, the most at least twice the least; null: the
            model's.
        crop_pixels: the same for what tools cut out.
        edges: end of a box within a pixel: the nearest (`round`), or the one before; `inclusive`: and the last one is
            within the box; `exclusive`: and no box has the last row or column of its image.
        least_side: shortest side, in pixels of what boxes are cut from.
        short_boxes: a box with a shorter side, or no pixel: it grows around its centre, or the call is refused.
        images: `smart`: to the patch grid; `square_1000`: every input at 1000 x 1000.
        repeat_limit: rejects a reply in which a pattern is this often in a row; 0: off.
        refusals: answers that mean "I cannot tell"; they end without an answer.
        grammar: how the model writes its turns.
        sampling: how it is sampled by default.
        reading: `strict`: by the grammar; `lenient`: any usual way to write a thought, a call or an answer.
        schemas: function schemas sent as `tools` in each request, for calls in the server's own way.
        code: how the tool `python` runs code.
        name: `own`: this project's; `system`, `own words`: a system's, with its authors' texts or ours; `trained`: next
            to weights; `stock`: of a family of models.
        schema: the format of the file.
    """

    system: str
    first: str
    image_line: str
    after_image: str
    after_scale: str
    complete_with: Annotated[str, Meta(min_length=1)] | None = None
    frame_line: str | None = None
    after_text: str = "{text}"
    after_error: str = "Error: {error}"
    error_texts: Mapping[ErrorKind, str] = {}
    results: Results = "user"
    images_stay: Annotated[int, Meta(ge=1)] | None = None
    image_gone: str = ""
    errors: Literal["redraw", "show", "end"] = "redraw"
    tools: tuple[str, ...] = ("crop_image", "scale_image", "display_image")
    coordinates: Coordinates = "pixel"
    box: BoxForm = "corners"
    float_boxes: bool = False
    index_counts: IndexCounts = "all"
    crops: Crops = "shown"
    input_pixels: Bounds | None = None
    crop_pixels: Bounds | None = None
    edges: Edges = "round"
    least_side: LeastSide = 0
    short_boxes: ShortBoxes = "grow"
    images: Literal["smart", "square_1000"] = "smart"
    repeat_limit: int = 8
    refusals: tuple[str, ...] = ("unreadable",)
    grammar: Grammar = TAGS
    sampling: Drawing = USUAL
    reading: Reading = "strict"
    schemas: tuple[dict[str, Any], ...] = ()
    code: CodeSettings = CodeSettings()
    name: str = "trained"
    schema: Literal["virc.protocol/1"] = SCHEMA

    def __post_init__(self) -> None:
        check_bounds(self)

    def first_around(self, question: str) -> str:
        return QUESTION if self.complete_with and self.complete_with in question else self.first


def check_bounds(limits: object) -> None:
    """Raise ValueError where the least of `input_pixels` or `crop_pixels` is over the most, or they are so near that a
    size within them would be another one when it is brought within them again, as sides are whole patches.
    """
    for name in ("input_pixels", "crop_pixels"):
        bounds = getattr(limits, name)
        if bounds and bounds[0] > bounds[1]:
            raise ValueError(f"`{name}` is the least and the most, and {bounds[0]} is over {bounds[1]}")
        if bounds and bounds[0] * 2 > bounds[1]:
            reason = f"as sides are whole patches, the most has to be at least twice the least, {bounds[0] * 2}"
            raise ValueError(f"`{name}` is {bounds[0]} to {bounds[1]}: {reason}")


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a system says in place of our own chat protocol, by the fields of `Protocol`; what it leaves out stays ours.

    In `system`, {tools} stands for the schemas of its tools, one a line.
    """

    system: str | UnsetType = UNSET
    first: str | UnsetType = UNSET
    image_line: str | UnsetType = UNSET
    after_image: str | UnsetType = UNSET
    after_scale: str | UnsetType = UNSET
    refusals: tuple[str, ...] | UnsetType = UNSET
    repeat_limit: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    box: BoxForm | UnsetType = UNSET
    grammar: Grammar | UnsetType = UNSET
    complete_with: Annotated[str, Meta(min_length=1)] | UnsetType | None = UNSET
    frame_line: str | UnsetType = UNSET
    after_text: str | UnsetType = UNSET
    after_error: str | UnsetType = UNSET
    error_texts: Mapping[ErrorKind, str] | UnsetType = UNSET
    results: Results | UnsetType = UNSET
    images_stay: Annotated[int, Meta(ge=1)] | UnsetType | None = UNSET
    image_gone: str | UnsetType = UNSET
    errors: Literal["redraw", "show", "end"] | UnsetType = UNSET
    float_boxes: bool | UnsetType = UNSET
    index_counts: IndexCounts | UnsetType = UNSET
    reading: Reading | UnsetType = UNSET
    code: CodeSettings | UnsetType = UNSET


_ALWAYS = (
    "system", "first", "image_line", "after_image", "after_scale", "tools", "coordinates", "box", "images",
    "repeat_limit", "refusals", "grammar", "sampling", "name", "schema",
)  # fmt: skip
"""Fields that every file has; it leaves out others where they have their default, as in most protocols."""


def as_fields(protocol: Protocol) -> dict[str, Any]:
    held: dict[str, Any] = msgspec.to_builtins(protocol)
    for field in msgspec.structs.fields(Protocol):
        if field.name not in _ALWAYS and getattr(protocol, field.name) == _default(field):
            del held[field.name]
    return held


def _default(field: msgspec.structs.FieldInfo) -> object:
    """The default of a field; msgspec makes a new empty mapping for each struct."""
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def fill(template: str, **values: object) -> str:
    """Put values into a template in one pass, so that braces inside a question stay as they are."""
    return _PLACEHOLDER.sub(lambda match: str(values.get(match[1], match[0])), template)


def own_protocol(schemas: Sequence[Mapping[str, object]], coordinates: Coordinates = "pixel") -> Protocol:
    """This project's own chat protocol for the given tool schemas (Qwen/Hermes function style, one a line)."""
    listed = _listed(schemas)
    return Protocol(
        system=(
            "You answer questions about pictures, and you look closer before you trust what you see.\n\n"
            f"<tools>\n{listed}\n</tools>\n\n"
            "A tool is called by a JSON object with its name and its arguments inside "
            "<tool_call></tool_call>."
        ),
        first=(
            "{images}\nQuestion: {question}\n\nReason in small steps. Every reply is <think>...</think> "
            "followed by either one <tool_call>...</tool_call> to look closer or "
            "<answer>...</answer> to finish."
        ),
        image_line="Image {index}: {width} x {height}.",
        after_image="Image {index}: {width} x {height}. Go on; look again wherever that helps.",
        after_scale=(
            "Image {index}: {width} x {height}. The question was: {question} Go on; look again wherever that helps."
        ),
        tools=tuple(str(_function(schema)["name"]) for schema in schemas),
        coordinates=coordinates,
        name="own",
    )


def worded(own: Protocol, words: Words, schemas: Sequence[Mapping[str, object]]) -> Protocol:
    said = {key: value for key, value in msgspec.structs.asdict(words).items() if value is not UNSET}
    if "system" in said:
        said["system"] = said["system"].replace(TOOLS, _listed(schemas))
    return msgspec.structs.replace(own, **said, name="system")


def with_tools(protocol: Protocol, schemas: Sequence[Mapping[str, object]]) -> Protocol:
    names = protocol.tools + tuple(str(_function(schema)["name"]) for schema in schemas)
    if protocol.schemas:
        offered = (*protocol.schemas, *(dict(schema) for schema in schemas))
        return msgspec.structs.replace(protocol, schemas=offered, tools=names)
    before, end, after = protocol.system.rpartition(_LIST_END)
    if not end:
        raise ConfigError(f"the system message has no {_LIST_END.strip()}: tools cannot be added to it")
    listed = "".join(f"\n{json.dumps(schema)}" for schema in schemas)
    return msgspec.structs.replace(protocol, system=before + listed + end + after, tools=names)


def _listed(schemas: Sequence[Mapping[str, object]]) -> str:
    return "\n".join(json.dumps(schema) for schema in schemas)


def _function(schema: Mapping[str, object]) -> Mapping[str, object]:
    function = schema["function"]
    assert isinstance(function, Mapping)
    return function
