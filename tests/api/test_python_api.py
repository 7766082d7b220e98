"""`import virc`: the commands as functions."""

import copy
import inspect
import io
import os
import pickle
import signal
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image
from support.servers import serve
from support.tables import each_case

import virc
from virc.config import options
from virc.config.declared import declared
from virc.core.errors import UsageError
from virc.evaluation.request import EvalRequest
from virc.models.load import Choice
from virc.solving.one import SolveConfig
from virc.stages.serve import Config

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "tests" / "pictures" / "triangle.png"
QUESTION = "How large is angle A?"
HEAVY = {"torch", "transformers", "PIL", "openai", "typer", "huggingface_hub", "numpy", "yaml"}


def test_importing_virc_loads_nothing_heavy() -> None:
    code = f"import sys, virc; print(*sorted({HEAVY} & sys.modules.keys()), len(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *heavy, _ = done.stdout.split()
    assert heavy == []


def test_every_function_is_typed_and_documented() -> None:
    for name in [each for each in virc.__all__ if each[0].islower()]:
        function = getattr(virc, name)
        signature = inspect.signature(function)
        assert signature.return_annotation is not inspect.Signature.empty, name
        assert all(each.annotation is not inspect.Signature.empty for each in signature.parameters.values()), name
        assert "Args:" in function.__doc__, name
        assert name in dir(virc)


OF_A_SHELL = {"as_json", "dry_run", "quiet", "verbose"}
GRADERS = {"judge_endpoint": "graders", "judge_model": "graders"}


@each_case(
    ("command", "function", "named"),
    [
        (
            "solve",
            "solve",
            {"role": "roles", "more_images": "image", "question_file": "question", "further": "question", **GRADERS},
        ),
        ("batch", "batch", {"role": "roles", "column": "columns", "words": "rows", "to": "rows", **GRADERS}),
        ("eval.ask", "evaluate", {"role": "roles", "column": "columns", "model": "models"}),
        ("merge", "merge", {}),
    ],
)
def test_what_a_command_is_told_a_function_is_told(command: str, function: str, named: dict[str, str]) -> None:
    """`named` has options that are called otherwise, or that Python does by an argument of another kind."""
    options = inspect.signature(import_module(f"virc_cli.commands.{command}").command).parameters.keys()
    arguments = {*inspect.signature(getattr(virc, function)).parameters}
    assert {named.get(each, each) for each in options - OF_A_SHELL} - arguments == set()


ROOMS = {Choice: "LoadOptions", SolveConfig: "SolveOptions", EvalRequest: "EvalOptions", Config: "ServeOptions"}


@pytest.mark.parametrize("kind", ROOMS)
def test_rooms_have_the_options_that_are_declared(kind: type[msgspec.Struct]) -> None:
    fields = {each.name: each for each in msgspec.structs.fields(kind) if each.name != "columns"}  # of its own table
    shared = [(name, *each) for name, each in declared(getattr(options, ROOMS[kind])).items() if name in fields]
    assert len(shared) > 6
    for name, written, option in shared:
        for simple in ("bool", "int", "float"):
            assert (simple in str(fields[name].type)) == (simple in str(written)), name
        assert option.default in (fields[name].default, None), name


@pytest.mark.integration
def test_a_type_checker_knows_what_a_user_writes() -> None:
    file = Path(__file__).with_name("typed_user.py")
    command = [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", "--config-file", os.devnull, file]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "MYPYPATH": "recipes"}, cwd=ROOT)
    assert done.stdout == "Success: no issues found in 1 source file\n"


def test_arguments_mean_what_options_mean_whatever_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRC_ENDPOINT", "http://127.0.0.1:9/v1")
    assert virc.__version__ == version("virc")
    for call in (virc.load, virc.evaluate):
        arguments = ("gone.jsonl", "gone") if call is virc.evaluate else ("gone",)
        with pytest.raises(virc.VircError, match="gone") as refused:  # the model or the file, not the address
            call(*arguments, endpoint="none")
        assert "none" not in refused.value.message
    with pytest.raises(virc.ConfigError, match="gone"):
        virc.solve(PICTURE, QUESTION, "gone")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'slove'"):
        virc.slove  # noqa: B018


@pytest.mark.integration
def test_solve_takes_a_path_or_a_picture_in_memory() -> None:
    with virc.load("tiny") as model, Image.open(PICTURE) as image:
        for picture in (PICTURE, PICTURE.read_bytes(), image):
            assert virc.solve(picture, QUESTION, model).answer == "73"
        with pytest.raises(UsageError, match="chosen already"):
            virc.solve(PICTURE, QUESTION, model, device="cpu")


def test_an_open_model_is_not_sent_to_another_process() -> None:
    with serve(["42"]) as server, virc.load(endpoint=server.url) as model:
        for copied in (pickle.dumps, copy.deepcopy):
            with pytest.raises(UsageError, match="the open model virc-scripted cannot be copied or sent"):
                copied(model)


def test_paths_are_taken_wherever_names_are(tmp_path: Path) -> None:
    """Each call is refused for the file that it names, and not for its type."""
    gone = tmp_path / "gone"
    for call in (
        lambda: virc.merge(gone, to=tmp_path / "merged"),
        lambda: virc.train("tiny", "instruct", base=gone, folder=tmp_path, data=tmp_path / "rows.json"),
        lambda: virc.train(gone.with_suffix(".yaml"), "instruct", folder=tmp_path),
        lambda: virc.train("tiny", "instruct", config=str(gone), folder=tmp_path),
        lambda: virc.serve(gone, engine="transformers"),
        lambda: virc.serve("tiny", engine="transformers", system=gone.with_suffix(".yaml")),
    ):
        with pytest.raises(virc.VircError, match="gone"):
            call()


def test_mistakes_are_virc_errors() -> None:
    with pytest.raises(virc.VircError, match=r"gone\.png"):
        virc.solve("gone.png", QUESTION)
    with pytest.raises(virc.VircError):
        virc.load("no-such-model")


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"samples": 0}, "samples"),
        ({"temperature": -1}, "temperature"),
        ({"max_turns": 0}, "max_turns"),
        ({"max_tokens": -5}, "max_tokens"),
        ({"timeout": 0}, "timeout"),
        ({"max_pixels": "many"}, "max_pixels"),
        ({"protocol": "default", "family": "qwen3-vl"}, "protocol"),
    ],
)
def test_arguments_out_of_their_bounds_are_refused(wrong: dict[str, Any], names: str) -> None:
    with pytest.raises(UsageError, match=names):
        virc.solve(PICTURE, QUESTION, **wrong)
    with pytest.raises(UsageError, match=names):
        virc.evaluate("diagrams", "tiny", limit=1, **wrong)


def test_what_is_not_an_image_is_refused_by_its_type() -> None:
    for given, hint in ((np.zeros((3, 4, 3), np.uint8), "fromarray"), (io.BytesIO(b"GIF"), "open")):
        with pytest.raises(UsageError, match="not a path, a URL, bytes or a PIL") as refused:
            virc.solve(given, QUESTION)  # type: ignore[arg-type]
        assert f"PIL.Image.{hint}" in str(refused.value.hint)
    for wrong in (3, [PICTURE, 3], None):
        with pytest.raises(UsageError, match=r"of type (int|NoneType), not"):
            virc.solve(wrong, QUESTION)  # type: ignore[arg-type]


def test_evaluate_refuses_what_it_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no model"):
        virc.evaluate("diagrams", [])
    with pytest.raises(UsageError, match="traces"):
        virc.evaluate("diagrams", "tiny", traces="some")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="crop_ablation"):
        virc.evaluate("diagrams", "tiny", crop_ablation="twin")  # type: ignore[arg-type]


def test_train_refuses_a_launcher_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Slurm"):
        virc.train("tiny", "instruct", launcher="Slurm", folder=tmp_path)  # type: ignore[arg-type]


def test_solving_leaves_the_callers_alarm_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    rung = list[int]()
    before = signal.signal(signal.SIGALRM, lambda number, _: rung.append(number))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    signal.setitimer(signal.ITIMER_REAL, 60)
    try:
        assert virc.solve(PICTURE, QUESTION, timeout=30).answer == "73"
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 60
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert "HF_HUB_OFFLINE" not in os.environ
