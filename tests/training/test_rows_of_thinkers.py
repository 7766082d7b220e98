"""Published rows of systems: they are checked, converted, and every stage takes them."""

import json
import shlex
from pathlib import Path

import pytest

pytest.importorskip("virc_extras")  # which systems of the zoo need

from support import rows_of_thinkers, workspaces
from support.called import virc
from zoo.test_stages_in_engines import RL, SMALL, TABLE, based

from virc.data.formats.registry import only_source
from virc.data.rows.record import MARK
from virc.models.chat_protocol import of_system
from virc.systems import registry as systems
from virc.systems.registry import System
from virc_zoo.openthinkimg.tools._servers import CONTROLLER

CASES = [key for key, case in TABLE.items() if case.form in ("sft", "prompts", "batch") and not case.wide]
CASES.remove(("vts-v", "instruct"))  # whose crops are drawn in another size than its tool makes
OF_CLIPS = {"framethinker", "revisor", "temporal-r1", "video-com", "videorft"}
"""Whose clips `virc data check` refers to `virc data convert`."""


def assert_asked_as_published(system: System, *files: Path) -> None:
    """Question and answer are those of the rows, in the words of the system."""
    published, made = ([row.known() for row in only_source(file, system).rows()] for file in files)
    spoken = of_system(system)
    for before, after in zip(published, made, strict=True):
        assert after.question == before.question
        assert before.answer in {None, after.answer}  # None: a box is the answer
        first = spoken.first.rpartition("{images}")[2].replace("{question}", before.question or "")
        assert "".join(each.content for each in after.messages if each.role == "system") == spoken.system
        assert after.messages[-1].content.endswith(first)
        assert after.messages[-1].content.count(MARK) == len(before.images)


FEW = {("openvlthinker", "medium"), ("reason-rft", "count-sft")}
"""What is tried at every change."""


@pytest.mark.parametrize(
    ("system", "stage"), [pytest.param(*key, marks=[] if key in FEW else pytest.mark.integration) for key in CASES]
)
def test_a_stage_takes_published_rows_once_converted(
    system: str, stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONTROLLER, "http://127.0.0.1:9")
    case, found = TABLE[system, stage], systems.get(system)
    file = case.write(tmp_path / "published")
    if system in OF_CLIPS:
        pytest.importorskip("av")
    else:
        checked = virc("data", "check", file, "--system", system, "--workers", 1, "--json")
        assert (checked.code, checked.json["good"]) == (0, checked.json["rows"]), checked.out + checked.err
    words = ("--system", system, "--to", tmp_path / "data" / "own", "--format", case.form)
    done = virc("data", "convert", file, *words)
    assert done.code == 0, done.err
    converted = only_source(tmp_path / "data" / "own").file
    if case.form == "prompts" and system not in {"curr-reft", *OF_CLIPS}:  # whose rows have those words already
        assert_asked_as_published(found, file, converted)
    assert virc("data", "check", converted, "--system", system, "--workers", 1).code == 0
    monkeypatch.chdir(tmp_path)
    judge = ("--judge-endpoint", "http://127.0.0.1:9/v1") if case.judge else ()
    settings = workspaces.sets({**(RL if found.stages[stage].kind == "rl" else SMALL), **case.more})
    words = ("--from", based(case, tmp_path), "--with", "cpu", "--data", converted, *settings, *judge, "--dry-run")
    done = virc("train", system, "--stage", stage, *words)
    assert (done.code, "the rows were not checked" in done.err) == (0, False), done.out + done.err


TRIED = (
    *("--from", "tiny", "--with", "cpu", "--dry-run"),
    *workspaces.sets({"train_batch_size": 1, "ppo_mini_batch_size": 1, "micro_batch_size_per_device": 1}),
)


def test_rewardmap_takes_its_rows_by_difficulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("--system", "rewardmap", "--to", "all", "--format", "batch", "--name", "rows")
    assert virc("data", "convert", rows_of_thinkers.rewardmap(tmp_path / "published"), *words).code == 0
    lines = Path("all/rows.jsonl").read_text().splitlines()
    Path("all/rows.jsonl").write_text("\n".join(reversed(lines)))
    (note,) = (each for each in systems.get("rewardmap").stages["rl"].notes if each.startswith("rows: "))
    made = virc(*shlex.split(note.partition("then virc ")[2].rpartition(": the order")[0]))
    assert made.code == 0, made.err
    file = Path("data/rewardmap/rows.jsonl")
    assert [json.loads(line)["type"] for line in file.read_text().splitlines()] == ["TorF1", "Counting2", "planning"]
    done = virc("train", "rewardmap", "--stage", "rl", *TRIED)  # the stage finds it by its own name
    assert done.code == 0, done.err
    assert "rows are taken in the order of the file" in done.err
