"""What a chat protocol can say of calls and results: several calls, texts, errors, names, and where results stand."""

from typing import Any, ClassVar

import msgspec
from PIL import Image
from support.solving import answer
from support.solving import call as look
from support.tables import each_case
from support.tool_replies import schema

from virc.reasoning.calls import Call, Result, Tool
from virc.reasoning.protocol import own_protocol
from virc.reasoning.resize import Grid
from virc.reasoning.session import Ask, Rejected, Reply, Session, Unit
from virc.tools.registry import DEFAULT, known, schemas

OWN = own_protocol(schemas(DEFAULT))
CROP = '<tool_call>{"name": "crop_image", "arguments": {"bbox_2d": [%d, 0, 84, 84], "image_index": 0}}</tool_call>'


def session(protocol: Any = OWN, tools: dict[str, Tool] | None = None, **more: Any) -> Session:
    changed = msgspec.structs.replace(protocol, **more)
    return Session(changed, "Which?", [Image.new("RGB", (336, 252), "white")], tools={**known(), **(tools or {})})


def last(talk: Session) -> Any:
    ask = talk.next()
    assert isinstance(ask, Ask)
    return ask.messages[-1]


@each_case(
    ("reply", "part"),
    [
        (look("crop_image", bbox_2d=[0, 0, 84, 84], image_index=9), "images are 0 to 0"),
        (look("telescope"), "there is no tool 'telescope'"),
        ("<think>x</think><tool_call>{oops}</tool_call>", "not JSON"),
    ],
)
def test_errors_that_are_shown_are_the_next_turn_in_the_systems_words(reply: str, part: str) -> None:
    talk = session(errors="show", after_error="ERROR: {error}. Again.")
    unit = talk.feed(Reply(reply))
    assert isinstance(unit, Unit)
    assert (unit.calls, unit.shown) == ([], [])
    assert part in (unit.results[0].error or "")
    message = last(talk)
    assert message.text.startswith("ERROR: ")
    assert part in message.text
    assert message.text.endswith(". Again.")
    assert isinstance(talk.feed(Reply(answer("3"))), Unit)
    assert talk.trace().answer == "3"


class Reader:
    """A tool with free arguments, that returns what a test wants."""

    NAME, TEMPLATE = "read_text", "after_image"
    LINES: ClassVar = {"type": "integer", "minimum": 1}
    SCHEMA = schema("read_text", ["language"], language={"enum": ["en", "de"]}, lines=LINES)

    def __init__(self, returned: object) -> None:
        self.returned = returned
        self.call: Call | None = None

    def apply(self, call: Call, source: object) -> object:
        self.call = call
        assert source is None
        return self.returned


def reading(returned: object, arguments: dict[str, object], **more: Any) -> tuple[Session, Unit | Rejected]:
    tool: Any = Reader(returned)
    protocol = msgspec.structs.replace(OWN, tools=("read_text",), **more)
    talk = Session(protocol, "?", [Image.new("RGB", (336, 252))], tools={"read_text": tool})
    return talk, talk.feed(Reply(look("read_text", **arguments)))


def test_a_tool_may_return_a_text_and_images() -> None:
    pictures = [Image.new("RGB", (56, 56), colour) for colour in ("red", "blue")]
    talk, unit = reading(Result("two words", pictures), {"language": "en"})
    assert isinstance(unit, Unit)
    assert unit.results[0].text == "two words"
    assert unit.shown == [1, 2]
    message = last(talk)
    assert message.images == (1, 2)
    assert message.text.startswith("two words\nImage 1:")
    assert talk.images[2].pixels.getpixel((3, 3)) == (0, 0, 255)
    talk, _ = reading(Result("two words", pictures), {"language": "en"}, after_image="{text}, {number}: {image}")
    assert list(last(talk).parts()) == ["two words, 1: ", 1, "\ntwo words, 2: ", 2]
    talk, _ = reading(Result("two words", pictures), {"language": "en"}, after_image="{text}: {image}.")
    assert list(last(talk).parts()) == ["two words: ", 1, 2, "."]


def test_an_inline_result_belongs_to_the_models_own_turn() -> None:
    talk = session(results="inline", after_image="\n{image}\n")
    talk.feed(Reply("<think>x</think>" + CROP % 0))
    ask = talk.next()
    assert isinstance(ask, Ask)
    assert ask.continues
    assert [message.role for message in ask.messages] == ["system", "user", "assistant", "assistant"]
    (turn,) = [turn for turn in ask.turns() if turn.role == "assistant"]
    assert turn.parts[1:] == ("\n", 1, "\n")
    talk.feed(Reply(answer("3")))
    assert talk.trace().answer == "3"


class Painter:
    """A tool of one's own that draws on the pixels it is given, as many do."""

    NAME, TEMPLATE = "paint", "after_image"
    SCHEMA = schema("paint", ["image_index"], bbox_2d={"type": "array"}, image_index={"type": "integer"})

    def apply(self, call: Call, source: Image.Image) -> object:
        source.paste("red", call.box or (0, 0, *source.size))
        return source


@each_case("crops", ["file", "shown"])
@each_case("box", [{}, {"bbox_2d": [0, 0, 84, 84]}])
def test_a_tool_that_draws_on_what_it_is_given_changes_its_result_alone(crops: str, box: dict[str, object]) -> None:
    protocol = msgspec.structs.replace(OWN, tools=("paint", "crop_image"), crops=crops)
    painter: Any = Painter()
    page = Image.new("RGB", (1000, 750), "white")
    talk = Session(protocol, "?", [page], Grid(max_pixels=500 * 375), tools={"paint": painter, **known()})
    shown = talk.images[0].pixels.tobytes()
    assert isinstance(talk.feed(Reply(look("paint", image_index=0, **box))), Unit)
    assert talk.images[1].pixels.getpixel((3, 3)) == (255, 0, 0)
    assert talk.images[0].pixels.tobytes() == shown
    assert page.getextrema() == ((255, 255),) * 3
    talk.feed(Reply(look("crop_image", bbox_2d=[0, 0, 84, 84], image_index=0)))
    assert talk.images[2].pixels.getextrema() == ((255, 255),) * 3
    talk.feed(Reply(look("crop_image", bbox_2d=[0, 0, 56, 56], image_index=1)))
    assert talk.images[3].pixels.getpixel((9, 9)) == (255, 0, 0)
