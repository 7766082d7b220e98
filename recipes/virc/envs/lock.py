"""Pin every engine's environment again: each `ENGINE-DEVICE.in` becomes a `.txt` with versions and their hashes.

python -m virc.envs.lock [NAME ...]      for example sft-cpu
"""

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from uv import find_uv_bin

from virc.envs.pins import FOLDER, PYTHON

PLATFORM = "x86_64-manylinux_2_31"
_HEAD = "# Made by `python -m virc.envs.lock`; edit {name}.in instead.\n"


def lock(name: str, keep: bool = False) -> None:
    """Resolve `NAME.in`, with `NAME.override` if there is one, into `NAME.txt`; `keep` keeps the pinned versions."""
    pins, override = FOLDER / f"{name}.txt", FOLDER / f"{name}.override"
    with tempfile.TemporaryDirectory() as folder:
        resolved = Path(folder) / "pylock.toml"
        resolve = [
            find_uv_bin(), "pip", "compile", "--quiet", "--python-version", PYTHON, "--python-platform", PLATFORM,
            "--format", "pylock.toml", "--output-file", str(resolved), *(["--constraint", str(pins)] if keep else []),
            *(["--override", str(override)] if override.exists() else []), str(FOLDER / f"{name}.in"),
        ]  # fmt: skip
        subprocess.run(resolve, check=True)
        packages = tomllib.loads(resolved.read_text(encoding="utf-8"))["packages"]
    pins.write_text(_HEAD.format(name=name) + "".join(map(_pin, packages)), encoding="utf-8")


def _pin(package: dict[str, Any]) -> str:
    """A requirement with the hashes of its wheels for the platform, or of its source where it has none."""
    files = package.get("wheels") or [package["sdist"]]
    hashes = sorted(f"--hash=sha256:{file['hashes']['sha256']}" for file in files)
    return " \\\n    ".join([f"{package['name']}=={package['version']}", *hashes]) + "\n"


def main(words: list[str]) -> None:
    names = [word for word in words if word != "--keep"]
    for name in names or sorted(file.stem for file in FOLDER.glob("*-*.in")):
        lock(name, "--keep" in words)
        print(name)


if __name__ == "__main__":
    main(sys.argv[1:])
