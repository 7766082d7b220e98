"""Which files come with merged weights, and what a plan asks for; nothing is merged."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from virc.merging import build
from virc.merging.source import MergeSource
from virc.models import provenance
from virc.models.chat_protocol import of_system, read_protocol, written
from virc.models.provenance import Origin
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.runs.run import Run
from virc.systems import registry as systems

TEXTS = (
    "chat_template.jinja", "chat_template.json", "generation_config.json", "merges.txt", "preprocessor_config.json",
    "processor_config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json",
    "video_preprocessor_config.json", "vocab.json", "added_tokens.json",
)  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> MergeSource:
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
    (code / "lists").mkdir()
    (code / "lists" / "words.txt").write_text("two words")
    protocol = msgspec.structs.replace(read_protocol(EMBEDDED_FOLDER / FILE_NAME), tools=("crop_image", "spin"))
    (code / FILE_NAME).write_bytes(written(protocol))
    about = Origin(kind="model", source="first@8")
    return MergeSource(
        folder=texts, texts=texts, name="first", origin=about, base=base, chat_protocol=code / FILE_NAME, code=code
    )


def test_all_files_of_a_model_come_and_no_others(source: MergeSource, tmp_path: Path) -> None:
    folder = tmp_path / "merged"
    folder.mkdir()
    assert source.code
    (source.code / "spin.py").write_text("WORDS = 'lists/words.txt'\n")
    build.complete(source, folder, "first", build.copy_weights(source, folder))
    expected = {*TEXTS, "config.json", "model.safetensors", "LICENSE", "NOTICE.txt", "README.md", FILE_NAME, "code"}
    assert {file.name for file in folder.iterdir()} == {*expected, provenance.FILE_NAME}
    assert (folder / FILE_NAME).read_bytes() == source.chat_protocol.read_bytes()  # type: ignore[union-attr]
    assert {file.name for file in (folder / "code").rglob("*.*")} == {"spin.py", "words.txt"}
    card = (folder / "README.md").read_text()
    for said in (
        "# first\n",
        "first@8",
        "(LICENSE, NOTICE.txt next to this file)",
        "| code/spin.py | ",
        "1,527,424",
        "virc solve --model first IMAGE 'QUESTION'",
    ):
        assert said in card, said


@pytest.mark.parametrize(("system", "said"), [("chain-of-focus", 2), ("deepeyes", 1), ("tiny", 0)])
def test_the_card_says_whose_texts_the_chat_protocol_holds(
    system: str, said: int, source: MergeSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = SimpleNamespace(system=system, stage="rl", settings={}, origins={})
    monkeypatch.setattr(build.runs, "info", lambda _: info)
    monkeypatch.setattr(build.model_card, "text", lambda *given: "\n## Licence\n")
    for name, spoken, count in (("theirs", None, said), ("ours", of_system(systems.get(system)), 0)):
        folder = tmp_path / name
        folder.mkdir()
        trained = msgspec.structs.replace(source, run=Run(tmp_path / "run"))
        if spoken:  # in our own words, as tests are
            (tmp_path / FILE_NAME).write_bytes(written(spoken))
            trained = msgspec.structs.replace(trained, chat_protocol=tmp_path / FILE_NAME)
        build.complete(trained, folder, "first", build.copy_weights(source, folder))
        assert (folder / "README.md").read_text().count("It holds texts of ") == count
