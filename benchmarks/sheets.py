"""What crops from the file are worth: `tiny`, trained and asked once with them and once with crops of what was shown.

    python benchmarks/sheets.py FOLDER [--rows 3200] [--problems 300]

Pages of 12 megapixels are shown with 160,000 pixels at most. Both models learn the same pages, answers and numbers of
steps in the same order, and are asked the same held-out pages. Needs the environment `sft-cpu`; takes one to two
hours.
"""

import argparse
import json
import shutil
import subprocess
from pathlib import Path

from virc.models.registry import PACKAGE

LIMIT = 160_000  # px
SYSTEM = f"name: sheets-{{0}}\ncrops: {{0}}\ninput_pixels: [3136, {LIMIT}]\ncrop_pixels: [12544, 63504]\n"
DRAWN = ("--family", "sheets", "--difficulty", "easy", "--pattern", "plan")
TRAINED = ("train_batch_size=8", "micro_batch_size_per_device=8", "frozen_modules=[]", "save_steps=50")


def virc(folder: Path, *arguments: str | int) -> None:
    """Run a command in the folder, and say which."""
    command = ["virc", *map(str, arguments)]
    print("$", *command, flush=True)
    subprocess.run(command, cwd=folder, check=True)


def start(folder: Path) -> None:
    """`tiny` with the limit of this experiment: its own is 63,504 pixels."""
    shutil.copytree(PACKAGE / "tiny", folder / "start", ignore=shutil.ignore_patterns("*.gguf", "*.md"))
    settings = folder / "start/preprocessor_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "max_pixels": LIMIT}))


def main() -> None:
    """Draw, train and ask; `virc eval` prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=3200)
    parser.add_argument("--problems", type=int, default=300)
    options = parser.parse_args()
    folder, models = options.folder, list[str]()
    folder.mkdir()
    start(folder)
    for crops in ("file", "shown"):
        system, rows = f"{crops}.yaml", f"rows-{crops}"
        (folder / system).write_text(SYSTEM.format(crops))
        drawn = ("--count", options.rows, "--seed", 1, "--formats", "sft", "--system", system)
        virc(folder, "data", "synth", "--to", rows, *DRAWN, *drawn)
        settings = [part for each in TRAINED for part in ("--set", each)]
        place = ("--from", folder.resolve() / "start", "--data", f"{rows}/trajectories.json", "--name", f"far-{crops}")
        virc(folder, "train", "tiny", "--stage", "instruct", *map(str, place), *settings)
        models += ["--model", f"far-{crops}"]
    held = ("--split", "heldout", "--count", options.problems, "--seed", 2, "--formats", "batch")
    virc(folder, "data", "synth", "--to", "heldout", *DRAWN, *held, "--system", "file.yaml")
    virc(folder, "eval", "heldout/problems.jsonl", *models)


if __name__ == "__main__":
    main()
