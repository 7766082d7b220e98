"""Functions that code in the sandbox may call: what gets in and out, in bounds."""

import io
from collections.abc import Sequence
from typing import Any

import pytest
from _pytest.mark import ParameterSet
from PIL import Image
from support.sandboxed import SMALL
from support.tables import each_case

from virc_extras.sandbox.calls import Answer, Around, Asked
from virc_extras.sandbox.calls import Image as Named
from virc_extras.sandbox.pool import DiedError, Given, Limits, Past, Pool, SandboxProblem


class Calls:
    """Runs code of one problem that may call `look(image, text)` and `cut()`, and notes what it calls."""

    def __init__(self, pool: Pool, most: int = 5) -> None:
        self.pool, self.past, self.asked = pool, Past(SandboxProblem()), list[tuple[Any, list[int]]]()
        self.around = Around({"name": "é"}, {"look": ("image", "text="), "cut": ()}, most, self.answer)

    def answer(self, asked: Asked, pixels: Sequence[bytes]) -> Answer:
        self.asked.append((asked.arguments, [len(each) for each in pixels]))
        if asked.name == "cut":
            Image.new("RGB", (4, 5), "red").save(file := io.BytesIO(), "PNG")
            return Answer(images=(file.getvalue(),))
        return Answer(len(self.asked))

    def said(self, code: str, seconds: float = 10) -> str:
        limits = Limits(seconds, "none", 8, 4_000_000, 4_000)
        try:
            reply, _, self.past = self.pool.run(self.past, code, [], SMALL, limits, True, self.around)
        except DiedError as error:
            return str(error)
        return f"{reply.stdout}{reply.stderr}".strip()


@pytest.fixture(scope="module")
def shared(pool: Pool) -> Calls:
    """A process that no code ends."""
    calls = Calls(pool)
    assert calls.said("from PIL import Image") == ""
    return calls


def test_images_and_values_go_out_and_images_come_in(pool: Pool) -> None:
    calls = Calls(pool)
    code = "from PIL import Image\nprint(look(Image.new('RGB', (3, 2)), [1, {'a': name}]), cut()[0].size)"
    assert calls.said(code) == "1 (4, 5)"
    assert calls.asked[0] == ({"image": {"image": 0}, "text": [1, {"object": {"a": "é"}}]}, [18])


@each_case(
    ("code", "says"),
    [
        ("look()", "TypeError: it is look(image, text=)"),
        ("look(object())",
            "TypeError: look() takes images of PIL, texts, numbers, lists and dicts, and this is object"),
        ("look(float('nan'))", "TypeError: look() takes"),
        ("for each in range(9): look(each)", "CallError: the code has called functions 5 times"),
        ("look('\\ud800'); print('sent')", "sent"),
        ("look(Image.new('RGB', (4000, 4000)))", "it takes at most 16 images with 4000000 pixels together"),
        ("look(Image.new('RGB', (0, 5)))", "CallError: look() was called with an image of (0, 5), which has no pixels"),
        ("look(10**400)", "TypeError: look() takes finite numbers, and no integers of more than 64 bits"),
        ("print('half \\ud800')", "half ?"), ("a = []; a.append(a); look(a)", "RecursionError"),
    ],
)  # fmt: skip
def test_a_call_that_cannot_be_made_is_an_error_of_the_code(shared: Calls, code: str, says: str) -> None:
    assert says in shared.said(code)


def test_no_more_calls_than_allowed_are_answered(pool: Pool) -> None:
    calls = Calls(pool, most=2)
    calls.said("for each in range(9): look(each)")
    assert [arguments for arguments, _ in calls.asked] == [{"image": 0}, {"image": 1}]


def test_a_call_that_is_too_large_ends_the_process(pool: Pool) -> None:
    assert "Error: the interpreter sent too much." in Calls(pool).said("look('x' * 2**23)")


def more(frames: str) -> ParameterSet:
    return pytest.param(frames, marks=pytest.mark.integration)


FORGED = """
import gc, json, struct
channel = next(each for each in gc.get_objects() if type(each).__name__ == "Channel")
for frame in FRAMES:
    channel.results.write(struct.pack(">I", len(frame)) + frame)
channel.results.flush()
print(channel.requests.read(4))
"""


@pytest.mark.parametrize(
    "frames",
    [
        '[b\'{"kind": "call", "id": 1, "name": "other", "arguments": {}}\'] * 20',
        '[b\'{"kind": "call", "id": 7, "name": "look", "arguments": {}}\']',
        more('[b\'{"kind": "call", "id": 1, "name": "look", "arguments": 3}\']'),
        more('[b\'{"kind": "call", "id": 1, "name": "look", "arguments": {}, "images": [[9, 9]]}\', b"short"]'),
        '[b\'{"kind": "call", "id": 1, "name": "look", "arguments": {"image": 1}, "images": [[4000, 4000]]}\']',
        """[b'{"kind": "call", "id": 1, "name": "look", "arguments": {"image": 1}, "images": [%s]}'
            % b", ".join([b"[1, 1]"] * 17), *[b"123"] * 17]""",
        more("[b'[' * 100000]"),
    ],
)  # fmt: skip
def test_a_forged_call_gets_nothing(pool: Pool, frames: str) -> None:
    calls = Calls(pool)
    calls.said(FORGED.replace("FRAMES", frames), 3)
    assert calls.asked == []
    assert calls.said("print(6 * 7)") == "42"


def test_code_that_runs_again_gets_what_it_got_before(pool: Pool) -> None:
    calls = Calls(pool)
    assert calls.said("x = look(1)\nprint(x)") == "1"
    assert "ended" in calls.said("import os; os._exit(1)")
    assert calls.said("x += look(2)\nprint(x)") == "3"
    assert len(calls.asked) == 2


def test_code_that_goes_another_way_when_it_runs_again_is_an_error(pool: Pool) -> None:
    calls = Calls(pool)
    calls.said("import os\nx = look(os.urandom(8).hex())")
    assert "ended" in calls.said("os._exit(1)")
    assert "went another way when it ran again" in calls.said("print(x)")
    assert len(calls.asked) == 1


def test_code_that_runs_again_gets_the_images_that_there_were(pool: Pool) -> None:
    problem, limits = Past(SandboxProblem()), Limits(10, "none", 8, 10**6, 1_000)
    given = [Given(Named(f"{index}.png", f"image_{index}"), lambda: png) for index in range(2)]
    Image.new("RGB", (4, 5)).save(file := io.BytesIO(), "PNG")
    png = file.getvalue()
    _, _, past = pool.run(problem, "known = 'image_1' in globals()", given[:1], SMALL, limits, True)
    pool._forget(id(past.problem))
    reply, _, past = pool.run(past, "print(known, image_1.size)", given, SMALL, limits, True)
    assert reply.stdout == "False (4, 5)\n"
    later = Given(Named("2.png", "image_2"), lambda: png)  # made since: its process lacks this one alone
    reply, _, _ = pool.run(past, "print(image_0.size, image_2.size)", [*given, later], SMALL, limits, True)
    assert reply.stdout == "(4, 5) (4, 5)\n"


def test_what_an_answer_raises_ends_the_process_and_is_raised(pool: Pool) -> None:
    calls = Calls(pool)

    def answer(asked: Asked, pixels: Sequence[bytes]) -> Answer:
        raise KeyError(asked.name)

    calls.around = Around({}, {"look": ("image",)}, 5, answer)
    with pytest.raises(KeyError, match="look"):
        calls.said("look(1)")
    calls.around = Around()
    assert calls.said("print(1)") == "1"
