"""How environments are made, remembered and removed; no step is run, as `test_making.py` runs them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import toys
from support.called import virc

from virc.core.errors import EngineError, UsageError
from virc.core.plan import Step
from virc.envs import making
from virc.envs.pins import Environment, get, requirement


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """The steps that were to be run. The first makes the folder; one that has a word of `failing` fails."""
    toys.install_engine(tmp_path, monkeypatch)
    found: list[Step] = []

    def run(step: Step, log: Path, report: object) -> None:
        found.append(step)
        if "venv" in step.argv:
            Path(step.argv[-1]).mkdir(parents=True)
        if "no-such-package" in step.argv:
            raise EngineError("could not install it")
        if "stopped-here" in step.argv:
            raise KeyboardInterrupt

    monkeypatch.setattr(making, "_run", run)
    return found


def toy(*packages: str) -> Environment:
    return making.with_packages(making.find("toy", "cpu"), packages)


def test_each_command_says_what_it_did(steps: list[Step], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making.processes, "output", fake_output(("toy",), version="2.0"))
    names = "toy", "--device", "cpu"
    missing = virc("env", "path", *names)
    assert (missing.code, missing.out, "virc env create toy --device cpu" in missing.err) == (4, "", True)
    assert "the environment toy-cpu has not been made" in missing.err
    made = virc("env", "create", *names, "--with", "ruler==2.0")
    assert (made.code, made.out, toy().extra) == (0, f"{toy().folder}\n", ("ruler==2.0",)), made.err
    assert virc("env", "path", *names).out == f"{toy().python}\n"
    cpu, cuda = virc("env", "ls").out.splitlines()
    assert cpu == f"toy    cpu   ready       a toy                    {toy().python}  with ruler==2.0"
    assert cuda == "toy    cuda  not made    a toy                    about 2 GiB"
    rows = virc("env", "ls", "--json").json["environments"]
    assert [(row["engine"], row["device"], row["state"], row["with"]) for row in rows] == [
        ("toy", "cpu", "ready", ["ruler==2.0"]), ("toy", "cuda", "not made", []),
    ]  # fmt: skip
    used = virc("env", "use", *names, "/opt/mine/python")
    assert used.err.splitlines() == [
        "warning: not the tested version: toy 2.0 instead of 1.0", "toy-cpu now uses /opt/mine/python",
    ]  # fmt: skip
    assert virc("env", "path", *names).out == "/opt/mine/python\n"
    assert virc("env", "ls").out.startswith("toy    cpu   registered  a toy                    /opt/mine/python")
    folder = toy().folder
    removed = virc("env", "remove", *names)
    assert (removed.code, f"removed {folder}\n" in removed.err, folder.exists()) == (0, True, False)
    assert virc("env", "path", *names).code == 4


@pytest.mark.parametrize(
    ("text", "is_package"),
    [
        ("ruler", True), ("ruler[more]>=2.0", True), ("ruler==2.*", True), ("ruler!=2", True),
        ("-r x.txt", False), ("./ruler", False),
        ("ruler @ https://example.org/ruler.whl", False), ("git+https://example.org/ruler", False), ("", False),
        ("ruler --index-url https://example.org", False), ("-" * 999, False),
    ],
)  # fmt: skip
def test_a_package_is_a_name_and_perhaps_a_version(text: str, is_package: bool) -> None:
    if is_package:
        assert requirement(text) == text
    else:
        with pytest.raises(UsageError, match="is no package") as refused:
            making.with_packages(get("sft", "cpu", Path("/cache")), ["peft", text])
        assert len(refused.value.message) < 100


def fake_output(modules: tuple[str, ...], version: str = "1.0") -> Callable[[Step], str]:
    """What an interpreter prints that has these modules."""

    def output(step: Step) -> str:
        if step.says == "list its packages":
            return json.dumps({"toy": version})
        if step.argv[-1].removeprefix("import ") not in modules:
            raise EngineError("it fails")
        return ""

    return output
