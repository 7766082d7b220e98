"""How a model is opened: by which family it is asked, where it runs, and how it is found out how it counts boxes."""

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from PIL import Image
from support.servers import serve

from virc.core.errors import ConfigError, EngineError
from virc.models import chat_protocol, load, registry
from virc.models.calibration import Calibration
from virc.models.chat_protocol import ServedModel
from virc.models.load import Choice
from virc.models.registry import EMBEDDED_FOLDER
from virc.probing.identity import Identity
from virc.probing.result import Probed
from virc.reasoning.protocol import FILE_NAME, own_protocol
from virc.reasoning.session import Reply, Session
from virc.tools import registry as tools

OWN = own_protocol(tools.schemas(tools.DEFAULT))
BEFORE = Probed(endpoint="http://a/v1", model="m", server="s", weights="w", longest=500, scaling="down")
FOUND = Probed(endpoint="http://a/v1", model="m", coordinates="thousand", box="corners_yx", max_pixels=9)


class Asks:
    """What the model answers when it is asked about boxes, in order; keeps how it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, *answers: Probed | Exception | None) -> None:
        self.answers, self.calls = [*answers], list[tuple[Any, ...]]()
        monkeypatch.setattr("virc.probing.probe.unit", self)
        monkeypatch.setenv("VIRC_CACHE", str(folder))

    def __call__(self, *asked: object) -> Probed | None:
        self.calls.append(asked)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def uncalibrated() -> Calibration:
    """Of a model whose boxes nothing tells."""
    return Calibration(SimpleNamespace(), None, BEFORE, lambda _: None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "said"),
    [(None, "no box around a red rectangle"), (EngineError("it broke"), "about a drawn picture, it failed: it broke")],
)
def test_a_model_that_does_not_tell_is_not_asked_again(
    answer: Exception | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = Asks(monkeypatch, tmp_path, answer, FOUND)
    calibration = uncalibrated()
    for _ in range(2):
        with pytest.raises(ConfigError, match=said) as refused:
            calibration.resolved(native=False)
        assert "--family NAME" in (refused.value.hint or "")
    assert len(asks.calls) == 1


@pytest.mark.parametrize(
    ("sizes", "shown"), [([(500, 100), (600, 100)], True), ([(601, 1), (5, 5)], False), ([(5, 5), (400, 251)], False)]
)
def test_boxes_in_pixels_of_a_smaller_picture_are_refused(
    sizes: list[tuple[int, int]], shown: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Asks(monkeypatch, tmp_path, msgspec.structs.replace(FOUND, coordinates="pixel", longest=600, max_pixels=100_000))
    calibration = uncalibrated()
    with nullcontext() if shown else pytest.raises(ConfigError, match="http://a/v1 may show m pictures smaller"):
        assert calibration(OWN, sizes).coordinates == "pixel"


@pytest.mark.parametrize(
    ("names", "box", "family", "why"),
    [
        ((), "corners", "qwen3-vl", "by the name qwen3-vl, boxes by the probe of the endpoint"),
        ((), "corners_yx", "unknown", "called qwen3-vl, but its boxes are not those of qwen3-vl, boxes by"),
        (("org/qwen3-vl",), "corners_yx", "qwen3-vl", "its server says org/qwen3-vl, boxes by the probe of"),
    ],
)
def test_a_name_whose_boxes_are_others_is_not_believed(names: tuple[str, ...], box: Any, family: str, why: str) -> None:
    server: Any = SimpleNamespace(endpoint="http://a/v1", kind="", named="m", model="qwen3-vl")
    probed = Probed(
        endpoint="http://a/v1", model="qwen3-vl", coordinates="thousand", box=box, zoomed=False, context=77, longest=9
    )
    setup = load._stock_setup_at(server, Choice(), Identity(names), probed)
    assert (setup.family, setup.context, setup.unknown) == (family, 77, None)
    assert setup.pictures
    assert not setup.pictures.needs_sizes
    assert setup.why.startswith(why)
    assert setup.chat_protocol.box == box
    assert "does not see the crop" in setup.warnings[0]


@pytest.mark.parametrize(
    ("system", "name", "shown", "cut"),
    [
        ("qwen3-vl", "qwen", (1344, 864), (1024, 288)),
        ("qwen3-vl", "Qwen2.5-VL-7B", (1344, 868), (1008, 280)),  # its name tells what it sees
        ("sensenova-mars", "any", (1344, 864), None),
        (None, "SenseNova-MARS-8B", (1344, 864), None),
        ("deepeyes", "any", (1344, 868), None),
        ("internvl3.5", "any", (1344, 868), None),
    ],
)
def test_pictures_of_a_served_model_are_on_the_grid_of_the_family_of_its_system(
    system: str | None, name: str, shown: tuple[int, int], cut: tuple[int, int] | None
) -> None:
    with serve([], models=[name]) as server, load.open_model(Choice(endpoint=server.url, system=system)) as opened:
        protocol, offered = opened.chat_protocol, tools.known()
        session = Session(protocol, "?", [Image.new("RGB", (1333, 877))], opened.backend.grid, tools=offered)
        assert session.next().images[0].size == shown
        if cut:
            call = {"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [214, 490, 714, 690], "label": "a"}}
            session.feed(Reply(f"<tool_call>\n{json.dumps(call)}\n</tool_call>"))
            assert session.next().images[1].size == cut


def test_a_gguf_file_is_of_the_system_that_was_asked_for_whatever_its_name(tmp_path: Path) -> None:
    for name, to in (("tiny-F16.gguf", "other.gguf"), ("mmproj-tiny-F32.gguf", "mmproj-other.gguf")):
        (tmp_path / to).symlink_to(EMBEDDED_FOLDER / name)
    found = [registry.find(str(tmp_path / "other.gguf"), tmp_path, each, with_gguf=True) for each in ("deepeyes", None)]
    assert [each.system and each.system.name for each in found] == ["deepeyes", "tiny"]  # by the name in the file


def test_a_hub_id_is_no_folder_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "org/name").mkdir(parents=True)
    (tmp_path / "org/name" / FILE_NAME).write_bytes(chat_protocol.written(OWN))
    monkeypatch.chdir(tmp_path)
    for root, place in (("org/name", ""), (str(tmp_path / "org/name"), str(tmp_path / "org/name" / FILE_NAME))):
        assert chat_protocol.of_endpoint(ServedModel("m", root), tmp_path)[1] == place


def test_no_path_in_a_chat_protocol_of_a_gguf_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "harm.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    given = msgspec.structs.replace(OWN, tools=(str(tmp_path / "harm.py"), "./harm.py", "no_such_tool"))
    gguf = SimpleNamespace(file=tmp_path / "m.gguf", protocol=msgspec.json.encode(given))
    found = chat_protocol._inside(SimpleNamespace(gguf=gguf, folder=tmp_path))  # type: ignore[arg-type]
    assert found == given
    assert not (tmp_path / "ran").exists()
