"""Where the images of a question stand: at its marks, or as the chat protocol says."""

import msgspec
from support.tables import each_case

from virc.reasoning.calls import Size
from virc.reasoning.protocol import own_protocol
from virc.reasoning.turns import opening
from virc.tools import registry as tools

OWN = msgspec.structs.replace(
    own_protocol(tools.schemas(tools.DEFAULT)), first="{images}\nQuestion: {question}\nReason."
)
SILENT = msgspec.structs.replace(OWN, image_line="", first="{question}")
BEHIND = msgspec.structs.replace(OWN, image_line="{image}", first="{question}\n{images}")
NUMBERED = msgspec.structs.replace(OWN, image_line="<{number}>{image}</{number}>", first="{images}{question}")
SIZES: list[Size] = [(300, 200), (280, 140)]
DOGS = "my dog: <image> neighbour's dog: <image> Which barks?"


@each_case(
    ("protocol", "question", "parts"),
    [
        (OWN, DOGS, ["Question: my dog:\n", 0, "Image 0: 300 x 200.\nneighbour's dog:\n", 1,
                     "Image 1: 280 x 140.\nWhich barks?\nReason."]),
        (SILENT, DOGS, ["my dog: ", 0, " neighbour's dog: ", 1, " Which barks?"]),
        (BEHIND, DOGS, ["my dog: ", 0, " neighbour's dog: ", 1, " Which barks?"]),
        (NUMBERED, DOGS, ["my dog:\n<1>", 0, "</1>\nneighbour's dog:\n<2>", 1, "</2>\nWhich barks?"]),
        (SILENT, "<image>a<image>b", [0, "a", 1, "b"]),
        # the order tells nothing: the chat protocol says where images stand
        (OWN, "Which barks?", [0, 1, "Image 0: 300 x 200.\nImage 1: 280 x 140.\nQuestion: Which barks?\nReason."]),
        (SILENT, "<image>\n<image>\nWhich?", [0, 1, "Which?"]), (SILENT, "Which? <image> <image>", [0, 1, "Which?"]),
        # a text of its own
        (SILENT, "What is <image> in HTML?", [0, 1, "What is <image> in HTML?"]),
        (SILENT, "a <image> b <image>, not `<image>`", ["a ", 0, " b ", 1, ", not `<image>`"]),
        (SILENT, "a \ufffc b <image> \ufffc, <image>", ["a ", 0, " b <image> ", 1, ", <image>"]),
        (SILENT, "<image>" * 3 + "?", [0, 1, "<image>" * 3 + "?"]),
    ],
)  # fmt: skip
def test_images_stand_at_the_marks_of_a_question(protocol: object, question: str, parts: list[str | int]) -> None:
    assert [*opening(protocol, question, SIZES)[-1].parts()] == parts  # type: ignore[arg-type]
