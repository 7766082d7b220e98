"""Keys that an option names by a variable or a file."""

from pathlib import Path

import pytest
from support.called import virc

PLAN = ("serve", "tiny", "--agent", "--endpoint", "http://127.0.0.1:9/v1", "--dry-run")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("env:NO_SUCH_VARIABLE", "the variable NO_SUCH_VARIABLE is not set"),
        ("file:absent", "absent cannot be read"),
        ("file:open", "other users can read or change"),
        ("file:empty", "must hold one key"),
        ("file:two", "must hold one key"),
        ("file:binary", "cannot be read"),
    ],
)
def test_a_key_that_cannot_be_read_is_refused(
    key: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    contents = {"open": b"k", "empty": b"\n", "two": b"one two", "binary": b"\xff\xfe"}
    for name, content in contents.items():
        Path(name).write_bytes(content)
        Path(name).chmod(0o644 if name == "open" else 0o600)
    done = virc(*PLAN, "--api-key", key)
    assert (done.code, message in done.err) == (3, True), done.err


@pytest.mark.parametrize(("key", "warns"), [("env:CLIENT", False), ("file:mine", False), ("sesame", True)])
def test_a_key_on_the_command_line_is_warned_of(
    key: str, warns: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLIENT", "sesame")
    Path("mine").touch(mode=0o600)
    Path("mine").write_text("sesame\n")
    done = virc(*PLAN, "--api-key", key)
    assert (done.code, "can see a key on the command line" in done.err) == (0, warns), done.err
    assert "sesame" not in done.out + done.err
