"""What runs inside an engine's environment imports only what that environment has."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.entry import ROOT

# Imports every module of a part of a bare copy of virc while anything else than the allowed is refused.
PROBE = """
import importlib, pkgutil, sys
copy, part, *allowed = sys.argv[1:]
sys.path.insert(0, copy)

class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in {"virc", *allowed, *sys.stdlib_module_names}:
            raise ModuleNotFoundError(f"not allowed: {name}", name=name)

sys.meta_path.insert(0, Refuse())
package = importlib.import_module(f"virc.{part}")
assert package.__file__.startswith(copy), package.__file__
names = [module.name for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""

COMMON = ("PIL", "msgspec", "yaml", "_yaml")
PARTS = {"reasoning": COMMON, "tools": COMMON, "rewards": (*COMMON, "math_verify")}


def imports(part: str, allowed: tuple[str, ...], folder: Path) -> "subprocess.CompletedProcess[str]":
    skipped = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "recipes" / "virc", folder / "virc", ignore=skipped)
    command = [sys.executable, "-c", PROBE, str(folder), part, *allowed]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.mark.integration
@pytest.mark.parametrize("part", [part for part in PARTS if (ROOT / "recipes" / "virc" / part).is_dir()])
def test_a_bare_copy_imports_only_what_is_allowed(part: str, tmp_path: Path) -> None:
    done = imports(part, PARTS[part], tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) >= 3
