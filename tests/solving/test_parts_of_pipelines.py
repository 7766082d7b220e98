"""Tools that a pipeline calls, the models behind its roles, and the folder of its trace."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image, ImageDraw

from virc.backends.interface import Sampling
from virc.core.errors import UsageError
from virc.core.events import Event, Reporter
from virc.core.timeouts import Deadline
from virc.models.load import Choice
from virc.reasoning.calls import Result, ToolError
from virc.reasoning.images import OpenedImage, open_image
from virc.solving.pipelines import Reply, Role, boxes, crop, trace, vote
from virc.solving.pipelines import roles as opening
from virc.solving.pipelines.speaking import Seen, Turn
from virc.solving.pipelines.steps import Branch, Run, running
from virc.solving.pipelines.tools import ToolCaller, ToolOutput
from virc.tools import registry

PICTURE = OpenedImage(Image.new("RGB", (100, 50), "white"))
BOX = [10, 10, 60, 40]


def own(returned: object) -> Any:
    def apply(call: object, source: object) -> object:
        if isinstance(returned, Exception):
            raise returned
        return returned

    function = {"name": "own", "parameters": {"type": "object", "properties": {}}}
    return SimpleNamespace(NAME="own", SCHEMA={"function": function}, TEMPLATE="after_image", apply=apply)


def called(name: str, *picture: OpenedImage, **arguments: Any) -> tuple[ToolOutput, Any]:
    with running(Branch(run := Run(1))):
        made = ToolCaller("it", registry.get(name))(*picture, **arguments)
    (step,) = run.steps
    return made, step


def test_a_tool_is_called_on_a_picture_and_is_a_step() -> None:
    made, step = called("crop_image", PICTURE, bbox_2d=BOX)
    assert (made.text, [each.size for each in made.images]) == ("", [(50, 30)])
    assert (step.name, step.kind, step.prompt, step.output) == ("it", "tool", '{"bbox_2d": [10, 10, 60, 40]}', ())
    assert (step.shown, step.pictures) == (((100, 50),), ((50, 30),))
    assert called("crop_image", PICTURE, bbox_2d=[10.4, 10.4, 60.4, 40.4])[0].images[0].size == (50, 30)
    assert called("zoom_image", PICTURE, bbox_2d=[0, 0, 10, 10])[0].images[0].size == (20, 20)
    measured, step = called("measure", PICTURE, points=[[0, 0], [30, 40]], label=None)  # None: left out
    assert measured.text.startswith("The distance is 50.0 pixels")
    assert step.output == (measured.text,)


@pytest.mark.parametrize(
    ("returned", "text", "sizes"),
    [
        ("seen", "seen", []),
        (Result("two", [Image.new("L", (5, 4)), Image.new("RGB", (8, 6))]), "two", [(5, 4), (8, 6)]),
        (OSError("gone"), "it failed: OSError: gone", None),
        (ToolError("nothing there"), "nothing there", None),
        (None, "it returned NoneType where a text or an image with pixels is due", None),
        (Image.new("RGB", (0, 3)), "it returned Image where a text or an image with pixels is due", None),
        (Result(3), "its text is int", None),  # type: ignore[arg-type]
    ],
)
def test_what_a_tool_of_ones_own_returns_is_texts_and_pictures(
    returned: object, text: str, sizes: list[tuple[int, int]] | None
) -> None:
    with running(Branch(Run(1))):
        if sizes is None:
            with pytest.raises(ToolError) as refused:
                ToolCaller("it", own(returned))()
            assert str(refused.value) == text
            return
        made = ToolCaller("it", own(returned))()
    assert (made.text, [each.size for each in made.images]) == (text, sizes)
    assert {each.pixels.mode for each in made.images} <= {"RGB"}


def test_a_tool_without_its_picture_or_in_a_dry_run_is_not_carried_out() -> None:
    cut = ToolCaller("cut", registry.get("crop_image"))
    with running(Branch(Run(1))), pytest.raises(ToolError, match=r"^cut needs a picture$"):
        cut(bbox_2d=BOX)
    with running(Branch(run := Run(None, is_dry=True))):
        assert cut(PICTURE, bbox_2d=[9]) == ToolOutput("{cut}")
    assert [step.output for step in run.steps] == [("{cut}",)]


def test_the_json_of_a_tool_is_read() -> None:
    assert ToolOutput('{"a": [1]}').json == {"a": [1]}
    with pytest.raises(ToolError, match=r"^it gave no JSON: "):
        _ = ToolOutput("no").json


ROLES = {"plain": Role(), "local": Role(model="m"), "far": Role(endpoint="http://far/v1", model="m")}
SHARED: Any = {"device": "cpu", "max_pixels": 5000, "timeout": 9}
DEFAULT = Choice(model="given", endpoint="http://given/v1", api_key="key", **SHARED)
LOCAL, FAR = Choice(model="m", **SHARED), Choice(model="m", endpoint="http://far/v1", **SHARED)


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ({}, (DEFAULT, LOCAL, FAR)),
        ({"far": "tiny"}, (DEFAULT, LOCAL, Choice(model="tiny", **SHARED))),
        (
            dict.fromkeys(ROLES, "http://here/v1"),
            # the name that a file gives its own server's model goes on; that of a model of this machine does not
            tuple(Choice(endpoint="http://here/v1", api_key="key", model=each, **SHARED) for each in (None, None, "m")),
        ),
    ],
)
def test_the_command_line_goes_before_the_file_and_the_key_to_its_endpoints_alone(
    given: dict[str, str], chosen: tuple[Choice, ...]
) -> None:
    assert tuple(opening.choices(ROLES, given, DEFAULT).values()) == chosen
    served = Choice(endpoint="http://given/v1")  # whose only model is asked
    assert opening.choices({"plain": Role()}, {}, served) == {"plain": served}


def test_a_role_without_a_model_and_one_that_is_not_there_are_named() -> None:
    with pytest.raises(UsageError, match="role 'plain' has no model"):
        opening.choices(ROLES, {}, Choice())
    with pytest.raises(UsageError, match="--role plane: there is no such role") as refused:
        opening.choices(ROLES, {"plane": "tiny"}, DEFAULT)
    assert refused.value.hint == "did you mean 'plain'?"
    assert [opening.described(each) for each in (LOCAL, FAR, Choice(endpoint="http://x/v1"))] == [
        "m", "m at http://far/v1", "its model at http://x/v1",
    ]  # fmt: skip


def test_roles_of_one_model_share_it_and_all_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Event] = []
    held: list[object] = []

    @contextmanager
    def open_model(choice: Choice) -> Iterator[Any]:
        held.append(choice)
        yield SimpleNamespace(at_once=3, answers=choice.endpoint, warnings=["odd"], why="", family=None, name="n")
        held.remove(choice)

    monkeypatch.setattr(opening, "open_model", open_model)
    roles = {"a": Role(), "b": Role(own_protocol=True), "c": Role()}
    chosen = {"a": FAR, "b": FAR, "c": LOCAL}
    with opening.open_roles(roles, chosen, Reporter(told.append)) as opened:
        assert held == [FAR, LOCAL]
        assert opened["a"].opened is opened["b"].opened is not opened["c"].opened
        places: list[Callable[..., bool]] = [opened[name].turn.acquire for name in "abc"]  # type: ignore[attr-defined]
        assert [places[at](blocking=False) for at in (0, 1, 0, 1, 2, 2)] == [True] * 3 + [False, True, False]
        assert [opened[name].role for name in "abc"] == list(roles.values())
    assert held == []
    assert [event.text for event in told if event.kind == "warning"] == ["role 'b': odd"]
    assert [event.text for event in told if event.kind != "warning"] == ["loading the model m of role 'c'"]


def test_the_trace_has_a_file_for_each_picture(tmp_path: Path) -> None:
    drawn = Image.new("RGB", (100, 50), "white")
    ImageDraw.Draw(drawn).rectangle((10, 10, 59, 39), fill="blue")
    images = [PICTURE, OpenedImage(drawn)]
    with running(Branch(run := Run(1))):
        (box,) = boxes(Reply(str(BOX), seen=(Seen(images[1], (100, 50)),)), "original")
        crop(box)
        crop(box, margin=0.1)
        vote(["a"])
    known = {"pipeline": "p", "question": "<b>?", "roles": {}, "answer": "blue"}
    assert trace.write(tmp_path / "t", known, images, run.done) is None
    names = ["input-0.png", "input-1.png", "step-2-image-0.png", "step-3-image-0.png"]
    assert sorted(each.name for each in (tmp_path / "t").iterdir()) == ["index.html", *names, "steps.json"]
    found = [open_image(tmp_path / "t" / name, name) for name in names]
    assert [each.size for each in found] == [(100, 50), (100, 50), (50, 30), (60, 36)]
    assert found[1].tobytes() == drawn.tobytes()
    assert found[2].getcolors() == [(1500, (0, 0, 255))]
    record = json.loads((tmp_path / "t" / "steps.json").read_text())
    assert (record["answer"], record["error"], record["images"]) == ("blue", None, names[:2])
    assert [each["images"] for each in record["steps"]] == [[], names[2:3], names[3:], []]
    page = (tmp_path / "t" / "index.html").read_text()
    assert "&lt;b&gt;?" in page
    assert page.count("data:image/png;base64,") >= 4
    assert page.count("Boxes, 100 × 50 px</figcaption>") == 1
    shown = ("Image 0, 100 × 50", "Image 1, 100 × 50", "step-2-image-0.png, 50 × 30", "step-3-image-0.png, 60 × 36")
    assert [f"{each} px</figcaption>" in page for each in shown] == [True] * 4
    assert page.count('d="M10 10H60V40H10Z"') == 2, "the box and its halo, on the input"


def test_a_role_with_its_own_protocol_is_asked_the_newest_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def solved(role: object, prompt: str, *_: object) -> tuple[Reply, int]:
        asked.append(prompt)
        return Reply("a"), 1

    monkeypatch.setattr(opening, "_solved", solved)
    role: Any = SimpleNamespace(role=Role(own_protocol=True), turn=nullcontext())
    draw = opening.speaker(role, Deadline(None), 1, lambda: None)
    draw([Turn("first", reply="b"), Turn("second")], Sampling())
    assert asked == ["second"]
