"""Code is refused where nothing isolates it, and runs without a sandbox where the user says so."""

import shutil
import sys
from pathlib import Path

import pytest

from virc.core.errors import SetupError
from virc.reasoning.protocol import PACKAGES
from virc.sandbox import isolator, packages, seccomp
from virc.sandbox.isolator import Machine, check, command


def hint_of(error: pytest.ExceptionInfo[SetupError]) -> str:
    return error.value.hint or ""


def test_a_machine_without_bubblewrap_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match="needs bubblewrap") as error:
        check()
    assert "apt install bubblewrap" in hint_of(error)


def test_a_machine_without_libseccomp_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(seccomp, "library", lambda: None)
    with pytest.raises(SetupError, match=r"needs libseccomp\.so\.2"):
        check()


def test_another_system_than_linux_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SetupError, match="no sandbox on darwin") as error:
        check()
    assert "VIRC_UNSAFE_PYTHON=1" in hint_of(error)


@pytest.mark.parametrize(("value", "allows"), [("1", True), ("0", False), ("", False), ("yes", False)])
def test_only_the_user_allows_no_sandbox(monkeypatch: pytest.MonkeyPatch, value: str, allows: bool) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv(isolator.UNSAFE, value)
    if allows:
        check()
    else:
        with pytest.raises(SetupError):
            check()


def test_nothing_is_bound_that_can_be_written() -> None:
    argv = command(Machine(1024, 16, ("numpy", "pillow")), 3, 4)
    assert "--bind" not in argv
    assert [argv[at + 1] for at, part in enumerate(argv) if part == "--dev-bind"] == [
        "/dev/null", "/dev/zero", "/dev/urandom", "/dev/random",
    ]  # fmt: skip
    assert {"--unshare-net", "--unshare-pid", "--unshare-user", "--die-with-parent", "--new-session"} <= set(argv)
    assert "--proc" not in argv


def test_packages_come_with_what_they_require_and_no_others() -> None:
    found = {path.name for path in packages.installed(("matplotlib", "not-a-distribution"))}
    assert {"matplotlib", "numpy", "PIL", "dateutil"} <= found
    assert not {"torch", "virc", "pytest", "scipy", "transformers", "bin"} & found
    assert {path.name for path in packages.installed(("numpy",))} >= {"numpy"}
    assert "numpy" in PACKAGES


def test_the_filter_refuses_calls() -> None:
    assert len(seccomp.program()) > 400
    assert {"fork", "socket", "ptrace", "mount", "io_uring_setup", "memfd_create"} <= set(seccomp.REFUSED)
