"""What an installation takes: `python benchmarks/install.py NAME=REQUIREMENTS ...`.

Each is installed by pip into a new environment without a cache: MB on disk beside an empty environment, and seconds.
REQUIREMENTS are separated by spaces; by default virc with llama.cpp, and mlx-vlm, which asks a picture on a CPU too.
"""

import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
USUAL = (f"virc[llamacpp]={ROOT}[llamacpp]", "mlx-vlm=mlx-vlm mlx[cpu]")


def size(folder: Path) -> float:
    """MB of the files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink()) / 1e6


def main(cases: list[str]) -> None:
    """Print a line for each."""
    for case in cases:
        name, _, requirements = case.partition("=")
        with tempfile.TemporaryDirectory() as folder:
            venv.create(folder, with_pip=True)
            before, began = size(Path(folder)), time.perf_counter()
            python = Path(folder) / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
            command = [python, "-m", "pip", "install", "--quiet", "--no-cache-dir", *requirements.split()]
            subprocess.run(command, check=True)
            took = time.perf_counter() - began
            print(f"{name}: {size(Path(folder)) - before:.0f} MB, {took:.0f} s")


if __name__ == "__main__":
    if any(word.startswith("-") for word in sys.argv[1:]):
        sys.exit(__doc__)
    main(sys.argv[1:] or list(USUAL))
