"""Values that the shell completes, in this process; `test_completions.py` asks the real shells."""

import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.called import virc

from virc_cli.console import completion
from virc_cli.main import main


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


def test_the_shell_gets_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "tiny-a").mkdir(parents=True)
    (tmp_path / "runs" / "tiny-a" / "run.json").touch()
    monkeypatch.setitem(sys.modules, "rich", None)
    for name, value in (("_VIRC_COMPLETE", "complete_bash"), ("COMP_WORDS", "virc runs show ti"), ("COMP_CWORD", "3")):
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().out.split() == ["tiny-a"]
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "virc config ")
    assert completion.typed() == ["config"]


def test_a_script_for_zsh_is_completed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    completion.finish_installation()
    assert not (tmp_path / ".zfunc").exists()
    (tmp_path / ".zfunc").mkdir()
    (tmp_path / ".zfunc" / "_virc").write_text("#compdef virc\n")
    for _ in range(2):
        completion.finish_installation()
        assert (tmp_path / ".zfunc" / "_virc").read_text() == f"#compdef virc\n{completion.AUTOLOADED}"


def test_help_has_arguments_first_and_examples_last() -> None:
    assert virc("solve", "--help").out.index("\nArguments:\n") < virc("solve", "--help").out.index("\nModel:\n")
    assert virc("download", "--help").out.rstrip().endswith("delete it")


def test_the_version_alone_is_printed() -> None:
    assert virc("--version").out == f"virc {version('virc')}\n"
