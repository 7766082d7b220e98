"""Write the generated files again: `python tests/regenerate.py` (a test fails while one is stale)."""

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import client_page
import field_table
import levels_table
import protocol_page
import reference_page
import remote_page
import scale_page
import zoo_page
from cluster import slurm_cases
from training import stage_plans

from virc.models.registry import EMBEDDED, EMBEDDED_FOLDER
from virc_cli.console.completion import AUTOLOADED

ROOT = Path(__file__).resolve().parent.parent
PAGES = (client_page, field_table, levels_table, protocol_page, reference_page, remote_page, scale_page, zoo_page)
if find_spec("virc_extras"):
    from extras.rounds import rounds_plan

    from virc_extras.gguf_writer.convert import convert

COMPLETIONS = {"bash": "virc.bash", "zsh": "_virc", "fish": "virc.fish"}


def completion(shell: str) -> str:
    """The completion script for a shell, as Typer writes it."""
    paths = os.pathsep.join((str(ROOT), str(ROOT / "recipes")))
    environment = {**os.environ, "PYTHONPATH": paths, "_VIRC_COMPLETE": f"source_{shell}"}
    command = [sys.executable, "-m", "virc_cli"]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return printed.strip() + "\n" + (AUTOLOADED if shell == "zsh" else "")


def generated() -> dict[Path, str]:
    """Every generated file and its content."""
    completions = {ROOT / "completions" / name: completion(shell) for shell, name in COMPLETIONS.items()}
    docs = {module.PAGE: module.page() for module in PAGES}
    golden_of_extras = rounds_plan.golden() if find_spec("virc_extras") else {}
    notice = {zoo_page.NOTICE: zoo_page.notice()}
    return completions | notice | slurm_cases.golden() | stage_plans.golden() | golden_of_extras | docs


def write_embedded() -> None:
    """Write the embedded model as GGUF; processes that run map the files there are."""
    with tempfile.TemporaryDirectory(dir=EMBEDDED_FOLDER) as folder:
        convert(EMBEDDED_FOLDER, Path(folder), EMBEDDED)
        for file in Path(folder).iterdir():
            file.replace(EMBEDDED_FOLDER / file.name)


if __name__ == "__main__":
    if find_spec("virc_extras"):
        write_embedded()
    for path, content in generated().items():
        path.write_text(content, encoding="utf-8")
