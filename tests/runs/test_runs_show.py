"""`virc runs show` says all about a run."""

from pathlib import Path

from support.called import virc
from support.made import add, make, metric, save, write_log

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


def shown(workspace: Path) -> str:
    """What `virc runs show a` prints, without the workspace in its paths."""
    return virc("runs", "show", "a").out.replace(f"{workspace}/", "")


def test_a_failed_run_says_what_was_trained_why_it_failed_and_what_is_left(workspace: Path) -> None:
    run = failed(workspace)
    out, logs, checkpoints = shown(workspace), "runs/a/logs", "runs/a/checkpoints"
    assert lines(out, "stage") == [["stage", "instruct", "of", "tiny", "with", "lora"]]
    assert "/models/base with the adapter /models/adapter" in out
    assert "/data/rows.json, 1,234 rows of at most 567 tokens" in out
    assert "60/100, loss 0.5, 1 h 7 min so far" in out
    assert "a failed at step 60/100: the disk is full" in out
    (first,), (second,) = lines(out, "1"), lines(out, "2")
    assert first[2:] == ["ended", "by", "SIGKILL", f"{logs}/attempt_1/engine.log", "its", "node", "was", "lost"]
    assert second[2:] == ["exit", "1", f"{logs}/attempt_2/engine.log", "the", "disk", "is", "full"]
    (first,), (second,) = (lines(out, f"{checkpoints}/checkpoint-{step}") for step in (20, 40))
    assert first[1:] == ["3.023", "KB", "weights", "alone"]
    assert second[1:] == ["3.523", "KB", "can", "be", "resumed"]
    for code, how in ((1, ["exit", "1"]), (0, ["exit", "0"]), (None, ["no", "end", "recorded"])):
        attempts.write(run, Attempt(number=1, began="2026-03-01", exit=code))
        assert lines(shown(workspace), "1")[0][2:] == [*how, f"{logs}/attempt_1/engine.log"]
    steps = [line[1] for line in lines(out, "step") if "/100" in line[1]]
    assert steps == ["60/100,", "56/100", "57/100", "58/100", "59/100", "60/100"]


def test_words_of_others_do_not_drive_the_terminal(workspace: Path) -> None:
    run = make(workspace, "a")
    runs.write_state(run, progress="failed", error="x" * 10 + "\x1b]0;title\x07")
    done = virc("runs", "tail", "a")
    assert done.code == 7
    assert "\x1b" not in done.err
