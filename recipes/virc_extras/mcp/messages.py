"""The tools of the MCP server: what they take and what they return, as types from which their JSON schemas are made."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from virc.reasoning.media import MediaChoice

SIDE = 1568
"""Longest side of a picture in a reply, in pixels, if the caller names none."""
MAX_SIDE = 8192
RESULT = 950_000
"""Characters of a result, if no other number is chosen: Claude Desktop takes 1,048,576."""
MAX_SAMPLES = 8

Source = Annotated[
    str,
    Meta(
        description="A picture, a clip or a PDF: a path inside one of the server's readable folders, an image_id of an "
        "earlier result, a data URL or the base64 of a PNG, JPEG, GIF, WebP, BMP, TIFF or AVIF file, or an https URL.",
        min_length=1,
    ),
]
Side = Annotated[
    int,
    Meta(
        description="Longest side of each returned picture in pixels; larger ones are shrunk for the reply only.",
        ge=28,
        le=MAX_SIDE,
    ),
]
Seconds = Annotated[float, Meta(description="Of a clip: the time of the frame, in seconds from its start.", ge=0)]
Page = Annotated[int, Meta(description="Of a PDF: the page, from 1.", ge=1)]
Text = Annotated[str, Meta(max_length=2**20)]
Corners = Annotated[list[int], Meta(min_length=4, max_length=4)]
"""A list, not a tuple: validators of older drafts, as in the TypeScript SDK, refuse every value of a tuple's schema."""

_OF_TEXTS = {"type": "string"}  # beside the names that are allowed: some hosts refuse an enum without a type

Warnings = Annotated[list[str], Meta(description="What of the picture's file is not shown, or not as it is.")]


class Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a tool takes."""


class Ask(Arguments, frozen=True):
    image: Source
    question: Annotated[
        str,
        Meta(
            description="The question about the picture. <image> in it says where each of several pictures stands.",
            min_length=1,
            max_length=2**20,
        ),
    ]
    more_images: Annotated[list[Source], Meta(description="Further pictures of the same question.", max_length=15)] = []
    samples: Annotated[
        int, Meta(description="Independent answers, of which the commonest is returned.", ge=1, le=MAX_SAMPLES)
    ] = 1
    at: Annotated[
        list[Seconds], Meta(description="Times of frames of the clips; none: one a second, 4 to 32.", max_length=64)
    ] = []
    frames: Annotated[
        Annotated[int, Meta(ge=1, le=128)] | None, Meta(description="So many frames of each clip, evenly.")
    ] = None
    pages: Annotated[list[Page], Meta(description="Pages of the PDFs; none: the first 32.", max_length=64)] = []
    max_side: Side = SIDE

    @property
    def choice(self) -> MediaChoice:
        return MediaChoice(tuple(self.pages), tuple(self.at), frames=self.frames)


class OnePicture(Arguments, frozen=True, kw_only=True):
    """What a tool takes that gives one picture of another one."""

    image: Source
    at: Seconds = 0
    page: Page = 1
    max_side: Side = SIDE


class Crop(OnePicture, frozen=True):
    box: Annotated[
        list[float],
        Meta(
            description="left, top, right, bottom, counted as unit says; (0, 0) is the upper left corner.",
            min_length=4,
            max_length=4,
        ),
    ]
    unit: Annotated[
        Literal["pixel", "permille", "thousand", "fraction"],
        Meta(
            description="pixel: pixels of the picture's file; permille: 0 to 999 on each side; thousand: 0 to 1000 on "
            "each side; fraction: 0 to 1 on each side.",
            extra_json_schema=_OF_TEXTS,
        ),
    ] = "pixel"


class Scale(OnePicture, frozen=True):
    factor: Annotated[
        float,
        Meta(description="From 0.25 to 4; the nearest of 0.25, 0.5, 1, 1.5, 2, 2.5 and 4 is used.", ge=0.25, le=4),
    ]


class Show(OnePicture, frozen=True):
    """What the tool `show` takes."""


class Evaluate(Arguments, frozen=True):
    answer: Annotated[Text, Meta(description="The answer to check: a short answer, or a text that ends in one.")]
    reference: Annotated[Text, Meta(description="The right answer.", min_length=1)]
    choices: Annotated[
        list[Text], Meta(description="Contents of the choices in order, where the question has some.", max_length=26)
    ] = []
    decimals: Annotated[
        Annotated[int, Meta(ge=0, le=100)] | None,
        Meta(description="Numbers are equal when rounded to so many decimals."),
    ] = None
    tolerance: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(description="Share of the right number by which another may be off: 0.05 is 5 %."),
    ] = None


class TraceOf(Arguments, frozen=True):
    trace_id: Annotated[str, Meta(description="trace_id of an earlier result of ask.", min_length=1, max_length=200)]
    max_side: Side = SIDE


class KeptPicture(msgspec.Struct, frozen=True, kw_only=True):
    """A picture that the server keeps for this session."""

    image_id: Annotated[str, Meta(description="Names this picture in later calls of this session.")]
    width: int
    height: int
    exact: Annotated[bool, Meta(description="Whether the returned picture is neither shrunk nor compressed with loss.")]
    warnings: Warnings = []


class Cropped(KeptPicture, frozen=True, kw_only=True):
    box: Annotated[Corners, Meta(description="left, top, right, bottom in pixels of the picture's file.")]
    clamped: Annotated[bool, Meta(description="Whether the box left the picture and was cut at its edge.")]


class Scaled(KeptPicture, frozen=True, kw_only=True):
    factor: Annotated[float, Meta(description="The factor that was used.")]


class Look(KeptPicture, frozen=True, kw_only=True):
    """A picture that a tool call of the model made."""

    tool: Annotated[str, Meta(description="Tool of the model that made it.")]
    source_id: Annotated[str | None, Meta(description="image_id of the picture that it was made from.")]
    box: Annotated[
        Corners | None, Meta(description="left, top, right, bottom of the crop in pixels of the picture source_id.")
    ]


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    answer: Annotated[str | None, Meta(description="null where the model gave none.")]
    reason: Annotated[str | None, Meta(description="Why there is no answer.")]
    model: str
    turns: Annotated[int, Meta(description="Turns of the sample that is shown.")]
    confidence: Annotated[
        float | None, Meta(description="Share of the samples that gave this answer; null of one sample.")
    ]
    image_ids: Annotated[list[str], Meta(description="The pictures of the question, for later calls.")]
    looks: Annotated[list[Look], Meta(description="Where the model looked, in order.")]
    trace_id: Annotated[str, Meta(description="For the tool trace.")]
    warnings: Warnings = []


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    verdict: Annotated[Literal["right", "wrong", "undecided"], Meta(extra_json_schema=_OF_TEXTS)]
    by: Annotated[
        Annotated[Literal["rule", "algebra"], Meta(extra_json_schema=_OF_TEXTS)] | None,
        Meta(description="What decided; null where nothing could."),
    ]
    reason: str


class ModelTurn(msgspec.Struct, frozen=True, kw_only=True):
    """A turn of the model."""

    thought: str
    calls: list[str]
    answer: str | None


class Traced(msgspec.Struct, frozen=True, kw_only=True):
    question: str
    steps: list[ModelTurn]
    failure: Annotated[str | None, Meta(description="What ended it without an answer.")]


class Tool(msgspec.Struct, frozen=True):
    takes: type[Arguments]
    returns: type[msgspec.Struct]
    title: str
    description: str


TOOLS: dict[str, Tool] = {
    "ask": Tool(
        Ask,
        Answered,
        "Ask about a picture",
        "Answer a question about one or more pictures with a vision model that crops and zooms by itself. Use it for "
        "details, diagrams, charts, small text and counting. Returns the answer, then every crop that the model looked "
        "at. It can take minutes; progress is reported at each turn.",
    ),
    "crop": Tool(
        Crop,
        Cropped,
        "Crop a picture",
        "Cut a box out of a picture at the full resolution of its file, to see a detail yourself.",
    ),
    "scale": Tool(Scale, Scaled, "Scale a picture", "Enlarge or shrink a picture."),
    "show": Tool(
        Show,
        KeptPicture,
        "Show a picture",
        "Look at a picture. Returns it with its size in pixels, and an image_id for later calls, so that it need not "
        "be sent again.",
    ),
    "evaluate": Tool(
        Evaluate,
        Verdict,
        "Check an answer",
        "Whether an answer equals a reference: by spelling, number, unit, letter of a choice or algebra, with a "
        "reason. No model is asked.",
    ),
    "trace": Tool(
        TraceOf,
        Traced,
        "Show how an answer came about",
        "The steps of an earlier ask of this session: thoughts, tool calls and the pictures that they made.",
    ),
}


def schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON schema of a type, open: google-genai fails on `additionalProperties: false`; what is unknown is refused
    all the same.
    """
    (_,), parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    top: dict[str, Any] = parts.pop(kind.__name__)
    for name in ("title", "description", "additionalProperties"):
        top.pop(name, None)
    return top | ({"$defs": parts} if parts else {})
