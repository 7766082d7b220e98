"""The user's config: which value wins, what may stand in the file, and that a hostile file costs nothing."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.entry import Run

from virc.config import user as config
from virc.config import yaml as plain_yaml
from virc.core.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


@pytest.mark.parametrize(
    ("env", "platform", "expected"),
    [
        ({"HOME": "/h"}, "linux", "/h/.config/virc/config.yaml"),
        ({"HOME": "/h", "XDG_CONFIG_HOME": "/x"}, "linux", "/x/virc/config.yaml"),
        ({"HOME": "/h", "XDG_CONFIG_HOME": "relative"}, "linux", "/h/.config/virc/config.yaml"),
        ({"HOME": "/h"}, "darwin", "/h/Library/Application Support/virc/config.yaml"),
        ({"HOME": "/h", "APPDATA": "/a"}, "win32", "/a/virc/config.yaml"),
        ({"HOME": "/h"}, "win32", "/h/AppData/Roaming/virc/config.yaml"),
        ({"HOME": "/h", "VIRC_CONFIG": "/mine.yaml", "XDG_CONFIG_HOME": "/x"}, "linux", "/mine.yaml"),
    ],
)
def test_the_file_lies_where_the_platform_keeps_settings(env: dict[str, str], platform: str, expected: str) -> None:
    assert str(config.config_path(env, platform)) == expected


def test_flags_beat_the_environment_which_beats_the_file_which_beats_defaults() -> None:
    env = {"VIRC_MODEL": "from-env", "VIRC_ENDPOINT": "http://env/v1"}
    file: dict[str, config.Value] = {"model": "from-file", "endpoint": "http://file/v1", "timeout": 7.0}
    resolved = config.resolve({"model": "from-flag", "timeout": None}, env, file)
    assert resolved["model"] == config.Setting("from-flag", "flag")
    assert resolved["endpoint"] == config.Setting("http://env/v1", "env VIRC_ENDPOINT")
    assert resolved["timeout"] == config.Setting(7.0, "file")
    assert resolved["device"] == config.Setting(None, "default")


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("timeout: 1e-6", "timeout", 1e-6),  # YAML 1.1 reads this as text
        ("timeout: 30", "timeout", 30.0),
        ('max_pixels: "1_000"', "max_pixels", 1000),
        ("model: 'off'", "model", "off"),
        ("timeout:\nmodel: a", "model", "a"),  # a key without a value is not set
    ],
)
def test_a_value_means_what_its_setting_says(line: str, key: str, value: object, file: Path) -> None:
    file.write_text(line + "\n")
    assert config.read_settings(file) == {key: value}


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("model: off", "model in .* must be .*, not False", "quotes"),
        ("timeout: soon", "must be a number of seconds above 0.*, not 'soon'", None),
        ("timeout: .nan", "must be a number of seconds", None),
        ("max_pixels: 2.5", "whole number", None),
        ("endpoint: localhost:8000", "a URL like", "http://localhost:8000/v1"),
        ("timeout: " + "x" * 200, "at most a million, not 'x{79}$", None),
        ("endpoint: me:sk-1@h", "must hold no user and password", "VIRC_API_KEY"),
        ("device: gpu", "cpu, cuda, cuda:N or mps", None),
        ('model: "a\\nb"', "must be one line of text", None),
        ("api_key: sk-1", r"api_key in .*config\.yaml: secrets are not kept", "VIRC_API_KEY"),
    ],
)
def test_a_wrong_line_is_named_with_what_to_do(line: str, message: str, hint: str | None, file: Path) -> None:
    file.write_text(line + "\n")
    with pytest.raises(ConfigError, match=message) as caught:
        config.read_settings(file)
    assert "sk-1" not in str(caught.value)
    assert (hint or "None") in str(caught.value.hint)


BOMB = "a: &a [x, x]\n" + "".join(f"{c}: &{c} [*{p}, *{p}, *{p}]\n" for p, c in pairwise("abcdefghijk"))
MERGES = "a: &a {k: 1}\n" + "".join(
    f"{c}: &{c} {{<<: [{', '.join([f'*{p}'] * 30)}]}}\n" for p, c in pairwise("abcdefghijk")
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "using anchors.* at line 2"),
        (MERGES, "using anchors.* at line 2"),
        ("a: " + "[" * 5000, "nested too deeply"),
        ("a: " + "9" * 50_000, "a value cannot be read"),
        ("# " + "x" * 70_000, "over 64 KiB"),
        ("- 1\n- 2\n", "lines of the form"),
        ("just text", "lines of the form"),
        ("1: 2", "lines of the form"),
        ("model: a\nmodel: b\n", "'model' twice, again at line 2"),
        ("model: [\n", "not YAML at line 2"),
        ("a: !!python/object/apply:os.system [x]", "using tags.* at line 1"),
        ("model: !!bool foo", "using tags.* at line 1"),
        ("timeout: !mine 3", "using tags"),
        ("? [a]\n: b\n", "not YAML at line 1"),
        ("a: \x07", "not YAML"),
        ("--- 1\n--- 2\n", "not YAML"),
    ],
)
def test_hostile_yaml_is_refused_with_its_line(text: str, message: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        plain_yaml.read_mapping(file)


def test_a_file_that_is_no_text_or_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        plain_yaml.read_mapping(tmp_path / "binary")
    with pytest.raises(ConfigError, match=r"is a directory|permission denied"):
        plain_yaml.read_mapping(tmp_path, is_optional=True)


SCALARS = st.one_of(st.integers(), st.text(max_size=20).filter(str.isprintable), st.floats(allow_nan=False))


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), SCALARS), st.sampled_from(["a", "b", "d"]), SCALARS)
def test_changing_one_key_changes_nothing_else(content: dict[str, object], key: str, value: str | int | float) -> None:
    import yaml

    text = yaml.safe_dump(content, allow_unicode=True)
    content = plain_yaml.parse(text, "t")  # type: ignore[assignment]
    assert plain_yaml.parse(plain_yaml.changed(text, key, value), "t") == {**content, key: value}
    if key in content:
        rest = {name: each for name, each in content.items() if name != key}
        assert plain_yaml.parse(plain_yaml.changed(text, key, None), "t") == rest


def test_comments_and_order_survive_a_change() -> None:
    text = "# mine\ntimeout: 3  # patient\nmodel: a\n"
    assert plain_yaml.changed(text, "timeout", 4) == "# mine\ntimeout: 4  # patient\nmodel: a\n"
    assert plain_yaml.changed(text, "timeout", None) == "# mine\nmodel: a\n"
    assert plain_yaml.changed(text, "device", "cpu") == text + "device: cpu\n"
    assert plain_yaml.changed("{model: a}", "device", "cpu") == "model: a\ndevice: cpu\n"


def test_the_file_is_replaced_whole_with_its_mode_and_through_a_link(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "virc.yaml"
    real.parent.mkdir()
    real.write_text("model: a\n")
    real.chmod(0o640)
    link = tmp_path / "config.yaml"
    link.symlink_to(real)
    config.store(link, "model", "b")
    assert link.is_symlink()
    assert (real.read_text(), real.stat().st_mode & 0o777) == ("model: b\n", 0o640)
    assert [path.name for path in real.parent.iterdir()] == ["virc.yaml"]


def test_a_key_never_stops_a_call_and_is_stripped() -> None:
    found = config.resolve({}, {"VIRC_API_KEY": "sk-1\r\n"}, {})
    assert found["api_key"].value == "sk-1"
    assert config.resolve({}, {"VIRC_API_KEY": "sk-\r1"}, {})["api_key"].source == "env VIRC_API_KEY"


def test_without_a_home_the_file_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda _: (_ for _ in ()).throw(KeyError("uid")))
    with pytest.raises(ConfigError, match="no home folder") as caught:
        config.config_path({})
    assert "VIRC_CONFIG" in str(caught.value.hint)
    for platform in ("linux", "darwin", "win32"):
        with pytest.raises(ConfigError, match="no home folder") as caught:
            config.cache_folder({}, platform)
        assert caught.value.hint == "export VIRC_CACHE=FOLDER"
    monkeypatch.setenv("HOME", "/me")
    assert config.config_path({"VIRC_CONFIG": "~/c"}) == config.cache_folder({"VIRC_CACHE": "~/c"}) == Path("/me/c")


# The command, through the real entry point.


def test_set_show_and_unset_go_together(virc_here: Run, environment: dict[str, str]) -> None:
    path = Path(virc_here("config", "path").stdout.strip())
    assert path == Path(environment["HOME"]) / ".config" / "virc" / "config.yaml"
    assert virc_here("config", "set", "model", "ViRC-3B").returncode == 0
    assert path.read_text() == "model: ViRC-3B\n"
    shown = virc_here("config", "show", env={"VIRC_ENDPOINT": "http://h/v1", "VIRC_API_KEY": "sk-1"}).stdout
    rows = {line.split(maxsplit=2)[0]: line.split(maxsplit=2)[1:] for line in shown.splitlines()}
    assert rows["model"] == ["ViRC-3B", f"file {path}"]
    assert rows["endpoint"] == ["http://h/v1", "env VIRC_ENDPOINT"]
    assert rows["timeout"] == ["-", "default"]
    assert rows["api_key"] == ["set", "env VIRC_API_KEY"]
    assert virc_here("config", "unset", "model").returncode == 0
    assert path.read_text() == ""


def test_a_broken_file_is_one_sentence_also_as_json(virc_here: Run, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("modle: x\n")
    done = virc_here("config", "show", "--json", env={"VIRC_CONFIG": str(tmp_path / "c.yaml")})
    printed = json.loads(done.stdout)
    assert done.returncode == 3
    assert (printed["settings"], printed["error"]["hint"]) == (None, "did you mean 'model'?")


@pytest.mark.parametrize("none", ["none", "", " "])
def test_an_endpoint_of_none_is_no_endpoint(none: str, virc_here: Run) -> None:
    assert virc_here("config", "set", "endpoint", "http://localhost:8000/v1").returncode == 0
    shown = json.loads(virc_here("config", "show", "--json", env={"VIRC_ENDPOINT": none}).stdout)["settings"]
    assert shown["endpoint"] == {"value": None, "source": "env VIRC_ENDPOINT"}
    assert shown["model"] == {"value": "tiny", "source": "default"}


def test_a_write_that_fails_leaves_no_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    file.write_text("model: a\n")
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ConfigError, match="no space left"):
        config.store(file, "model", "b")
    assert [each.name for each in file.parent.iterdir()] == [file.name]
