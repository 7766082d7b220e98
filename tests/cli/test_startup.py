"""What a call imports before it has work to do."""

import ast
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image
from support.entry import Env
from support.servers import serve
from support.solving import answer
from support.tables import each_case

import virc_cli.commands

pytestmark = pytest.mark.integration

HEAVY = {
    *("torch", "transformers", "openai", "pydantic", "numpy", "matplotlib", "PIL", "yaml", "rich", "httpx2", "httpx"),
    *("huggingface_hub", "msgspec", "asyncio"),
}

PROBE = """
import json, sys
from virc_cli.main import main
try:
    code = main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code
modules = [name for name, found in sys.modules.items() if found]
print(json.dumps({"code": code, "modules": modules}), file=sys.stderr)
"""


COLLECTED = """
import gc, json, sys
from virc_cli.entry import main
kept = []
gc.callbacks.append(lambda phase, _: kept.append(gc.get_freeze_count()))
main()
print(json.dumps({"passes": len(kept), "kept": [*{*kept}], "collects": gc.isenabled()}), file=sys.stderr)
"""


def imported(words: list[str], env: Env) -> tuple[object, set[str], str]:
    done = subprocess.run([sys.executable, "-c", PROBE, *words], env=env, capture_output=True, text=True, timeout=240)
    report = json.loads(done.stderr.splitlines()[-1])
    return report["code"], set(report["modules"]), done.stdout


@pytest.mark.parametrize(
    ("words", "code"), [(["--help"], 0), (["--version"], 0), (["config", "--help"], 0), (["config", "path"], 0)]
)
def test_help_and_version_import_nothing_heavy(words: list[str], code: int, environment: Env) -> None:
    heavy = HEAVY - {"msgspec"} if words == ["config", "path"] else HEAVY
    returned, modules, printed = imported(words, environment)
    assert (returned, bool(printed)) == (code, True)
    assert modules & heavy == set()


def test_every_command_shows_its_help_without_heavy_imports(environment: Env) -> None:
    for module in pkgutil.iter_modules(virc_cli.commands.__path__):
        returned, modules, _ = imported([module.name, "--help"], environment)
        assert (module.name, returned, modules & HEAVY) == (module.name, 0, set())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_imports_nothing_heavy(shell: str, environment: Env) -> None:
    asked = {
        "_VIRC_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": "virc conf",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "COMP_WORDS": "virc conf",
        "COMP_CWORD": "1",
    }
    _, modules, printed = imported([], {**environment, **asked})
    assert "config" in printed
    assert "doctor" not in printed  # Typer itself reads the words where `completion.typed` does
    assert modules & HEAVY == set()


@each_case("command", ["solve", "batch"])
def test_asking_a_server_imports_no_arrays_plots_or_graders(command: str, environment: Env, tmp_path: Path) -> None:
    figure, rows = tmp_path / "figure.jpg", tmp_path / "rows.jsonl"
    Image.effect_noise((280, 140), 60).convert("RGB").save(figure)
    rows.write_text(json.dumps({"image": figure.name, "question": "How many?", "answer": "1"}) + "\n")
    asked = [str(figure), "How many?"] if command == "solve" else [str(rows)]
    with serve(lambda body: answer("1")) as server:
        code, modules, printed = imported([command, *asked, "--endpoint", server.url], environment)
    assert code in (0, None)
    assert "1" in printed
    unneeded = {"numpy", "matplotlib", "pydantic", "openai", "PIL.EpsImagePlugin", "PIL.ImageFont"}
    assert modules & (unneeded | {"virc.scoring.answers"}) == set()


def test_no_collection_goes_through_what_was_imported(environment: Env, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"id": at, "question": "How many?"}) + "\n" for at in range(20)))
    with serve(lambda body: answer("1")) as server:
        words = ["batch", str(rows), "--endpoint", server.url]
        done = subprocess.run(
            [sys.executable, "-c", COLLECTED, *words], env=environment, capture_output=True, text=True, timeout=240
        )
    report = json.loads(done.stderr.splitlines()[-1])
    assert report["collects"]
    assert report["passes"] > 0
    assert min(report["kept"]) > 10_000  # objects of the command line, and of all that a batch has imported
    assert max(report["kept"]) > 50_000


def imports_of(package: ModuleType) -> dict[Path, set[str]]:
    """Every name that each file of a package imports."""
    found: dict[Path, set[str]] = {}
    for source in Path(package.__path__[0]).rglob("*.py"):
        names = found.setdefault(source, set())
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
    assert len(found) > 5
    return found


def test_the_command_line_knows_its_parser_by_typer_alone() -> None:
    for source, names in imports_of(virc_cli).items():
        assert not [name for name in names if re.match(r"(click|typer\._)", name)], source
