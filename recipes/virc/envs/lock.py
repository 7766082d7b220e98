"""Pin every engine's environment anew: each `ENGINE-DEVICE.in` here becomes a `.txt` with every version.

python -m virc.envs.lock [NAME ...]      for example sft-cpu
"""

import subprocess
import sys

from uv import find_uv_bin

from virc.envs.pins import FOLDER, PYTHON

PLATFORM = "x86_64-manylinux_2_28"
_HEAD = "# Made by `python -m virc.envs.lock`; edit {name}.in instead.\n"


def lock(name: str) -> None:
    """Resolve `NAME.in`, with `NAME.override` where there is one, and write `NAME.txt`.

    Raises:
        subprocess.CalledProcessError: it cannot be resolved; uv prints the reason.
    """
    override = FOLDER / f"{name}.override"
    resolve = [
        find_uv_bin(), "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-emit-index-url",
        "--python-version", PYTHON, "--python-platform", PLATFORM,
        *(["--override", str(override)] if override.exists() else []), str(FOLDER / f"{name}.in"),
    ]  # fmt: skip
    pins = subprocess.run(resolve, check=True, stdout=subprocess.PIPE, text=True).stdout
    (FOLDER / f"{name}.txt").write_text(_HEAD.format(name=name) + pins)


def main(names: list[str]) -> None:
    """Lock the named environments, or all."""
    for name in names or sorted(file.stem for file in FOLDER.glob("*-*.in")):
        lock(name)
        print(name)


if __name__ == "__main__":
    main(sys.argv[1:])
