"""`virc runs show` says all about a run."""

from pathlib import Path

from support.called import virc
from support.made import add, make, metric, running, save, write_log

from virc.runs import attempts
from virc.runs import run as runs
from virc.runs.attempts import Attempt
from virc.runs.run import Run


def failed(workspace: Path) -> Run:
    run = make(workspace, "a", base="/models/base", adapter="/models/adapter")
    add(run, *(metric(step) for step in range(1, 61)))
    for number, code, error in ((1, -9, "its node was lost"), (2, 1, None)):
        write_log(run, number, "words")
        began = f"2026-03-0{number}T10:00:00+00:00"
        attempts.write(run, Attempt(number=number, began=began, exit=code, error=error))
    save(run, 20, resumable=False)
    save(run, 40)
    runs.write_state(
        run, progress="failed", attempt=2, step=60, total=100, loss=0.5, seconds=4000.0, error="the disk is full"
    )
    return run


def lines(text: str, word: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.split()[0] == word]


def test_a_failed_run_says_what_was_trained_why_it_failed_and_what_is_left(workspace: Path) -> None:
    run = failed(workspace)
    out = virc("runs", "show", "a").out
    assert lines(out, "stage") == [["stage", "instruct", "of", "tiny", "with", "lora"]]
    assert "/models/base with the adapter /models/adapter" in out
    assert "/data/rows.json, 1,234 rows of at most 567 tokens" in out
    assert "60/100, loss 0.5, 1 h 7 min so far" in out
    assert "a failed at step 60/100: the disk is full" in out
    (first,), (second,) = lines(out, "1"), lines(out, "2")
    assert first[2:] == ["ended", "by", "SIGKILL", str(run.log(1)), "its", "node", "was", "lost"]
    assert second[2:] == ["exit", "1", str(run.log(2)), "the", "disk", "is", "full"]
    (first,), (second,) = (lines(out, str(run.checkpoints / f"checkpoint-{step}")) for step in (20, 40))
    assert first[1:] == ["3.023", "KB", "weights", "alone"]
    assert second[1:] == ["3.523", "KB", "can", "be", "resumed"]
    for code, how in ((1, ["exit", "1"]), (0, ["exit", "0"]), (None, ["no", "end", "recorded"])):
        attempts.write(run, Attempt(number=1, began="2026-03-01", exit=code))
        assert lines(virc("runs", "show", "a").out, "1")[0][2:] == [*how, str(run.log(1))]
    steps = [line[1] for line in lines(out, "step") if "/100" in line[1]]
    assert steps == ["60/100,", "56/100", "57/100", "58/100", "59/100", "60/100"]


def test_settings_that_are_no_defaults_come_with_their_origin(workspace: Path) -> None:
    origins = {"seed": "--set", "lora.rank": "overlay lora", "curriculum.column": "a newer virc"}
    make(workspace, "a", origins=origins)
    out = virc("runs", "show", "a").out
    assert lines(out, "curriculum.column") == [["curriculum.column", "-", "(a", "newer", "virc)"]]
    assert lines(out, "seed") == [["seed", "7", "(--set)"]]
    assert lines(out, "lora.rank") == [["lora.rank", "8", "(overlay", "lora)"]]
    assert lines(out, "schedule") == []


def test_what_a_run_left_is_shown_in_order_and_its_best_checkpoint_named(workspace: Path) -> None:
    run = make(workspace, "a", overlays=("lora", "2x"), ignore=("notes", "source"))
    for step in (100, 13, 9, 12, 10, 11):
        (run.rollouts / f"step_{step}").mkdir(parents=True)
    (run.rollouts / "step_7").touch()
    for step in (20, 40):
        save(run, step)
    runs.write_state(run, progress="stopped", step=40, best=20, best_validation=0.875)
    out = virc("runs", "show", "a").out
    assert lines(out, "stage") == [["stage", "instruct", "of", "tiny", "with", "lora,", "2x"]]
    assert "tokens, without notes, source\n" in out
    assert "so far" not in out
    ways = [" ".join(lines(out, str(run.checkpoints / f"checkpoint-{step}"))[0][3:]) for step in (20, 40)]
    assert ways == ["can be resumed, best on the validation rows, 0.875", "can be resumed"]
    pages = [Path(line.strip()).parents[1].name for line in out.splitlines() if line.endswith("index.html")]
    assert pages == ["step_10", "step_11", "step_12", "step_13", "step_100"]
    shown = virc("runs", "show", "a", "--json").json
    assert [each["best"] for each in shown["checkpoints"]] == [True, False]
    assert [Path(each).name for each in shown["rollouts"]] == ["step_9", *pages]
    assert shown["log"] is None


def test_a_run_that_died_says_where_its_log_is(workspace: Path) -> None:
    run = make(workspace, "a")
    here = runs.this_process()
    runs.write_state(run, progress="running", **{**here, "started": here["started"] - 1})
    (following,) = lines(virc("runs", "show", "a").out, "next")
    assert following[-1] == str(run.log(0))


def test_a_running_run_names_its_process(workspace: Path) -> None:
    run = make(workspace, "a")
    add(run, *(metric(step) for step in range(1, 51)))  # two seconds a step
    with running(run) as child:
        runs.write_state(run, job="77", step=50, total=100)
        out = virc("runs", "show", "a").out
    (process,) = lines(out, "process")
    assert process[1] == str(child.pid)
    assert ", 100 s left, " in out
    assert lines(out, "job") == [["job", "77"]]


def test_json_holds_the_same(workspace: Path) -> None:
    run = failed(workspace)
    shown = virc("runs", "show", "a", "--json").json
    assert shown["schema"] == "virc.runs.show/1"
    assert (shown["info"]["rows"], shown["state"]["progress"]) == (1234, "failed")
    assert [(each["exit"], each["log"]) for each in shown["attempts"]] == [(-9, str(run.log(1))), (1, str(run.log(2)))]
    assert [(each["step"], each["bytes"], each["resumable"]) for each in shown["checkpoints"]] == [
        (20, 3023, False),
        (40, 3523, True),
    ]
    assert [each["step"] for each in shown["metrics"]] == [56, 57, 58, 59, 60]
    assert shown["log"] == str(run.log(2))


def test_json_looks_the_same_where_the_run_cannot_be_read(workspace: Path) -> None:
    whole = failed(workspace)
    good = virc("runs", "show", "a", "--json").json
    (whole.folder / "run.json").write_bytes(b"\xff")
    done = virc("runs", "show", "a", "--json")
    assert done.code == 3
    assert list(done.json) == list(good)
    assert (done.json["name"], done.json["error"]["code"]) == ("a", 3)


def test_a_step_without_a_number_does_not_break_the_json(workspace: Path) -> None:
    run = make(workspace, "a")
    run.metrics.write_text('{"step": 1, "loss": NaN, "learning_rate": 1e-5}\n{"step": 2, "los')
    assert virc("runs", "show", "a", "--json").json["metrics"] == [{"step": 1, "loss": None, "learning_rate": 1e-5}]
    assert "step 1  loss nan  lr 1e-5" in virc("runs", "show", "a").out


def test_words_of_others_do_not_drive_the_terminal(workspace: Path) -> None:
    run = make(workspace, "a")
    runs.write_state(run, progress="failed", error="x" * 10 + "\x1b]0;title\x07")
    done = virc("runs", "tail", "a")
    assert done.code == 7
    assert "\x1b" not in done.err
