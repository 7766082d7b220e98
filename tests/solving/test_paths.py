"""Files that a user names, however oddly."""

from pathlib import Path

import pytest

from virc.core.files import contents, expanded, is_file, is_folder


def test_a_home_is_put_in_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/models/a") == tmp_path / "models" / "a"
    assert expanded("~there-is-no-such-user/a") == Path("~there-is-no-such-user/a")


def test_a_machine_without_a_home_leaves_the_path_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda _: (_ for _ in ()).throw(KeyError("uid")))
    assert expanded("~/a") == Path("~/a")


@pytest.mark.parametrize("name", ["x" * 5000, "nul\0name", "gone"])
def test_a_name_that_nothing_can_have_is_nothing(name: str) -> None:
    assert not is_file(name)
    assert not is_folder(name)


@pytest.mark.parametrize("name", ["x" * 5000, "nul\0name", "gone", "."])
def test_what_cannot_be_read_is_an_os_error_with_a_reason(name: str) -> None:
    with pytest.raises(OSError, match=r".") as caught:
        contents(Path(name), 10)
    assert caught.value.strerror


def test_a_file_is_read_up_to_its_limit_and_no_further(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 2048)
    assert contents(tmp_path / "a", 2048) == b"x" * 2048
    with pytest.raises(OSError, match="it is over 1 KiB"):
        contents(tmp_path / "a", 1024)
