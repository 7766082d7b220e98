"""What is said before a picture of a clip or document, in the first turn of any chat protocol."""

import msgspec
import pytest
from PIL import Image
from support.tables import each_case

from virc.reasoning.history import show_input
from virc.reasoning.media import MediaPlace
from virc.reasoning.protocol import own_protocol
from virc.reasoning.session import Session

LINES = ("Frame 1 at 0:00:", "Frame 2 at 0:01:")


def first_turn(question: str, first: str, image_line: str = "", pictures: int = 0) -> list[str | int]:
    """The parts of the first turn about a clip of two frames, and pictures behind it."""
    protocol = msgspec.structs.replace(own_protocol(()), first=first, image_line=image_line)
    shown = [show_input(Image.new("RGB", (56, 56)), protocol) for _ in range(2 + pictures)]
    for index, (image, line) in enumerate(zip(shown, LINES, strict=False), 1):
        image.place = MediaPlace("clip", index, line, "")
    session = Session(protocol, question, shown, tools={})
    message = session.next().messages[-1]  # type: ignore[union-attr]
    return [part if isinstance(part, int) else part.strip() for part in message.parts()]


@each_case(
    ("first", "image_line", "parts"),
    [
        ("{images}\n{question}", "", [LINES[0], 0, LINES[1], 1, "q"]),
        ("{question}", "", [LINES[0], 0, LINES[1], 1, "q"]),
        ("{images}\n{question}", "{image}\nSize {width}", [LINES[0], 0, f"Size 56\n{LINES[1]}", 1, "Size 56\nq"]),
        ("{images}{question}", "<r>\n{image}</r>", [f"<r>\n{LINES[0]}", 0, f"</r>\n<r>\n{LINES[1]}", 1, "</r>q"]),
    ],
)
def test_a_line_is_said_right_before_its_frame(first: str, image_line: str, parts: list[str | int]) -> None:
    assert first_turn("q", first, image_line) == parts


@pytest.mark.parametrize("mark", ["<image>", "\ufffc"])
def test_a_mark_in_the_question_stands_for_all_frames_of_a_clip(mark: str) -> None:
    parts = first_turn(f"Is {mark} before {mark}?", "{images}\n{question}", pictures=1)
    assert parts == [f"Is\n{LINES[0]}", 0, LINES[1], 1, "before", 2, "?"]
