"""The steps of a demo: command lines that exist, in an order in which each finds what it reads."""

from pathlib import Path

import finished
import msgspec
import pytest
from typer.main import get_command

from virc.core.errors import ConfigError
from virc_cli.commands import data, eval, merge, train
from virc_cli.main import build
from virc_extras.demo import plan as demo
from virc_extras.demo.plan import LARGE, QUICK, USUAL, Demo, Took, TypedStep

PLANS = [Demo(full=full, seed=3, size=size) for full in (False, True) for size in (QUICK, USUAL, LARGE)]
COMMANDS = {"data": data, "eval": eval, "merge": merge, "train": train}


def parsed(words: tuple[str, ...]) -> dict[str, object]:
    """The options of a command line, as its command would get them.

    Raises:
        an error of the parser: it would refuse the line.
    """
    command, rest = get_command(build(COMMANDS)), list(words)
    while hasattr(command, "resolve_command"):
        context = command.make_context(command.name or "virc", rest)
        if context.command is not command:  # that of `virc eval BENCHMARK`
            return dict(context.params)
        _, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
    return dict(command.make_context(command.name, rest).params)


@pytest.mark.integration
@pytest.mark.parametrize("begun", PLANS)
def test_every_command_line_is_one_that_virc_takes(begun: Demo) -> None:
    lines = [step.words for step in demo.plan(begun) if step.words[0] == "virc"]
    assert len(lines) == (17 if begun.size.control else 15)
    assert all(parsed(words[1:]) for words in lines)


@pytest.mark.parametrize("begun", PLANS)
def test_every_step_reads_what_an_earlier_one_makes(begun: Demo) -> None:
    made = set() if begun.full else {begun.size.start}
    for step in demo.plan(begun):
        read = {
            after for before, after in zip(step.words, step.words[1:], strict=False) if before in ("--from", "--model")
        }
        read |= {str(Path(word).parent) for word in step.words if word.endswith((".json", ".jsonl", ".parquet"))}
        assert read <= made, step
        if step.words[:2] == ("virc", "merge"):
            assert step.words[2] in made
        assert step.makes not in made
        made |= {step.makes}
        made |= {Path(step.makes).name} if step.makes.startswith(("runs/", "models/")) else set()
    assert len({step.name for step in demo.plan(begun)}) == len(demo.plan(begun))


def test_each_part_has_its_minutes_and_they_add_up_to_half_an_hour() -> None:
    parts = demo.parts(Demo(full=False, seed=0, size=USUAL))
    assert [says.partition(":")[0] for _, says in parts] == ["instruct", "practice", "rl", "evaluation"]
    assert sum(minutes for minutes, _ in parts) == pytest.approx(27)


def test_only_evaluations_see_what_is_held_out() -> None:
    steps = demo.plan(PLANS[1])
    heldout = {step.makes for step in steps if "heldout" in step.words}
    assert heldout == {"data/heldout", "data/strange"}
    assert not [
        step for step in steps if "train" in step.words and heldout & {str(Path(word).parent) for word in step.words}
    ]


def test_the_control_learns_from_as_many_rows_as_the_stages() -> None:
    taught = {step.makes: parsed(step.words[1:]) for step in demo.plan(PLANS[2]) if "synth" in step.words}
    rows = {name: int(str(words["count"])) for name, words in taught.items()}
    assert rows["data/direct"] == rows["data/instruct"] + rows["data/practice"]


def step(name: str, begun: Demo = finished.QUICK) -> TypedStep:
    return next(each for each in demo.plan(begun) if each.name == name)


def test_an_evaluation_is_whole_once_every_model_has_answered_everything(tmp_path: Path) -> None:
    finished.finish(tmp_path)
    asked = step("eval greedy")
    few = {name: right for name, right in finished.RIGHT.items() if name != "direct"}
    finished.evaluate(tmp_path, finished.QUICK, "greedy", few)
    assert demo.rest(asked, tmp_path, []) == asked.words
    summary = demo.summary(tmp_path / "evals" / "blank")
    short = [msgspec.structs.replace(model, missing=1) for model in summary.models]
    (tmp_path / "evals" / "blank" / "summary.json").write_bytes(
        msgspec.json.encode(msgspec.structs.replace(summary, models=short))
    )
    assert demo.rest(step("eval blank"), tmp_path, []) == step("eval blank").words
    (tmp_path / "evals" / "blank" / "summary.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"/evals/blank/summary\.json cannot be read: ") as caught:
        demo.rest(step("eval blank"), tmp_path, [])
    assert caught.value.hint == f"remove {tmp_path / 'evals' / 'blank'}"


def test_a_line_that_a_kill_cut_short_is_left_out_of_the_record(tmp_path: Path) -> None:
    demo.note(tmp_path, Took("one", 1.5, 0))
    with (tmp_path / "steps.jsonl").open("ab") as file:
        file.write(b'{"name":"tw')
    assert demo.took(tmp_path) == [Took("one", 1.5, 0)]
    demo.note(tmp_path, Took("two", 2.5, 0))
    assert demo.took(tmp_path) == [Took("one", 1.5, 0), Took("two", 2.5, 0)]
