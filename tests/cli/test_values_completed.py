"""Values that the shell completes, in this process; `test_completions.py` asks the real shells."""

from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.called import virc

from virc_cli.console import completion


def context(*words: str, **params: object) -> Any:
    return SimpleNamespace(params=params, args=[*words])


def test_names_are_those_that_begin_with_what_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("tiny-b", "tiny-a", ".tiny-removed", "other"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "run.json").touch()
    (tmp_path / "models" / "tiny-mine").mkdir(parents=True)
    (tmp_path / "models" / "tiny-file").touch()
    assert completion.runs("ti") == ["tiny-a", "tiny-b"]
    assert completion.runs("") == ["other", "tiny-a", "tiny-b"]
    assert completion.models("tiny-") == ["tiny-a", "tiny-b", "tiny-base", "tiny-mine"]
    assert completion.systems("deepeyes") == ["deepeyes", "deepeyes-v2"]
    assert completion.families("gemma") == ["gemma3", "gemma4"]
    assert (completion.settings("time"), completion.benchmarks("mathvis")) == (["timeout"], ["mathvision", "mathvista"])
    assert completion.strategies("maj") == ["majority"]
    assert completion.operators("ls") == ["ls"]
    assert completion.overlays(context(system="tiny"), "lora,mul") == ["lora,multi-turn"]
    for words in (context("train", "tiny", "--stage"), context(system="tiny"), context("train", "--stage")):
        assert completion.stages(words, "i") == ["instruct"]
    whole, given, of_eval = (completion.downloads(context(names=names), "") for names in ((), ("base",), ("eval",)))
    assert {"ls", "rm", "base", "dataset", "ViRC-3B", "mathvista"} <= {*whole}
    assert {*whole} - {*given} == {"ls", "rm", "base"}
    assert {"mathvista"} <= {*of_eval} <= {*whole} - {"ls", "rm", "base", "dataset", "ViRC-3B"}


def test_help_has_arguments_first_and_examples_last() -> None:
    assert virc("solve", "--help").out.index("\nArguments:\n") < virc("solve", "--help").out.index("\nModel:\n")
    assert virc("download", "--help").out.rstrip().endswith("delete it")


def test_the_version_alone_is_printed() -> None:
    assert virc("--version").out == f"virc {version('virc')}\n"
