"""How environments are made, remembered and removed; no step is run, as `test_making.py` runs them."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import toys
from support.called import virc

from virc.core.errors import ConfigError, EngineError, SetupError, UsageError
from virc.core.events import Event, Reporter
from virc.core.plan import Step
from virc.core.processes import Process
from virc.envs import environment as environments
from virc.envs import lock, making
from virc.envs.pins import Environment, get, requirement


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """The steps that were to be run. The first makes the folder; one that has a word of `failing` fails."""
    toys.install_engine(tmp_path, monkeypatch)
    found: list[Step] = []

    def run(step: Step, log: Path, report: object) -> None:
        found.append(step)
        if "venv" in step.argv:
            Path(step.argv[-1]).mkdir(parents=True)
        if "no-such-package" in step.argv:
            raise EngineError("could not install it")
        if "stopped-here" in step.argv:
            raise KeyboardInterrupt

    monkeypatch.setattr(making, "_run", run)
    return found


def toy(*packages: str) -> Environment:
    return making.with_packages(making.find("toy", "cpu"), packages)


def of(digest: str) -> dict[str, Any]:
    """A file of a package as uv's lock has it."""
    return {"hashes": {"sha256": digest}}


@pytest.mark.parametrize(
    ("package", "pin"),
    [
        (
            {
                "wheels": [{"hashes": {"sha256": "b"}}, {"hashes": {"sha256": "a"}}],
                "sdist": {"hashes": {"sha256": "c"}},
            },
            "toy==1.0 \\\n    --hash=sha256:a \\\n    --hash=sha256:b\n",
        ),
        ({"sdist": of("c")}, "toy==1.0 \\\n    --hash=sha256:c\n"),
    ],
)
def test_a_pin_has_the_hashes_of_wheels_or_of_the_source(package: Mapping[str, Any], pin: str) -> None:
    assert lock._pin({"name": "toy", "version": "1.0", **package}) == pin


def test_only_what_is_pinned_is_installed(steps: list[Step]) -> None:
    making.create(toy())
    _, install, _ = steps
    assert {"--no-deps", "--require-hashes"} <= {*install.argv}


def test_all_that_a_step_writes_is_reported_with_it_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (log := tmp_path / "log").write_text("of the step before\n")
    told, started = list[Event](), making.processes.started

    @contextmanager
    def ended(step: Step, log: Path) -> Iterator[Process]:
        """It has written all before somebody looks, as on a busy machine."""
        with started(step, log) as process:
            process.wait()
            yield process

    monkeypatch.setattr(making.processes, "started", ended)
    making._run(Step(("sh", "-c", "echo first; echo its own; echo"), "say something"), log, Reporter(told.append))
    assert [event.text for event in told if event.kind == "log"] == ["first", "its own", ""]
    assert [event.text for event in told if event.kind == "progress"][-1].endswith(" s  its own")


def test_an_environment_is_made_once(steps: list[Step], tmp_path: Path) -> None:
    assert environments.interpreter(toy()) is None
    making.create(toy())
    making.create(toy())
    assert [step.argv[1] for step in steps] == ["venv", "pip", "-c"]
    assert environments.interpreter(toy()) == toy().python


def test_an_environment_that_a_command_needs_is_made_once_and_reported(steps: list[Step]) -> None:
    told: list[Event] = []
    for _ in range(2):
        assert making.made(toy(), told.append) == toy().python
    assert [event.text for event in told] == [f"making the environment of a toy, about 1 GiB, in {toy().folder}"]
    assert len(steps) == 3


def test_what_a_killed_run_left_is_no_environment_and_goes(steps: list[Step]) -> None:
    toy().python.parent.mkdir(parents=True)
    toy().python.touch()
    making.log_of(toy()).write_text("of the run before")
    assert environments.interpreter(toy()) is None
    assert making.log_of(toy()).name == "toy-cpu.log"  # each device has its own
    making.create(toy())
    assert (toy().python.exists(), making.log_of(toy()).exists(), len(steps)) == (False, False, 3)


def test_room_is_said_by_device_and_a_machine_that_cannot_run_it_is_refused(
    steps: list[Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Event] = []
    making.create(making.find("toy", "cuda"), told.append)
    assert told[0].text.startswith("making the environment of a toy, about 2 GiB, in ")
    steps.clear()
    monkeypatch.setattr(environments.platform, "machine", lambda: "aarch64")
    with pytest.raises(SetupError, match="this processor is aarch64"):
        making.create(toy())
    assert steps == []


def test_each_command_says_what_it_did(steps: list[Step], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making.processes, "output", fake_output(("toy",), version="2.0"))
    names = "toy", "--device", "cpu"
    missing = virc("env", "path", *names)
    assert (missing.code, missing.out, "virc env create toy --device cpu" in missing.err) == (4, "", True)
    assert "the environment toy-cpu has not been made" in missing.err
    made = virc("env", "create", *names, "--with", "ruler==2.0")
    assert (made.code, made.out, toy().extra) == (0, f"{toy().folder}\n", ("ruler==2.0",)), made.err
    assert virc("env", "path", *names).out == f"{toy().python}\n"
    cpu, cuda = virc("env", "ls").out.splitlines()
    assert cpu == f"toy    cpu   ready       a toy                    {toy().python}  with ruler==2.0"
    assert cuda == "toy    cuda  not made    a toy                    about 2 GiB"
    rows = virc("env", "ls", "--json").json["environments"]
    assert [(row["engine"], row["device"], row["state"], row["with"]) for row in rows] == [
        ("toy", "cpu", "ready", ["ruler==2.0"]), ("toy", "cuda", "not made", []),
    ]  # fmt: skip
    used = virc("env", "use", *names, "/opt/mine/python")
    assert used.err.splitlines() == [
        "warning: not the tested version: toy 2.0 instead of 1.0", "toy-cpu now uses /opt/mine/python",
    ]  # fmt: skip
    assert virc("env", "path", *names).out == "/opt/mine/python\n"
    assert virc("env", "ls").out.startswith("toy    cpu   registered  a toy                    /opt/mine/python")
    folder = toy().folder
    removed = virc("env", "remove", *names)
    assert (removed.code, f"removed {folder}\n" in removed.err, folder.exists()) == (0, True, False)
    assert virc("env", "path", *names).code == 4


def test_an_environment_that_another_run_made_meanwhile_is_left(
    steps: list[Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = making.held

    def made_meanwhile(folder: Path) -> Any:
        folder.mkdir(parents=True)
        toy().marker.write_text("{}")
        return held(folder)

    monkeypatch.setattr(making, "held", made_meanwhile)
    making.create(toy())
    assert steps == []
    assert toy().marker.exists()


@pytest.mark.parametrize(("package", "error"), [("no-such-package", EngineError), ("stopped-here", KeyboardInterrupt)])
def test_a_step_that_fails_leaves_no_folder_and_no_package(
    steps: list[Step], package: str, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        making.create(toy(package))
    assert not toy(package).folder.exists()
    assert toy().extra == ()


@pytest.mark.parametrize(("says", "hint"), [("no hashes", "unset UV_FIND_LINKS"), ("no disk", "see ")])
def test_links_of_the_user_are_blamed_for_other_builds_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, hint: str
) -> None:
    toys.install_engine(tmp_path, monkeypatch)
    steps = [Step(("sh", "-c", f"echo {says}; exit 1"), "install 1 package"), Step(("true",), "import it")]
    monkeypatch.setattr(making.environments, "steps", lambda *_: steps)
    monkeypatch.setenv("UV_FIND_LINKS", "/wheels")
    with pytest.raises(EngineError) as caught:
        making.create(toy())
    assert (caught.value.hint or "").startswith(hint)
    assert caught.value.message == f"could not install 1 package: exit code 1, {says}"


def test_packages_are_remembered_in_any_order(steps: list[Step]) -> None:
    plain = toy().folder
    making.create(toy("ruler==2.0"))
    assert [step.argv[1] for step in steps] == ["venv", "pip", "pip", "-c"]
    assert toy().extra == ("ruler==2.0",)
    assert toy("abacus").extra == ("abacus", "ruler==2.0")
    assert toy("abacus", "ruler==2.0").folder == toy("ruler==2.0", "abacus").folder
    assert len({plain, toy().folder, toy("abacus").folder}) == 3
    making.create(toy("abacus"))
    assert toy().extra == ("abacus", "ruler==2.0")


@pytest.mark.parametrize("name", ["toy-cpu.txt", "toy-cpu.override"])
def test_other_pins_make_another_folder(steps: list[Step], tmp_path: Path, name: str) -> None:
    before = toy().folder
    file = tmp_path / "engines" / name
    file.write_text(f"{file.read_text() if file.exists() else ''}toy==1.0  # anew\n")
    assert toy().folder != before


@pytest.mark.parametrize(
    ("text", "is_package"),
    [
        ("ruler", True), ("ruler[more]>=2.0", True), ("ruler==2.*", True), ("ruler!=2", True),
        ("-r x.txt", False), ("./ruler", False),
        ("ruler @ https://example.org/ruler.whl", False), ("git+https://example.org/ruler", False), ("", False),
        ("ruler --index-url https://example.org", False), ("-" * 999, False),
    ],
)  # fmt: skip
def test_a_package_is_a_name_and_perhaps_a_version(text: str, is_package: bool) -> None:
    if is_package:
        assert requirement(text) == text
    else:
        with pytest.raises(UsageError, match="is no package") as refused:
            making.with_packages(get("sft", "cpu", Path("/cache")), ["peft", text])
        assert len(refused.value.message) < 100


def test_remove_takes_former_pins_of_that_device_alone(steps: list[Step], tmp_path: Path) -> None:
    making.create(toy("ruler"))
    place = toy().folder.parent
    former, others = (
        place / "toy-cpu-0123456789",
        [place / name for name in ("toy-cpu-notes", "toy-cuda-0123456789", "toyland-cpu-0123456789")],
    )
    for folder in (former, *others):
        folder.mkdir()
    making.remove(toy())
    assert sorted(each for each in place.iterdir() if not each.name.startswith(".")) == others
    assert toy().extra == ()


def fake_output(modules: tuple[str, ...], version: str = "1.0") -> Callable[[Step], str]:
    """What an interpreter prints that has these modules."""

    def output(step: Step) -> str:
        if step.says == "list its packages":
            return json.dumps({"toy": version})
        if step.argv[-1].removeprefix("import ") not in modules:
            raise EngineError("it fails")
        return ""

    return output


def test_a_registered_interpreter_is_used_by_its_link(
    steps: list[Step], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making.processes, "output", fake_output(("toy",)))
    link = tmp_path / "python"
    link.symlink_to("/usr/bin/env")
    making.create(toy())
    making.register(toy(), link)
    assert environments.interpreter(toy()) == link


def test_an_interpreter_without_the_engine_is_not_registered(
    steps: list[Step], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making.processes, "output", fake_output(()))
    with pytest.raises(EngineError):
        making.register(toy(), tmp_path / "python")
    assert environments.interpreter(toy()) is None


def test_room_is_that_of_the_disk_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    class Usage:
        free = 2**50

    monkeypatch.setattr(environments.shutil, "disk_usage", lambda path: asked.append(path) or Usage)
    environments.check_machine(get("sft", "cpu", tmp_path / "not" / "yet"))
    assert asked == [tmp_path]


def test_engines_get_the_systems_too(tmp_path: Path) -> None:
    package = tmp_path / "virc"
    package.mkdir()
    for name in ("a.py", "b.yaml", "c.json", "d.safetensors"):
        (package / name).write_text("")
    copied = environments.recipes_in(get("sft", "cpu", tmp_path), package) / "virc"
    assert sorted(file.name for file in copied.iterdir()) == ["a.py", "b.yaml", "c.json"]


def test_a_record_that_cannot_be_read_is_named(steps: list[Step], tmp_path: Path) -> None:
    record = toy().record
    record.parent.mkdir(parents=True)
    record.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"toy-cpu\.with cannot be read"):
        toy()


@pytest.mark.parametrize(
    ("torch", "said"),
    [("2.13.0+cpu", "; torch 2.13.0+cpu is built for a CPU, and for CUDA torchvision 0.28.0"), ("2.13.0", "")],
)
def test_an_import_that_fails_names_builds_that_do_not_fit(
    steps: list[Step], monkeypatch: pytest.MonkeyPatch, torch: str, said: str
) -> None:
    found = {"torch": torch, "torchvision": "0.28.0"}

    def fails(step: Step, *_: object) -> None:
        steps.append(step)
        if step.says == "import toy":
            raise EngineError("operator torchvision::nms does not exist", None)

    def output(step: Step) -> str:
        fails(step)
        return json.dumps(found)

    monkeypatch.setattr(making, "_run", fails)
    monkeypatch.setattr(making.processes, "output", output)
    for make in (lambda: making.create(toy()), lambda: making.register(toy(), Path("python"))):
        with pytest.raises(EngineError) as failed:
            make()
        assert failed.value.message == f"operator torchvision::nms does not exist{said}"


def test_a_registration_that_cannot_be_read_is_said(steps: list[Step]) -> None:
    environment = toy()
    environment.registration.parent.mkdir(parents=True, exist_ok=True)
    environment.registration.mkdir()
    with pytest.raises(ConfigError, match="cannot be read") as refused:
        environments.interpreter(environment)
    assert refused.value.hint == "virc env remove toy --device cpu"
