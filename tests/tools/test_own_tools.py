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
from support.servers import serve
from support.solving import answer, call, picture
from support.tables import each_case

from virc.core import entry_points, plugins
from virc.core.errors import ConfigError
from virc.models.chat_protocol import offering, read_protocol, written
from virc.models.registry import EMBEDDED_FOLDER
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


def test_a_session_offers_and_carries_out_an_own_tool(own: Path) -> None:
    protocol = offering(TEMPLATE, ["rotate_image"])
    assert protocol.tools == (*TEMPLATE.tools, "rotate_image")
    session = Session(
        protocol, "What is it?", [Image.radial_gradient("L").resize((112, 56)).convert("RGB")], tools=tools.known()
    )
    assert isinstance(session.feed(Reply(TURN)), Unit)
    assert [shown.size for shown in session.images] == [(112, 56), (56, 112)]
    assert session.images[1].pixels.tobytes() == session.images[0].pixels.rotate(-90, expand=True).tobytes()


def test_a_served_model_is_offered_the_own_tools_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "turn.py").write_text(ROTATE)
    (tmp_path / "mine.yaml").write_text("name: mine\ntools: [crop_image, ./turn.py]\nmodels: {tiny: {}}\n")
    question = ("solve", picture(tmp_path / "photo.jpg"), "What is on the sign?", "--system", "./mine.yaml")
    with serve([TURN, answer("STOP")]) as server:
        done = virc(*question, "--endpoint", server.url)
    assert (done.code, done.out[-5:]) == (0, "STOP\n"), done.err
    assert "is offered the tools of mine too: rotate_image\n" in done.err
    assert "rotate_image" in str(server.chats()[0])


def test_a_file_by_the_name_of_a_tool_of_virc_is_not_taken(own: Path) -> None:
    published = next(iter(plugins.of_systems("tools")))
    for name in ("crop_image", published):
        (own / f"{name}.py").write_text(ROTATE.replace("rotate_image", name))
    assert tools.file_of("crop_image") is None
    with pytest.raises(ConfigError, match=f"has the name of a tool of virc, '{published}'"):
        tools.file_of(published)


@each_case("name", ["loud.py", "./loud.py", "{folder}/loud.py", "../{last}/loud"])
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


@each_case(
    ("text", "sentence"),
    [
        ("x = 1", "it has no NAME, the one word that the model writes; no SCHEMA"),
        (f"{ROTATE}\ncheck = 3\n", r"it has no check\(arguments, view\) that is a function"),
        (ROTATE.replace('"after_image"', '"after_text"'),
            "it has no TEMPLATE that is after_image or after_scale, for its"),
        (ROTATE.replace('NAME = "rotate_image"', 'NAME = "crop_image"'),
            "has the NAME 'crop_image', which is that of a tool of virc"),
        (ROTATE.replace('NAME = "rotate_image"', 'NAME = "zoomin_action"'), "has the NAME 'zoomin_action', which is"),
        (ROTATE.replace("def apply(", "def turn("), r"it has no apply\(call, source\)$"),
        ("import no_such_module", "cannot be loaded: ModuleNotFoundError"),
    ],
)  # fmt: skip
def test_what_is_no_tool_is_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        tools.load([str(file)])


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


def test_the_copy_beside_a_model_is_named_and_not_loaded(taught: Path, own: Path) -> None:
    code = taught.parent / "models/mine/code"
    shutil.copytree(own, code)
    refused = virc("solve", taught, "What?", "--model", "mine")
    assert refused.code == 3
    assert f"hint: export VIRC_PATH={code}, if you trust the rotate_image.py in it" in refused.err
    assert "rotate_image" not in tools.known()


def test_a_tool_of_an_extra_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_points, "own", lambda group: {})
    monkeypatch.setattr(tools, "discover", dict)
    with pytest.raises(ConfigError, match="the extra that has the tool python is not installed"):
        tools.load(["python"])
