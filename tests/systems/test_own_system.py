"""A system of the user's own, with a tool next to its YAML: what commands say of rows that do not go with it."""

import json
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image
from support.called import virc
from support.servers import serve
from support.solving import answer, call
from support.tables import each_case
from support.workspaces import copy_of_tiny

from virc.tools import registry as tools

pytestmark = pytest.mark.integration

WORDS = """chat_protocol:
  system: "Write a call as [[...]], and what you found behind ANSWER:."
  grammar:
    think: null
    calls: [{open: "[[", close: "]]", names: {cut: crop_image, again: show_again}}]
    answer: ["ANSWER:", ""]
"""
TRAIN = ("train", "OWN", "--from", "tiny", "--dry-run", "--stage")
RL = (*TRAIN, "rl", "--set", "prompt_length=4096", "--data")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    words = ("--count", 8, "--seed", 1, "--formats", "sft,rl,prompts")
    assert virc("data", "synth", "--to", folder / "drawn", *words).code == 0
    return folder


@pytest.fixture
def workspace(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rows in the chat protocol of `tiny`; systems `worded`, with words of its own, and `tooled`, with a tool alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tools, "_CUSTOM", {})
    Path("drawn").symlink_to(drawn / "drawn")
    source = Path(tools.get("display_image").__file__ or "").read_text()
    Path("show_again.py").write_text(source.replace("display_image", "show_again"))
    offered = "tools: [crop_image, ./show_again.py]\n"
    copy_of_tiny(tmp_path, "worded", "\nmodels:", f"\n{offered}{WORDS}models:")
    copy_of_tiny(tmp_path, "tooled", "\nmodels:", f"\n{offered}models:")
    return tmp_path


@each_case(
    ("words", "rows", "target"),
    [
        ((*TRAIN, "instruct", "--data", "drawn/trajectories.json"), "drawn/trajectories.json", "sft"),
        ((*RL, "drawn/rl.parquet"), "drawn/rl.parquet", "rl"),
        (("rewards", "try", "OWN", "--data", "drawn/rl.parquet"), "drawn/rl.parquet", "rl"),
        (("data", "check", "drawn/trajectories.json", "--system", "OWN"), "drawn/trajectories.json", "sft"),
    ],
)
def test_rows_in_another_chat_protocol_than_the_system_are_named_with_what_mends_them(
    workspace: Path, tmp_path: Path, words: tuple[str, ...], rows: str, target: str
) -> None:
    system, folder = str(workspace / "worded.yaml"), str(tmp_path / "converted")
    done = virc(*(system if word == "OWN" else word for word in words))
    said = [line for line in f"{done.out}\n{done.err}".splitlines() if "system worded" in line or "convert" in line]
    assert (done.code, " ".join(said).count("in another chat protocol than the system worded")) == (0, 1), said
    (typed,) = re.findall(r"virc data convert (.*)$", "\n".join(said), re.M)
    file, *_, form, named, of = shlex.split(typed)
    assert (named, of) == ("--system", system)
    assert (Path(file).resolve(), form) == (Path(rows).resolve(), target)
    assert virc("data", "convert", file, "--to", folder, "--format", form, "--system", system).code == 0
    again = virc(*({"OWN": system, rows: folder}.get(word, word) for word in words))
    assert (again.code, "than the system" in again.out + again.err) == (0, False), again.err


@each_case(
    ("stage", "offers"),
    [
        (("instruct", "--data", "drawn/trajectories.json"), False),
        (("rl", "--data", "drawn/rl.parquet"), True),
        (
            ("rl", "--data", "drawn/prompts.parquet", "--set", "rollout=multi_turn", "--set", "reward.total=outcome"),
            True,
        ),
    ],
)
@pytest.mark.usefixtures("workspace")
def test_a_tool_that_a_system_adds_is_offered_in_rl_and_missed_in_rows(stage: tuple[str, ...], offers: bool) -> None:
    length = ("--set", "prompt_length=4096", "--set", "response_length=4096") if offers else ()
    done = virc("train", "./tooled.yaml", "--from", "tiny", "--dry-run", "--json", "--stage", *stage, *length)
    assert done.code == 0, done.err
    (protocol,) = (json.loads(text) for name, text in done.json["files"].items() if name.endswith("protocol.json"))
    warned = "warning: the rows do not offer show_again, as the system tooled does" in done.err
    assert ("show_again" in protocol["tools"], '"name": "show_again"' in protocol["system"], warned) == (
        offers, offers, not offers
    )  # fmt: skip


@pytest.mark.usefixtures("workspace")
def test_checks_of_rows_in_several_processes_find_the_tools_beside_the_system() -> None:
    words = ("data", "convert", "drawn/trajectories.json", "--to", "own", "--format", "sft", "--system", "tooled.yaml")
    assert virc(*words).code == 0
    done = virc("data", "check", "own", "--system", "tooled.yaml", "--workers", 2)
    assert (done.code, "8 rows, 8 good" in done.out) == (0, True), done.err


def test_a_served_model_that_is_none_of_the_systems_is_asked_in_its_words(workspace: Path) -> None:
    Image.new("RGB", (112, 84)).save("figure.png")
    words = ("solve", "figure.png", "How many?", "--system", workspace / "worded.yaml")
    with serve(['Look. [[{"name": "again", "arguments": {"image_index": 0}}]]', "ANSWER: 7"]) as server:
        done = virc(*words, "--endpoint", server.url, "--json")
    assert (done.code, done.json["answer"], done.json["calls"]) == (0, "7", {"show_again": 1}), done.err


def test_a_tool_that_is_added_to_the_prompt_of_a_trained_model_is_a_warning(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRC_PATH", str(workspace))
    Image.new("RGB", (112, 84)).save("figure.png")
    words = ("solve", "figure.png", "How many?", "--system", "tiny", "--json")
    with serve([call("show_again", image_index=0), answer("7"), answer("7")]) as server:
        added = virc(*words, "--endpoint", server.url, "--tools", "+show_again")
        plain = virc(*words, "--endpoint", server.url)
    warning = "warning: --tools changes the prompt that virc-scripted was trained with"
    assert (added.json["calls"], warning in added.err) == ({"show_again": 1}, True), added.err
    assert warning not in plain.err
