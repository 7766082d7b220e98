"""Packages of `virc export`: their files, the systems that are refused, and the system that each finds again."""

import json
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from PIL import Image
from support.called import virc
from systems.test_installed_packages import REWARD as BREVITY

from virc.config import yaml
from virc.core.errors import ConfigError
from virc.systems import registry as systems
from virc.systems import texts
from virc_extras.export.digest import digest_of
from virc_extras.export.environment import SETTINGS, of_package
from virc_extras.export.package import TARGETS

MINE = """name: mine
about: for tests
reward: {total: ./rewards/brevity.py}
stages: {rl: {kind: rl, settings: {base: m, data: d, max_turns: 3}}}
"""


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    Image.new("RGB", (280, 196), "white").save(tmp_path / "white.png")
    row = {"id": "a", "image": "white.png", "question": "What colour is it?", "answer": "white", "source": "drawn"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    return tmp_path / "rows.jsonl"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A system of the user's, with a total of its own."""
    (tmp_path / "own" / "rewards").mkdir(parents=True)
    (tmp_path / "own" / "rewards" / "brevity.py").write_text(BREVITY)
    (tmp_path / "own" / "mine.yaml").write_text(MINE)
    return tmp_path / "own" / "mine.yaml"


def exported(system: object, target: str, to: Path, *words: object) -> Path:
    """The module of a new package."""
    done = virc("export", system, to, "--to", target, *words)
    assert done.code == 0, done.err
    (module,) = to.glob("virc_*/__init__.py")
    return module


@pytest.mark.parametrize("target", TARGETS)
def test_a_package_names_its_module_and_compiles(target: str, tmp_path: Path) -> None:
    module = exported("deepeyes", target, tmp_path / "p")
    project = tomllib.loads((tmp_path / "p" / "pyproject.toml").read_text())
    assert project["project"]["dependencies"][0] == f"virc[eval]~={version('virc')}"
    name = {"inspect": "inspect-ai"}.get(target, target)
    assert project["project"]["dependencies"][1].startswith(f"{name}>=")
    assert project["project"]["name"] == module.parent.name.replace("_", "-") == f"virc-deepeyes-{target}"
    assert ("entry-points" in project["project"]) == (target == "inspect")
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [module.parent.name]
    for file in (module, tmp_path / "p" / "tests" / "test_package.py"):
        compile(file.read_text(), file, "exec")
    readme = (tmp_path / "p" / "README.md").read_text()
    assert json.loads((module.parent / SETTINGS).read_text())["digest"] in readme
    assert "$" not in readme.replace("$(", "")
    assert target != "verifiers" or readme.index("virc serve MODEL") < readme.index("vf-eval ")


def test_the_servers_of_a_package_are_where_gym_looks(tmp_path: Path) -> None:
    package = exported("deepeyes", "nemo-gym", tmp_path / "p").parents[1]
    found = yaml.read_mapping(package / "virc_deepeyes_nemo_gym.yaml")
    kinds = {name: next(iter(server)) for name, server in found.items()}
    for name, kind in kinds.items():
        ((folder, server),) = found[name][kind].items()
        named = [server[key] for key in ("resources_server", "agent_server") if key in server]
        assert all(kinds[each["name"]] == each["type"] for each in named)
        if kind != "environment_servers":  # which is a part of Gym
            app = package / kind / folder / server["entrypoint"]
            compile(app.read_text(), app, "exec")
            assert (app.parent / app.with_name("requirements.txt").read_text().strip()).samefile(package)


def test_rows_go_into_the_package_with_their_images_and_columns(rows: Path, tmp_path: Path) -> None:
    rows.write_text(
        rows.read_text() + json.dumps({"id": "b", "image": "white.png", "question": "?", "answer": "2"}) + "\n"
    )
    module = exported("deepeyes", "inspect", tmp_path / "p", "--data", rows)
    rows.unlink()
    (tmp_path / "white.png").unlink()
    environment = of_package(str(module))
    problem, other = environment.problems()
    assert (other.id, other.answer) == ("b", "2")
    assert (problem.id, problem.answer, problem.extra) == ("a", "white", {"source": "drawn"})
    assert environment.begin(problem).images[0].size == (280, 196)


def test_a_system_of_ones_own_goes_along_with_its_files(mine: Path, tmp_path: Path) -> None:
    with (mine.parent / "rewards" / "brevity.py").open("a") as code:
        code.write('\n\nWORDS = open(__file__.replace("brevity.py", "words.txt")).read()\n')
    (mine.parent / "rewards" / "words.txt").write_text("two words")
    module = exported(mine, "verifiers", tmp_path / "p")
    assert (module.parent / "rewards" / "words.txt").read_text() == "two words"
    (mine.parent / "rewards" / "brevity.py").unlink()
    environment = of_package(str(module))
    assert (environment.max_turns, environment.total.file) == (3, module.parent / "rewards" / "brevity.py")


@pytest.mark.parametrize("file", ["system.yaml", "rewards/brevity.py"])
def test_a_changed_system_is_not_taken_for_the_exported_one(file: str, mine: Path, tmp_path: Path) -> None:
    module = exported(mine, "verifiers", tmp_path / "p")
    changed = module.parent / file
    written = json.loads((module.parent / SETTINGS).read_text())["digest"]
    changed.write_text(changed.read_text().replace("max_turns: 3", "max_turns: 4").replace("1 +", "2 +"))
    now = digest_of(systems.get(str(module.parent / "system.yaml")))
    said = rf"^mine is not the system that this package was written from \({written}\), but {now}$"
    with pytest.raises(ConfigError, match=said):
        of_package(str(module))


def test_ls_says_for_each_system_what_it_cannot_have_and_why() -> None:
    found = {row["name"]: row["refused"] for row in virc("export", "ls", "--json").json["systems"]}
    assert set(found["tiny"].values()) == {None}
    assert found["qwen3-vl"]["inspect"] is found["openvlthinker"]["trl"] is None  # which has no tools
    assert found["qwen3-vl"]["trl"] == "it has no reward"
    lines = virc("export", "ls").out.splitlines()
    at = lines.index("mini-o3  verifiers, openenv, inspect, nemo-gym")
    assert lines[at + 1].startswith("  not trl: its grammar is not native tool calls")


@pytest.mark.parametrize(("written", "run", "whose"), [("1", "", "our own words"), ("", "1", "the words of its auth")])
def test_a_package_asks_in_the_words_that_it_was_written_in(
    written: str, run: str, whose: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(texts.OWN_WORDS, "1")
    module = exported("deepeyes", "verifiers", tmp_path / "p")
    assert f"export {texts.OWN_WORDS}=1" in (tmp_path / "p" / "README.md").read_text()
    settings = json.loads((module.parent / SETTINGS).read_text())
    settings["digest"] = digest_of(systems.get("deepeyes"), written == "1")
    (module.parent / SETTINGS).write_text(json.dumps(settings))
    monkeypatch.setenv(texts.OWN_WORDS, run)
    with pytest.raises(ConfigError, match=f"asks deepeyes in {whose}") as error:
        of_package(str(module))
    assert error.value.hint == f"{texts.OWN_WORDS}={int(written == '1')}"


@pytest.mark.parametrize(
    ("total", "says"),
    [
        ("../outside.py", "reward.total names ../outside.py, outside of the system's folder"),
        ("./linked.py", "outside of the system's folder"),
        ("./__init__.py", "as a file of the package is called"),
        ("rows/mine.py", "as a file of the package is called"),
    ],
)
def test_files_of_a_system_that_a_package_cannot_hold_are_refused(
    total: str, says: str, mine: Path, tmp_path: Path
) -> None:
    mine.write_text(MINE.replace("./rewards/brevity.py", total))
    (outside := tmp_path / "outside.py").write_text(BREVITY)
    (mine.parent / "linked.py").symlink_to(outside)
    (place := mine.parent / total).parent.mkdir(exist_ok=True)
    if not place.exists():
        place.write_text(BREVITY)
    done = virc("export", mine, tmp_path / "to", "--to", "openenv")
    assert (done.code, says in done.err) == (2, True), done
