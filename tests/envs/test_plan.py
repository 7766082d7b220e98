"""What an environment is made of is decided without starting anything."""

import errno
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from virc.config import user
from virc.core.errors import ConfigError, SetupError
from virc.envs import environment as environments
from virc.envs import hardware, lock, making
from virc.envs.pins import BUILT, FOLDER, Environment, discover, driver_needed, everywhere, get, left_out, pinned

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


def test_torch_is_the_same_in_both_files_of_an_engine() -> None:
    for engine in discover():
        versions = {pinned(each)["torch"] for each in EVERY if each.engine.name == engine}
        assert len(versions) == 1


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


@pytest.mark.parametrize("environment", EVERY, ids=lambda environment: environment.name)
def test_only_what_has_no_wheel_is_built(environment: Environment) -> None:
    pins = environment.pins.read_text().replace("_", "-").splitlines()
    wanted = {f"--no-binary={name}" for name in BUILT if any(line.startswith(f"{name}==") for line in pins)}
    assert {each for each in environments.steps(environment, "uv")[1].argv if each.startswith("--no-b")} == wanted


@pytest.mark.parametrize(("version", "interpreter"), [("{}.{}", sys.executable), ("3.9", "3.9")])
def test_an_environment_has_the_python_of_its_pins(
    version: str, interpreter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "PYTHON", version.format(*sys.version_info))
    assert environments.steps(EVERY[0], "uv")[0].argv[2:4] == ("--python", interpreter)


def test_added_packages_are_installed_beside_the_pins_and_said_to_have_no_hash() -> None:
    rl = get("rl", "cpu", Path("/cache"), ["gymnasium"])
    _, tested, added, _ = environments.steps(rl, "uv")
    assert "gymnasium" not in tested.argv
    assert added.argv[-3:] == ("-r", str(FOLDER / "rl-cpu.txt"), "gymnasium")
    assert added.argv[added.argv.index("--override") + 1] == str(FOLDER / "rl-cpu.override")
    assert added.says == "install gymnasium, without hashes"
    assert "--override" not in environments.steps(get("sft", "cpu", Path("/cache"), ["peft"]), "uv")[2].argv
    assert tested.env["UV_TORCH_BACKEND"] == added.env["UV_TORCH_BACKEND"] == ""


@pytest.mark.parametrize("engine", ["eval", "sft"])
def test_packages_that_nothing_needs_are_left_out_and_not_counted(engine: str) -> None:
    environment = get(engine, "cpu", Path("/cache"))
    _, install, _ = environments.steps(environment, "uv")
    file = FOLDER / "excludes" / f"{engine}-cpu.txt"
    assert install.argv[-4:] == ("--excludes", str(file), "-r", str(environment.pins))
    assert left_out(environment) == ["triton"]
    assert install.says == f"install {len(pinned(environment)) - 1} packages"


@pytest.mark.parametrize(
    ("torch", "torchvision", "said"),
    [
        ("2.13.0+cpu", "0.28.0", "torch 2.13.0+cpu is built for a CPU, and for CUDA torchvision 0.28.0"),
        ("2.13.0", "0.28.0+cpu", "torch 2.13.0 is built for CUDA, and for a CPU torchvision 0.28.0+cpu"),
        ("2.13.0+cpu", "0.28.0+cpu", None),
        ("2.13.0+cu130", "0.28.0", None),
        ("2.13.0+cpu", None, None),
        ("", "0.28.0+cpu", None),
    ],
)
def test_builds_of_torch_that_do_not_fit_are_named(torch: str, torchvision: str | None, said: str | None) -> None:
    found = {"torch": torch, "pillow": "11"} | ({"torchvision": torchvision} if torchvision else {})
    assert environments.mixed_builds(found) == said


def test_all_packages_of_another_build_are_named() -> None:
    found = {"torch": "2.13.0", "torchaudio": "2.13.0+cpu", "torchvision": "0.28.0+cpu"}
    listed = "torchvision 0.28.0+cpu, torchaudio 2.13.0+cpu"
    assert environments.mixed_builds(found) == f"torch 2.13.0 is built for CUDA, and for a CPU {listed}"
    assert environments.mixed_builds({**found, "torchvision": "0.28.0"}).endswith("for a CPU torchaudio 2.13.0+cpu")  # type: ignore[union-attr]


def test_every_package_that_is_built_from_source_is_pinned_somewhere() -> None:
    assert BUILT.keys() <= {name for environment in EVERY for name in pinned(environment)}


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
    ("engine", "device", "hint"), [("sfd", "cpu", "'sft'"), ("sft", "cudo", "'cuda'"), ("x", "cpu", "rl, serve, sft")]
)
def test_a_misspelt_name_gets_the_nearest(engine: str, device: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        get(engine, device, Path("/cache"))
    assert hint in str(caught.value.hint)


def test_where_a_driver_is_loaded_the_gpu_is_the_device(tmp_path: Path) -> None:
    assert environments.default_device(tmp_path) == "cuda"
    assert environments.default_device(tmp_path / "none") == "cpu"


def test_an_engine_that_computes_nothing_has_no_environment_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "default_device", lambda: "cuda")
    assert making.find("eval", None).device == "cpu"
    assert making.find("serve", None).device == "cuda"
    with pytest.raises(ConfigError, match="eval has no environment for cuda"):
        making.find("eval", "cuda")


@pytest.mark.parametrize(
    ("env", "platform", "expected"),
    [
        ({"HOME": "/h"}, "linux", "/h/.cache/virc"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "linux", "/x/virc"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "x"}, "linux", "/h/.cache/virc"),
        ({"HOME": "/h"}, "darwin", "/h/Library/Caches/virc"),
        ({"HOME": "/h", "VIRC_CACHE": "/scratch"}, "linux", "/scratch"),
        ({"HOME": "/h"}, "win32", "/h/AppData/Local/virc/Cache"),
        ({"HOME": "/h", "LOCALAPPDATA": "/l"}, "win32", "/l/virc/Cache"),
    ],
)
def test_the_cache_lies_where_the_platform_keeps_caches(env: Mapping[str, str], platform: str, expected: str) -> None:
    assert str(user.cache_folder(env, platform)) == expected


def test_a_cache_in_the_working_folder_is_the_same_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = user.cache_folder({"VIRC_CACHE": "scratch"})
    assert found == tmp_path / "scratch"


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


def test_a_damaged_registration_is_named(tmp_path: Path) -> None:
    sft = get("sft", "cpu", tmp_path)
    sft.registration.parent.mkdir(parents=True)
    sft.registration.write_text("{")
    with pytest.raises(ConfigError, match=r"sft-cpu\.json cannot be read"):
        environments.interpreter(sft)


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


def test_pins_are_read_by_the_names_of_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["# made", "Torch==2.13.0 \\", "    --hash=sha256:ab", "ray[default,data]==2.60.0", "a_b_c==1", "x.y==2"]
    (tmp_path / "rl-cpu.txt").write_text("\n".join(lines))
    rl = get("rl", "cpu", Path("/cache"))
    monkeypatch.setattr("virc.envs.pins.FOLDER", tmp_path)
    assert pinned(rl) == {"torch": "2.13.0", "ray": "2.60.0", "a-b-c": "1", "x.y": "2"}


@pytest.mark.parametrize(
    ("found", "differs"),
    [
        ({"torch": "2.13.0", "msgspec": "1"}, []),
        ({"torch": "2.13.0+cpu", "msgspec": "1", "more": "9"}, []),
        ({"torch": "2.12.0", "msgspec": "1"}, ["torch 2.12.0 instead of 2.13.0"]),
        ({"torch": "2.13.0"}, ["msgspec missing instead of 1"]),  # asked for by the file that is included
        ({"torch": "2.13.0", "msgspec": "1", "deep": "8"}, []),  # nobody asks for it by name
    ],
)
def test_versions_are_compared_that_any_source_asks_for(
    found: Mapping[str, str], differs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"rl-cpu.in": "Torch==2.13.0\n-r common.in\n", "common.in": "# all\nmsgspec\n"}
    files["rl-cpu.txt"] = "torch==2.13.0\nmsgspec==1\ndeep==7\n"
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    rl = get("rl", "cpu", Path("/cache"))
    monkeypatch.setattr("virc.envs.pins.FOLDER", tmp_path)
    assert environments.differences(rl, found) == differs


def test_packages_with_systems_come_along_by_their_names_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ("virc/a.py", "zoo/one/system.yaml", "zoo/one/reward.py", "zoo/one/weights.bin", "other/deep/b.py")
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.setattr(environments, "_PACKAGE", tmp_path / "virc")
    packages = {tmp_path / "other": "other", tmp_path / "zoo": "my.zoo"}
    monkeypatch.setattr(environments.plugins, "system_packages", lambda: packages)
    copied = environments.recipes_in(get("rl", "cpu", tmp_path / "cache"), tmp_path / "virc")
    found = {str(each.relative_to(copied)) for each in copied.rglob("*") if each.is_file()}
    (entries,) = (each for each in found if each.endswith("/entry_points.txt"))
    assert found - {entries, entries.replace("entry_points.txt", "METADATA")} == {
        "virc/a.py", "my/zoo/one/system.yaml", "my/zoo/one/reward.py"
    }  # fmt: skip
    assert (copied / entries).read_text() == "[virc.systems]\n0 = my.zoo\n"


def test_code_of_an_engine_can_be_read_by_every_user(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "a.py").write_text("A = 1\n")
    copied = environments.recipes_in(get("rl", "cpu", tmp_path / "cache"), package)
    assert copied.stat().st_mode & 0o777 == 0o755
    assert (copied / "package" / "a.py").read_text() == "A = 1\n"


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, mode: int) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "a.py").touch()
    monkeypatch.setattr(Path, "chmod", full)
    with pytest.raises(OSError, match="No space"):
        environments.recipes_in(get("rl", "cpu", tmp_path / "cache"), tmp_path / "package")
    assert not [*(tmp_path / "cache" / "envs" / "recipes").iterdir()]


def test_code_that_another_run_put_there_meanwhile_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def meanwhile(self: Path, target: Path) -> None:
        target.mkdir()
        raise OSError(errno.ENOTEMPTY, "Directory not empty")

    (tmp_path / "package").mkdir()
    monkeypatch.setattr(Path, "rename", meanwhile)
    copied = environments.recipes_in(get("rl", "cpu", tmp_path / "cache"), tmp_path / "package")
    assert [*copied.parent.iterdir()] == [copied]


@pytest.mark.parametrize(("folder", "looked_at"), [("", ""), ("new", ""), ("new/deep", ""), ("there", "there")])
def test_free_disk_is_that_of_the_folder_itself(
    folder: str, looked_at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    asked: list[Path] = []
    monkeypatch.setattr(
        hardware.shutil, "disk_usage", lambda place: asked.append(Path(place)) or SimpleNamespace(free=3 * 2**30)
    )
    assert hardware.here(tmp_path / folder).disk_gib == 3
    assert asked == [tmp_path / looked_at]


@pytest.mark.parametrize("keep", [True, False])
def test_locking_keeps_versions_where_it_is_told_to(
    keep: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def resolve(argv: list[str], check: bool) -> None:
        asked.append(argv)
        wheel = '{hashes = {sha256 = "ab"}}'
        Path(argv[argv.index("--output-file") + 1]).write_text(
            f'[[packages]]\nname = "a"\nversion = "2"\nwheels = [{wheel}]\n'
        )

    (tmp_path / "x-cpu.txt").write_text("a==1\n")
    override = tmp_path / "x-cpu.override"
    if keep:
        override.touch()
    monkeypatch.setattr(lock, "FOLDER", tmp_path)
    monkeypatch.setattr(lock, "find_uv_bin", lambda: "uv")
    monkeypatch.setattr(lock.subprocess, "run", resolve)
    lock.lock("x-cpu", keep)
    (argv,) = asked
    assert (str(override) in argv, "--override" in argv) == (keep, keep)
    assert (
        (["--constraint", str(tmp_path / "x-cpu.txt")] == argv[argv.index("--constraint") :][:2])
        if keep
        else ("--constraint" not in argv)
    )
    assert (tmp_path / "x-cpu.txt").read_text().endswith("a==2 \\\n    --hash=sha256:ab\n")


@pytest.mark.parametrize(
    ("pin", "device", "branch"),
    [
        ("nvidia-cuda-runtime-cu12==12.8.90", "cuda", 525),
        ("cuda-toolkit==13.0.1", "cuda", 580),
        ("cuda-toolkit==13.0.1", "cpu", None),
        ("torch==2.13.0", "cuda", None),
    ],
)
def test_the_oldest_driver_follows_from_the_pins(
    pin: str, device: str, branch: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rl = get("rl", device, Path("/cache"))
    (tmp_path / f"rl-{device}.txt").write_text(f"{pin}\n")
    monkeypatch.setattr("virc.envs.pins.FOLDER", tmp_path)
    assert driver_needed(rl) == branch


def test_a_registered_interpreter_is_used_and_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rl = get("rl", "cpu", tmp_path)
    rl.folder.parent.mkdir(parents=True)
    rl.registration.write_text(json.dumps({"python": sys.executable}))
    monkeypatch.setattr(making, "create", lambda *_: pytest.fail("it is there"))
    assert making.made(rl) == Path(sys.executable)
    making.log_of(rl).write_text("of an installation before")
    making.remove(rl)
    assert list(rl.folder.parent.glob("rl-cpu*.log")) == list(rl.folder.parent.glob("*.json")) == []


def test_an_engine_of_one_device_is_found_there_whatever_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "default_device", lambda: "cuda")
    assert {name: making.find(name, None).device for name in ("eval", "sft")} == {"eval": "cpu", "sft": "cuda"}


def test_named_files_of_requirements_alone_are_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked: list[tuple[str, bool]] = []
    monkeypatch.setattr(lock, "lock", lambda name, keep: locked.append((name, keep)))
    lock.main(["--keep", "x-cpu"])
    assert locked == [("x-cpu", True)]
    for name in ("b-cpu.in", "a-cpu.in", "common.in"):
        (tmp_path / name).touch()
    monkeypatch.setattr(lock, "FOLDER", tmp_path)
    lock.main([])
    assert locked[1:] == [("a-cpu", False), ("b-cpu", False)]


def test_without_proc_memory_is_what_the_system_has_in_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"SC_PHYS_PAGES": 1000, "SC_AVPHYS_PAGES": 10, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", known.__getitem__)
    assert hardware.memory(tmp_path) == (4_096_000, 4_096_000)
