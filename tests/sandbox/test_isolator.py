"""Code is refused where nothing isolates it, and runs without a sandbox where the user says so."""

import json
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import pytest

from virc.core.errors import SetupError
from virc.reasoning.protocol import PACKAGES
from virc.sandbox import isolator, libraries, seccomp
from virc.sandbox.child import Child
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


def test_code_without_a_sandbox_is_warned_of_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(isolator.UNSAFE, "1")
    isolator._warn.cache_clear()
    check()
    check()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("warning: VIRC_UNSAFE_PYTHON=1: ")


@pytest.mark.parametrize(
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


def test_nothing_is_bound_that_can_be_written() -> None:
    argv = command(Machine(1024, 16, ("numpy", "pillow")), 3, 4)
    assert "--bind" not in argv
    assert [argv[at + 1] for at, part in enumerate(argv) if part == "--dev-bind"] == [
        "/dev/null", "/dev/zero", "/dev/urandom", "/dev/random",
    ]  # fmt: skip
    assert {"--unshare-net", "--unshare-pid", "--unshare-user", "--die-with-parent", "--new-session"} <= set(argv)
    assert "--proc" not in argv
    writable = [argv[at + 1] for at, part in enumerate(argv) if part == "--tmpfs"]
    assert [
        each for each in writable if ["--remount-ro", each] not in [argv[at : at + 2] for at in range(len(argv))]
    ] == ["/work"]
    assert all(argv[at - 2] == "--size" for at, part in enumerate(argv) if part == "--tmpfs")
    (place,) = (at for at in range(len(argv)) if argv[at : at + 2] == ["--tmpfs", "/work"])
    assert argv[place - 1] == str(16 * 2**20)


def test_packages_come_with_what_they_require_and_no_others() -> None:
    found = {path.name for path in libraries.installed(("matplotlib", "not-a-distribution"))}
    assert {"matplotlib", "numpy", "PIL", "dateutil"} <= found
    assert not {"torch", "virc", "pytest", "scipy", "transformers", "bin"} & found
    assert {path.name for path in libraries.installed(("numpy",))} >= {"numpy"}
    assert "numpy" in PACKAGES


def test_requirements_of_this_platform_count_and_those_of_extras_do_not() -> None:
    lines = ["six>=1", 'tomli>=2; python_version < "4"', 'sphinx; extra == "docs"', "pytz ; extra=='a'"]
    assert libraries._required(lines) == ["six", "tomli"]


def test_a_file_of_a_package_elsewhere_binds_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("odd.py", "odd.pth"):
        (tmp_path / name).touch()
    record = tmp_path / "odd-1.0.dist-info" / "RECORD"
    record.parent.mkdir()
    record.write_text("/etc/hosts,,\n../../../etc/hosts,,\nodd.py,,\nodd.pth,,\n")
    (record.parent / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert libraries.installed(("odd",)) == (tmp_path / "odd.py",)


def test_the_filter_refuses_calls() -> None:
    assert len(seccomp.program()) > 400
    assert {"fork", "socket", "ptrace", "mount", "io_uring_setup", "memfd_create"} <= set(seccomp.REFUSED)


def test_packages_of_the_system_are_hidden_in_each_folder_that_has_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Debian keeps them in `dist-packages`."""
    for name in ("site-packages", "dist-packages"):
        (tmp_path / "lib" / name).mkdir(parents=True)
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path / "lib"))
    words = isolator._interpreter.__wrapped__()
    over = {words[at + 1] for at, word in enumerate(words) if word == "--tmpfs"}
    assert over == {"/python/lib/site-packages", "/python/lib/dist-packages"}


def test_libraries_are_bound_that_modules_deep_inside_a_package_need(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("package/deep/core.so.2", "package/top.so", "package/text.py", "single.so"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    asked = list[Path]()
    monkeypatch.setattr(libraries, "installed", lambda _: (tmp_path / "package", tmp_path / "single.so"))
    monkeypatch.setattr(libraries, "needed", lambda files, _: asked.extend(files) or {"a.so": tmp_path / "single.so"})
    words = isolator._libraries.__wrapped__(("package",))
    own = {str(each.relative_to(tmp_path)) for each in asked if each.is_relative_to(tmp_path)}
    assert own == {"package/deep/core.so.2", "package/top.so", "single.so"}
    assert words[words.index(str(tmp_path / "single.so")) + 1] == str(tmp_path / "a.so")


@pytest.mark.parametrize(
    ("release", "user", "counts"),
    [
        ("5.14.0-70.el9", 1000, True), ("6.1", 1000, True), ("5.4.0", 1000, False), ("4.19.0", 1000, False),
        ("6.1.0", 0, False), ("odd", 1000, False),
    ],
)  # fmt: skip
def test_the_kernel_counts_threads_of_each_sandbox_from_linux_5_14_but_not_of_root(
    release: str, user: int, counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(release=release))
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert isolator.threads_by_kernel() == counts
    settings = [json.loads(isolator._settings(Machine(512, 4, ()), folder, [])) for folder in ("/work", "/tmp/x")]
    assert [each["threads"] for each in settings] == [64 * counts, 0]  # outside of the sandbox all of the user's count
    assert [bool(each["filter"]) for each in settings] == [True, False]
    assert all((each["memory"], each["file"]) == (512 * 2**20, 4 * 2**20) for each in settings)


def test_without_a_sandbox_code_has_a_folder_of_its_own_and_the_packages(tmp_path: Path) -> None:
    settings = json.loads(isolator.unsafe_command(Machine(512, 4, ("numpy", "pillow")), tmp_path)[-1])
    assert settings["folder"] == str(tmp_path)
    places = [Path(each) for each in settings["packages"]]
    assert all(any((place / name).is_dir() for place in places) for name in ("numpy", "PIL"))
    assert len(set(places)) == len(places)
    given = isolator.variables(str(tmp_path))
    assert (given["HOME"], given["TMPDIR"], given["MPLCONFIGDIR"]) == (
        str(tmp_path), str(tmp_path), f"{tmp_path}/.matplotlib",
    )  # fmt: skip


@pytest.mark.parametrize("words", ["", "bwrap: first\nbwrap: last"])
def test_the_last_line_says_why_a_sandbox_does_not_start(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolator, "command", lambda *_: ["sh", "-c", f"printf '{words}' >&2; exit 7"])
    says = "bwrap: last" if words else "Error: the interpreter ended with exit code 7"
    with pytest.raises(SetupError, match=f"the sandbox of the tool python does not start: {says}"):
        Child(Machine(512, 4, ())).ready()


def test_a_package_that_is_not_installed_hides_none_behind_it() -> None:
    found = {path.name for path in libraries.installed(("not-a-distribution", "Pillow", "pillow", "numpy"))}
    assert {"PIL", "numpy"} <= found
    assert not [name for name in found if name.endswith((".dist-info", ".pth")) or name == "__pycache__"]
