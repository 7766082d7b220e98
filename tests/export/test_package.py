"""Packages of `virc export`: their files, the systems that are refused, and the system that each finds again."""

import json
import shutil
import tomllib
from importlib.metadata import version
from pathlib import Path

import msgspec
import pytest
from PIL import Image
from support.called import virc

from virc.core.errors import ConfigError, DataError
from virc.export.digest import digest_of
from virc.export.environment import SETTINGS, of_package
from virc.export.package import TARGETS, refusals
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.reasoning.session import SOLVE
from virc.systems import registry as systems
from virc.systems import texts

MINE = """name: mine
about: for tests
reward: {total: ./rewards/brevity.py}
stages: {rl: {kind: rl, settings: {base: m, data: d, max_turns: 3}}}
"""
BREVITY = '''"""More for shorter replies."""

TERMS = ("short",)


def short(sample, means):
    """1 of an empty reply, and less the longer it is."""
    return 1 / (1 + len(sample.text))


def total(t):
    return t.short
'''


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
    name = {"openenv": "openenv-core", "inspect": "inspect-ai"}.get(target, target)
    assert project["project"]["dependencies"][1].startswith(f"{name}>=")
    assert project["project"]["name"] == module.parent.name.replace("_", "-") == f"virc-deepeyes-{target}"
    assert ("entry-points" in project["project"]) == (target == "inspect")
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [module.parent.name]
    for file in (module, tmp_path / "p" / "tests" / "test_package.py"):
        compile(file.read_text(), file, "exec")
    readme = (tmp_path / "p" / "README.md").read_text()
    assert json.loads((module.parent / SETTINGS).read_text())["digest"] in readme
    assert "$" not in readme.replace("$(", "")


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


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("verifiers", "--env.taskset.rows ROWS --no-push"),
        ("openenv", "VIRC_ROWS=ROWS python -m uvicorn"),
        ("inspect", "openai-api/virc/MODEL -T rows=ROWS"),
        ("trl", 'trainer("ROWS")('),
    ],
)
def test_commands_of_a_package_without_rows_name_some(target: str, names: str, rows: Path, tmp_path: Path) -> None:
    exported("deepeyes", target, tmp_path / "without")
    exported("deepeyes", target, tmp_path / "with", "--data", rows)
    without, own = ((tmp_path / folder / "README.md").read_text() for folder in ("without", "with"))
    assert names in without
    assert "ROWS" not in own.replace("VIRC_ROWS=FILE", "")
    assert [("rows that you name" in text, "its own rows" in text) for text in (without, own)] == [
        (True, False), (False, True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("system", "words", "warned"),
    [
        ("deepeyes", (), True),
        ("deepeyes", ("--set", "reward.judge.endpoint=http://judge/v1"), False),
        ("visual-rft", (), False),
    ],
)
def test_a_judge_without_an_endpoint_is_told(system: str, words: tuple[str, ...], warned: bool, tmp_path: Path) -> None:
    done = virc("export", system, tmp_path / "p", "--to", "verifiers", *words)
    assert ("the reward asks a judge (" in done.err, done.code) == (warned, 0), done.err


@pytest.mark.parametrize(("critic", "warned"), [("{endpoint: 'http://c:1/v1'}", False), ("{}", True)])
def test_a_judge_of_a_name_has_an_endpoint_of_its_own(critic: str, warned: bool, mine: Path, tmp_path: Path) -> None:
    judges = f"{{total: ./rewards/brevity.py, judges: {{critic: {critic}}}}}"
    mine.write_text(MINE.replace("{total: ./rewards/brevity.py}", judges))
    (mine.parent / "rewards" / "brevity.py").write_text(
        "from virc.rewards.question import Question, yes_no\nTERMS = ('fine',)\n"
        "fine = Question('{answer}?', yes_no, judge='critic')\ndef total(t): return t.fine or 0\n"
    )
    done = virc("export", mine, tmp_path / "p", "--to", "openenv")
    assert ("the reward asks a judge (fine), and no endpoint" in done.err, done.code) == (warned, 0), done.err


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_texts_without_a_license_are_told_of(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, mark in (("a", "# "), ("b", "nowhere in it")):
        monkeypatch.setattr(texts, "NO_LICENSE", mark)
        done = virc("export", "visual-rft", tmp_path / folder, "--to", "verifiers", *words)
        assert ("they state no license" in done.err, done.code) == (mark == "# ", 0), done.err


def test_tools_of_a_package_name_the_extra_that_they_need(tmp_path: Path) -> None:
    exported("vrag-rl", "verifiers", tmp_path / "p")
    assert "virc[eval,search]~=" in (tmp_path / "p" / "pyproject.toml").read_text()


def test_a_package_without_rows_asks_for_them(rows: Path, tmp_path: Path) -> None:
    environment = of_package(module := str(exported("deepeyes", "inspect", tmp_path / "p")))
    with pytest.raises(DataError, match="holds no rows"):
        environment.problems()
    assert len(environment.problems(rows)) == 1
    rows.write_text(rows.read_text() * 25)
    assert len(of_package(module).problems(rows)) == 25


def test_the_stage_says_turns_and_reward(tmp_path: Path) -> None:
    assert of_package(str(exported("deepeyes", "verifiers", tmp_path / "a"))).max_turns == 5
    words = ("--with", "multi-turn", "--set", "max_turns=3")
    environment = of_package(str(exported("tiny", "verifiers", tmp_path / "b", *words)))
    assert (environment.max_turns, environment.total.name, environment.tolerate) == (3, "outcome", frozenset())
    assert of_package(str(next((tmp_path / "b").glob("virc_*/__init__.py"))), evaluates=True).tolerate == SOLVE


def test_the_embedded_model_says_protocol_and_grid(tmp_path: Path) -> None:
    environment = of_package(str(exported("tiny", "verifiers", tmp_path / "p")))
    assert environment.settings.grid.max_pixels == 63504
    assert "virc download texts" not in (tmp_path / "p" / "README.md").read_text()
    assert environment.protocol.system.startswith("You answer questions about p")


def test_a_base_of_ones_own_says_protocol_and_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(texts, "credited", lambda *_: ["by A", "by B"])
    shutil.copytree(EMBEDDED_FOLDER, "models/mine", ignore=shutil.ignore_patterns("*.gguf"))
    spoken = json.loads(Path("models/mine", FILE_NAME).read_text())
    Path("models/mine", FILE_NAME).write_text(json.dumps({**spoken, "system": "Mine."}))
    processor = json.loads(Path("models/mine/preprocessor_config.json").read_text())
    Path("models/mine/preprocessor_config.json").write_text(json.dumps({**processor, "max_pixels": 28 * 28 * 50}))
    Path("rows.jsonl").touch()
    module = exported("tiny", "verifiers", tmp_path / "p", "--base", "mine", "--set", "data=rows.jsonl")
    environment = of_package(str(module))
    assert (environment.protocol.system, environment.settings.grid.max_pixels) == ("Mine.", 28 * 28 * 50)
    assert (tmp_path / "p" / "README.md").read_text().endswith("\n## Texts of others\n\nby A\nby B\n")


def test_what_is_not_public_cannot_be_rewarded() -> None:
    closed = msgspec.structs.replace(systems.get("deepeyes"), reward=systems.Reward(total=None))
    assert refusals(closed) == dict.fromkeys(TARGETS, "its reward is not public") | {"inspect": None}


def test_a_system_of_ones_own_goes_along_with_its_files(mine: Path, tmp_path: Path) -> None:
    module = exported(mine, "verifiers", tmp_path / "p")
    (mine.parent / "rewards" / "brevity.py").unlink()
    environment = of_package(str(module))
    assert (environment.max_turns, environment.total.file) == (3, module.parent / "rewards" / "brevity.py")


def test_a_package_is_of_the_version_of_virc_that_wrote_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest_of(systems.get("deepeyes"))
    monkeypatch.setattr("virc.export.digest.version", lambda _: "9.9.9")
    assert digest_of(systems.get("deepeyes")) != before


def test_a_system_is_known_by_its_pipeline_too(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from virc.solving.pipelines import Role\nROLES = {'eyes': Role()}\n"
        "def solve(problem, roles):\n    return roles.eyes.ask(problem.question)\n"
    )
    (tmp_path / "own.yaml").write_text("name: own\npipeline: own.py\n")
    before = digest_of(systems.get(str(tmp_path / "own.yaml")))
    (tmp_path / "own.py").write_text((tmp_path / "own.py").read_text().replace("problem.question", "'What?'"))
    assert digest_of(systems.get(str(tmp_path / "own.yaml"))) != before


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


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("mini-o3", "DIR", "--to", "trl"), "its grammar is not native tool calls"),
        (("thyme", "DIR", "--to", "inspect"), "stands inside the model's own turn"),
        (("virgo", "DIR", "--to", "verifiers"), "it has no reward"),
        (("chain-of-focus", "DIR", "--to", "inspect"), "which inspect_ai joins to the reply before"),
        (("chain-of-focus", "DIR", "--to", "openenv"), "compares the rollouts of a problem"),
        (("hydra", "DIR", "--to", "inspect"), "it is a pipeline of several models"),
        (("deepeyes-v2", "DIR", "--to", "openenv", "--stage", "cold-start"), "is not of the kind rl"),
        (("reasonmap", "DIR", "--to", "openenv", "--set", "max_turns=2"), "no stage of the kind rl"),
        (("reasonmap", "DIR", "--to", "openenv", "--with", "x"), "no stage of the kind rl"),
        (("deepeyes", "DIR", "--to", "openenv", "--set", "turns=2"), "turns"),
        (("deepeyes", "DIR", "--to", "openenv", "--set", "reward.total=./taken.py"), "which the package does not hold"),
        (("deepeyes", "DIR", "--to", "openenv", "--set", "reward.total=./gone.py"), "there is no file ./gone.py"),
        (("deepeyes", ".", "--to", "openenv"), "is in use"),
        (("deepeyes", "DIR", "--to", "openenv", "--data", "none.json"), "none.json holds no problem"),
    ],
)
def test_what_is_refused(
    words: tuple[str, ...], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.py").write_text(BREVITY)
    (tmp_path / "none.json").write_text("[]")
    done = virc("export", *(str(tmp_path / "new") if w == "DIR" else str(tmp_path) if w == "." else w for w in words))
    assert done.code in (2, 3, 5)
    assert sentence in done.err
    assert ("hint: --to verifiers or --to openenv or --to inspect\n" in done.err) == ("grammar is not" in sentence)
    assert not (tmp_path / "new").exists()


def test_ls_says_for_each_system_what_it_cannot_have_and_why() -> None:
    found = {row["name"]: row["refused"] for row in virc("export", "ls", "--json").json["systems"]}
    assert set(found["tiny"].values()) == {None}
    assert found["qwen3-vl"]["inspect"] is found["openvlthinker"]["trl"] is None  # which has no tools
    assert found["qwen3-vl"]["trl"] == "it has no reward"
    lines = virc("export", "ls").out.splitlines()
    at = lines.index("mini-o3  verifiers, openenv, inspect")
    assert lines[at + 1].startswith("  not trl: its grammar is not native tool calls")


def test_ls_needs_no_text_of_the_authors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = virc("export", "ls").out
    monkeypatch.setenv(texts.OWN_WORDS, "")
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path))
    assert virc("export", "ls").out == expected


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
        ("./__init__.py", "as a file of the package is called"),
        ("rows/mine.py", "as a file of the package is called"),
    ],
)
def test_files_of_a_system_that_a_package_cannot_hold_are_refused(
    total: str, says: str, mine: Path, tmp_path: Path
) -> None:
    mine.write_text(MINE.replace("./rewards/brevity.py", total))
    (mine.parent / total).parent.mkdir(exist_ok=True)
    (mine.parent / total).write_text(BREVITY)
    done = virc("export", mine, tmp_path / "to", "--to", "openenv")
    assert (done.code, says in done.err) == (2, True), done


def test_a_link_out_of_the_folder_of_a_system_is_refused(mine: Path, tmp_path: Path) -> None:
    (elsewhere := tmp_path / "elsewhere.py").write_text(BREVITY)
    mine.write_text(MINE.replace("./rewards/brevity.py", "./linked.py"))
    (mine.parent / "linked.py").symlink_to(elsewhere)
    done = virc("export", mine, tmp_path / "to", "--to", "openenv")
    assert (done.code, "outside of the system's folder" in done.err) == (2, True), done


def test_a_reward_that_cannot_be_loaded_is_named_where_the_user_has_it(mine: Path, tmp_path: Path) -> None:
    (mine.parent / "rewards" / "brevity.py").write_text("1 / 0")
    done = virc("export", mine, tmp_path / "to", "--to", "inspect")
    assert f"{mine.parent}/rewards/brevity.py cannot be loaded" in done.err


def test_files_that_no_key_names_stay_out_of_the_package(mine: Path, tmp_path: Path) -> None:
    (mine.parent / "secret.env").write_text("mine")
    mine.write_text(MINE.replace("about: for tests", "about: secret.env"))
    exported(mine, "openenv", tmp_path / "to")
    assert not list((tmp_path / "to").rglob("secret.env"))
