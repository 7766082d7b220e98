"""`virc download` brings the texts of a system's authors, against servers that answer as GitHub and the hub do."""

import json
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from github_server import GitHub, Project, github
from PIL import Image
from support.called import virc

from virc.download.protocol_source import fetch_chat_protocol
from virc.models.chat_protocol import read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.systems import registry as systems
from virc.systems import texts

ASKED = "Look at {question} twice.\nThen answer."
JUDGED = "Is it so?"
CODE = f'class Prompts:\n    ASKED = "Look at %s twice." + "\\n" + "Then answer."\nJUDGED = "{JUDGED}"\n'
PROJECTS = {"o/n": Project({"code/prompts.py": CODE.encode(), "unread.bin": bytes(2**20)})}


def entry(name: str, text: str, own: str, where: str) -> str:
    digest = sha256(text.encode()).hexdigest()
    proof = f"length: {len(text)}, sha256: '{digest}'"
    return f"  {name}: {{file: code/prompts.py, {where}, {proof}, own: {json.dumps(own)}}}\n"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[GitHub]:
    """GitHub with the repository; in the working folder the system `looker` and its weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(texts.OWN_WORDS, "")
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VIRC_PATH", str(tmp_path / "systems"))
    folder = tmp_path / "systems" / "looker"
    folder.mkdir(parents=True)
    (folder / "texts.yaml").write_text(
        f"sources:\n  o/n: {{commit: {PROJECTS['o/n'].commit}, license: MIT}}\ntexts:\n"
        + entry("asked", ASKED, "Of {question}?", 'python: Prompts.ASKED, slots: {"%s": "{question}"}')
        + entry("judged", JUDGED, "So?", "python: JUDGED")
    )
    (folder / "system.yaml").write_text(
        f"name: looker\ntools: none\nmodels: {{small: {{folder: {tmp_path}/small}}}}\n"
        "chat_protocol: {system: Be brief., first: '{images}{text:asked}'}\n"
    )
    Image.new("RGB", (56, 56), "white").save("p.png")
    shutil.copytree(EMBEDDED_FOLDER, "small", ignore=shutil.ignore_patterns(FILE_NAME, "*.gguf"))
    with github(monkeypatch, PROJECTS) as running:
        yield running


def test_only_the_named_files_are_fetched_and_written_once(server: GitHub, tmp_path: Path) -> None:
    assert (
        virc("download", "texts", "--system", "looker", "--json").json["items"][0]["files"][0]["name"]
        == "code/prompts.py"
    )
    place = texts.place("o/n", PROJECTS["o/n"].commit)
    assert place.is_relative_to(tmp_path / "cache")
    assert [file.name for file in place.rglob("*.*") if ".virc-download" not in str(file)] == ["prompts.py"]
    (file,) = place.rglob("prompts.py")
    before = file.stat().st_mtime_ns
    assert virc("download", "texts", "--system", "looker", "--json").json["items"][0]["state"] == "present"
    assert file.stat().st_mtime_ns == before


def test_a_model_gets_the_chat_protocol_of_its_system(server: GitHub, tmp_path: Path) -> None:
    assert virc("download", "texts", "--system", "looker").code == 0
    system, warned = systems.get("looker"), list[object]()
    file = fetch_chat_protocol(system, system.models["small"], tmp_path, lambda *each: warned.append(each))
    assert file == tmp_path / "virc_protocol.json"
    assert read_protocol(file).first == "{images}" + ASKED
    assert warned == []


def test_a_text_that_is_not_the_one_referred_to_is_refused(server: GitHub) -> None:
    assert virc("download", "texts", "--system", "looker").code == 0
    file = texts.place("o/n", PROJECTS["o/n"].commit) / "code/prompts.py"
    file.write_text(CODE.replace("twice", "once"))
    done = virc("solve", "p.png", "What is it?", "--model", "small", "--system", "looker")
    assert (done.code, "another one than the system names" in done.err) == (3, True), done.err
