"""`virc env` with real uv: an environment is made whole or not at all, checked by the import that matters."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toys

from virc.core.locks import held
from virc.envs import pins as envs
from virc_cli.main import main


def folder_of(cache: Path) -> Path:
    return envs.get("toy", "cpu", cache).folder


@pytest.mark.integration
def test_a_made_environment_imports_its_engine_and_nothing_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toys.install_engine(tmp_path, monkeypatch)
    assert main(["env", "create", "toy", "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{folder_of(tmp_path / 'cache')}\n"
    assert "about 1 GiB" in said.err
    assert main(["env", "path", "toy", "--device", "cpu"]) == 0
    python = capsys.readouterr().out.strip()
    assert subprocess.run([python, "-c", "import toy"]).returncode == 0
    assert subprocess.run([python, "-c", "import typer"], stderr=subprocess.DEVNULL).returncode == 1
    assert main(["env", "ls", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["environments"]
    assert [(row["device"], row["state"]) for row in rows] == [("cpu", "ready"), ("cuda", "not made")]


@pytest.mark.integration
def test_an_engine_that_does_not_import_leaves_nothing_but_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toys.install_engine(tmp_path, monkeypatch, code="raise ImportError('libfoo is missing')")
    assert main(["env", "create", "toy", "--device", "cpu"]) == 7
    said = capsys.readouterr().err
    assert "ImportError: libfoo is missing" in said
    assert "toy-cpu.log" in said
    assert not folder_of(tmp_path / "cache").exists()
    assert main(["env", "path", "toy", "--device", "cpu"]) == 4
    assert "virc env create toy --device cpu" in capsys.readouterr().err


@pytest.mark.integration
def test_a_package_with_another_hash_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toys.install_engine(tmp_path, monkeypatch)
    toys.wheel(tmp_path / "wheels", code="print('changed since it was tested')")
    assert main(["env", "create", "toy", "--device", "cpu"]) == 7
    assert "could not install 1 packages" in capsys.readouterr().err
    assert "Hash mismatch" in (tmp_path / "cache" / "envs" / "toy-cpu.log").read_text()
    assert not folder_of(tmp_path / "cache").exists()


@pytest.mark.integration
def test_a_source_distribution_is_not_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pins = toys.install_engine(tmp_path, monkeypatch)
    source = toys.source(tmp_path / "wheels", "2.0", tmp_path / "built")
    pins.write_text(toys.pinned(source))
    assert main(["env", "create", "toy", "--device", "cpu"]) == 7
    assert not (tmp_path / "built").exists()


@pytest.mark.integration
def test_what_a_killed_run_left_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toys.install_engine(tmp_path, monkeypatch)
    left = folder_of(tmp_path / "cache")
    (left / "bin").mkdir(parents=True)
    (left / "bin" / "python").touch()
    assert main(["env", "path", "toy", "--device", "cpu"]) == 4
    assert main(["env", "create", "toy", "--device", "cpu"]) == 0
    assert subprocess.run([left / "bin" / "python", "-c", "import toy"]).returncode == 0


def test_two_runs_do_not_make_one_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toys.install_engine(tmp_path, monkeypatch)
    folder = folder_of(tmp_path / "cache")
    folder.parent.mkdir(parents=True)
    with held(folder):
        assert main(["env", "create", "toy", "--device", "cpu"]) == 3
        assert main(["env", "remove", "toy", "--device", "cpu"]) == 3
    assert "another run" in capsys.readouterr().err


@pytest.mark.integration
def test_ctrl_c_ends_what_was_started_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toys.install_engine(tmp_path, monkeypatch, code="import time; open('started', 'w'); time.sleep(60)")
    folder = folder_of(tmp_path / "cache")
    driver = (
        "import sys; from pathlib import Path; from virc.envs import pins as envs; "
        f"envs.FOLDER = Path({str(envs.FOLDER)!r}); from virc_cli.main import main; sys.exit(main())"
    )
    virc = subprocess.Popen(
        [sys.executable, "-c", driver, "env", "create", "toy", "--device", "cpu"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(tmp_path / "started")
    virc.send_signal(signal.SIGINT)
    assert virc.wait(240) == 130
    assert not folder.exists()
    assert not running(str(folder))


def wait_for(path: Path) -> None:
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} did not appear")


def running(name: str) -> list[int]:
    """Processes whose command line holds a name."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if name.encode() in line:
                found.append(int(entry.name))
    return found


@pytest.mark.integration
def test_an_interpreter_of_ones_own_is_checked_compared_and_only_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pins = toys.install_engine(tmp_path, monkeypatch)
    assert main(["env", "create", "toy", "--device", "cpu"]) == 0
    mine = folder_of(tmp_path / "cache") / "bin" / "python"
    pins.write_text("toy==1.1\n")
    capsys.readouterr()
    assert main(["env", "use", "toy", str(mine), "--device", "cpu"]) == 0
    assert "toy 1.0 instead of 1.1" in capsys.readouterr().err
    assert main(["env", "path", "toy", "--device", "cpu"]) == 0
    assert capsys.readouterr().out.strip() == str(mine)
    other = tmp_path / "cache" / "envs" / "toy-cpu.json"
    assert other.exists()


@pytest.mark.integration
def test_remove_takes_former_pins_too_and_leaves_other_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = toys.install_engine(tmp_path, monkeypatch)
    assert main(["env", "create", "toy", "--device", "cpu"]) == 0
    pins.write_text(pins.read_text().replace("made", "changed"))
    assert main(["env", "create", "toy", "--device", "cpu"]) == 0
    others = [tmp_path / "cache" / "envs" / name for name in ("toy-cuda-0123456789", "toyland-cpu-0123456789")]
    for other in others:
        other.mkdir()
    assert main(["env", "remove", "toy", "--device", "cpu"]) == 0
    assert sorted((tmp_path / "cache" / "envs").iterdir()) == sorted(others)


@pytest.mark.integration
def test_packages_of_ones_own_are_added_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toys.install_engine(tmp_path, monkeypatch)
    toys.wheel(tmp_path / "wheels", "ruler", "2.0")
    plain = folder_of(tmp_path / "cache")
    assert main(["env", "create", "toy", "--device", "cpu", "--with", "ruler==2.0"]) == 0
    with_ruler = folder_of(tmp_path / "cache")
    assert with_ruler != plain
    assert main(["env", "path", "toy", "--device", "cpu"]) == 0
    python = capsys.readouterr().out.split()[-1]
    assert subprocess.run([python, "-c", "import toy, ruler"]).returncode == 0
    assert main(["env", "create", "toy", "--device", "cpu", "--with", "no-such-package"]) == 7
    capsys.readouterr()
    assert main(["env", "create", "toy", "--device", "cpu"]) == 0
    assert main(["env", "ls"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert listed[0] == str(with_ruler)
    assert listed[1].endswith("with ruler==2.0")
    assert main(["env", "remove", "toy", "--device", "cpu"]) == 0
    assert folder_of(tmp_path / "cache") == plain
