"""Tools of one's own: found where the user says, loaded where they are named, offered where the chat protocol has
them.
"""

import json
import shutil
from pathlib import Path

import msgspec
import pytest
from PIL import Image
from support.called import virc
from support.servers import images_of, serve
from support.solving import answer, call, picture

from virc.core import plugins
from virc.core.errors import ConfigError, UsageError
from virc.families import registry as families
from virc.models import chat_protocol
from virc.models.chat_protocol import offering, read_protocol, written
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.calls import ToolError
from virc.reasoning.protocol import FILE_NAME
from virc.reasoning.session import Reply, Session, Unit
from virc.rewards.user_code import own_files
from virc.systems.registry import Reward
from virc.tools import registry as tools

ROTATE = '''\
"""`rotate_image`: turn an image shown before by a quarter or a half."""

from virc.reasoning.coordinates import resolve_index
from virc.reasoning.calls import Call, Checked, ToolError, require_keys

NAME = "rotate_image"
TEMPLATE = "after_image"  # the sentence that follows its result
SCHEMA = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": "Turn an image clockwise.",
        "parameters": {
            "type": "object",
            "properties": {
                "degrees": {"type": "integer", "enum": [90, 180, 270]},
                "image_index": {"type": "integer", "description": "which image, 0 is the first"},
            },
            "required": ["degrees", "image_index"],
        },
    },
}


def check(arguments, view):
    """The call, where it can be carried out."""
    require_keys(arguments, "degrees", "image_index")
    index, deviations = resolve_index(arguments["image_index"], len(view.sizes))
    if arguments["degrees"] not in (90, 180, 270):
        raise ToolError("degrees is not 90, 180 or 270")
    return Checked(Call(NAME, index, factor=float(arguments["degrees"])), deviations)


def apply(call, source):
    """The turned image."""
    return source.rotate(-call.factor, expand=True)
'''
TURN = call("rotate_image", degrees=90, image_index=0)
TEMPLATE = read_protocol(EMBEDDED_FOLDER / FILE_NAME)


@pytest.fixture(autouse=True)
def none_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_CUSTOM", {})


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of `VIRC_PATH` with the tool."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "rotate_image.py").write_text(ROTATE)
    monkeypatch.setenv("VIRC_PATH", str(folder))
    return folder


def test_a_session_offers_and_carries_out_an_own_tool(own: Path) -> None:
    protocol = offering(TEMPLATE, ["rotate_image"])
    assert protocol.tools == (*TEMPLATE.tools, "rotate_image")
    session = Session(
        protocol, "What is it?", [Image.radial_gradient("L").resize((112, 56)).convert("RGB")], tools=tools.known()
    )
    assert isinstance(session.feed(Reply(TURN)), Unit)
    assert [shown.size for shown in session.images] == [(112, 56), (56, 112)]
    assert session.images[1].pixels.tobytes() == session.images[0].pixels.rotate(-90, expand=True).tobytes()


def test_a_chat_protocol_without_it_does_not_get_it(own: Path) -> None:
    tools.load(["rotate_image"])
    session = Session(TEMPLATE, "What is it?", [Image.new("RGB", (112, 56))], tools=tools.known())
    assert "there is no tool 'rotate_image'" in getattr(session.feed(Reply(TURN)), "reason", "")
    assert "rotate_image" not in families.protocol(families.UNKNOWN).tools


def test_the_texts_of_the_other_tools_stay(own: Path) -> None:
    protocol = offering(TEMPLATE, ["rotate_image"])
    schema = json.dumps(tools.schemas(["rotate_image"])[0])
    assert protocol.system == TEMPLATE.system.replace("\n</tools>", f"\n{schema}\n</tools>")
    assert offering(protocol, ["rotate_image", "crop_image"]) == protocol


def test_a_chat_protocol_that_was_kept_finds_its_tool_again(own: Path, tmp_path: Path) -> None:
    file = tmp_path / FILE_NAME
    file.write_bytes(msgspec.json.encode(offering(TEMPLATE, ["rotate_image"])))
    tools._CUSTOM.clear()
    assert read_protocol(file).tools[-1] == "rotate_image"
    assert tools.get("rotate_image").SCHEMA["function"]["name"] == "rotate_image"


def test_another_process_is_told_the_files_of_own_tools(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, published = str(tools.file_of("rotate_image")), next(iter(plugins.of_systems("tools")))
    assert [tools.source(name) for name in ("crop_image", "rotate_image", published)] == ["crop_image", file, published]
    (own / "ask.yaml").write_text("description: Ask.\nparameters: {type: object}\nhttp: {url: http://127.0.0.1:1}\n")
    assert tools.load(["ask", file, published]) == ["ask", "rotate_image", published]
    names = ["crop_image", "rotate_image", "gone", published, "ask"]
    assert tools.sources(names) == ("crop_image", file, published, str(own / "ask.yaml"))
    assert tools.own_files(names) == {each: (own / each).resolve() for each in ("rotate_image.py", "ask.yaml")}
    monkeypatch.delenv("VIRC_PATH")
    assert [tools.source("ask", beside) for beside in (None, own)] == ["ask", str(own / "ask.yaml")]


def test_a_file_by_the_name_of_a_tool_of_virc_is_not_taken(own: Path) -> None:
    published = next(iter(plugins.of_systems("tools")))
    for name in ("crop_image", published):
        (own / f"{name}.py").write_text(ROTATE.replace("rotate_image", name))
    assert tools.file_of("crop_image") is None
    with pytest.raises(ConfigError, match=f"has the name of a tool of virc, '{published}'"):
        tools.file_of(published)


def test_nothing_is_loaded_that_nobody_names(own: Path) -> None:
    (own / "loud.py").write_text(f"open({str(own / 'ran')!r}, 'w')\n" + ROTATE)
    with pytest.raises(ToolError):
        tools.get("loud")
    assert tools.file_of("loud") == own / "loud.py"
    read_protocol(EMBEDDED_FOLDER / FILE_NAME)
    assert not (own / "ran").exists()


@pytest.mark.parametrize("name", ["loud.py", "./loud.py", "{folder}/loud.py", "../{last}/loud"])
def test_a_chat_protocol_loads_no_file_by_its_path(
    name: str, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chat protocol may come with a model that somebody else made."""
    monkeypatch.chdir(own)
    (own / "loud.py").write_text(f"open({str(own / 'ran')!r}, 'w')\n" + ROTATE)
    hostile = msgspec.structs.replace(TEMPLATE, tools=(name.format(folder=own, last=own.name),))
    file = tmp_path / FILE_NAME
    file.write_bytes(msgspec.json.encode(hostile))
    assert read_protocol(file) == hostile
    with pytest.raises(ConfigError, match="there is none of that name") as refused:
        own_files(Reward("outcome"), own, hostile.tools)
    assert refused.value.hint == "export VIRC_PATH=DIR, the folder that has its file"
    assert not (own / "ran").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1", "it has no NAME, the one word that the model writes; no SCHEMA"),
        (f"{ROTATE}\ncheck = 3\n", r"it has no check\(arguments, view\) that is a function"),
        (
            ROTATE.replace('"after_image"', '"after_text"'),
            "it has no TEMPLATE that is after_image or after_scale, for its",
        ),
        (
            ROTATE.replace('NAME = "rotate_image"', 'NAME = "crop_image"'),
            "has the NAME 'crop_image', which is that of a tool of virc",
        ),
        (ROTATE.replace('NAME = "rotate_image"', 'NAME = "zoomin_action"'), "has the NAME 'zoomin_action', which is"),
        (ROTATE.replace("def apply(", "def turn("), r"it has no apply\(call, source\)$"),
        ("import no_such_module", "cannot be loaded: ModuleNotFoundError"),
    ],
    ids=["empty", "check", "chat_protocol", "taken", "published", "apply", "import"],
)
def test_what_is_no_tool_is_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        tools.load([str(file)])


def test_a_tool_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="there is no tool 'crop_imag'") as refused:
        tools.load(["crop_imag"])
    assert refused.value.hint == "did you mean 'crop_image'?"
    with pytest.raises(ConfigError, match="there is no tool 'zzqx'") as refused:
        tools.load(["zzqx"])
    assert refused.value.hint == "a file zzqx.py or zzqx.yaml next to the system's YAML or in VIRC_PATH"
    with pytest.raises(ConfigError, match=r"there is no file ./no.py"):
        tools.load(["./no.py"])
    with pytest.raises(UsageError, match=r"--tools rotate_image is not \+NAME"):
        chat_protocol.added(["rotate_image"])


def test_solve_offers_it_where_it_is_asked_for(own: Path, tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png", 112, 56)
    with serve([TURN, answer("7")]) as server:
        words = ("solve", image, "What is it?", "--endpoint", server.url, "--tools", "+rotate_image")
        done = virc(*words, "--json")
        assert (done.code, done.json["answer"]) == (0, "7")
        first, second = server.chats()
        assert '"name": "rotate_image"' in json.dumps(first["messages"][0]).replace('\\\\"', '"').replace('\\"', '"')
        assert len(images_of(second)) == 2
    with serve([TURN, TURN, TURN, TURN]) as server:
        refused = virc("solve", image, "What is it?", "--endpoint", server.url)
        assert refused.code == 8


def test_a_system_names_its_tools(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIRC_PATH")
    (tmp_path / "mine.yaml").write_text("name: mine\ntools: [crop_image, own/rotate_image.py]\n")
    image = picture(tmp_path / "a.png", 112, 56)
    with serve([TURN, answer("7")]) as server:
        words = ("solve", image, "What is it?", "--endpoint", server.url, "--system", tmp_path / "mine.yaml")
        assert virc(*words).out == "7\n"
        system = server.chats()[0]["messages"][0]["content"]
        assert "rotate_image" in str(system)
        assert "scale_image" not in str(system)


@pytest.mark.integration
def test_rows_are_sampled_with_it_and_keep_the_chat_protocol(own: Path, tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 112, 56)
    row = {"id": "1", "image": "a.png", "question": "What is it?", "answer": "7"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    with serve([TURN, answer("7")] * 2) as server:
        words = ("data", "sample", tmp_path / "rows.jsonl", "--to", tmp_path / "made", "--samples", 1)
        done = virc(*words, "--endpoint", server.url, "--tools", "+rotate_image")
        assert done.code == 0
    kept = read_protocol(tmp_path / "made" / FILE_NAME)
    assert kept.tools[-1] == "rotate_image"
    made = next((tmp_path / "made").glob("*.jsonl")).read_text()
    assert json.loads(made.splitlines()[0])["messages"][0]["content"] == kept.system
    assert virc("data", "check", tmp_path / "made").code == 0


@pytest.fixture
def taught(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with a model and rows whose chat protocol offers the tool, which is not on the path any more."""
    protocol = written(offering(TEMPLATE, ["rotate_image"]))
    tools._CUSTOM.clear()
    monkeypatch.delenv("VIRC_PATH")
    monkeypatch.chdir(tmp_path)
    assert virc("data", "synth", "--to", "rows", "--count", 2, "--seed", 1, "--formats", "sft,batch").code == 0
    rows = json.loads((tmp_path / "rows/trajectories.json").read_text())
    for row in rows:
        row["messages"][0]["content"] = msgspec.json.decode(protocol)["system"]
    (tmp_path / "rows/trajectories.json").write_text(json.dumps(rows))
    shutil.copytree(EMBEDDED_FOLDER, tmp_path / "models/mine")
    for folder in ("rows", "models/mine"):
        (tmp_path / folder / FILE_NAME).write_bytes(protocol)
    return picture(tmp_path / "a.png", 112, 56)


@pytest.mark.parametrize(
    "words",
    [
        "solve a.png What? --model mine",
        "batch rows/problems.jsonl --to out.jsonl --model mine",
        "data sample rows/problems.jsonl --to made --model mine",
        "data check rows/trajectories.json --workers 1",
        "eval rows/problems.jsonl --model mine",
        "serve mine --engine transformers --agent",
    ],
    ids=lambda words: " ".join(words.split()[:2]),
)
def test_every_command_names_the_variable_where_a_tool_is_not_here(words: str, taught: Path) -> None:
    refused = virc(*words.split())
    told = f"the chat protocol of {'the rows' if 'check' in words else 'mine'} offers the tool 'rotate_image', and"
    assert (refused.code, told in refused.err) == (3, True), refused.err
    assert "hint: export VIRC_PATH=DIR, the folder that has rotate_image.py" in refused.err


def test_the_copy_beside_a_model_is_named_and_not_loaded(taught: Path, own: Path) -> None:
    code = taught.parent / "models/mine/code"
    shutil.copytree(own, code)
    refused = virc("solve", taught, "What?", "--model", "mine")
    assert refused.code == 3
    assert f"hint: export VIRC_PATH={code}, if you trust the rotate_image.py in it" in refused.err
    assert "rotate_image" not in tools.known()
