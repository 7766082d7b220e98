"""What a model is asked as, by the name that its server lists: a stock model as its family, with tools.

A published system takes only the models that were trained to call its tools. A row of the zoo that takes another name
away from its family is red here.
"""

from collections.abc import Iterator

import pytest
import wires
from server import Player, Scene, play
from speeches import structured

from virc.models.load import Choice, open_model

NAMES: dict[wires.Wire, dict[str, str]] = {
    wires.Vllm(): {
        "Qwen/Qwen2-VL-7B-Instruct": "qwen2-vl",
        "Qwen/QVQ-72B-Preview": "qwen2-vl",
        "Qwen/Qwen2.5-VL-7B-Instruct": "qwen2.5-vl",
        "Qwen/Qwen2.5-VL-72B-Instruct-AWQ": "qwen2.5-vl",
        "Qwen/Qwen3-VL-8B-Instruct": "qwen3-vl",
        "Qwen/Qwen3-VL-235B-A22B-Thinking-FP8": "qwen3-vl",
        "Qwen/Qwen3.5-27B": "qwen3.5",
        "OpenGVLab/InternVL3-8B": "internvl3",
        "OpenGVLab/InternVL3-78B-Instruct": "internvl3",
        "OpenGVLab/InternVL3_5-8B": "internvl3",
        "OpenGVLab/InternVL3_5-8B-HF": "internvl3",
        "OpenGVLab/InternVL3_5-8B-MPO": "internvl3",
        "OpenGVLab/InternVL3_5-241B-A28B-Instruct": "internvl3",
        "OpenGVLab/InternVL3_5-GPT-OSS-20B-A4B-Preview": "internvl3",
        "zai-org/GLM-4.1V-9B-Thinking": "glm-4v",
        "zai-org/GLM-4.5V-FP8": "glm-4v",
        "zai-org/GLM-4.6V-Flash": "glm-4v",
        "Skywork/Skywork-R1V3-38B": "internvl3",
        "Skywork/Skywork-R1V3-38B-AWQ": "internvl3",
        "google/gemma-3-27b-it": "gemma3",
        "moonshotai/Kimi-VL-A3B-Thinking-2506": "kimi-vl",
        "LiquidAI/LFM2.5-VL-1.6B": "lfm2-vl",
        "openbmb/MiniCPM-V-4_5": "minicpm-v",
        "lmms-lab/LLaVA-OneVision-1.5-8B-Instruct": "llava-onevision",
        "allenai/Molmo2-8B": "molmo2",
        "mistralai/Pixtral-12B-2409": "unknown",
        "microsoft/Phi-4-multimodal-instruct": "unknown",
        "meta-llama/Llama-4-Scout-17B-16E-Instruct": "unknown",
        "ydeng9/OpenVLThinker-7B": "qwen2.5-vl",
        "russwang/ThinkLite-VL-7B": "qwen2.5-vl",
        "UCSC-VLAA/VLAA-Thinker-Qwen2VL-7B": "qwen2-vl",
        "omlab/Qwen2.5VL-3B-VLM-R1-REC-500steps": "qwen2.5-vl",
        "yfan1997/GRIT-20-Qwen2.5-VL-3B": "qwen2.5-vl",
        "RUC-AIBOX/Virgo-72B": "qwen2-vl",
        "ChenShawn/DeepEyes-7B": "the system deepeyes",
        "Mini-o3/Mini-o3-7B-v1": "the system mini-o3",
        "TIGER-Lab/PixelReasoner-RL-v1": "the system pixel-reasoner",
        "sensenova/SenseNova-MARS-8B": "the system sensenova-mars",
        "xintongzhang/CoF-rl-model-7b": "the system chain-of-focus",
        "Y-Research-Group/VisReason-Qwen2.5-VL-7B": "the system visreason",
    },
    wires.Sglang(): {
        "Qwen/Qwen3-VL-30B-A3B-Instruct": "qwen3-vl",
        "OpenGVLab/InternVL3_5-38B": "internvl3",
        "zai-org/GLM-4.1V-9B-Thinking": "glm-4v",
    },
    wires.LmDeploy(): {"internvl3_5-8b": "internvl3", "InternVL3_5-8B": "internvl3", "qwen2-vl": "qwen2-vl"},
    wires.OllamaNative(architecture="qwen25vl"): {"qwen2.5vl:7b": "qwen2.5-vl"},
    wires.OllamaNative(architecture="qwen3vl"): {"qwen3-vl:235b-a22b-thinking-q4_K_M": "qwen3-vl"},
    wires.OllamaNative(architecture="qwen3"): {
        "internvl3.5": "internvl3",
        "internvl3.5:8b": "internvl3",
        "blaifa/InternVL3_5:8b": "internvl3",
        "minicpm-v4.5:8b": "minicpm-v",
    },
    wires.OllamaNative(architecture="glm4"): {"haervwe/GLM-4.6V-Flash-9B:latest": "glm-4v"},
    wires.OllamaNative(architecture="gemma3"): {"gemma3:4b-it-qat": "gemma3"},
    wires.OllamaNative(architecture="gemma4"): {"gemma4:e4b": "gemma4"},
    wires.OllamaNative(architecture="mllama"): {"llama3.2-vision:11b": "unknown"},
    wires.LlamaCpp(): {
        "InternVL3_5-8B-Q8_0.gguf": "internvl3",
        "GLM-4.1V-9B-Thinking-Q4_K_M.gguf": "glm-4v",
        "Qwen2.5-VL-7B-Instruct-Q4_K_M.gguf": "qwen2.5-vl",
        "DeepEyes-7B.Q4_K_M.gguf": "the system deepeyes",
    },
    wires.LmStudio(): {
        "opengvlab_internvl3_5-8b": "internvl3",
        "zai-org/glm-4.6v-flash": "glm-4v",
        "glm-4.1v-9b-thinking": "glm-4v",
        "google/gemma-3-12b": "gemma3",
    },
    wires.MlxVlm(): {
        "mlx-community/InternVL3_5-8B-4bit": "internvl3",
        "mlx-community/GLM-4.1V-9B-Thinking-4bit": "glm-4v",
    },
    wires.OpenRouter(): {
        "qwen/qwen2.5-vl-32b-instruct": "qwen2.5-vl",
        "qwen/qwen3-vl-235b-a22b-instruct": "qwen3-vl",
        "opengvlab/internvl3-78b": "internvl3",
        "thudm/glm-4.1v-9b-thinking": "glm-4v",
        "z-ai/glm-4.5v": "glm-4v",
        "google/gemma-3-27b-it:free": "gemma3",
    },
    wires.LiteLlm(): {"accounts/fireworks/models/qwen2p5-vl-32b-instruct": "qwen2.5-vl", "glm-4.1v-thinking": "glm-4v"},
    wires.Groq(): {"qwen/qwen3.6-27b": "qwen3.5"},
    wires.OpenAi(): {"gpt-4o": "unknown", "gpt-5": "unknown"},
}
"""Server -> names that it lists: the family, or the system that takes the model."""


@pytest.fixture(scope="module")
def server() -> Iterator[Player]:
    with play(Scene(wires.Vllm(), wires.Listed("none"), structured())) as server:
        yield server


@pytest.mark.parametrize(
    ("wire", "name", "expected"),
    [(wire, name, expected) for wire, names in NAMES.items() for name, expected in names.items()],
    ids=lambda value: type(value).__name__ if isinstance(value, wires.Wire) else value,
)
def test_a_model_is_asked_by_its_name_as(wire: wires.Wire, name: str, expected: str, server: Player) -> None:
    server.scene = Scene(wire, wires.Listed(name), structured())
    with open_model(Choice(endpoint=server.url)) as opened:
        assert (opened.family or opened.why) == expected
        assert opened.chat_protocol.tools
        own_words = [warning for warning in opened.warnings if "in our own words" in warning]
        texts_absent = opened.chat_protocol.name == "own words"
        assert len(own_words) == texts_absent <= expected.startswith("the system")


@pytest.mark.parametrize(
    ("name", "system"),
    [
        ("OpenGVLab/InternVL3_5-8B", "internvl3.5"),
        ("zai-org/GLM-4.1V-9B-Thinking", "glm-4.1v-thinking"),
        ("Skywork/Skywork-R1V3-38B", "skywork-r1v3"),
    ],
)
def test_a_row_of_the_zoo_is_for_the_option_alone_which_is_said(
    name: str, system: str, server: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.scene = Scene(wires.Vllm(), wires.Listed(name), structured())
    with open_model(Choice(endpoint=server.url)) as opened:
        assert f"the system {system} asks it as its authors do" in opened.why
    monkeypatch.setenv("VIRC_OWN_WORDS", "1")  # for texts of its authors, which are not here
    with open_model(Choice(endpoint=server.url, system=system)) as opened:
        assert (opened.family, opened.chat_protocol.tools, opened.why) == (None, (), f"the system {system}")
