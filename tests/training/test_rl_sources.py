"""Rows of several systems in one stage of RL: each in its own system's words, under its own reward."""

import asyncio
import json
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from stage_rows import drawn, prepared
from support import preflight
from support.servers import serve

from virc.core.errors import ConfigError
from virc.core.events import Event, Reporter
from virc.data.formats.registry import only_source
from virc.models.chat_protocol import read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.images import open_image
from virc.reasoning.protocol import FILE_NAME
from virc.reasoning.session import Reply, Session
from virc.rewards import sources
from virc.rewards.sources import folders, speakers
from virc.rewards.user_code import variables_in_code
from virc.rewards.verl import Settings, compute_score, total_for
from virc.runs.run import Run
from virc.stages.resolve import Resolved
from virc.tools.registry import known
from virc.training import rl_setup, run_files
from virc.training.preflight.rl import check
from virc.training.preflight.types import RlRequest
from virc.training.request import TrainRequest

SYSTEM = """name: brief
about: short answers in two turns
tools: [crop_image]
models: {tiny: {}}
reward: {total: ./brief.py}
stages:
  rl:
    kind: rl
    settings: {base: tiny, data: rows, rollout: multi_turn, max_turns: 2, response_length: 256}
"""
REWARD = '''"""Short answers."""

import os

TERMS, KEY = ("brief",), os.environ.get("BRIEF_KEY")


def brief(sample, means):
    """One over the characters of the answer."""
    return 1 / len(sample.turn.answer) if sample.turn and sample.turn.answer else None


def total(t):
    return t.brief or 0.0


def whole(units, t):
    return units[-1]
'''
JUDGED = SYSTEM.replace("brief", "judged").replace(
    "{total: ./judged.py}", "{total: ./judged.py, judges: {critic: {model: c}}}"
)
ASKS = '''"""What a critic says."""

from virc.rewards.question import Question, yes_no

TERMS = ("fine",)
fine = Question("Is this fine? {reply}", yes_no, judge="critic")


def total(t):
    return t.fine or 0.0


def whole(units, t):
    return units[-1]
'''
SET = ("rollout=multi_turn", "response_length=768", "reward.total=outcome", "data=data/mixed/problems.jsonl")
BRIEF = ("sources=[./brief.yaml]",)
Row = dict[str, Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with sixteen problems, every other one of the system `brief`."""
    folder = tmp_path_factory.mktemp("workspace")
    file = drawn(folder / "data" / "mixed", "batch").with_name("problems.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows = [row | {"data_source": "brief"} if at % 2 else row for at, row in enumerate(rows)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "brief.yaml").write_text(SYSTEM)
    (folder / "brief.py").write_text(REWARD)
    return folder


@pytest.fixture
def workspace(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


def resolved(*sets: str) -> Resolved:
    return TrainRequest(system="tiny", stage="rl", base="tiny", assignments=(*SET, *sets)).resolve()


def asked(folder: Path, stage: Resolved) -> Any:
    return preflight.request(
        RlRequest, source=only_source(Path("data/mixed/problems.jsonl")), base=EMBEDDED_FOLDER, rollout="multi_turn",
        folder=folder, home=folder, chat_protocol=read_protocol(EMBEDDED_FOLDER / FILE_NAME),
        reward=stage.config.reward, sources=speakers(stage.config),
    )  # fmt: skip


def rows_of(file: Path) -> list[Row]:
    found: list[Row] = pq.read_table(file).to_pylist()
    return found


def rolled_out(row: Row, replies: Sequence[str], settings: Settings) -> dict[str, float]:
    """The reward of a rollout of these replies, as verl asks for it."""
    info = row["extra_info"]
    picture = Path(info["images"][0]["image"].removeprefix("file://"))
    own = settings.sources.get(row["data_source"])
    told = msgspec.json.decode(Path(own).read_bytes(), type=Settings) if own else settings
    session = Session(
        read_protocol(Path(str(told.protocol))), info["question"], [open_image(picture, "it")], tools=known()
    )
    for reply in replies:
        session.feed(Reply(reply))
    trace = msgspec.json.encode(session.trace()).decode()
    file = Path(settings.beside or "").parent / sources.REWARD
    return asyncio.run(
        compute_score(
            row["data_source"], "", row["reward_model"]["ground_truth"], {**info, "rollout": trace}, settings=str(file)
        )
    )


def test_each_row_is_rewarded_by_its_system(workspace: Path, tmp_path: Path) -> None:
    stage = resolved(*BRIEF)
    result = check(asked(tmp_path / "data", stage))
    run, partial = Run(workspace / "runs" / "one"), workspace / "runs" / ".one.new"
    partial.mkdir(parents=True)
    code = run_files.write_code(prepared(run, partial, stage, result))
    assert code.keys() == {"sources/brief/brief.py"}
    partial.rename(run.folder)
    given = {"BRIEF_KEY": "k", "OTHER_KEY": "o"}
    assert variables_in_code(run.folder, given) == {"BRIEF_KEY": "k"}, "its code gets what it names, and no more"
    settings = msgspec.json.decode((run.folder / sources.REWARD).read_bytes(), type=Settings)
    assert settings.sources == {name: str(file) for name, file in folders(run.folder).items()}
    assert list(settings.sources) == ["brief"]
    mine, theirs = rows_of(result.file)[:2]
    answer = str(mine["reward_model"]["ground_truth"])
    first = rolled_out(mine, [f"<think>so</think><answer>{answer}</answer>"], settings)
    second = rolled_out(theirs, ["<think>so</think><answer>12345</answer>"], settings)
    assert first.keys() == second.keys()  # as verl wants it
    assert first["answer"] == 1.0
    assert isnan(first["brief"])
    assert second["score"] == second["brief"] == 1 / 5
    assert isnan(second["answer"])
    file = str(run.folder / sources.REWARD)
    assert [total_for(file, source).name for source in ("virc", "brief")] == ["outcome", "brief"]
    turned = ["<think>a</think><tool_call>{}</tool_call>"]
    assert rolled_out(theirs, turned, settings)["score"] == 0.0


def test_an_endpoint_reaches_the_judge_of_a_source(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "judged.yaml").write_text(JUDGED)
    (tmp_path / "judged.py").write_text(ASKS)
    sets = (*SET, f"sources=[{tmp_path / 'judged.yaml'}]")
    bare = TrainRequest(system="tiny", stage="rl", base="tiny", assignments=sets).resolve()
    with pytest.raises(ConfigError, match="the reward judged asks the judge critic, which has no endpoint") as refused:
        rl_setup.check_judges(bare, None, workspace, here=False, report=Reporter())
    assert refused.value.hint == "--judge-endpoint critic=URL"
    url = "http://127.0.0.1:9/v1"
    named = TrainRequest(
        system="tiny", stage="rl", base="tiny", assignments=sets, judge_endpoints={"critic": url}
    ).resolve()
    rl_setup.check_judges(named, None, workspace, here=False, report=Reporter())
    monkeypatch.setenv("VIRC_JUDGE_KEY", "of-the-judge")
    monkeypatch.setenv("VIRC_JUDGE_KEY_CRITIC", "of-the-critic")
    with serve(models=["c"]) as server:
        here = TrainRequest(
            system="tiny", stage="rl", base="tiny", assignments=sets, judge_endpoints={"critic": server.url}
        ).resolve()
        told: list[Event] = []
        rl_setup.check_judges(here, None, workspace, here=True, report=Reporter(told.append))
        assert [each.text for each in told] == [f"the critic judge is c, at {server.url}"]
        assert {each.headers.get("authorization") for each in server.requests} == {"Bearer of-the-critic"}
    assert speakers(named.config)["judged"].reward.judges["critic"].endpoint == url
