"""What a harness is told, and what is read of what it writes; lmms-eval itself runs in test_harness_engine.py."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from support.called import virc
from support.servers import MODEL, Server, dead_url, serve
from support.solving import picture

from virc.core.errors import ConfigError, DataError, EngineError, UsageError, VircError
from virc.evaluation.benchmarks.registry import find
from virc.evaluation.harness import harness
from virc.evaluation.harness import task as harness_task
from virc.evaluation.harness.harness import HarnessRun
from virc.evaluation.problems import EvalProblem, problems_of
from virc.models.load import Choice
from virc.scoring.score import key_of
from virc.solving.one import SolveConfig
from virc.solving.rows import as_row
from virc.solving.setup import Setup

pytestmark = pytest.mark.usefixtures("here")

ADDRESS = "http://127.0.0.1:8000/v1"
ROWS: tuple[dict[str, Any], ...] = (
    {"id": 1, "image": "a.png", "question": "What is m∠A?", "answer": 97},
    {"id": "b", "images": ["a.png", "https://example.org/b.png"], "question": "Which?", "answer": "12",
     "choices": [11, 12]},
    {"id": "c", "image": "data:image/png;base64,AAAA", "question": "What is x?", "answer": "0.5"},
)  # fmt: skip


@pytest.fixture
def problems(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIRC_CACHE", str(here / "cache"))
    picture(here / "a.png")
    (here / "held").mkdir()
    picture(here / "held" / "a.png")
    file = here / "held" / "sums.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return file


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


def planned(*words: object) -> dict[str, Any]:
    """The one part of a dry run."""
    done = virc("eval", *words, "--harness", "--dry-run", "--json")
    assert done.code == 0, done.err
    (plan,) = done.json["harness"]
    assert isinstance(plan, dict)
    return plan


def test_a_dry_run_shows_all_that_lmms_eval_gets_and_writes_nothing(
    here: Path, problems: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRC_API_KEY", "sk-mine")
    monkeypatch.setenv("HF_TOKEN", "hf-mine")
    before = sorted(here.rglob("*"))
    plan = planned("held/sums.jsonl", "--endpoint", server.url, "--seed", 7, "--concurrency", 3)
    place = here / "evals" / "sums" / "harness"
    assert plan["command"][1:] == ["-m", "lmms_eval", "--config", str(place / f"{MODEL}.yaml")]
    assert (plan["model"], plan["task"]) == (MODEL, "virc_sums")
    config = msgspec.yaml.decode(plan["files"][str(place / f"{MODEL}.yaml")])
    assert config == {
        "model": "openai",
        "model_args": f"base_url={server.url},model_version={MODEL},num_concurrent=3,max_retries=2",
        "tasks": "virc_sums",
        "output_path": str(place),
        "log_samples": True,
        "gen_kwargs": "max_new_tokens=1024,temperature=0.0,seed=7",
        "include_path": str(place / "task"),
    }
    task = plan["files"][str(place / "task" / "virc_sums.yaml")]
    assert "task: virc_sums\n" in task
    assert "doc_to_visual: !function virc.evaluation.harness.task.images\n" in task
    assert "sk-mine" not in json.dumps(plan)
    assert "hf-mine" not in json.dumps(plan)
    assert sorted(here.rglob("*")) == before
    assert not server.chats()


def test_a_dry_run_is_to_be_read_by_people_too(problems: Path) -> None:
    done = virc("eval", problems, "--endpoint", dead_url(), "--model", "m", "--harness", "--dry-run")
    assert done.code == 0, done.err  # a model that is named is not asked for
    assert "OPENAI_API_KEY=***" in done.out
    assert "problems.jsonl: 3 lines, such as" in done.out
    assert '{"id": "1", "question": "What is m∠A?", "answer": "97", "images": [' in done.out


def test_the_key_goes_to_the_endpoint_alone_and_pictures_stay_whole(
    problems: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMMS_IMAGE_ENCODE_FORMAT", "JPEG")
    env = planned("mme", "--endpoint", ADDRESS, "--model", "m")["environment"]
    addresses = {env[name] for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_API_URL")}
    assert addresses == {ADDRESS, f"{ADDRESS}/chat/completions"}
    assert {env[name] for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS")} == {""}
    assert (env["LMMS_IMAGE_ENCODE_FORMAT"], env["PYTHON_DOTENV_DISABLED"]) == ("PNG", "1")
    assert (env["DO_NOT_TRACK"], env["HF_HUB_DISABLE_TELEMETRY"]) == ("1", "1")


def test_only_a_task_of_its_own_reaches_the_hub(problems: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf-mine")
    words = ("--endpoint", ADDRESS, "--model", "m")
    for name, options, offline, token in (
        ("mme", (), "", "***"),
        ("mme", ("--offline",), "1", ""),
        ("held/sums.jsonl", (), "1", ""),
    ):
        env = planned(name, *words, *options)["environment"]
        assert (env["HF_HUB_OFFLINE"], env["TRANSFORMERS_OFFLINE"]) == (offline, offline)
        assert (env["HF_TOKEN"], env["HUGGING_FACE_HUB_TOKEN"]) == ("", token)


def test_a_task_of_its_own_is_cut_by_lmms_eval_and_ours_by_us(problems: Path, here: Path) -> None:
    words = ("--endpoint", ADDRESS, "--model", "m", "--limit", 2)
    files = planned("mme", *words)["files"]
    (text,) = files.values()
    config = msgspec.yaml.decode(text)
    assert (config["tasks"], config["limit"]) == ("mme", 2)
    assert "include_path" not in config
    done = virc("eval", problems, *words, "--harness", "--dry-run", "--json")
    assert done.json["problems"] == 2
    assert "limit" not in msgspec.yaml.decode(list(done.json["harness"][0]["files"].values())[1])


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("held/sums.jsonl", True), ("held/none.jsonl", True), ("none.jsonl", True), ("./mme", True), ("", True),
        ("diagrams", True), ("MathVista", True), ("AI4Math/MathVista", True),
        ("mme", False), ("mathvista_testmini", False), ("held", False), ("mmmu_pro_v1.5", False),
        ("vstar", True), ("chartqa", False), ("docvqa", False),
    ],
)  # fmt: skip
def test_what_is_none_of_our_problems_is_a_task_of_its_own(problems: Path, name: str, ours: bool) -> None:
    assert harness.is_ours(name) == ours


def test_a_task_with_the_name_of_our_benchmark_is_ours_where_its_rows_are(problems: Path) -> None:
    Path("data/chartqa").mkdir(parents=True)
    assert harness.is_ours("chartqa")


def test_a_folder_with_problems_is_ours(problems: Path) -> None:
    problems.rename(problems.with_name("problems.jsonl"))
    assert harness.is_ours("held")


def test_our_task_has_a_name_that_none_of_its_own_has() -> None:
    assert harness.task_of("my sums (2)", own=True) == "virc_my_sums__2_"
    with pytest.raises(UsageError, match="is no name of a task"):
        harness.task_of("mme,mmmu", own=False)


@pytest.mark.parametrize(
    "words",
    [
        ("--crop-ablation", "blank"), ("--samples", 2), ("--judge-endpoint", ADDRESS), ("--judge-model", "m"),
        ("--protocol", "default"), ("--system", "virc"), ("--against", "paper"), ("--traces", "all"),
        ("--max-turns", 3), ("--max-pixels", 1000), ("--timeout", 3), ("--device", "cpu"),
    ],
)  # fmt: skip
def test_an_option_that_would_be_ignored_is_refused(problems: Path, words: tuple[object, ...]) -> None:
    done = virc("eval", problems, "--endpoint", ADDRESS, "--harness", *words)
    assert done.code == 2
    assert f"{words[0]} is not for --harness" in done.err


AT = ("--harness", "--endpoint", ADDRESS, "--dry-run", "--model", "m")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("held/sums.jsonl", "--harness"), 2, "--harness asks an endpoint, and none was named"),
        (("held/sums.jsonl", "--dry-run"), 2, "--dry-run is for --harness"),
        (("mme", *AT, "--split", "a"), 2, "--split is not for --harness"),
        (("a b", *AT), 2, "a b is no name of a task"),
        (("none.jsonl", *AT), 5, "there is no file none.jsonl"),
        (("held/sums.jsonl", "--harness", "--endpoint", "DEAD"), 6, "/v1 cannot be reached"),
        (("held/sums.jsonl", *AT, "--to", "a[1]"), 3, "a folder with such a name"),
        (("held/sums.jsonl", *AT, "--model", "a,b=c"), 3, "the model's name a,b=c"),
        (("held/sums.jsonl", *AT, "--model", "72"), 3, "the model's name 72"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_before_anything_is_made(
    problems: Path, here: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    dead = dead_url()
    done = virc("eval", *(dead if word == "DEAD" else word for word in words), "--json")
    assert done.code == code, done.err
    assert said in done.err
    assert done.json["error"]["code"] == code
    assert not (here / "evals").exists()
    assert not (here / "cache").exists()


def test_what_fails_looks_like_what_succeeds(problems: Path) -> None:
    words = ("eval", problems, "--endpoint", ADDRESS, "--model", "m", "--json", "--harness")
    shown = virc(*words, "--dry-run")
    assert shown.json.keys() == virc(*words, "--samples", 3).json.keys()


def test_a_name_that_lmms_eval_takes_for_one_of_openais_is_told(problems: Path) -> None:
    assert not harness.warnings_of(MODEL)
    assert "virc-o3 for a model of OpenAI's" in harness.warnings_of("virc-o3")[0]


def test_a_problem_is_asked_as_virc_eval_asks_it(problems: Path, here: Path) -> None:
    found = find(str(problems), here)
    by_id = problems_of(found, None, pytest.fail)
    rows = [
        harness.row_of(row, problem, found.base, offline=True)
        for row, problem in zip(found.rows(), by_id.values(), strict=True)
    ]
    assert rows[0] == {
        "id": "1", "question": "What is m∠A?", "answer": "97", "images": [str(here / "held" / "a.png")],
        "offline": True,
    }  # fmt: skip
    assert rows[1]["question"] == "Which? Choices: 11 12"
    assert rows[1]["images"][1] == "https://example.org/b.png"
    assert rows[2]["images"] == ["data:image/png;base64,AAAA"]
    (shown,) = harness_task.images(rows[0])
    assert (shown.mode, shown.tobytes()) == ("RGB", Image.open(here / "a.png").convert("RGB").tobytes())
    with pytest.raises(VircError, match="--offline forbids it"):
        harness_task.images(rows[1])
    with pytest.raises(DataError):
        harness_task.images(rows[2])


def test_a_photograph_lies_as_it_was_taken(here: Path) -> None:
    wide = Image.new("RGB", (40, 20), "red")
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    wide.save(here / "turned.jpg", exif=exif)
    row = as_row(1, {"id": 1, "image": "turned.jpg", "question": "?", "answer": "1"})
    problem = EvalProblem(1, 1, "", "?", key_of({"answer": "1"}), {})
    (shown,) = harness_task.images(harness.row_of(row, problem, here, offline=True))
    assert shown.size == (20, 40)


RESULTS = {
    "results": {
        "virc_sums": {
            "alias": "virc_sums", "exact_match,none": 0.5, "exact_match_stderr,none": 0.25,
            "exact_match_stderr_clt,none": 0.25, "exact_match_stderr_clustered,none": "N/A",
        }
    },
    "n-samples": {"virc_sums": {"original": 3, "effective": 3}},
    "usage": {"total": {"n_api_calls": 2}},
}  # fmt: skip
FAILED = "[LMMS_EVAL_REQUEST_FAILED after 2 retries] Error code: 500 - boom"
SAMPLES = (
    {"doc_id": 1, "target": "12", "filtered_resps": "B"},
    {"doc_id": 0, "target": "97", "resps": "<think>so</think>97°", "filtered_resps": "97°"},
    {"doc_id": 2, "target": "0.5", "filtered_resps": [[FAILED]]},
)


def written(folder: Path, results: object = RESULTS, samples: object = SAMPLES) -> Path:
    """Files as lmms-eval writes them."""
    file = folder / "20261121_183754_results.json"
    file.write_text(json.dumps(results))
    assert isinstance(samples, tuple)
    lines = "".join(json.dumps(sample) + "\n" for sample in samples)
    (folder / "20261121_183754_samples_virc_sums.jsonl").write_text(lines)
    return file


def test_figures_and_replies_are_read_and_a_request_that_failed_is_no_reply(here: Path) -> None:
    outcome = harness.read(written(here), "virc_sums")
    assert outcome.figures == [harness.Figure("virc_sums", "exact_match", "none", 0.5, 0.25, 3)]
    assert (outcome.problems, outcome.answered) == (3, 2)
    assert outcome.failures == ["Error code: 500 - boom"]
    assert harness.read(written(here), "virc_sums", "boom").failures == ["Error code: 500 - ***"]
    assert (outcome.texts[0], outcome.texts[1]) == ("97°", "B")


def test_replies_are_counted_as_virc_eval_counts(problems: Path, here: Path) -> None:
    by_id = problems_of(find(str(problems), here), None, pytest.fail)
    for texts, right in (({0: "97°", 1: "B", 2: "1/2"}, 3), ({0: "97", 1: "11", 2: ""}, 1), ({1: "12"}, 1), ({}, 0)):
        assert (harness.by_rule(by_id, "m", texts).right, harness.by_rule(by_id, "m", texts).of) == (right, 3)


@pytest.mark.parametrize("results", [[], {"results": 3}, {**RESULTS, "n-samples": {"other": {"effective": 1}}}])
def test_other_files_are_no_results(here: Path, results: object) -> None:
    with pytest.raises(EngineError, match="holds other results than lmms-eval's"):
        harness.read(written(here, results), "virc_sums")


def test_how_far_it_is_stands_in_its_log() -> None:
    bar = "Model Responding: {:>3}%|▌  | {}/40 [00:01<00:09,  4.0it/s, tokens=1,311]\r"
    log = "".join(bar.format(at, at) for at in (0, 3, 12)) + "2026 | INFO | Attempt 1/2 failed\n"
    assert harness.progress(log.encode()) == (12, 40)
    assert harness.progress(b"Generating test split: 8 examples") is None


@pytest.mark.parametrize(
    ("log", "kind", "said"),
    [
        ("\x1b[31mERROR - Tasks not found: mm. Try `lmms-eval`", ConfigError, "lmms-eval has no task mm"),
        ("ERROR - Error during evaluation: there is no file a.png. Please set `--verbosity=DEBUG`", EngineError,
         "exit code 0, there is no file a.png"),
        ("Traceback\n  File\nImportError: no torch\n", EngineError, "exit code 0, ImportError: no torch"),
        ("", EngineError, "it printed nothing"),
    ],
)  # fmt: skip
def test_why_there_are_no_results_is_told(here: Path, log: str, kind: type[VircError], said: str) -> None:
    error = harness.failure(HarnessRun(here, "m", "mm"), log, 0)
    assert isinstance(error, kind)
    assert said in error.message


def test_the_environment_brings_only_what_it_names(here: Path) -> None:
    run = HarnessRun(here, "m", "mme")
    setup = Setup(Choice(endpoint=ADDRESS), SolveConfig())
    plan = harness.plan(run, setup, False, here / "python", here)
    assert plan.step.env["OPENAI_API_KEY"] == "none"  # the client does not start without one
    assert "LMMS_EVAL_DATASETS_CACHE" not in plan.step.env  # what was fetched once is not fetched again
