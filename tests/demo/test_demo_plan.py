"""The steps of a demo: command lines that exist, in an order in which each finds what it reads."""

import shutil
from itertools import pairwise
from pathlib import Path

import finished
import msgspec
import pytest
from support.made import make
from typer.main import get_command

from virc.core.errors import ConfigError
from virc.demo import plan as demo
from virc.demo.plan import LARGE, QUICK, USUAL, Demo, Step, Took
from virc.runs import run as runs
from virc_cli.commands import data, eval, merge, train
from virc_cli.main import build

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


def test_a_line_that_virc_does_not_take_is_seen() -> None:
    with pytest.raises(Exception, match="No such option"):
        parsed(("merge", "rl", "--counterfactuals"))


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


def test_another_seed_is_another_seed_everywhere() -> None:
    first, second = (demo.plan(Demo(full=True, seed=seed, size=QUICK)) for seed in (0, 1))
    seeded = [step.name for step in first if any("seed" in word for word in step.words)]
    assert seeded == [one.name for one, other in zip(first, second, strict=True) if one.words != other.words]
    assert len(seeded) == 4 + 6 + 4 + 6


def test_only_a_large_one_trains_the_tower_from_the_start_and_that_of_the_control_too() -> None:
    plans = [demo.plan(Demo(full=False, seed=0, size=size)) for size in (QUICK, USUAL, LARGE)]
    trained = [[each.name for each in steps if "frozen_modules=[]" in each.words] for steps in plans]
    assert trained == [[], [], ["instruct", "direct"]]


def test_only_sampled_answers_are_drawn_at_a_temperature() -> None:
    asked = {each.name: parsed(each.words[1:]) for each in demo.plan(PLANS[1]) if "eval" in each.words}
    warm = {name: words["temperature"] for name, words in asked.items() if words["temperature"] is not None}
    assert warm == {"eval sampled": 1.0}


MINUTES = {"sight": 1, "read": 2.5, "place": 3, "skills": 4}
SIZED = demo.Size(instruct=5, practice=7, steps=2, prompts=4, problems=40, minutes=MINUTES, start="none")


@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("--from", {
            "read": "course/sight", "place": "course/read", "skills": "course/place", "instruct": "base",
            "practice": "instruct", "rl": "practice", "direct": "base"}),
        ("--minutes", {"sight": "1", "read": "2.5", "place": "3", "skills": "4"}),
        ("--count", {
            "instruct data": "5", "practice data": "7", "rl data": "8", "direct data": "12", "heldout data": "40",
            "strange data": "8"}),
        ("--seed", {
            **dict.fromkeys(MINUTES, "3"), "instruct data": "31", "practice data": "32", "rl data": "33",
            "direct data": "31", "heldout data": "34", "strange data": "35",
            **{f"eval {name}": "3" for name in ("greedy", "sampled", "counterfactual", "blank", "strange", "pages")}}),
        ("--set", {
            **dict.fromkeys(("instruct", "practice", "direct"), "loaders=1 seed=3"),
            "rl": "steps=2 train_batch_size=4 ppo_mini_batch_size=4 seed=3"}),
        ("--model", {
            **dict.fromkeys(("eval greedy", "eval sampled", "eval strange"), "base instruct practice rl direct"),
            **dict.fromkeys(("eval counterfactual", "eval blank"), "instruct practice rl"), "eval pages": "rl"}),
        ("--crop-ablation", {"eval counterfactual": "counterfactual", "eval blank": "blank"}),
        ("--limit", {"eval pages": "10"}),
    ],
)  # fmt: skip
def test_every_step_has_its_numbers_of_the_demo(option: str, given: dict[str, str]) -> None:
    steps = demo.plan(Demo(full=True, seed=3, size=SIZED))
    words = {each.name: [after for before, after in pairwise(each.words) if before == option] for each in steps}
    assert {name: " ".join(found) for name, found in words.items() if found} == given


def test_a_demo_says_what_it_draws_and_draws_a_strange_problem_at_least() -> None:
    steps = demo.plan(Demo(full=False, seed=0, size=msgspec.structs.replace(SIZED, problems=3)))
    drawn = [each.says for each in steps if each.name.endswith(" data")]
    assert drawn == [f"draw {count} problems" for count in (5, 7, 8, 12, 3, 1)]


def step(name: str, begun: Demo = finished.QUICK) -> Step:
    return next(each for each in demo.plan(begun) if each.name == name)


def test_what_is_whole_is_not_made_again(tmp_path: Path) -> None:
    steps = demo.plan(finished.QUICK)
    finished.finish(tmp_path)
    assert [each.name for each in steps if demo.rest(each, tmp_path, [])] == []
    for each in steps:
        shutil.rmtree(tmp_path / each.makes)
        assert demo.rest(each, tmp_path, demo.took(tmp_path)) == each.words


def test_a_folder_that_holds_no_run_is_no_run(tmp_path: Path) -> None:
    finished.finish(tmp_path)
    (tmp_path / "runs" / "instruct" / "run.json").unlink()
    assert demo.rest(step("instruct"), tmp_path, []) == step("instruct").words


@pytest.mark.parametrize("progress", ["new", "stopped", "failed", "running"])
def test_a_run_that_was_begun_goes_on(tmp_path: Path, progress: str) -> None:
    runs.write_state(make(tmp_path, "instruct"), progress=progress)
    resumed = ("virc", "train", "--resume", "--name", "instruct")
    assert demo.rest(step("instruct"), tmp_path, []) == resumed
    assert parsed(resumed[1:])["resume"] is True


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


def test_a_phase_of_the_course_is_done_when_it_has_ended(tmp_path: Path) -> None:
    """It saves on the way: that weights are there says nothing."""
    first = demo.plan(Demo(full=True, seed=3, size=QUICK))[0]
    (tmp_path / first.makes).mkdir(parents=True)
    assert demo.rest(first, tmp_path, []) == first.words
    assert demo.rest(first, tmp_path, [Took(first.name, 1, 130)]) == first.words
    assert demo.rest(first, tmp_path, [Took(first.name, 1, 130), Took(first.name, 9, 0)]) is None
    assert demo.rest(first, tmp_path, [Took(first.name, 9, 0), Took(first.name, 1, 130)]) == first.words
    assert demo.rest(first, tmp_path, [Took("read", 9, 0)]) == first.words
    (tmp_path / first.makes).rmdir()
    assert demo.rest(first, tmp_path, [Took(first.name, 9, 0)]) == first.words


def test_a_line_that_a_kill_cut_short_is_left_out_of_the_record(tmp_path: Path) -> None:
    demo.note(tmp_path, Took("one", 1.5, 0))
    with (tmp_path / "steps.jsonl").open("ab") as file:
        file.write(b'{"name":"tw')
    assert demo.took(tmp_path) == [Took("one", 1.5, 0)]
    demo.note(tmp_path, Took("two", 2.5, 0))
    assert demo.took(tmp_path) == [Took("one", 1.5, 0), Took("two", 2.5, 0)]


def test_a_folder_of_another_start_or_of_the_other_kind_is_not_gone_on_with(tmp_path: Path) -> None:
    begun = Demo(full=False, seed=0, size=QUICK)
    demo.begin(tmp_path / "demo", begun)
    for other, sentence in (
        (msgspec.structs.replace(begun, size=msgspec.structs.replace(QUICK, start="other")), "start tiny, not other"),
        (msgspec.structs.replace(begun, full=True), "without --full, not with it"),
        (msgspec.structs.replace(begun, schema="virc.demo.settings/0"), "another version of virc"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            demo.begin(tmp_path / "demo", other)
