"""`python` runs the code of a model, and gives back what it prints and shows."""

import json
from collections.abc import Iterator, Sequence
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
from virc_extras.sandbox.calls import CodeReply as Reply_

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
    check_ready(("crop_image", "no_such_tool"))
    with pytest.raises(SetupError, match="needs bubblewrap"):
        check_ready(("python",))


class Ran:
    """In place of the pool: notes what code was given, and says what came of it."""

    def __init__(self, *said: Reply_ | pool.DiedError) -> None:
        self.said, self.given = list(said), list[list[tuple[str, str, str]]]()
        self.keeps, self.pasts, self.machines = list[bool](), list[int](), list[pool.Machine]()

    def run(
        self,
        past: pool.Past,
        code: str,
        given: Sequence[pool.Given],
        machine: pool.Machine,
        limits: object,
        keeps: bool,
    ) -> tuple[Reply_, list[bytes], pool.Past]:
        self.given.append([(each.image.file, each.image.name, each.image.path_name) for each in given])
        self.keeps.append(keeps)
        self.machines.append(machine)
        self.pasts.append(len(past.runs))
        said = self.said.pop(0)
        if isinstance(said, pool.DiedError):
            raise said
        pixels = [bytes(3 * width * height) for width, height in said.images]
        return said, pixels, pool.Past(past.problem, (*past.runs, pool.Run(code, len(given))))

    def close(self) -> None:
        """Nothing is open."""


def ran(monkeypatch: pytest.MonkeyPatch, *said: Reply_ | pool.DiedError) -> Ran:
    found = Ran(*said)
    monkeypatch.setattr(pool, "shared", lambda: found)
    return found


def reply(stdout: str = "", stderr: str = "", fault: bool = False, images: tuple[tuple[int, int], ...] = ()) -> Reply_:
    return Reply_(1, stdout, stderr, (), fault, images)


def test_code_that_ends_its_process_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ran(monkeypatch, reply("1"), pool.DiedError("Error: it ended."), reply("2"))
    asked = session()
    assert [turn(asked, called(code))[0] for code in ("1", "os._exit(0)", "2")] == ["1", "Error: it ended.", "2"]
    assert found.pasts == [0, 1, 0]


@each_case(
    ("said", "settings", "text", "sizes"),
    [
        (reply("a\n", "b\n"), CodeSettings(), "a\nb", 0), (reply(), CodeSettings(), "The code printed nothing.", 0),
        (Reply_(1, "out", "err", ("[one more]",), False, ()), CodeSettings(), "out\nerr\n[one more]", 0),
        (reply("out", "err"), CodeSettings(text="<{stdout}|{stderr}>"), "<out|err>", 0),
        (reply("", "NameError: x", True), CodeSettings(), "NameError: x", 0),
        (reply("", "", False, ((1, 900),)), CodeSettings(), "one side over 200 times the other, and is not shown]", 0),
        (reply("", "", False, ((3, 5), (4, 4), (56, 84))), CodeSettings(), "is too small", 2),
    ],
)  # fmt: skip
def test_what_the_model_is_sent_of_code(
    monkeypatch: pytest.MonkeyPatch, said: Reply_, settings: CodeSettings, text: str, sizes: int
) -> None:
    ran(monkeypatch, said)
    found = turn(session(protocol(code=settings)), called("1"))
    assert text in found[0]
    assert len(found[1]) == sizes


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
    before = len(pool.shared()._waiting)
    asked.feed(Reply("<think>Done.</think><answer>1</answer>"))
    assert len(pool.shared()._waiting) == before - 1


CODE_FORM = CallForm("<code>", "</code>", "text", tool="python", unnamed=("code",))
TAGGED = Grammar(calls=(CODE_FORM,), stop=("</code>", "</answer>"), loose=True)


@pytest.mark.integration
def test_code_stands_between_tags_as_in_thyme() -> None:
    """The convention of Thyme: a path in `image_path`, and the image whose path is printed, inside the model's turn."""
    code = CodeSettings(
        images="inputs", variable="", path_variable="image_path", files="printed", text_with_images="", faults="call"
    )
    spoken = protocol(
        ("python",), code, grammar=TAGGED, results="inline", after_text="<sandbox_output>{text}</sandbox_output>",
        after_image="<sandbox_output>{image}</sandbox_output>{text}",
    )  # fmt: skip
    asked = session(spoken)
    wanted = "from PIL import Image\nImage.open(image_path).crop((0, 0, 84, 84)).save('a.png')\nprint('a.png')"
    text, sizes = turn(asked, f"<think>I cut.\n<code>\n```python\n{wanted}\n```\n</code>")
    assert text == "<sandbox_output></sandbox_output>"
    assert sizes == [(84, 84)]
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
