"""Texts of systems' authors: what is taken out of their files, and what stands where they are not on this machine."""

import os
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image
from support.called import virc

from virc.core.errors import ConfigError
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.systems import registry as systems
from virc.systems import speech, texts
from virc.systems.texts import Reference, extract

PYTHON = '''
PLAIN = "one" " two"
class Prompts:
    SYSTEM: str = """first
second {slot}"""
    def build(self, name):
        self.text = f"Hello {name}, {self.x[0]}!\\n"
        messages = [{"role": "user", "content": "of a dict"}]
        return call("on a line, the longer one", "short") + PLAIN
def other():
    TEXT = "before " + PLAIN + " behind"
    ASKED = "Is {} right? {}"
    SPEC = f"{1:.2f} of {name!s}"
    WIDE = f"{x:>{width}}"
'''
NOTEBOOK = '{"cells": [{"source": ["a\\n", "b"]}], "a/b": {"c": "deep"}}'
NONE = {"length": 0, "sha256": "0" * 64, "own": ""}


@pytest.mark.parametrize(
    ("content", "taken", "text"),
    [
        (PYTHON, {"python": "PLAIN"}, "one two"),
        (PYTHON, {"python": "Prompts.SYSTEM"}, "first\nsecond {slot}"),
        (PYTHON, {"python": "Prompts.build.text"}, "Hello {name}, {self.x[0]}!\n"),
        (PYTHON, {"python": "build.content"}, "of a dict"),
        (PYTHON, {"python": 9}, "on a line, the longer one"),
        (PYTHON, {"python": "other.TEXT"}, "before {PLAIN} behind"),
        (PYTHON, {"python": "other.ASKED", "slots": {"{}": "{answer}"}}, "Is {answer} right? {answer}"),
        (PYTHON, {"python": "SPEC"}, "{1:.2f} of {name}"),
        ("\ufeffA = 'of a BOM'", {"python": "A"}, "of a BOM"),
        (PYTHON, {"python": ("PLAIN", 9), "join": "; "}, "one two; on a line, the longer one"),
        (PYTHON, {"python": "PLAIN", "cut": (1, -2)}, "ne t"),
        (PYTHON, {"python": "PLAIN", "slots": {"one": "two", "two": "one"}}, "two one"),
        ("a\nb\nc\n", {"lines": (2, 3)}, "b\nc"),
        (NOTEBOOK, {"json": "/cells/0/source"}, "a\nb"),
        (NOTEBOOK, {"json": "/a~1b/c"}, "deep"),
        ("whole\n", {}, "whole\n"),
        (r"TEX = '\(x\)'", {"python": "TEX"}, r"\(x\)"),  # of which Python warns
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_text_is_taken_out_of_a_file(content: str, taken: dict[str, object], text: str) -> None:
    assert extract(Reference(file="f", **NONE, **taken), content.encode()) == text  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "taken", "why"),
    [
        (b"x = 1", {"python": "x"}, "no string 'x'"),
        (b"x = 'a'", {"python": "Y.x"}, "no class or function 'Y'"),
        (b"x = (", {"python": "x"}, "no Python"),
        (b"x = " + b"(" * 5000, {"python": "x"}, "no Python"),
        (b"\xff", {}, "codec"),
        (b"A = 'a'\nA += 'b'", {"python": "A"}, "put together in several steps"),
        (b"A = 'a'\nif x:\n    A = 'b'", {"python": "A"}, "is set to 2 strings"),
        (b"[1]", {"json": "/a"}, "there is no /a"),
        (b'{"a": 1}', {"json": "/a"}, "no text"),
    ],
)
def test_what_a_file_does_not_have_is_said(content: bytes, taken: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        extract(Reference(file="f", **NONE, **taken), content)  # type: ignore[arg-type]


def system(folder: Path, published: str = "Look at {question} twice.", file: str = "p.txt") -> Path:
    """A system of the user's with one text of a repository; returns its YAML."""
    folder.mkdir(exist_ok=True)
    digest = sha256(published.encode()).hexdigest()
    (folder / "texts.yaml").write_text(
        f"sources:\n  o/n: {{commit: {'ab' * 20}, license: null}}\n"
        f"texts:\n  asked: {{file: {file}, length: {len(published)}, sha256: '{digest}', own: 'Of {{question}}?'}}\n"
    )
    (folder / "system.yaml").write_text(
        "name: looker\nmodels: {small: {folder: ../small}}\ntools: none\n"
        "chat_protocol: {system: Be brief., first: '{images}{text:asked}'}\n"
    )
    return folder / "system.yaml"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a cache in which the files of the repository lie, and no variable for our own words."""
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(texts.OWN_WORDS, "")
    folder = texts.place("o/n", "ab" * 20)
    folder.mkdir(parents=True)
    return folder


def test_a_fetched_text_is_what_a_model_is_asked(tmp_path: Path, cache: Path) -> None:
    (cache / "p.txt").write_text("Look at {question} twice.")
    spoken = speech.worded_by(systems.load(system(tmp_path / "looker")))
    assert spoken
    assert (spoken.first, spoken.name) == ("{images}Look at {question} twice.", "system")
    own = speech.worded_by(systems.load(tmp_path / "looker" / "system.yaml"), own_words=True)
    assert own
    assert (own.first, own.name) == ("{images}Of {question}?", "own words")


@pytest.mark.parametrize("content", [None, "Look at {question} once.", "Look at {question} today."])
def test_no_model_is_asked_with_a_text_that_is_absent_or_another(
    tmp_path: Path, cache: Path, content: str | None
) -> None:
    if content:
        (cache / "p.txt").write_text(content)
    found = systems.load(system(tmp_path / "looker"))
    with pytest.raises(ConfigError, match="another one than" if content else "is not on this machine") as raised:
        speech.worded_by(found)
    assert not content or f"({len(content)} characters, not 25)" in raised.value.message
    assert content or raised.value.hint == ("virc download texts --system looker, or ask in our own words: --own-words")


def test_own_words_are_said_to_be_untrained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoken = speech.worded_by(systems.load(system(tmp_path / "looker")))
    assert spoken
    assert (spoken.first, spoken.name) == ("{images}Of {question}?", "own words")
    monkeypatch.setenv(texts.OWN_WORDS, "")
    Image.new("RGB", (56, 56)).save(tmp_path / "p.png")
    shutil.copytree(EMBEDDED_FOLDER, tmp_path / "small", ignore=shutil.ignore_patterns(FILE_NAME, "*.gguf"))
    asked = ("solve", tmp_path / "p.png", "What?", "--model", "small", "--system", system(tmp_path / "looker"))
    assert "own words, which" not in virc(*asked).err
    assert "small is asked in our own words, which it was not trained with" in virc(*asked, "--own-words").err


def test_texts_of_several_repositories_are_told_apart(tmp_path: Path, cache: Path) -> None:
    folder, published = tmp_path / "both", {"a": "Look.", "b": "And {x}.", "c": "Again."}
    folder.mkdir()
    files = {"a": "p.txt", "b": "d/q.txt, source: hf:datasets/p/q", "c": "r.txt"}
    lines = [
        f"  {name}: {{file: {files[name]}, length: {len(said)}, own: 'our {name}',"
        f" sha256: '{sha256(said.encode()).hexdigest()}'}}\n"
        for name, said in published.items()
    ]  # fmt: skip
    sources = f"sources:\n  o/n: {{commit: {'ab' * 20}}}\n  hf:datasets/p/q: {{commit: {'cd' * 20}, license: MIT}}\n"
    (folder / "texts.yaml").write_text(sources + "texts:\n" + "".join(lines))
    found, other = texts.of(folder), texts.place("hf:datasets/p/q", "cd" * 20)
    assert found
    assert other == tmp_path / "cache" / "texts" / f"datasets+p+q@{'cd' * 6}"
    assert found.files() == {"o/n": ("p.txt", "r.txt"), "hf:datasets/p/q": ("d/q.txt",)}
    assert [*texts.places(found, "hf:datasets/p/q")] == [other / "d/q.txt"]
    for file, name in ((cache / "p.txt", "a"), (other / "d" / "q.txt", "b"), (cache / "r.txt", "c")):
        with pytest.raises(ConfigError, match=f"the text '{name}' of .* is not on this machine"):
            texts.check_texts(folder)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(published[name])
    texts.check_texts(folder)
    asked = {"x": ["{text:a} {text:b}", ("{text:c}", 3)], "y": None}
    assert texts.filled(asked, folder) == {"x": ["Look. And {x}.", ("Again.", 3)], "y": None}
    assert texts.filled(asked, folder, own=True) == {"x": ["our a our b", ("our c", 3)], "y": None}
    assert texts.credited(folder, "") == [
        "It holds texts of o/n, commit abababa, license: none stated.",
        "It holds texts of hf:datasets/p/q, commit cdcdcdc, license: MIT.",
    ]
    file = folder / "texts.yaml"
    file.write_text(file.read_text().replace("our a", "ours").replace(f"length: {len('Again.')}", "length: 7"))
    os.utime(file, (1e9, 1e9))  # what was read before is not taken for it
    assert texts.filled("{text:a}", folder, own=True) == "ours"
    with pytest.raises(ConfigError, match=r"'c' is another one than .* \(6 characters, not 7\)") as refused:
        texts.text(folder, "c")
    assert (refused.value.hint or "").endswith(f"{cache / 'r.txt'} is deleted")


@pytest.mark.parametrize("file", ["../p.txt", "/etc/passwd", "a/../../p.txt"])
def test_no_file_outside_of_the_repository_is_read(tmp_path: Path, cache: Path, file: str) -> None:
    with pytest.raises(ConfigError, match="file"):
        speech.worded_by(systems.load(system(tmp_path / "looker", file=file)))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("o/n:", "o/../../user?x=:", "sources"),
        ("o/n: {", "'..\\..\\x': {", "sources"),
        ("asked:", "my-words:", "texts"),
        ("file: p.txt", "file: p.txt, source: x/y", "does not name the repository of the text asked"),
    ],
)
def test_a_file_of_texts_that_names_no_repository_is_refused(tmp_path: Path, old: str, new: str, why: str) -> None:
    system(tmp_path / "looker")
    file = tmp_path / "looker" / "texts.yaml"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=why):
        texts.of(tmp_path / "looker")


@pytest.mark.parametrize("written", ["{text: asked}", "{texts:asked}", "{text:my-words}"])
def test_no_place_is_left_unfilled(tmp_path: Path, written: str) -> None:
    file = system(tmp_path / "looker")
    file.write_text(file.read_text().replace("Be brief.", f"'{written}'"))
    with pytest.raises(ConfigError, match="stands for no text"):
        speech.worded_by(systems.load(file))
