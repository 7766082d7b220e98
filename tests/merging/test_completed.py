"""Which files come with merged weights, and what a plan asks for; nothing is merged."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from sharded import lay_out
from support.made import make

from virc.core.errors import ConfigError, NoAnswerError, VircError
from virc.core.events import Event, Reporter
from virc.core.plan import Step
from virc.engines.merge import common
from virc.envs import environment as environments
from virc.envs.pins import get
from virc.merging import build
from virc.merging.source import Source
from virc.models import provenance
from virc.models.chat_protocol import of_system, read_protocol, written
from virc.models.provenance import Origin
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.runs.run import Run
from virc.solving.one import Solved
from virc.systems import registry as systems

TEXTS = (
    "chat_template.jinja", "chat_template.json", "generation_config.json", "merges.txt", "preprocessor_config.json",
    "processor_config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json",
    "video_preprocessor_config.json", "vocab.json", "added_tokens.json",
)  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """A model with every file that one may have, a base with licences, and a run's tools."""
    texts, base, code = (tmp_path / name for name in ("texts", "base", "code"))
    for folder in (texts, base, code):
        folder.mkdir()
    for file in TEXTS:
        (texts / file).write_text("{}")
    for file in ("preprocessor_config.json", "config.json", "model.safetensors"):
        shutil.copyfile(EMBEDDED_FOLDER / file, texts / file)
    (texts / "optimizer.pt").write_text("not of the model")
    for file in ("LICENSE", "NOTICE.txt", "README.md", "LICENSE.md~"):
        (base / file).write_text(file)
    for file in ("spin.py", "reward.py"):
        (code / file).write_text(f"# {file}\n")
    protocol = msgspec.structs.replace(read_protocol(EMBEDDED_FOLDER / FILE_NAME), tools=("crop_image", "spin"))
    (code / FILE_NAME).write_bytes(written(protocol))
    about = Origin(kind="model", source="first@8")
    return Source(
        folder=texts, texts=texts, name="first", origin=about, base=base, chat_protocol=code / FILE_NAME, code=code
    )


def test_all_files_of_a_model_come_and_no_others(source: Source, tmp_path: Path) -> None:
    folder = tmp_path / "merged"
    folder.mkdir()
    build.complete(source, folder, "first", build.copy_weights(source, folder))
    expected = {*TEXTS, "config.json", "model.safetensors", "LICENSE", "NOTICE.txt", "README.md", FILE_NAME, "code"}
    assert {file.name for file in folder.iterdir()} == {*expected, provenance.FILE_NAME}
    assert (folder / FILE_NAME).read_bytes() == source.chat_protocol.read_bytes()  # type: ignore[union-attr]
    assert [file.name for file in (folder / "code").iterdir()] == ["spin.py"]
    card = (folder / "README.md").read_text()
    for said in ("# first\n", "first@8", "(LICENSE, NOTICE.txt next to this file)", "| code/spin.py | ", "1,527,424"):
        assert said in card, said


def test_a_model_goes_into_the_folder_that_python_names_and_into_gguf_where_it_asks_so(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans, checked = list[build.MergePlan](), list[Path]()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(build.sources, "find", lambda *_: source)
    monkeypatch.setattr(build.writing, "check", checked.append)
    monkeypatch.setattr(build, "write", lambda plan, _: plans.append(plan) or SimpleNamespace(folder=plan.folder))
    assert build.merge("first", to=str(tmp_path / "to"), gguf=True) == tmp_path / "to"
    assert build.merge(Path("first")) == Path("models/first")
    assert ([plan.gguf for plan in plans], checked) == ([True, False], [source.texts])


def test_the_card_has_assumptions_with_the_values_of_the_run(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"n": 16, "learning_rate": 1e-6, "temperature": 0.7}
    origins = {"n": "--set", "learning_rate": "grip"}
    info = SimpleNamespace(system="grip", stage="rl", settings=settings, origins=origins)
    monkeypatch.setattr(build.runs, "info", lambda _: info)
    monkeypatch.setattr(build.model_card, "text", lambda *given: "\n".join(given[-1]))
    folder = tmp_path / "merged"
    folder.mkdir()
    trained = msgspec.structs.replace(source, run=Run(tmp_path / "run"))
    build.complete(trained, folder, "first", build.copy_weights(source, folder))
    card = (folder / "README.md").read_text()
    assert "assumed: n of rl 8, here 16: " in card
    assert "assumed: learning_rate of instruct 1e-05: " in card
    assert "assumed too, as this package's defaults: temperature 0.7\n" in f"{card}\n"


@pytest.mark.parametrize(("system", "said"), [("chain-of-focus", 2), ("deepeyes", 1), ("tiny", 0)])
def test_the_card_says_whose_texts_the_chat_protocol_holds(
    system: str, said: int, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = SimpleNamespace(system=system, stage="rl", settings={}, origins={})
    monkeypatch.setattr(build.runs, "info", lambda _: info)
    monkeypatch.setattr(build.model_card, "text", lambda *given: "\n## Licence\n")
    for name, spoken, count in (("theirs", None, said), ("ours", of_system(systems.get(system)).protocol, 0)):
        folder = tmp_path / name
        folder.mkdir()
        trained = msgspec.structs.replace(source, run=Run(tmp_path / "run"))
        if spoken:  # in our own words, as tests are
            (tmp_path / FILE_NAME).write_bytes(written(spoken))
            trained = msgspec.structs.replace(trained, chat_protocol=tmp_path / FILE_NAME)
        build.complete(trained, folder, "first", build.copy_weights(source, folder))
        assert (folder / "README.md").read_text().count("It holds texts of ") == count


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "config.yaml"))
    return tmp_path


def test_any_environment_of_verl_merges(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "default_device", lambda: "cuda")
    monkeypatch.setattr(environments, "recipes_in", environments.recipes_place)  # nothing is copied
    lay_out(workspace / "global_step_5")
    for device in ("cpu", "cuda"):
        made = get("rl", device, workspace / "cache")
        made.marker.parent.mkdir(parents=True)
        made.marker.write_text("{}")
        assert build.prepare("global_step_5").python == made.python
    run = make(workspace, "first", kind="rl", device="cpu", base=str(EMBEDDED_FOLDER))  # which has its own first
    lay_out(run.checkpoints / "global_step_5")
    (run.checkpoints / "latest_checkpointed_iteration.txt").write_text("5")
    plan = build.prepare("first")
    assert plan.python == get("rl", "cpu", workspace / "cache").python
    step = plan.process(workspace / "to")
    assert step
    assert step.step.says == "merge first@5"


def test_a_name_that_means_something_else_is_refused(workspace: Path) -> None:
    make(workspace, "other", base=str(EMBEDDED_FOLDER))
    with pytest.raises(ConfigError, match="a model cannot be called other"):
        build.prepare("tiny", Path("models/other"), gguf=True)


def test_a_merged_model_is_asked_for_minutes_at_most_and_ctrl_c_ends_it(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, closed = [], list[bool]()
    model: Any = SimpleNamespace(
        backend=SimpleNamespace(close=lambda: closed.append(True)), chat_protocol=SimpleNamespace(protocol=None)
    )
    errors: list[BaseException] = [KeyboardInterrupt(), NoAnswerError("no answer in 16 turns")]

    def solve(config: build.SolveConfig, *_: object) -> Solved:
        asked.append(config.timeout)
        return Solved((), error=errors.pop(0))

    monkeypatch.setattr(build, "solve", solve)
    events: list[Event] = []
    with pytest.raises(KeyboardInterrupt):
        build._answer(model, Reporter())
    assert build._answer(model, Reporter(events.append)) is None
    assert (asked, closed) == ([300, 300], [True, True])
    assert "it answers nothing (no answer in 16 turns); the right answer is " in events[0].text


def test_a_gguf_file_is_written_under_the_name_of_the_model(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build.writing, "convert", lambda *given: given)
    plan = build.MergePlan(source, tmp_path / "models" / "mine", Path("python"), tmp_path, True)
    written: Any = build._as_gguf(plan, tmp_path / ".mine.partial", Reporter())
    assert written == (tmp_path / ".mine.partial", tmp_path / ".mine.partial", "mine")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build.writing, "convert", full)
    with pytest.raises(VircError, match="the GGUF file cannot be written: no space left on device"):
        build._as_gguf(plan, tmp_path, Reporter())


def test_lines_of_the_process_that_merges_are_its_progress_and_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    def output(step: Step, on_line: Callable[[str], None]) -> str:
        for line in (f"{common.PROGRESS}half of it", "a line of torch"):
            on_line(line)
        return msgspec.json.encode(common.Output(7)).decode()

    events: list[Event] = []
    monkeypatch.setattr(build.processes, "output", output)
    assert build._run(Step((), ""), Reporter(events.append)) == 7
    assert events == [Event("progress", "half of it"), Event("log", "a line of torch")]
