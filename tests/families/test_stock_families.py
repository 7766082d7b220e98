"""Families of stock models: found by name or file, and spoken to in their own unit, by their own tool."""

import json
import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from support.called import virc
from support.servers import Body, image_bytes, images_of, serve, turn_of

from virc.backends.gguf.model import GGUF
from virc.core.errors import ConfigError
from virc.families import registry as families
from virc.models import registry as models
from virc.models.chat_protocol import read_protocol
from virc.models.load import Choice, grid_here, prompt_setup_here
from virc.probing.result import Probed, keep
from virc.reasoning.images import open_image
from virc.reasoning.messages import ToolText
from virc.reasoning.protocol import FILE_NAME
from virc.reasoning.resize import QWEN2
from virc.reasoning.session import Reply, Session
from virc.tools.registry import known

# Names as servers, hubs and file folders have them.
NAMES = {
    "qwen3-vl": [
        "qwen3-vl:8b",
        "qwen/qwen3-vl-8b",
        "Qwen3VL-8B-Instruct-Q4_K_M.gguf",
        "Qwen/Qwen3-VL-30B-A3B-Thinking",
        "sensenova/SenseNova-MARS-8B",
    ],
    "qwen3.5": ["qwen3.5:9b", "Qwen/Qwen3.5-27B", "qwen3.6-35b-a3b", "Qwen/Qwen3.8-Flash-Next", "Qwen4-Exp"],
    "qwen2.5-vl": ["qwen2.5vl:7b", "Qwen/Qwen2.5-VL-7B-Instruct", "qwen2_5_vl_7b", "qwen2p5-vl-32b-instruct"],
    "qwen2-vl": ["Qwen/Qwen2-VL-7B-Instruct", "qwen2-vl-2b", "QVQ-72B-Preview"],
    "internvl3": ["OpenGVLab/InternVL3-8B", "internvl3_5-8b"],
    "glm-4v": ["zai-org/GLM-4.1V-9B-Thinking", "glm-4.6v-flash", "glm-4.5v"],
    "glm-ocr": ["zai-org/GLM-OCR", "glm-ocr:latest", "mlx-community/GLM-OCR-4bit"],
    "gemma3": ["gemma3:4b", "google/gemma-3-27b-it"],
    "gemma4": ["gemma4:26b", "google/gemma-4-31b-it"],
    "minicpm-v": ["openbmb/MiniCPM-V-4_5", "minicpm-v4.5:8b", "openbmb/MiniCPM-V-4.6"],
    "kimi-k2.5": ["moonshotai/Kimi-K2.5", "kimi-k2.5", "moonshotai/Kimi-K2.6", "accounts/fireworks/models/kimi-k2p5"],
    "kimi-vl": ["moonshotai/Kimi-VL-A3B-Instruct", "kimi-vl-a3b-thinking-2506"],
    "llava-onevision": ["lmms-lab/LLaVA-OneVision-1.5-8B-Instruct", "lmms-lab/LLaVA-One-Vision-1.5-8B-Instruct"],
    "molmo2": ["allenai/Molmo2-8B"],
    "step3": ["stepfun-ai/Step-3.7-Flash"],
    "glm-5": ["zai-org/GLM-5.3-Flash"],
    "lfm2-vl": ["LiquidAI/LFM2-VL-1.6B", "LiquidAI/LFM2.5-VL-450M"],
    "minimax-m3": ["MiniMaxAI/MiniMax-M3"],
    "nemotron-omni": ["nvidia/Nemotron-3-Nano-Omni-30B-A3B-Reasoning-BF16"],
    "ovis2": ["thisisiron/Ovis2-1B-hf", "AIDC-AI/Ovis2-34B"],
}
OTHERS = (
    "qwen3:8b qwen2.5:7b glm-4.5-air paligemma2 gemma2:9b gemma3:1b default gpt-5 qwen3-vl-embedding-8b"
    " llava-onevision-2-8b llava-onevision-qwen2-7b"
    " minicpm4 kimi-k2 glm-5.1 lfm2.5-1.2b ovis2.5-9b nemotron-3-nano minimax-m2"
).split()


@pytest.mark.parametrize("family", NAMES)
def test_a_served_name_tells_the_family(family: str) -> None:
    assert {found.name for name in NAMES[family] if (found := families.by_name(name))} == {family}
    assert all(map(families.by_name, NAMES[family]))


def test_a_name_of_something_else_tells_none() -> None:
    assert [name for name in OTHERS if families.by_name(name)] == []


def test_a_config_file_tells_the_family() -> None:
    types = {
        "qwen2_vl": "qwen2-vl", "qwen2_5_vl": "qwen2.5-vl", "qwen3_vl": "qwen3-vl", "qwen3_vl_moe": "qwen3-vl",
        "qwen3_5": "qwen3.5", "internvl": "internvl3", "glm4v": "glm-4v", "gemma3": "gemma3",
        "qwen4_exp": "qwen3.5", "glm5_next": "glm-5", "nemotron_h_omni": "nemotron-omni", "minimax_m3_vl": "minimax-m3",
        "minicpmv": "minicpm-v", "kimi_vl": "kimi-vl", "llavaonevision1_5": "llava-onevision", "ovis": "ovis2",
    }  # fmt: skip
    found = {name: families.by_model_type(name) for name in (*types, "llama")}
    assert {name: family.name for name, family in found.items() if family} == types


def test_a_family_of_ones_own_is_one_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nabout: a test\ncoordinates: unit\n")
    assert families.get(str(file)).coordinates == "unit"
    for wrong, says in (("boxes: unit", "boxes"), ("names: '(mine'", "missing \\), unterminated subpattern")):
        file.write_text(f"name: mine\nabout: a test\n{wrong}\n")
        with pytest.raises(ConfigError, match=says):
            families.get(str(file))


# What a stock model writes around the lower right quarter of a picture of 980 x 700, by its family.
QUARTERS = {
    "qwen3-vl": ToolText("image_zoom_in_tool", {"bbox_2d": [500, 500, 1000, 1000], "label": "it", "img_idx": 0}),
    "qwen3.5": ToolText("image_zoom_in_tool", {"bbox_2d": [500.4, 499.8, 1000, 1000], "label": "it"}),
    "qwen2.5-vl": ToolText("crop_image", {"bbox_2d": [490, 350, 980, 700], "image_index": 0}),
    "qwen2-vl": ToolText("crop_image", {"bbox_2d": [500, 500, 1000, 1000], "image_index": 0}),
    "internvl3": ToolText("crop_image", {"bbox_2d": [500, 500, 1000, 1000], "image_index": 0}),
    "glm-4v": ToolText("crop_image", {"bbox_2d": "[500, 500, 1000, 1000]", "image_index": "0"}),
    "glm-ocr": ToolText("crop_image", {"bbox_2d": [490, 350, 980, 700], "image_index": 0}),
    "gemma4": ToolText("crop_image", {"box_2d": [500, 500, 1000, 1000], "image_index": 0}),
    "gemma3": ToolText("crop_image", {"bbox_2d": [490, 350, 980, 700], "image_index": 0}),
    "minicpm-v": ToolText("crop_image", {"bbox_2d": [500, 500, 1000, 1000], "image_index": 0}),
    "kimi-k2.5": ToolText("crop_image", {"bbox_2d": [490, 350, 980, 700], "image_index": 0}),
    "kimi-vl": ToolText("crop_image", {"bbox_2d": [490, 350, 980, 700], "image_index": 0}),
    "llava-onevision": ToolText("crop_image", {"bbox_2d": [490, 350, 980, 700], "image_index": 0}),
    "molmo2": ToolText("crop_image", {"bbox_2d": [490, 350, 980, 700], "image_index": 0}),
    "step3": ToolText("crop_image", {"bbox_2d": [504, 336, 1008, 672], "image_index": 0}),
    "glm-5": ToolText("crop_image", {"bbox_2d": [490, 350, 980, 700], "image_index": 0}),
    "lfm2-vl": ToolText("crop_image", {"bbox_2d": [496, 352, 992, 704], "image_index": 0}),
    "minimax-m3": ToolText("crop_image", {"bbox_2d": [392, 280, 784, 560], "image_index": 0}),
    "nemotron-omni": ToolText("crop_image", {"bbox_2d": [496, 352, 992, 704], "image_index": 0}),
    "ovis2": ToolText("crop_image", {"bbox_2d": [490, 350, 980, 700], "image_index": 0}),
}


@pytest.mark.parametrize("size", [(2100, 700), (900, 900), (600, 1500)], ids=str)
@pytest.mark.parametrize("kind", families.run_here())
def test_a_box_lands_on_what_was_drawn_at_any_ratio_of_sides(kind: str, size: tuple[int, int]) -> None:
    family = families.by_model_type(kind)
    assert family
    left, top, right, bottom = size[0] * 2 // 5, size[1] // 2, size[0] * 7 // 10, size[1] * 9 // 10
    page = Image.new("RGB", size, "white")
    page.paste((200, 0, 0), (left, top, right, bottom))
    session = Session(families.protocol(family), "?", [page], family.grid, tools=known())
    sides = (1000, 1000) if family.coordinates == "thousand" else session.images[0].size
    drawn = zip((left, top, right, bottom), sides * 2, size * 2, strict=True)
    box = [round(each * side / of) for each, side, of in drawn]
    name, place = ("image_zoom_in_tool", "img_idx") if family.system else ("crop_image", "image_index")
    box = [box[at] for at in ((1, 0, 3, 2) if family.box == "corners_yx" else range(4))]
    key = "box_2d" if family.arguments else "bbox_2d"
    call = {"name": name, "arguments": {key: box, place: 0, **({"label": "it"} if family.system else {})}}
    unit = session.feed(Reply(f"<tool_call>{json.dumps(call)}</tool_call>"))
    assert unit.call, unit  # type: ignore[union-attr]
    crop = session.images[1].pixels
    assert crop.crop((6, 6, crop.width - 6, crop.height - 6)).getextrema() == ((200, 200), (0, 0), (0, 0))
    assert abs(crop.width / crop.height - (right - left) / (bottom - top)) < 0.15 * crop.width / crop.height


@pytest.mark.parametrize("box", [[500, 500, 900, 2400], [0.1, 0.2, 0.5, 0.7], [1, 2, 3, float("nan")]])
def test_a_box_in_another_unit_is_never_cut(box: list[float]) -> None:
    protocol = families.protocol(families.get("qwen2.5-vl"))
    session = Session(protocol, "?", [Image.new("RGB", (1400, 1008))], tools=known())
    text = json.dumps({"name": "crop_image", "arguments": {"bbox_2d": box, "image_index": 0}})
    rejected = session.feed(Reply(f"<tool_call>{text}</tool_call>"))
    assert rejected.reason  # type: ignore[union-attr]
    assert len(session.images) == 1


def folder_of(tmp_path: Path, model_type: str) -> Path:
    folder = tmp_path / "stock"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    return folder


def test_a_stock_model_in_a_folder_is_asked_as_its_family(tmp_path: Path) -> None:
    weights = models.find(str(folder_of(tmp_path, "qwen3_vl")), tmp_path)
    spoken = prompt_setup_here(weights, Choice())
    assert (spoken.family, spoken.chat_protocol.coordinates) == ("qwen3-vl", "thousand")
    assert spoken.chat_protocol.reading == "lenient"
    assert "config.json" in spoken.why
    assert prompt_setup_here(weights, Choice(family="glm-4v")).family == "glm-4v"
    assert prompt_setup_here(weights, Choice(protocol="default")).chat_protocol.reading == "strict"


def test_a_type_that_servers_alone_run_is_published_with_the_sizes_of_its_family(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "internvl_chat")
    (folder / "preprocessor_config.json").write_text('{"image_processor_type": "CLIPFeatureExtractor", "size": 448}')
    weights = models.find(str(folder), tmp_path)
    assert grid_here(weights, prompt_setup_here(weights, Choice())) == families.get("internvl3").grid


@pytest.mark.integration  # torch is imported
@pytest.mark.parametrize("kind", ["internvl_chat", "llava_onevision"])
def test_a_folder_of_another_architecture_is_one_sentence(image: Path, tmp_path: Path, kind: str) -> None:
    folder = folder_of(tmp_path, kind)
    done = virc("solve", "--model", folder, image, "What is it?")
    assert (done.code, done.out) == (3, "")
    *_, error, hint = done.err.splitlines()
    assert error.startswith(f"error: {folder} is a model of type {kind!r}, which does not run in this process: ")
    assert error.endswith("and qwen3_5_moe do")
    serve = f"virc serve {shlex.quote(str(folder))}"
    assert hint == f"hint: serve it with vLLM ({serve}) or another server, and use --endpoint URL"


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("VIRC_MODEL", "VIRC_ENDPOINT", "VIRC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    Image.new("RGB", (900, 600), "white").save(tmp_path / "p.png")
    return tmp_path / "p.png"


@pytest.mark.parametrize("name", families.discover())
def test_a_box_is_cut_in_the_unit_of_the_family(name: str, image: Path) -> None:
    call = QUARTERS[name]
    picture = Image.new("RGB", (980, 700), "white")
    picture.paste((200, 0, 0), (490, 350, 980, 700))
    picture.save(image)
    text = f"<tool_call>{json.dumps({'name': call.name, 'arguments': call.arguments})}</tool_call>"
    with serve(lambda body: "97" if turn_of(body) else text, owned_by="vllm") as server:
        done = virc("solve", "--endpoint", server.url, "--family", name, "--json", image, "?")
        crop = open_image(image_bytes(images_of(server.chats()[-1])[-1]), "it")
    assert (done.json["answer"], done.json["family"]) == ("97", name)
    assert crop.width > 0.45 * 980
    inner = crop.crop((4, 4, crop.width, crop.height))  # where the picture was resized, edges are soft
    assert inner.getextrema()[0] == (200, 200)  # nothing but the red quarter


def looking(unit: int) -> Any:
    """A model that looks at the lower right quarter, counted in that many a side, and answers."""

    def reply(body: Body) -> str:
        if turn_of(body):
            return "97"
        width, height = open_image(image_bytes(images_of(body)[0]), "it").size
        sides = (unit or width, unit or height)
        box = [sides[0] // 2, sides[1] // 2, *sides]
        return f'<tool_call>{{"name": "crop_image", "arguments": {{"bbox_2d": {box}, "image_index": 0}}}}</tool_call>'

    return reply


def test_solve_says_which_family_it_took_and_why(image: Path) -> None:
    with serve(looking(1000), models=["vision"], extra={"root": "Qwen/Qwen3-VL-8B-Instruct"}) as server:
        done = virc("solve", "--endpoint", server.url, "--json", image, "?")
    assert done.json["answer"] == "97"
    assert (done.json["protocol"], done.json["family"], done.json["coordinates"]) == ("stock", "qwen3-vl", "thousand")
    assert "Qwen/Qwen3-VL-8B-Instruct" in done.json["protocol_from"]
    how = "(its server says Qwen/Qwen3-VL-8B-Instruct): boxes in thousandths of the sides, 0 to 1000\n"
    assert f"vision is asked as qwen3-vl {how}" in done.err


KITE = """name: kite
about: a test
schemas:
  - function: {name: zoom, parameters: {properties: {area: {}, picture: {}}}}
tools: {zoom: crop_image}
arguments: {area: bbox_2d, picture: image_index}
"""


@pytest.mark.parametrize(
    ("right", "wrong", "sentence", "hint"),
    [
        ("about: a", "abot: a", "unknown key 'abot'", "did you mean 'about'?"),
        ("about: a test", "about: a\ncoordinates: unt", "coordinates must be .* not 'unt'", "did you mean 'unit'?"),
        ("crop_image", "crop_imge", "tools.zoom names 'crop_imge'", "did you mean 'crop_image'?"),
        ("tools: {zoom", "tools: {zom", "tools names 'zom', and there is no such tool", "did you mean 'zoom'?"),
        ("{area: bbox", "{aria: bbox", "arguments names 'aria', and there is no such argument", "did you mean 'area'?"),
        (": {name: zoom", ": zoom #", "schemas: {'function': 'zoom'} is no function", "write {function: {name: "),
    ],
)  # fmt: skip
def test_a_slip_in_a_family_is_named(right: str, wrong: str, sentence: str, hint: str, tmp_path: Path) -> None:
    file = tmp_path / "kite.yaml"
    file.write_text(KITE)
    families.get(str(file))
    file.write_text(KITE.replace(right, wrong, 1))
    with pytest.raises(ConfigError, match=sentence) as refused:
        families.get(str(file))
    assert (refused.value.hint or "").startswith(hint)


def test_a_tool_of_a_family_is_carried_out_by_ours_on_the_file(tmp_path: Path) -> None:
    (tmp_path / "kite.yaml").write_text(KITE.replace("zoom", "peek_there"))  # no name that would be guessed
    stripes = Image.frombytes("L", (1400, 1008), bytes((0, 255)) * (700 * 1008)).convert("RGB")
    protocol = families.protocol(families.get(str(tmp_path / "kite.yaml")))
    session = Session(protocol, "?", [stripes], QWEN2.limited(200_000), tools=known())
    session.feed(Reply('<tool_call>{"name": "peek_there", "arguments": {"area": [0, 0, 84, 84]}}</tool_call>'))
    whole, part = (each.pixels.getextrema()[0] for each in session.images)
    assert part[1] - part[0] > 200 > whole[1] - whole[0]  # as shown, the stripes are grey


def test_an_option_or_setting_names_the_family(image: Path) -> None:
    with serve(looking(1000), models=["m"]) as server:
        done = virc("solve", "--endpoint", server.url, "--family", "internvl3", "--json", image, "?")
        assert (done.json["answer"], done.json["family"]) == ("97", "internvl3")
        assert virc("config", "set", "family", "glm-4v").code == 0
        assert virc("solve", "--endpoint", server.url, "--json", image, "?").json["family"] == "glm-4v"
        done = virc("solve", "--endpoint", server.url, "--family", "glm4", image, "?")
    assert done.code == 3
    assert "there is no family 'glm4'" in done.err


def test_an_unknown_model_is_asked_once_how_it_counts_boxes(image: Path) -> None:
    with serve(looking(0), models=["mystery"]) as server:
        for _ in range(2):
            done = virc("solve", "--endpoint", server.url, image, "?")
            assert (done.code, done.out) == (0, "97\n")
        assert server.about_boxes == 1


@pytest.mark.integration
def test_an_unprobed_server_gets_small_pictures_where_boxes_are_pixels(image: Path, tmp_path: Path) -> None:
    Image.new("RGB", (4032, 3024), "white").save(tmp_path / "large.png")
    family = ("--family", "qwen2.5-vl")
    with serve(looking(0), models=["qwen2.5vl:7b"], owned_by="someone") as server:
        done = virc("solve", "--endpoint", server.url, *family, tmp_path / "large.png", "?")
        assert done.code == 0
        assert "at most 1024 pixels a side" in done.err
        assert open_image(image_bytes(images_of(server.chats()[0])[0]), "it").size == (1008, 756)
    with serve(looking(0), models=["qwen2.5vl:7b"], owned_by="vllm") as server:
        assert "pixels a side" not in virc("solve", "--endpoint", server.url, *family, tmp_path / "large.png", "?").err
        assert open_image(image_bytes(images_of(server.chats()[0])[0]), "it").width > 4000


def test_a_cut_reply_names_the_option_and_is_drawn_once_more_only(image: Path) -> None:
    def cut(exchange: Any) -> None:
        exchange.send_events("<think>I count them one by", None, "length")

    with serve(models=["qwen3-vl:8b"], fault=cut) as server:
        done = virc("solve", "--endpoint", server.url, image, "?")
        assert done.code == 8
        assert "--max-tokens" in done.err
        sent = server.chats()
    assert len(sent) == 2
    assert {body["max_tokens"] for body in sent} == {8192}


@pytest.mark.integration
def test_rows_of_a_stock_model_teach_a_strict_protocol_that_lists_its_tools(image: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps({"id": 1, "image": str(image), "question": "?", "answer": "97"}))
    for native in (False, True):
        to = tmp_path / f"out-{native}"
        with serve(looking(0), models=["qwen2.5-vl"], extra={"root": "Qwen/Qwen2.5-VL-7B-Instruct"}) as server:
            if native:
                keep(
                    Probed(endpoint=server.url, model="qwen2.5-vl", server="vllm", coordinates="pixel", calls="native")
                )
            words = ("data", "sample", tmp_path / "in.jsonl", "--endpoint", server.url, "--to", to, "--samples", 1)
            done = virc(*words)
            assert done.code == 0, done.err
            assert bool(server.chats()[0].get("tools")) == native
        protocol = read_protocol(to / FILE_NAME)
        assert (protocol.reading, protocol.schemas, protocol.name) == ("strict", (), "trained")
        assert "<tools>" in protocol.system
        assert "crop_image" in protocol.system
        checked = virc("data", "check", to, "--json")
        assert (checked.code, checked.json["rows"], checked.json["good"]) == (0, 1, 1), checked.out


def test_the_answer_is_not_among_the_thoughts(image: Path) -> None:
    for text, thought in (
        ("97", ""),
        ("<think>I look.</think>97", "I look."),
        ("I look. <answer>97</answer>", "I look."),
    ):
        with serve([text], models=["qwen3-vl:8b"]) as server:
            done = virc("solve", "--endpoint", server.url, image, "?")
        assert done.out == "97\n"
        assert "97" not in done.err.splitlines()[-1]
        assert thought in done.err


def test_a_model_that_the_server_does_not_list_is_said(image: Path) -> None:
    def any_model(exchange: Any) -> None:
        exchange.send_events("97", None)

    with serve(models=["qwen2.5-vl-7b", "text-embedding-nomic"], fault=any_model) as server:
        done = virc("solve", "--endpoint", server.url, "--model", "gemma-3-4b", image, "?")
        assert "does not list gemma-3-4b: it serves qwen2.5-vl-7b, text-embedding-nomic\n" in done.err
        assert (
            "; it is on this machine: --endpoint none\n"
            in virc("solve", "--endpoint", server.url, "--model", "tiny", image, "?").err
        )
        assert virc("solve", "--endpoint", server.url, "--json", image, "?").json["model"] == "qwen2.5-vl-7b"


def gguf_of(tmp_path: Path, name: str, model_type: str | None) -> models.Weights:
    file = tmp_path / f"{name}.gguf"
    file.touch()
    found = GGUF(file, file, name, "qwen2vl", 1.0, model_type=model_type)
    return models.Weights(name, tmp_path, gguf=found)


def test_the_vision_tower_of_a_gguf_file_counts_more_than_its_name(tmp_path: Path) -> None:
    spoken = prompt_setup_here(gguf_of(tmp_path, "Qwen2.5-VL-7B", "qwen2_vl"), Choice())
    assert (spoken.family, spoken.chat_protocol.coordinates, spoken.unknown) == ("qwen2-vl", "thousand", None)


def test_a_gguf_file_of_no_family_is_asked_before_its_first_crop(tmp_path: Path) -> None:
    assert prompt_setup_here(gguf_of(tmp_path, "mystery", None), Choice()).unknown
    assert not prompt_setup_here(gguf_of(tmp_path, "mystery", None), Choice(family="qwen3-vl")).unknown


@pytest.mark.parametrize("name", sorted(name for name, family in families.discover().items() if family.system))
def test_what_a_published_family_reads_is_what_is_taught(name: str) -> None:
    family = families.get(name)
    spoken, published = families.protocol(family, native=True), families.protocol(family).system
    assert families.taught(spoken).system == published
    assert len(spoken.schemas) == published.count('"type": "function"') > 0
    more = {"type": "function", "function": {"name": "mine"}}
    taught = families.taught(msgspec.structs.replace(spoken, schemas=(*spoken.schemas, more)))
    assert taught.system == published.replace("\n</tools>", f"\n{json.dumps(more)}\n</tools>")
