"""What an environment is made of is decided without starting anything."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from virc.config import user
from virc.core.errors import SetupError
from virc.envs import environment as environments
from virc.envs.pins import FOLDER, Environment, driver_needed, everywhere, get, pinned

EVERY = everywhere(Path("/cache"))


@pytest.mark.parametrize("environment", EVERY, ids=lambda environment: environment.name)
def test_every_package_is_pinned_as_its_source_asks(environment: Environment) -> None:
    head, *pins = re.split(r"\n(?=\w)", environment.pins.read_text().strip())
    assert head.startswith("#")
    assert all(re.fullmatch(r"[\w.-]+==\S+( \\\n    --hash=sha256:[0-9a-f]{64})+", pin) for pin in pins)
    asked = dict(re.findall(r"^([\w.-]+)(?:\[.*\])?==(\S+)$", sources(environment.pins.with_suffix(".in")), re.M))
    assert asked
    assert {name: pinned(environment).get(name) for name in asked} == asked
    assert {"msgspec", "pillow", "pyyaml"} <= pinned(environment).keys()


def sources(file: Path) -> str:
    text = file.read_text()
    return text + "".join(sources(file.with_name(name)) for name in re.findall(r"^-r (\S+)$", text, re.M))


def test_the_pins_name_no_index_and_no_folder() -> None:
    for file in FOLDER.glob("*.txt"):
        assert not re.search(r"--(?!hash=)|://|@ |/", file.read_text().partition("\n")[2]), file


def test_the_steps_install_the_pins_and_import_what_matters() -> None:
    rl = get("rl", "cpu", Path("/cache"))
    make, install, check = environments.steps(rl, "uv")
    assert make.argv[:2] == ("uv", "venv")
    assert make.argv[-1] == str(rl.folder)
    assert install.argv[-2:] == ("-r", str(FOLDER / "rl-cpu.txt"))
    assert {"--compile-bytecode", "--require-hashes", "--only-binary=:all:", "--no-binary=antlr4-python3-runtime"} <= {
        *install.argv
    }
    assert install.argv[install.argv.index("--python") + 1] == check.argv[0] == str(rl.folder / "bin" / "python")
    assert check.argv[1:] == ("-c", "import verl.trainer.main_ppo")
    assert check.env["PYTHONPATH"] == environments.versions_step(rl.python).env["PYTHONPATH"] == ""
    assert "--excludes" not in install.argv  # which this one has none of


def test_another_processor_than_that_of_the_pins_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments.platform, "machine", lambda: "aarch64")
    with pytest.raises(SetupError, match="for x86-64, and this processor is aarch64") as refused:
        environments.check_machine(get("sft", "cpu", tmp_path))
    assert refused.value.hint == "install the engine yourself, then: virc env use sft PYTHON"
    monkeypatch.setattr(environments.platform, "machine", lambda: "AMD64")
    environments.check_machine(get("sft", "cpu", tmp_path))
    monkeypatch.setattr(environments.sys, "platform", "darwin")
    with pytest.raises(SetupError, match="engines run on Linux only"):
        environments.check_machine(get("sft", "cpu", tmp_path))


@pytest.mark.parametrize(
    ("env", "platform", "expected"),
    [
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "linux", "/x/virc"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "x"}, "linux", "/h/.cache/virc"),
        ({"HOME": "/h"}, "darwin", "/h/Library/Caches/virc"),
        ({"HOME": "/h", "VIRC_CACHE": "/scratch"}, "linux", "/scratch"),
        ({"HOME": "/h", "LOCALAPPDATA": "/l"}, "win32", "/l/virc/Cache"),
    ],
)
def test_the_cache_lies_where_the_platform_keeps_caches(env: Mapping[str, str], platform: str, expected: str) -> None:
    assert str(user.cache_folder(env, platform)) == expected


def test_versions_that_differ_are_named_and_local_builds_are_the_same() -> None:
    sft = get("sft", "cpu", Path("/cache"))
    same = pinned(sft)
    assert environments.differences(sft, {**same, "torch": same["torch"] + "+cpu"}) == []
    assert environments.differences(sft, {**same, "aiohttp": "0.1"}) == []  # nobody asked for it by name
    without = {name: version for name, version in same.items() if name != "peft"}
    assert environments.differences(sft, {**without, "torch": "2.12.0"}) == [
        f"peft missing instead of {same['peft']}", f"torch 2.12.0 instead of {same['torch']}"
    ]  # fmt: skip


def test_a_driver_that_is_too_old_is_refused_before_the_download(tmp_path: Path) -> None:
    driver = tmp_path / "version"
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.08  Wed Jan 1 2025\nGCC version: 12\n")
    cuda, cpu = (get("sft", device, tmp_path) for device in ("cuda", "cpu"))
    assert driver_needed(cuda) == 580
    assert driver_needed(cpu) is None
    with pytest.raises(SetupError, match="driver is 535, and sft-cuda needs 580"):
        environments.check_machine(cuda, driver)
    environments.check_machine(cpu, driver)
    driver.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n")
    environments.check_machine(cuda, driver)
    driver.write_text("NVRM version: unknown\n")
    environments.check_machine(cuda, driver)


def test_a_full_disk_is_refused_before_the_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 6.5 * 2**30

    monkeypatch.setattr(environments.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(SetupError, match=r"needs about 6 GiB, and 6\.5 are free"):
        environments.check_machine(get("sft", "cpu", tmp_path / "not" / "yet"))
    with pytest.raises(SetupError, match=r"^sft-cuda needs about 7 GiB, and 6\.5 are free"):
        environments.check_machine(get("sft", "cuda", tmp_path))


def test_engines_get_our_code_alone_and_by_its_content(tmp_path: Path) -> None:
    sft = get("sft", "cpu", tmp_path)
    package = tmp_path / "src" / "virc"
    (package / "models" / "tiny").mkdir(parents=True)
    (package / "models" / "tiny" / "config.json").write_text("{}")
    (package / "tools").mkdir()
    (package / "tools" / "crop.py").write_text("ONE = 1\n")
    first = environments.recipes_in(sft, package)
    assert [str(p.relative_to(first)) for p in first.rglob("*") if p.is_file()] == ["virc/tools/crop.py"]
    assert environments.recipes_in(sft, package) == first
    (package / "tools" / "crop.py").write_text("ONE = 2\n")
    second = environments.recipes_in(sft, package)
    assert second != first
    (package / "tools" / "crop.py").rename(package / "tools" / "cut.py")
    assert environments.recipes_place(sft, package) not in (first, second)  # names count as well
    assert (first / "virc" / "tools" / "crop.py").read_text() == "ONE = 1\n"
    assert sorted(p.name for p in first.parent.iterdir()) == sorted([first.name, second.name])
