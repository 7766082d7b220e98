"""`virc.train`, and what it leaves when it cannot begin."""

import json
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
from support import preflight
from support.made import make

from virc.core.errors import DataError, EngineError, SetupError, UsageError
from virc.core.events import Event
from virc.runs import run as runs
from virc.training import api, prepare
from virc.training.api import train
from virc.training.attempt import Ended


def test_a_run_that_cannot_begin_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        train("tiny", "instruct", folder=tmp_path, base="tiny")
    assert not (tmp_path / "runs").exists()


def test_the_newest_run_of_the_stage_that_has_not_finished_is_resumed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no stage 'instruckt'"):
        api._to_resume("tiny", "instruckt", None, tmp_path)
    stopped = (("old", "tiny", "new"), ("new", "tiny", "stopped"))
    others = (("done", "tiny", "finished"), ("other", "virc", "stopped"))
    for day, (name, system, progress) in enumerate((*stopped, *others), 1):
        run = make(tmp_path, name, created=f"2026-01-0{day}T00:00:00+00:00", system=system)
        runs.write_state(run, progress=progress)
    make(tmp_path, "later", created="2026-01-09T00:00:00+00:00", stage="practice")
    assert api._to_resume("tiny", "instruct", None, tmp_path).name == "new"
    runs.write_state(runs.Run(tmp_path / "runs" / "new"), progress="finished")
    assert api._to_resume("tiny", "instruct", None, tmp_path).name == "old"


RESUMES = "virc train --resume --name a"


@pytest.mark.parametrize(
    ("ended", "said", "hint"),
    [
        (Ended(False, 7, signal.SIGINT), f"stopped, saved at step 7; {RESUMES} resumes it", None),
        (Ended(False, None, signal.SIGTERM, 2),
         f"stopped, nothing was saved yet, 2 steps lost; {RESUMES} starts again", None),
        (Ended(False, 7, None, 0, "it fell"), "stopped: it fell; saved at step 7",
         f"virc runs diagnose a says why; {RESUMES} resumes it"),
        (Ended(True, 9), None, None),
    ],
)  # fmt: skip
def test_how_an_attempt_ended_is_said(
    ended: Ended, said: str | None, hint: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a")
    events, raised, checked = list[Event](), list[int](), list[str]()
    monkeypatch.setattr(api, "attempt", lambda *_: ended)
    monkeypatch.setattr(api.continued, "refuse_few_gpus", lambda run: checked.append(run.name))
    monkeypatch.setattr(api.signal, "raise_signal", raised.append)
    if said is None:
        train(resume=True, name="a", folder=tmp_path, on_progress=events.append)
        assert [event.text for event in events] == ["resuming a"]
        return
    with pytest.raises(EngineError if hint else KeyboardInterrupt) as stopped:
        train(resume=True, name="a", folder=tmp_path, on_progress=events.append)
    assert (str(stopped.value) if hint else events[-1].text) == said
    assert getattr(stopped.value, "hint", None) == hint
    assert raised == [signal.SIGTERM] * (ended.signal == signal.SIGTERM)
    assert checked == ["a"]


def test_a_job_is_written_without_slurm_and_needs_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "counted", preflight._counted)
    monkeypatch.setattr(prepare.making, "made", lambda *_: Path(sys.executable))
    monkeypatch.setenv("PATH", str(tmp_path))
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "a"}]
    rows, site = tmp_path / "rows.jsonl", tmp_path / "site.yaml"
    rows.write_text(json.dumps({"messages": turns}) + "\n")
    begin = partial(train, "tiny", "instruct", folder=tmp_path, base="tiny", data=rows, launcher="slurm", site=site,
                    name="mine")  # fmt: skip
    site.write_text("account: a\nshared: [/]\nmemory: 1M\n")
    for submit, fault in ((False, "memory '1M' is less than "), (True, "sbatch cannot be started")):
        with pytest.raises(SetupError, match=fault):
            begin(submit=submit)
    assert not (tmp_path / "runs").exists()
    site.write_text("account: a\nshared: [/]\nmemory: 900G\n")
    (tmp_path / "runs" / ".mine.new" / "data").mkdir(parents=True)  # what a killed process left
    info = runs.info(run := begin(submit=False))
    assert (info.launcher, info.site["memory"], info.site_file, info.rows) == ("slurm", "900G", str(site), 1)
    assert (runs.state(run).progress, runs.state(run).job) == ("new", None)
    assert any("--account" in file.read_text() for file in run.folder.glob("*.sh"))
