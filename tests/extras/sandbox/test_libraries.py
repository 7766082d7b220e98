"""What ELF files say that they need, and what is bound into the sandbox of it."""

import shutil
import subprocess
import sys
from pathlib import Path

from support.tables import each_case

from virc_extras.sandbox import libraries
from virc_extras.sandbox.isolator import Machine, command

PROGRAM = Path(sys.executable).resolve()


def test_a_program_needs_what_its_loader_loads() -> None:
    """The loader itself is asked."""
    names, loader = libraries.header(PROGRAM)
    assert loader
    listed = subprocess.run([loader, "--list", str(PROGRAM)], capture_output=True, text=True, check=True).stdout
    loaded = {Path(line.split()[0]).name for line in listed.splitlines()} - {"linux-vdso.so.1"}
    folders = {Path(line.split(" => ")[1].split()[0]).parent for line in listed.splitlines() if " => /" in line}
    found = libraries.needed([PROGRAM], folders)
    assert set(names) <= loaded
    assert loaded - {Path(loader).name} <= set(found)


@each_case("cut", [0, 3, 63, 64, 200, 4_000])
def test_a_file_that_is_no_elf_file_needs_nothing(tmp_path: Path, cut: int) -> None:
    (tmp_path / "cut").write_bytes(PROGRAM.read_bytes()[:cut])
    (tmp_path / "text.so").write_text("INPUT(libm.so.6)")
    (tmp_path / "junk.so").write_bytes(b"\x7fELF\x02\x01" + b"\xff" * 200)
    for name in ("cut", "text.so", "junk.so", "none"):
        assert libraries.header(tmp_path / name)[0] == ()


def test_of_the_system_only_libraries_are_bound_and_each_once() -> None:
    argv = command(Machine(512, 4, ("numpy", "pillow")), 3, 4)
    bound = [argv[at + 2] for at, part in enumerate(argv) if part == "--ro-bind"]
    system = [each for each in bound if each.startswith(("/usr", "/lib"))]
    assert {"libc.so.6", "libm.so.6"} <= {Path(each).name for each in system}
    assert all(".so" in Path(each).name for each in system)
    assert len(set(bound)) == len(bound)
    assert shutil.which("bwrap") not in bound
