"""The beginning of a run of RL: its judge, its rows by name, and what its folder keeps of rewards and tools."""

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from stage_rows import drawn, prepared
from support.called import virc
from support.reported import show_event
from support.servers import dead_url, serve

from virc.cluster.site import IN_JOB, JobJudge, Site
from virc.core.errors import ConfigError, NetworkError
from virc.core.events import Reporter
from virc.models.chat_protocol import read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.rewards import verl
from virc.runs.run import Run
from virc.stages.resolve import Resolved
from virc.systems import texts
from virc.tools import registry as tools
from virc.training import rl_setup, row_report, run_files
from virc.training.preflight.types import Result
from virc.training.request import TrainRequest


@pytest.fixture(scope="module")
def drawn_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("drawn") / "rows", "rl,prompts,batch,sft").parent


@pytest.fixture
def workspace(drawn_rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace whose `data/polygons` has rows, and nothing loaded of tools."""
    shutil.copytree(drawn_rows, tmp_path / "data" / "polygons")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tools, "_CUSTOM", {})
    return tmp_path


def resolved(*sets: str, system: str = "tiny", **wanted: Any) -> Resolved:
    return TrainRequest(system=system, stage="rl", base="tiny", assignments=sets, **wanted).resolve()


def result(**values: Any) -> Result:
    usual: dict[str, Any] = {
        "rows": 8, "dropped": 0, "longest": 9, "mean": 8.0, "total": 64, "percentiles": (8, 9, 9),
        "images": 8, "shrunk": 0, "looked_at": 8, "faults": {}, "otherwise": 0, "dataset": "rl",
        "protocol": read_protocol(EMBEDDED_FOLDER / FILE_NAME), "file": Path("rl.parquet"), "entry": {},
        "media": Path("/images"),
    }  # fmt: skip
    return Result(**usual | values)


def test_a_judge_is_asked_once_whether_it_is_there(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = Reporter(show_event)
    with serve(models=["Qwen2.5-VL-72B"]) as server:
        asked = resolved("reward.total=virc", judge_endpoint=server.url)
        rl_setup.check_judges(asked, None, workspace, here=True, report=report)
        assert f"the judge is Qwen2.5-VL-72B, at {server.url}" in capsys.readouterr().err
        assert server.chats() == []
    away = resolved("reward.total=virc", judge_endpoint=dead_url())
    with pytest.raises(NetworkError):
        rl_setup.check_judges(away, None, workspace, here=True, report=report)
    rl_setup.check_judges(away, None, workspace, here=False, report=report)  # a job may bring its judge along


@pytest.mark.parametrize("total", ["mini_o3"])
def test_a_run_asks_its_judge_in_the_words_it_was_begun_with(
    total: str, workspace: Path, drawn_rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(workspace / "runs" / "one")
    run.folder.mkdir(parents=True)
    row = pq.read_table(drawn_rows / "rl.parquet").to_pylist()[0]
    for image in row["extra_info"]["images"]:
        image["image"] = f"file://{drawn_rows / image['image']}"
    with serve(lambda body: "Score: 1 Judgement: 1") as server:
        asked = resolved(f"reward.total={total}", judge_endpoint=server.url)
        row_report.check_texts(asked, Reporter())
        run_files.write_code(prepared(run, run.folder, asked, result(media=drawn_rows)))
        for name, value in ((texts.OWN_WORDS, ""), ("VIRC_CACHE", str(workspace / "none"))):
            monkeypatch.setenv(name, value)  # a node, or a run that is resumed
        scored = verl.compute_score(
            "", "<think>a</think><answer>five</answer>", "5", row["extra_info"],
            settings=str(run.folder / "reward.json"),
        )  # fmt: skip
        assert asyncio.run(scored)["judge_score"] == 1
        assert len(server.chats()) == 1
        said = json.loads((run.folder / "reward.json").read_text())["said"]
        assert next(iter(said.values()))[0].partition("{")[0] in server.chats()[0]["messages"][-1]["content"]
    with pytest.raises(ConfigError, match="is not on this machine") as refused:
        row_report.check_texts(asked, Reporter())
    assert "virc download texts --system " in str(refused.value.hint)


READS = """from pathlib import Path

from weights_of_words import WEIGHT

TERMS = ("format",)
HERE = Path(__file__).parent


def total(t):
    words = (HERE / "lists" / "words.txt").read_text().split()
    return WEIGHT * len(words)
"""


def test_a_run_has_what_its_reward_reads_beside_it(
    workspace: Path, drawn_rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("virc_extras")  # virc rewards try
    own, run = workspace / "own", Run(workspace / "runs" / "one")
    (own / "lists").mkdir(parents=True)
    run.folder.mkdir(parents=True)
    (own / "mine.py").write_text(READS)
    (own / "lists" / "words.txt").write_text("two words")
    (own / "lists" / "others.txt").write_text("not read")
    (own / "weights_of_words.py").write_text("WEIGHT = 0.5\n")
    (own / "mine.yaml").write_text("name: mine\nreward: {total: mine}\n")
    tried = virc("rewards", "try", own / "mine.yaml", "--data", drawn_rows / "rl.parquet", "--rows", 1, "--json")
    assert (tried.json["mean"], tried.err) == (1.0, "")
    asked = resolved(f"reward.total={own / 'mine.py'}")
    copied = run_files.write_code(prepared(run, run.folder, asked, result(media=drawn_rows)))
    assert copied.keys() == {"mine.py", "weights_of_words.py", "lists/words.txt"}
    shutil.rmtree(own)
    monkeypatch.delitem(sys.modules, "weights_of_words")
    row = pq.read_table(drawn_rows / "rl.parquet").to_pylist()[0]
    reply = row["extra_info"]["reference"]
    scored = verl.compute_score("", reply, "5", row["extra_info"], settings=str(run.folder / "reward.json"))
    assert asyncio.run(scored)["score"] == 1.0


SITE = Site(judge=JobJudge(model="judge"))


def _placed(site: Site = SITE, **fields: Any) -> Resolved:
    request = TrainRequest(system="virc", stage="rl", **fields)
    return rl_setup.with_job_judge(request, request.resolve(), site)


@pytest.mark.parametrize("overlays", [(), ("judge-split",)])
def test_a_reward_that_asks_a_judge_gets_that_of_the_job(overlays: tuple[str, ...]) -> None:
    config = _placed(overlays=overlays).config
    assert (config.reward.judge.endpoint, config.judge_gpus) == (IN_JOB, 0)


@pytest.mark.parametrize("overlays", [(), ("judge-split",)])
@pytest.mark.parametrize(
    ("site", "said"),
    [(SITE, r"Qwen2\.5-VL-72B-Instruct"), (Site(), "the reward asks a judge, and the job serves none")],
)
def test_a_job_whose_judge_nobody_serves_or_has_no_weights_is_refused(
    site: Site, said: str, overlays: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        rl_setup.check_judges(_placed(site, overlays=overlays), site, tmp_path, here=False, report=Reporter())
    rl_setup.check_judges(_placed(site, overlays=("rules",)), site, tmp_path, here=False, report=Reporter())
