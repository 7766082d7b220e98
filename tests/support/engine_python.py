"""The interpreters of the engines' own environments."""

import importlib.util
import json
import os
import subprocess
from pathlib import Path

import pytest

from virc.config import user
from virc.envs import environment as environments
from virc.envs.pins import everywhere, get

_SITE = "import sysconfig; print(sysconfig.get_path('purelib'))"


def interpreter(engine: str) -> Path:
    """The interpreter of an engine's environment, whichever device it is for; the test is skipped without one.

    Args:
        engine: `sft`, `rl`, `serve` or `eval`.
    """
    cache = user.cache_folder(os.environ)
    found = (environments.interpreter(each) for each in everywhere(cache) if each.engine.name == engine)
    python = next((each for each in found if each), None)
    if python is None:
        pytest.skip(f"there is no environment for it: virc env create {engine}")
    return python


def register_with(engine: str, modules: tuple[str, ...], cache: Path) -> None:
    """Register, in another cache, an interpreter with the packages of an engine's environment and modules from here.

    Args:
        modules: packages without compiled code, as `virc env create ENGINE --with PKG` would add.
    """
    python, folder = interpreter(engine), cache / f"{engine}-with"
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
    own = folder / "bin" / "python"
    theirs, here = (
        subprocess.run([each, "-c", _SITE], check=True, capture_output=True, text=True).stdout.strip()
        for each in (python, own)
    )
    (Path(here) / "engine.pth").write_text(f"import site; site.addsitedir({theirs!r})\n")
    for module in modules:
        spec = importlib.util.find_spec(module)
        assert spec, f"no {module}: pip install '.[dev]'"
        (place,) = spec.submodule_search_locations or ()
        (Path(here) / module).symlink_to(place)
    for device in ("cpu", "cuda"):
        registration = get(engine, device, cache).registration
        registration.parent.mkdir(parents=True, exist_ok=True)
        registration.write_text(json.dumps({"python": str(own)}))
