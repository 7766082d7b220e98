"""ViRC on somebody's own vLLM, which publishes no chat protocol: asked by what lies on this machine, or not at all."""

import json
from pathlib import Path

import msgspec
import pytest
from PIL import Image
from support.called import virc
from support.servers import Server, serve

from virc.models.chat_protocol import written
from virc.reasoning.protocol import FILE_NAME, Protocol

ANSWER = "<think>I see it.</think>\n<answer>97</answer>"


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("VIRC_MODEL", "VIRC_ENDPOINT", "VIRC_API_KEY", "OPENAI_API_KEY", "VIRC_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (90, 60), "white").save(tmp_path / "p.png")
    return tmp_path / "p.png"


def left(protocol: Protocol, folder: Path, words: str = "The words of ViRC.") -> Path:
    """What `virc download` leaves beside the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE_NAME).write_bytes(written(msgspec.structs.replace(protocol, system=words)))
    return folder


def spoken(server: Server) -> str:
    return str(server.chats()[-1]["messages"][0]["content"])


SERVED = [
    ("ViRC", None),
    ("virc", "LeonMiao/ViRC-7B"),
    ("ViRC", "LeonMiao/ViRC-3B"),
    ("LeonMiao/ViRC-7B", None),
    ("virc-7b-q4_k_m", None),
]


@pytest.mark.parametrize(("name", "root"), SERVED)
@pytest.mark.parametrize("file", ["models/ViRC-7B", None])
def test_a_model_of_virc_is_asked_as_it_was_trained_or_not_at_all(
    name: str, root: str | None, file: str | None, image: Path, own: Protocol
) -> None:
    if file:
        left(own, Path(file))
    with serve([ANSWER], models=[name], extra={"root": root} if root else {}) as server:
        done = virc("solve", "--endpoint", server.url, image, "?")
        if file:
            assert (done.code, done.out) == (0, "97\n")
            assert spoken(server) == "The words of ViRC."
            assert f"models/ViRC-7B/{FILE_NAME}" in done.err
        else:
            assert done.code == 3
            short = "ViRC-3B" if root and "3B" in root else "ViRC-7B"
            assert f"hint: virc download {short} --include {FILE_NAME}\n" in done.err
            assert server.chats() == []


def test_the_folder_that_vllm_serves_from_is_looked_into(image: Path, own: Protocol, tmp_path: Path) -> None:
    folder = left(own, tmp_path / "elsewhere" / "mine", "My words.")
    with serve([ANSWER], models=["x"], extra={"root": str(folder)}) as server:
        assert virc("solve", "--endpoint", server.url, image, "?").out == "97\n"
        assert spoken(server) == "My words."


def test_a_name_that_fits_models_with_other_boxes_is_refused(image: Path, own: Protocol) -> None:
    left(own, Path("models/ViRC-7B"))
    left(own, Path("models/ViRC-Qwen2VL-2B"), "Other words.")
    with serve([ANSWER], models=["ViRC"]) as server:
        done = virc("solve", "--endpoint", server.url, image, "?")
        assert done.code == 3
        assert "--protocol models/ViRC-7B" in done.err
    with serve([ANSWER], models=["ViRC-Qwen2VL-7B"]) as server:
        assert virc("solve", "--endpoint", server.url, image, "?").code == 0
        assert spoken(server) == "Other words."


def test_thoughts_and_calls_that_vllm_took_out_of_a_trained_reply_are_put_back(image: Path, own: Protocol) -> None:
    left(own, Path("models/ViRC-7B"))
    call = {"name": "crop_image", "arguments": '{"bbox_2d": [0, 0, 28, 28], "image_index": 0}'}
    first = {"content": None, "reasoning": "I look.", "tool_calls": [{"index": 0, "id": "a", "function": call}]}
    second = {"content": "<answer>97</answer>", "reasoning": "I see."}

    def send(exchange: object) -> None:
        server = exchange.server  # type: ignore[attr-defined]
        message = [first, second][len(server.chats()) - 1]
        exchange.send_json({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})  # type: ignore[attr-defined]

    with serve(models=["ViRC"], fault=send) as server:
        done = virc("solve", "--endpoint", server.url, "--json", image, "?")
        assert (done.json["answer"], done.json["calls"]) == ("97", {"crop_image": 1})
        told = server.chats()[1]["messages"][2]["content"]
    # As the model itself wrote it before its server took it apart: another form would be new to it.
    assert told.startswith("<think>I look.</think>\n<tool_call>\n{")
    assert told.endswith("}\n</tool_call>")
    assert json.loads(told.split("<tool_call>")[1].split("</tool_call>")[0])["name"] == "crop_image"
