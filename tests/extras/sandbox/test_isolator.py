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


def test_a_machine_without_bubblewrap_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match="needs bubblewrap") as error:
        check_isolator()
    assert "apt install bubblewrap" in hint_of(error)


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
    ("says", "hint"),
    [("Unknown option --disable-userns", "install bubblewrap 0.8 or newer"), ("No permissions", "may users isolate")],
)
def test_a_sandbox_that_does_not_start_says_what_helps(monkeypatch: pytest.MonkeyPatch, says: str, hint: str) -> None:
    monkeypatch.setattr(isolator, "command", lambda *_: ["sh", "-c", f"echo 'bwrap: {says}' >&2; exit 1"])
    with pytest.raises(SetupError, match=f"does not start: bwrap: {says}") as error:
        Child(Machine(512, 4, ())).ready()
    assert hint in hint_of(error)


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
