"""What the function of a pipeline can use: roles, votes, boxes, and steps at the same time."""

import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from pipeline_runs import ROLES, Scripted, run
from support.solving import answer

from virc.core.errors import ConfigError, DataError, NetworkError, NoAnswerError, SetupError, VircError
from virc.core.events import Reporter
from virc.core.timeouts import Deadline
from virc.models.load import Choice
from virc.reasoning.calls import ToolError
from virc.reasoning.images import OpenedImage
from virc.sandbox import pool
from virc.sandbox.calls import Answer, Around, Asked
from virc.solving.one import SolveConfig
from virc.solving.pipelines import Interpreter, Problem, Reply, Role, Roles, boxes, crop, fill, together, tools, vote
from virc.solving.pipelines.batch import rows_solver
from virc.solving.pipelines.files import Pipeline, choose, load
from virc.solving.pipelines.solve import PipelineSetup, planned, ready, set_up
from virc.solving.pipelines.speaking import Seen
from virc.solving.pipelines.steps import Branch, Ran, Run, running, total
from virc.solving.setup import Setup
from virc.tools import python
from virc.tools import registry as tools_registry


def sent(backend: Scripted) -> list[list[str]]:
    return [[message.text for message in ask.messages] for ask in backend.asks]


def test_a_role_is_sent_texts_and_pictures_in_their_order() -> None:
    def look(problem: Problem, roles: Roles) -> str:
        return roles.eyes.ask("See ", problem.images[0], " and ", problem.images[1:], " here: ", problem.question)

    eyes = Scripted("four")
    fields = run(look, {"eyes": eyes}, roles={"eyes": Role(system="You see.", temperature=0.5, max_tokens=9)})
    assert [(each.temperature, each.max_tokens) for each in eyes.sampling] == [(0.5, 9)]
    assert fields["answer"] == "four"
    assert sent(eyes) == [["You see.", "See  and  here: How many?"]]
    assert list(eyes.asks[0].messages[1].parts()) == ["See ", 0, " and ", 1, " here: How many?"]
    (step,) = fields["steps"]
    assert (step["name"], step["kind"], step["role"], step["output"]) == ("eyes", "ask", "eyes", ("four",))
    assert step["shown"] == ((56, 28), (28, 56))
    assert fields["tokens"] == {"prompt": 5, "completion": 2}


def test_a_picture_of_the_least_size_is_shown() -> None:
    assert run(lambda _, roles: str(roles.eyes.ask(Image.new("RGB", (4, 4)))), {"eyes": Scripted("a")})["answer"] == "a"


def test_rows_wait_for_the_weakest_server_and_have_seeds_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    found = list[Any]()
    monkeypatch.setattr("virc.solving.pipelines.batch.through", lambda *given: found.extend(given))
    roles: Any = {
        name: SimpleNamespace(opened=SimpleNamespace(at_once=at_once, answers=lambda is_there=at_once > 2: is_there))
        for name, at_once in (("eyes", 2), ("mind", 8))
    }
    setup: Any = SimpleNamespace(setup=SimpleNamespace(config=SimpleNamespace(timeout=None, seed=0), offline=True))
    rows_solver(setup, roles, Path(), None, None, print)([], setup, print, None)
    _, _, work, _, workers, outage, _ = found
    assert (workers, outage._answers()) == (2, False)

    def away(_: Any, offline: bool, *__: Any) -> None:
        assert offline
        raise NetworkError("gone")

    monkeypatch.setattr("virc.solving.pipelines.batch.files_of", away)
    with pytest.raises(DataError, match="gone"):  # a picture that is away is no role that is
        work(SimpleNamespace(pictures=[]))
    drawn = list[int]()

    def solved(_: Any, __: Any, problem: Any, ___: Any) -> tuple[dict[str, object], None]:
        drawn.append(problem.seed)
        return {}, None

    monkeypatch.setattr("virc.solving.pipelines.batch.files_of", lambda *_: [])
    monkeypatch.setattr("virc.solving.pipelines.batch.solve_problem", solved)
    for number in (1, 2, 1):
        work(SimpleNamespace(pictures=[], id=number, question="?"))
    assert drawn[0] == drawn[2] != drawn[1]


def test_a_conversation_goes_on_behind_its_reply() -> None:
    def talk(problem: Problem, roles: Roles) -> str:
        first = roles.eyes.ask(problem.images, "Look.")
        second = roles.eyes.ask(f"Not {first}.", after=first)
        return roles.eyes.ask(problem.images[0], "Again.", after=second)

    eyes = Scripted("a", "b", "c")
    assert run(talk, {"eyes": eyes})["answer"] == "c"
    assert sent(eyes)[2] == ["You see.", "Look.", "a", "Not a.", "b", "Again."]
    assert [message.images for message in eyes.asks[2].messages] == [(), (0, 1), (), (), (), (2,)]
    assert [len(ask.images) for ask in eyes.asks] == [2, 2, 3]


def test_samples_have_seeds_that_differ_and_are_the_same_again() -> None:
    def several(problem: Problem, roles: Roles) -> str:
        drawn = roles.eyes.sample(3, problem.question)
        assert sorted(drawn) == ["3", "4", "4 "]
        return vote(drawn) + roles.eyes.ask("Sure?")

    eyes, again, other = (Scripted("4", "3", "4 ", "!") for _ in range(3))
    fields = run(several, {"eyes": eyes})
    assert fields["answer"] == "4!"
    assert [(step["prompt_tokens"], step["replies"]) for step in fields["steps"]] == [(15, 3), (None, 0), (5, 1)]
    run(several, {"eyes": again})
    run(several, {"eyes": other}, seed=8)
    seeds = [{each.seed for each in backend.sampling} for backend in (eyes, again, other)]
    assert len(seeds[0]) == 4
    assert seeds[0] == seeds[1]
    assert not seeds[0] & seeds[2]


def test_replies_that_would_be_the_same_are_refused() -> None:
    with pytest.raises(VircError, match="2 replies of role 'mind' would be the same: its temperature is 0"):
        run(lambda _, roles: vote(roles.mind.sample(2, "x")), {"mind": Scripted("a", "b")})


def test_what_runs_together_keeps_its_order_and_its_seeds() -> None:
    both = threading.Barrier(2, timeout=60)

    def wait(prompt: str) -> str:
        both.wait()  # breaks where the second request waits for the first
        return prompt

    def solved(problem: Problem, roles: Roles) -> str:
        texts = together(lambda: roles.eyes.ask("a", step="one"), lambda: roles.mind.ask("b", step="two"))
        return roles.mind.ask("".join(texts)) if not both.broken else ""

    mind = Scripted(to=lambda prompt: wait(prompt) if prompt == "b" else prompt)
    fields = run(solved, {"eyes": Scripted(to=wait), "mind": mind})
    assert fields["answer"] == "ab"
    assert [step["name"] for step in fields["steps"]] == ["one", "two", "mind"]


def test_a_failing_role_is_named_and_keeps_its_kind_and_hint() -> None:
    with pytest.raises(NetworkError) as caught:
        run(lambda _, roles: roles.eyes.ask("x", step="seen"), {"eyes": Scripted()})
    assert caught.value.message == "role 'eyes', step 'seen': connection refused"
    assert caught.value.hint == "start the server"

    def go_on(_: Problem, roles: Roles) -> str:
        with suppress(NetworkError):
            roles.eyes.ask("x")
        return roles.mind.ask("y")

    fields = run(go_on, {"eyes": Scripted(), "mind": Scripted("four")})
    assert (fields["tokens"], fields["turns"], fields["replies"]) == ({"prompt": 5, "completion": 2}, 1, 1)
    assert [step["error"] for step in fields["steps"]] == ["role 'eyes', step 'eyes': connection refused", None]


def test_boxes_are_counted_in_the_picture_as_it_was_shown() -> None:
    """Of 300 x 200 px, 294 x 196 are shown; the other picture is shown as it is."""
    images = [OpenedImage(Image.new("RGB", size)) for size in ((280, 140), (300, 200))]
    eyes = Scripted("[147, 98, 294, 196]")

    def look(problem: Problem, roles: Roles) -> str:
        return str(boxes(roles.eyes.ask(problem.images), "pixel", image=1))

    found = run(look, {"eyes": eyes}, images=images)
    assert [each.size for each in eyes.asks[0].images] == [(280, 140), (294, 196)]
    assert [step["boxes"] for step in found["steps"]] == [(), ((150, 100, 300, 200),)]


def test_the_time_of_a_problem_is_that_of_its_roles_and_steps() -> None:
    mind = Scripted("a")
    run(lambda _, roles: roles.mind.ask("x"), {"mind": mind}, deadline=Deadline(50))
    assert mind.seconds[0]
    assert 0 < mind.seconds[0] <= 50
    with pytest.raises(VircError, match=r"^no answer within 0 s$"):
        run(lambda *_: vote(["a"]), {}, deadline=Deadline(0))


def test_an_answer_whose_trace_cannot_be_written_is_given(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    fields = run(lambda *_: "four", {}, trace=tmp_path / "file" / "t")
    assert (fields["answer"], fields["trace"]) == ("four", None)
    assert run(lambda *_: "four", {}, trace=tmp_path / "t")["trace"] == str(tmp_path / "t")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda _, roles: roles.ears.ask("x"), "AttributeError: ROLES has no 'ears'; it has eyes, mind"),
        (lambda problem, _: problem.tools.saw(), "AttributeError: TOOLS has no 'saw'; it has none"),
        (lambda problem, roles: roles.mind.ask(7), "TypeError: "),
        (lambda problem, roles: roles.mind.ask([7]), "ValueError: int is no text and no picture"),
        (lambda problem, roles: roles.mind.ask(Image.new("RGB", (900, 4))), "one side is over 200 times the other"),
        (lambda problem, roles: roles.mind.ask(Image.new("RGB", (3, 3))), "a picture of 3 x 3 px is too small"),
        (lambda problem, roles: 4, "`solve` returns int in place of a text"),
        (lambda problem, roles: sys.exit(3), "ExitError: it would end the process: sys.exit(3)"),
        (lambda problem, roles: vote(roles.mind.sample(0, "x")), "MisuseError: 0 replies cannot be drawn"),
        (lambda problem, roles: str(boxes(roles.mind.ask("x"), "thousandths")), "'thousandths' is no unit of boxes"),
    ],
)
def test_a_fault_of_the_function_is_one_sentence_with_its_line(function: Any, words: str) -> None:
    with pytest.raises(VircError) as caught:
        run(function, {"eyes": Scripted("a"), "mind": Scripted("a")})
    assert words in caught.value.message
    assert str(Path(__file__)) in caught.value.message


def test_a_role_with_its_own_protocol_needs_a_picture() -> None:
    roles = {"eyes": Role(own_protocol=True)}
    with pytest.raises(VircError, match="role 'eyes' needs a picture"):
        run(lambda _, each: each.eyes.ask("x"), {"eyes": Scripted("a")}, roles=roles)


def test_a_role_with_its_own_protocol_has_seeds_of_its_own_and_fails_as_its_model() -> None:
    roles = {"eyes": Role(own_protocol=True, temperature=1, max_tokens=9)}
    eyes = Scripted(to=lambda _: answer("4"))
    look = run(lambda problem, each: vote(each.eyes.sample(2, problem.images[0], "x")), {"eyes": eyes}, roles=roles)
    assert (look["answer"], len({each.seed for each in eyes.sampling})) == ("4", 2)
    assert (look["steps"][0]["replies"], look["replies"], look["turns"]) == (2, 2, 2)
    assert {(each.temperature, each.max_tokens) for each in eyes.sampling} == {(1, 9)}
    third = Scripted("no", "no", answer("4"))
    look = run(lambda problem, each: each.eyes.ask(problem.images[0]), {"eyes": third}, roles=roles)
    assert (look["replies"], look["turns"], look["tokens"]) == (3, 1, {"prompt": 15, "completion": 6})
    with pytest.raises(NoAnswerError) as caught:
        run(lambda problem, each: each.eyes.ask(problem.images[0]), {"eyes": Scripted(to=lambda _: "no")}, roles=roles)
    assert caught.value.message.startswith("role 'eyes', step 'eyes': 4 replies in a row could not be used; the last: ")


def test_a_plan_has_what_each_step_is_sent() -> None:
    def solved(problem: Problem, roles: Roles) -> str:
        return roles.mind.ask(vote(roles.eyes.sample(2, problem.images, "Look.")), step="end")

    pipeline = Pipeline("p", Path(__file__), ROLES, {}, "mind", solved, "digest")
    chosen = {"eyes": Choice(endpoint="http://e/v1"), "mind": Choice(model="m")}
    setup = PipelineSetup(pipeline, chosen, Setup(Choice(), SolveConfig()))
    assert [*planned(setup, "How many?", 1)] == [
        "step eyes: role eyes, its model at http://e/v1", "  system: You see.", "  images: 1", "  samples: 2",
        "  prompt: Look.", "step vote: vote", "step end: role mind, m", "  prompt: {eyes}",
    ]  # fmt: skip


def test_an_empty_answer_is_no_answer() -> None:
    with pytest.raises(NoAnswerError, match="the pipeline gave no answer"):
        run(lambda _, roles: " ", {})


def test_roles_are_for_the_function_alone() -> None:
    with pytest.raises(RuntimeError, match="for the function `solve` of a pipeline"):
        vote(["a"])


def test_votes_that_scoring_finds_equal_are_one() -> None:
    with running(Branch(run := Run(1))):
        assert vote([" 0.5 ", "3", "1/2"]) == "0.5"
        assert vote([]) == ""
    assert [step.output for step in run.steps] == [("0.5",), ("",)]


def test_braces_of_a_value_are_not_filled_again() -> None:
    assert fill("{a} {b} {c} {}", a="{b}", b="x") == "{b} x {c} {}"


def reply(text: str, file: tuple[int, int] = (400, 200), shown: tuple[int, int] = (392, 196)) -> Reply:
    return Reply(text, seen=(Seen(OpenedImage(Image.new("RGB", file)), shown),))


@pytest.mark.parametrize(
    ("text", "unit", "found"),
    [
        ("[98, 49, 196, 98]", "pixel", [(100, 50, 200, 100)]),
        ("[100, 50, 200, 100]", "original", [(100, 50, 200, 100)]),
        ('{"bbox_2d": [250, 250, 500, 500], "label": "a"}', "thousand", [(100, 50, 200, 100)]),
        ("<|box_start|>(250,250),(500,500)<|box_end|>", "thousand", [(100, 50, 200, 100)]),
        ("[0.25, 0.25, 0.5, 0.5] and [0, 0, 1, 1]", "unit", [(100, 50, 200, 100), (0, 0, 400, 200)]),
        ("I see [1, 2] and [1, 2, 3, 4, 5]", "pixel", []),
        ("[-2, 0, 100, 203]", "original", [(0, 0, 100, 200)]),
    ],
)
def test_boxes_are_read_in_their_unit(text: str, unit: Any, found: list[tuple[int, ...]]) -> None:
    with running(Branch(run := Run(1))):
        assert [each.box for each in boxes(reply(text), unit)] == found
    assert [list(step.boxes) for step in run.steps] == [found]


@pytest.mark.parametrize(
    ("text", "unit", "words"),
    [
        ("[0.25, 0.25, 0.5, 0.5]", "pixel", "in fractions of the image, not in pixel"),
        ("[100, 50, 900, 800]", "pixel", "reaches far outside"),
        ("[10, 10, 10, 20]", "pixel", "holds no pixel"),
    ],
)
def test_boxes_in_another_unit_are_no_answer(text: str, unit: Any, words: str) -> None:
    with running(Branch(Run(1))), pytest.raises(NoAnswerError, match=words):
        boxes(reply(text), unit)
    with running(Branch(Run(1))), pytest.raises(NoAnswerError, match="about picture 1, and the role was shown 1"):
        boxes(reply(text), unit, image=1)


def test_a_margin_stays_within_the_picture() -> None:
    with running(Branch(run := Run(1))):
        (box,) = boxes(reply("[0, 50, 100, 100]"), "original")
        assert crop(box, margin=0.5).size == (150, 100)
    assert str(box) == "[0, 50, 100, 100]"
    assert [(step.kind, step.pictures, step.boxes) for step in run.steps][1] == ("crop", ((150, 100),), (box.box,))


def test_a_run_has_a_bound_of_steps() -> None:
    with running(Branch(Run(1, max_steps=3))), pytest.raises(RuntimeError, match="over 3 steps"):
        [vote(["a"]) for _ in range(4)]


def test_steps_are_reported_as_they_are_done() -> None:
    done = list[Ran]()
    with running(Branch(Run(1, on_step=lambda ran, _: done.append(ran)))):
        vote(["a"], step="first")
        assert [each.name for each in done] == ["first"]


@pytest.mark.parametrize(
    "value", [{"object": [1]}, {"object": 5}, {"image": 3}, {"image": "a"}, {"other": 1}, {}, [{"object": None}]]
)
def test_a_forged_argument_is_an_error_of_the_code(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given = list[Answer]()

    def run(*arguments: Any) -> None:
        around: Around = arguments[-1]
        assert around.answer
        given.append(around.answer(Asked(1, "look", {"what": value}), []))
        raise pool.DiedError("ended")

    monkeypatch.setattr(pool, "shared", lambda: SimpleNamespace(run=run))
    monkeypatch.setattr(python, "ready", lambda: None)
    with running(Branch(Run(1))):
        Interpreter().run("1", functions={"look": lambda what: 1}, calls=1)
    assert given == [Answer(error="look() was called with what is no argument")]


def test_what_a_pipeline_left_running_asks_nobody_more() -> None:
    go, before = threading.Event(), threading.enumerate()

    def late(roles: Roles) -> str:
        go.wait(60)
        return roles.mind.ask("late")

    def solved(problem: Problem, roles: Roles) -> str:
        try:
            together(lambda: roles.ears.ask("nobody"), lambda: late(roles))
        except AttributeError:
            return "given up"
        return "both"

    mind = Scripted("a")
    fields = run(solved, {"mind": mind})
    go.set()
    assert fields["answer"] == "given up"
    for thread in threading.enumerate():
        if thread.daemon and thread not in before:
            thread.join(60)
    assert mind.asks == []


def test_texts_that_no_file_takes_are_steps_all_the_same() -> None:
    with running(Branch(run := Run(1))):
        vote(["x \ud83d"])
    assert run.steps[0].output == ("x ?",)


def test_an_interpreter_runs_one_piece_of_code_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python, "ready", lambda: None)
    shared = Interpreter()
    monkeypatch.setattr(pool, "shared", lambda: SimpleNamespace(run=lambda *_: shared.run("2")))
    with running(Branch(Run(1))), pytest.raises(RuntimeError, match="one piece of code at a time"):
        shared.run("1")


@pytest.mark.parametrize(("length", "is_cut"), [(200_000, False), (200_001, True)])
def test_exact_output_is_whole_or_ends_the_problem(length: int, is_cut: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = pool.Reply(1, "x" * length, "", (), False, ())
    monkeypatch.setattr(pool, "shared", lambda: SimpleNamespace(run=lambda *_: (printed, [], None)))
    monkeypatch.setattr(python, "ready", lambda: None)
    with running(Branch(Run(1))):
        if not is_cut:
            assert Interpreter().run("1", exact=True) == printed.stdout
            return
        with pytest.raises(NoAnswerError, match="it prints over 200,000 characters"):
            Interpreter().run("1", exact=True)


def test_a_long_reply_without_boxes_is_read_at_once() -> None:
    began = time.process_time()
    with running(Branch(Run(1))):
        assert boxes(reply("(1,2)" + " " * 200_000), "pixel") == []
    assert time.process_time() - began < 2


@pytest.mark.parametrize("named", ["/tmp/hidden", "../hidden", "a/b"])
def test_a_system_names_no_pipeline_elsewhere_without_its_suffix(tmp_path: Path, named: str) -> None:
    (tmp_path / "own.yaml").write_text(f"name: own\npipeline: {named}\n")
    with pytest.raises(ConfigError, match="pipeline is "):
        load(str(tmp_path / "own.yaml"))


@pytest.mark.parametrize(
    "line",
    ["TOOLS = ['x']", "TOOLS = {'a': 5}", "WRITER = []", "def solve(problem): return ''",
     "ROLES = {'a': Role(own_protocol=True, system='Look.')}"],
)  # fmt: skip
def test_faulty_constants_are_one_sentence(tmp_path: Path, line: str) -> None:
    head = "from virc.solving.pipelines import Role\nROLES = {'a': Role()}\ndef solve(problem, roles): return ''\n"
    (tmp_path / "p.py").write_text(f"{head}{line}\n")
    with pytest.raises(ConfigError, match=r"TOOLS|WRITER|no function `solve|has `own_protocol`"):
        load(str(tmp_path / "p.py"))


def test_the_last_role_writes_where_none_is_named(tmp_path: Path) -> None:
    head = "from virc.solving.pipelines import Role\nROLES = {'a': Role(), 'b': Role()}\n"
    (tmp_path / "p.py").write_text(f"{head}def solve(problem, roles): return ''\n")
    assert load(str(tmp_path / "p.py")).writer == "b"
    assert [total(each) for each in ([1, 2], [1, None], [])] == [3, None, 0]


def test_a_pipeline_in_own_words_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that answers by the authors' words are not continued by others."""
    head = "from virc.solving.pipelines import Role\nROLES = {'a': Role()}\ndef solve(problem, roles): ...\n"
    (tmp_path / "p.py").write_text(head)
    of_authors = load(str(tmp_path / "p.py")).digest
    monkeypatch.setattr("virc.solving.pipelines.files.texts.is_own_wording", lambda _: True)
    assert load(str(tmp_path / "p.py")).digest != of_authors


OWN_TOOL = """
NAME, TEMPLATE = "own", "after_image"
SCHEMA = {"type": "function", "function": {"name": "own", "description": "d", "parameters":
          {"type": "object", "properties": {"words": {"type": "string"}}}}}

def check(arguments, view):
    raise AssertionError

def apply(call, source):
    return "seen"
"""


@pytest.mark.parametrize(
    ("tool", "found"),
    [
        ("crop_image", "crop_image"),
        ("crop_image?", "crop_image"),
        ("./own.py", "own"),
        ("./own.py?", "own"),
        ("gone?", None),
        ("./gone.py?", None),
        ("gone", "there is no tool 'gone'"),
        ("./gone.py", "there is no file .*gone.py"),
        ("python", "the tool 'python' is about a whole conversation"),
    ],
)
def test_a_pipeline_has_the_tools_that_it_names(
    tool: str, found: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools_registry, "_CUSTOM", {})
    (tmp_path / "own.py").write_text(OWN_TOOL)
    if found and " " in found:
        with pytest.raises(VircError, match=found):
            tools.loaded({"see": tool}, tmp_path)
        return
    made = tools.loaded({"see": tool}, tmp_path)
    assert [*made] == ["see"]
    assert (made["see"] and made["see"].NAME) == found
    head = "from virc.solving.pipelines import Role\nROLES = {'a': Role()}\ndef solve(problem, roles): return ''\n"
    (tmp_path / "p.py").write_text(f"{head}TOOLS = {{'see': {tool!r}}}\n")
    setup = set_up(str(tmp_path / "p.py"), {}, Setup(Choice(model="m"), SolveConfig()))
    assert {name: each and each.NAME for name, each in setup.tools.items()} == {"see": found}

    def lacks(names: list[str]) -> None:
        raise SetupError(f"no {names}")

    monkeypatch.setattr(tools_registry, "check_ready", lacks)  # before a model is opened
    with pytest.raises(SetupError) as refused, ready(setup, Reporter()):
        pass
    assert refused.value.message == f"tool 'see': no {[found] if found else []}"


def test_a_tool_that_is_not_here_is_an_error_of_its_call_alone() -> None:
    callers = tools.Tools({"see": tools.ToolCaller("see", None)})
    with pytest.raises(AttributeError, match="TOOLS has no 'look'; it has see"):
        _ = callers.look
    with pytest.raises(ToolError, match="there is no tool of the name see here"):
        callers.see._called(None, {})


@pytest.mark.parametrize(("alone", "chosen"), [(True, (None, "both")), (False, ("both", None))])
def test_a_system_with_stages_can_be_asked_as_one_model(
    monkeypatch: pytest.MonkeyPatch, alone: bool, chosen: tuple[str | None, str | None]
) -> None:
    system = SimpleNamespace(pipeline="pipeline.py", stages={"rl": None})
    monkeypatch.setattr("virc.solving.pipelines.files.systems.get", lambda _: system)
    assert choose(None, "both", alone) == chosen
