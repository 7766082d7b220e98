"""Code of a pipeline, with a sandbox that does as a test says: what it is given, what comes back, and its calls."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from virc.reasoning.calls import ToolError
from virc.sandbox import pool
from virc.sandbox.calls import Answer, Asked
from virc.solving.pipelines import Interpreter
from virc.solving.pipelines.steps import Branch, Ran, Run, running
from virc.tools import python

Sandbox = Callable[..., Any]
"""Gets the past, the code, the images, the machine, the limits, whether the state is kept, and what is around it."""


def printed(stdout: str = "", stderr: str = "", **more: Any) -> pool.Reply:
    fields: dict[str, Any] = {"notes": (), "fault": False, "images": ()} | more
    return pool.Reply(1, stdout, stderr, **fields)


@pytest.fixture
def interpreter(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sandbox], Interpreter]:
    def made(sandbox: Sandbox) -> Interpreter:
        monkeypatch.setattr(python, "ready", lambda: None)
        monkeypatch.setattr(pool, "shared", lambda: SimpleNamespace(run=sandbox))
        return Interpreter()

    return made


def ran(work: Callable[[], object]) -> Ran:
    """The one step of a run."""
    with running(Branch(run := Run(1))):
        work()
    (step,) = run.steps
    return step


def fails(error: Exception) -> Callable[..., Any]:
    def function(what: object) -> object:
        raise error

    return function


def whole(what: Any, how: str = "a") -> object:
    return f"{what} {how}"


@pytest.mark.parametrize(
    ("function", "arguments", "value", "error", "output"),
    [
        (whole, {"what": "x", "how": "b"}, "x b", None, "x b"),
        (whole, {"how": "b"}, None, "it is look(what, how=)", None),
        (lambda what: what["a"][0].size, {"what": {"object": {"a": [{"image": 1}]}}}, [5, 4], None, "[5, 4]"),
        (fails(ToolError("no")), {"what": 1}, None, "look() failed: no", ""),
        (lambda what: {1, 2}, {"what": 1}, None, "look() failed: it gave no JSON: ", ""),
    ],
)
def test_a_call_gets_json_and_pictures_and_is_in_the_step(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    value: object,
    error: str | None,
    output: str | None,
    interpreter: Callable[[Sandbox], Interpreter],
) -> None:
    answers: list[Answer] = []

    def sandbox(*given: Any) -> Any:
        asked = Asked(1, "look", dict(arguments), ((8, 6), (5, 4)))
        answers.append(given[-1].answer(asked, [bytes(3 * 48), bytes(3 * 20)]))
        return printed("done"), [], None

    step = ran(lambda: interpreter(sandbox).run("1", functions={"look": function}))
    (answer,) = answers
    assert (answer.value, answer.images) == (value, ())
    assert answer.error == error or (error and error.endswith(": ") and (answer.error or "").startswith(error))
    assert [(each.function, each.output, each.error) for each in step.calls] == (
        [] if output is None else [("look", output, answer.error)]
    )
