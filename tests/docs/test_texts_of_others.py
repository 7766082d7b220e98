"""`.ci/texts` finds sentences of others in strings of the zoo, Python too, by digests of their runs of six words."""

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[2] / ".ci" / "texts"
IN_A_PIPELINE = ("5a914d1adb", "03ea26e3e6", "e57e288c72")
"""Of a run of words of each sentence of proreason's authors that was in its pipeline once."""


@pytest.fixture(scope="module")
def check() -> ModuleType:
    loader = SourceFileLoader("texts_of_others", str(FILE))
    spec = spec_from_loader(loader.name, loader)
    assert spec
    module = module_from_spec(spec)
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    loader.exec_module(module)
    sys.dont_write_bytecode = before
    return module


def test_words_of_a_referenced_text_are_known(check: ModuleType) -> None:
    assert {bytes.fromhex(each) for each in IN_A_PIPELINE} <= check.known()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("recipes/virc_zoo/a/pipeline.py", 'ASKED = f"Now look at every corner of this {1} picture"\n'),
        ("recipes/virc_zoo/a/system.yaml", "first: now look at every corner of this\n"),
        ("recipes/virc_zoo/a/texts.yaml", "texts: {a: {own: Look at every corner of this}}\n"),
        ("tests/zoo/cases/a.json", '["<answer>look at every corner of this"]\n'),
    ],
)
def test_a_sentence_of_others_is_found_in_every_kind_of_file(
    name: str, content: str, check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = frozenset(digest for _, digest in check.runs("Please look at every corner of this thing."))
    monkeypatch.setattr(check, "known", lambda: digests)
    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setattr(check, "ZOO", tmp_path / "recipes" / "virc_zoo")
    (file := tmp_path / name).parent.mkdir(parents=True)
    file.write_text(content)
    assert [*check.copies()] == [f"{name}: words of others: 'look at every corner of this'"]


def test_notes_names_and_marks_are_no_words_of_others(check: ModuleType) -> None:
    texts = (
        "notes: {a: look at every corner of this}",
        "hub: look/at/every/corner/of/this",
        "a: <look at every corner of>",
    )
    assert not [run for text in texts for each in check.of_yaml(check.yaml.safe_load(text)) for run in check.runs(each)]
