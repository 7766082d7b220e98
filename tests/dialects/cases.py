"""Every dialect the suite tries: which server, which model behind it, and how that model writes."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import wires
from server import Scene, Unit
from speeches import Speech, apart, bare, fenced, gemma, glm, hermes, in_text, several, structured, with_arguments, xml

Way = Literal["streamed", "whole"]
Picture = Literal["picture", "photo"]

BOTH: tuple[Way, ...] = ("streamed", "whole")
STREAMED: tuple[Way, ...] = ("streamed",)
WHOLE: tuple[Way, ...] = ("whole",)

TAGS = "<think>\n{thought}\n</think>\n\n"
CLOSED = "{thought}\n</think>\n\n"
CHANNEL = "<|channel>thought\n{thought}\n<channel|>"


@dataclass(frozen=True)
class Case:
    """A scene, and what virc is told of it."""

    name: str
    scene: Scene
    words: tuple[str, ...] = ()
    picture: Picture = "picture"


def cases() -> list[Case]:
    """All of them, each way that it is sent."""
    return [
        replace(case, name=f"{case.name}-{way}", scene=replace(case.scene, streamed=way == "streamed"))
        for case, ways in _all()
        for way in ways
    ]


def _case(
    name: str,
    wire: wires.Wire,
    model: str | wires.Listed,
    speech: Speech,
    unit: Unit = "thousand",
    *,
    ways: tuple[Way, ...] = BOTH,
    words: tuple[str, ...] = (),
    picture: Picture = "picture",
    longest: int | None = None,
) -> tuple[Case, tuple[Way, ...]]:
    listed = model if isinstance(model, wires.Listed) else wires.Listed(model, pixels_of_token=_side(model))
    return Case(name, Scene(wire, listed, speech, unit, longest=longest), words, picture), ways


def _side(name: str) -> int:
    return 28 if "2.5" in name or "qwen2" in name.lower() else 32


def _parameters(call: wires.Call) -> str:
    return bare(call).replace('"arguments"', '"parameters"')


def _recipient(call: wires.Call) -> str:
    return f">>>{call.name}\n{json.dumps(call.arguments)}"


def _python(call: wires.Call) -> str:
    return f"{call.name}({', '.join(f'{key}={value!r}' for key, value in call.arguments.items())})"


def _without_index(arguments: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in arguments.items() if not key.startswith(("img", "image"))}


def _boxes(change: Callable[[list[float]], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda arguments: {
        key: change(value) if isinstance(value, list) else value for key, value in arguments.items()
    }


def _all() -> list[tuple[Case, tuple[Way, ...]]]:
    several_ways = [*_structured(), *_thoughts()]
    one_way = [*_texts(), *_arguments(), *_families(), *_sizes()]
    # What stands in a content or in a box is the same however it is sent.
    return several_ways + [(case, (ways[at % len(ways)],)) for at, (case, ways) in enumerate(one_way)]


def _structured() -> list[tuple[Case, tuple[Way, ...]]]:
    """Calls that a server takes out of the content, as each server sends them."""
    plain, thought = structured(), apart(structured())
    qwen = "Qwen/Qwen3-VL-8B-Instruct"
    return [
        # Ollama takes calls out of the content also where no tools were sent, and then only where it streams.
        _case("ollama-v1", wires.OllamaV1(), "qwen3-vl:8b", thought, ways=STREAMED),
        _case("ollama-v1-old", wires.OllamaV1(old=True), "qwen3-vl:8b", thought, ways=STREAMED),
        _case("ollama", wires.OllamaNative(), "qwen3-vl:8b", thought, ways=STREAMED),
        _case("ollama-call-without-id", wires.OllamaNative(bare=True), "qwen3-vl:8b", thought, ways=STREAMED),
        _case("ollama-call-in-last-line", wires.OllamaNative(late=True), "qwen3-vl:8b", thought, ways=STREAMED),
        _case("llamacpp", wires.LlamaCpp(), "Qwen3VL-8B-Instruct-Q4_K_M.gguf", thought),
        _case("lmstudio-empty-names", wires.LmStudio(), "qwen/qwen3-vl-8b", plain),
        _case("lmstudio-trailing-call", wires.LmStudio(trailing=True), "qwen/qwen3-vl-8b", thought, ways=STREAMED),
        _case("vllm", wires.Vllm(), qwen, thought),
        _case("vllm-reasoning-content", wires.Vllm(thoughts=("reasoning_content",), old=True), qwen, thought),
        _case("vllm-both-fields", wires.Vllm(thoughts=("reasoning", "reasoning_content")), qwen, thought),
        _case("vllm-arguments-whole", wires.Vllm(arguments="whole"), qwen, plain),
        _case("sglang", wires.Sglang(), qwen, thought),
        _case("mlx-call-in-finish-chunk", wires.MlxVlm(), "mlx-community/Qwen3-VL-4B-Instruct-4bit", thought),
        _case("lmdeploy", wires.LmDeploy(), "internvl3_5-8b", thought),
        _case("litellm", wires.LiteLlm(), "qwen3-vl-plus", thought),
        _case("openrouter", wires.OpenRouter(), "qwen/qwen3-vl-8b-thinking", thought),
        _case("gemini-no-index", wires.Gemini(), "models/gemma-4-31b-it", plain, "thousand_yx"),
        _case("gemini-no-id", wires.Gemini(named=False), "models/gemma-4-31b-it", plain, "thousand_yx"),
        _case("mistral", wires.Mistral(), "pixtral-12b", thought, "pixel"),
        _case("openai", wires.OpenAi(), "gpt-4o", plain, "pixel"),
        _case("openai-function-call", wires.OpenAi(legacy=True), "gpt-4o", plain, "pixel"),
        _case("groq", wires.Groq(), "qwen/qwen3.6-27b", thought),
        _case("arguments-an-object", wires.OpenAi(arguments="object", owner="tgi"), "qwen3-vl", plain),
        _case("arguments-encoded-twice", wires.OpenAi(arguments="double", owner="gateway"), "qwen3-vl", plain),
        _case("two-calls-vllm", wires.Vllm(), qwen, several(plain)),
        _case("two-calls-ollama-old", wires.OllamaV1(old=True), "qwen3-vl:8b", several(plain), ways=STREAMED),
        _case("two-calls-gemini", wires.Gemini(), "models/gemma-4-31b-it", several(plain), "thousand_yx"),
        _case("two-calls-gemini-no-id", wires.Gemini(named=False), "gemma-4-e4b", several(plain), "thousand_yx"),
        _case("text-beside-call", wires.Vllm(), qwen, structured("Let me zoom.")),
        _case("text-beside-call-ollama", wires.OllamaNative(), "qwen3-vl:8b", structured("Let me zoom."),
              ways=STREAMED),
        _case("tags-beside-call", wires.LlamaCpp(), "qwen3-vl", structured(TAGS, TAGS + "{answer}", thinks=True)),
    ]  # fmt: skip


def _thoughts() -> list[tuple[Case, tuple[Way, ...]]]:
    """Where the thought stands, and where the answer."""
    qwen, thinking = "Qwen/Qwen3-VL-8B-Instruct", "Qwen/Qwen3-VL-8B-Thinking"
    tagged = f"{TAGS}<answer>\n{{answer}}\n</answer>"
    inside = Speech(
        lambda call: replace(apart(in_text(hermes)).call(call), content="", thought=_thought_of(call)),
        apart(in_text(hermes, answer="<answer>{answer}</answer>")).answer,
    )
    return [
        _case("plain-answer", wires.Vllm(), qwen, in_text(hermes)),
        _case("answer-tags-without-thought", wires.Vllm(), qwen, in_text(hermes, answer="<answer>{answer}</answer>")),
        _case("all-tags", wires.Vllm(), qwen, in_text(hermes, TAGS, tagged, thinks=True)),
        _case("think-in-content-plain-answer", wires.Vllm(), qwen, in_text(hermes, TAGS, TAGS + "{answer}",
              thinks=True)),
        _case("only-the-end-of-thought", wires.Vllm(), thinking, in_text(hermes, CLOSED, CLOSED + "{answer}",
              thinks=True)),
        _case("field-and-plain-answer", wires.Vllm(), thinking, apart(in_text(hermes))),
        _case("field-and-plain-answer-sglang", wires.Sglang(), thinking, apart(in_text(hermes))),
        _case("field-and-tags", wires.Vllm(), thinking, apart(in_text(hermes, TAGS, tagged))),
        _case("field-and-plain-answer-mlx", wires.MlxVlm(), "Qwen3-VL-4B-Thinking-4bit", apart(in_text(hermes))),
        _case("thinking-field-ollama", wires.OllamaNative(), "qwen3-vl:8b", apart(structured()), ways=STREAMED),
        _case("content-parts", wires.Mistral(), "qwen3-vl", apart(in_text(hermes))),
        _case("untagged-thought", wires.LmStudio(), "qwen/qwen3-vl-8b",
              in_text(hermes, "{thought}\n", "{thought}\n<answer>{answer}</answer>", thinks=True)),
        _case("thought-after-the-end-marker", wires.Vllm(), thinking,
              in_text(hermes, "<think>\n\n</think>\n\n{thought}\n", "</think>\n{thought}\n<answer>{answer}</answer>",
                      thinks=True)),
        _case("thought-behind-the-answer", wires.LlamaCpp(), "qwen3-vl",
              in_text(hermes, TAGS, "<answer>{answer}</answer>\n<think>{thought}</think>", thinks=True)),
        _case("thought-behind-a-plain-answer", wires.LlamaCpp(), "qwen3-vl",
              in_text(hermes, TAGS, "{answer}\n<think>\n{thought}\n</think>", thinks=True)),
        _case("two-thoughts", wires.LlamaCpp(), "Qwen3.5-9B-Q4_K_M.gguf",
              in_text(hermes, "<think>\n<think>\n{thought}\n</think>\n", TAGS + "<think>\n</think>\n{answer}",
                      thinks=True)),
        _case("call-in-open-thought", wires.LlamaCpp(), "Qwen3.5-9B-Q4_K_M.gguf",
              in_text(xml, "<think>\n{thought}\n", TAGS + "{answer}", thinks=True)),
        _case("call-in-thought-field", wires.Vllm(), "Qwen/Qwen3.5-9B", inside),
    ]  # fmt: skip


def _thought_of(call: wires.Call) -> str:
    from speeches import LOOKING

    return f"{LOOKING}\n{xml(call)}"


def _texts() -> list[tuple[Case, tuple[Way, ...]]]:
    """Calls that stay in the content, as each family writes them."""
    box = "<|begin_of_box|>{answer}<|end_of_box|>"
    on_one_line = in_text(lambda call: glm(call, ""), "<think>{thought}</think>\n", "{answer}")
    code = in_text(lambda call: f"```tool_code\n{_python(call)}\n```")
    open_ended = in_text(lambda call: hermes(call).removesuffix("\n</tool_call>"))
    return [
        _case("hermes-llamacpp", wires.LlamaCpp(), "Qwen3VL-8B-Instruct-Q4_K_M.gguf", in_text(hermes)),
        _case("hermes-mlx", wires.MlxVlm(), "mlx-community/Qwen3-VL-4B-Instruct-4bit", in_text(hermes)),
        _case("hermes-never-closed", wires.Vllm(), "qwen3-vl", open_ended, ways=STREAMED),
        _case("qwen35-xml", wires.Vllm(), "Qwen/Qwen3.5-9B", in_text(xml, CLOSED, CLOSED + "{answer}", thinks=True)),
        _case("qwen35-xml-llamacpp", wires.LlamaCpp(), "Qwen3.5-9B-Q4_K_M.gguf", in_text(xml)),
        _case("glm-arg-keys", wires.Vllm(), "glm-4.6v", in_text(glm, TAGS, TAGS + box, thinks=True)),
        _case("glm-arg-keys-on-one-line", wires.Sglang(), "zai-org/GLM-4.6V", on_one_line, ways=STREAMED),
        _case("glm-boxed-answer", wires.LmStudio(), "zai-org/glm-4.6v-flash", in_text(glm, answer=box)),
        _case("glm-boxed-answer-in-tags", wires.Vllm(), "glm-4.1v-9b-thinking",
              in_text(fenced, TAGS, f"{TAGS}<answer>{box}</answer>", thinks=True)),
        _case("gemma4", wires.LmStudio(), "google/gemma-4-e4b", in_text(gemma), "thousand_yx"),
        _case("gemma4-thoughts", wires.Vllm(), "google/gemma-4-26B-A4B-it",
              in_text(gemma, CHANNEL, CHANNEL + "{answer}", thinks=True), "thousand_yx"),
        _case("fenced-json", wires.LmDeploy(), "internvl3_5-8b", in_text(fenced)),
        _case("bare-json", wires.LmDeploy(), "internvl3_5-8b", in_text(bare)),
        _case("bare-json-parameters", wires.LmStudio(), "internvl3_5-8b", in_text(_parameters), ways=STREAMED),
        _case("text-and-bare-json", wires.Vllm(), "OpenGVLab/InternVL3-8B",
              in_text(bare, "I look closer: "), ways=STREAMED),
        _case("tool-code", wires.LmStudio(), "internvl3_5-8b", code, ways=STREAMED),
        _case("python-list", wires.LmStudio(), "internvl3_5-8b", in_text(lambda call: f"[{_python(call)}]"),
              ways=STREAMED),
        _case("functionary", wires.Vllm(), "internvl3_5-8b",
              in_text(_recipient, ">>>all\n{thought}\n", ">>>all\n{answer}"), ways=STREAMED),
        _case("mistral-marks", wires.Vllm(), "pixtral-12b",
              in_text(lambda call: f"[TOOL_CALLS][{bare(call)}]"), "pixel", ways=STREAMED),
    ]  # fmt: skip


def _arguments() -> list[tuple[Case, tuple[Way, ...]]]:
    """Boxes and images as models write them."""
    qwen, plain = "qwen3-vl", structured()
    texts: list[tuple[str, Callable[[list[float]], Any]]] = [
        ("box-as-json-text", str),
        ("box-as-numbers", lambda box: ", ".join(map(str, box))),
        ("box-in-a-list", lambda box: [box]),
        ("box-of-texts", lambda box: [str(side) for side in box]),
    ]
    aliased = with_arguments(plain, lambda given: {"bbox": given["bbox_2d"], "image_index": 0})
    return [
        _case("float-box", wires.Vllm(), qwen, plain, "tenths"),
        _case("float-box-in-text", wires.Vllm(), qwen, in_text(hermes), "tenths", ways=STREAMED),
        _case("float-box-in-pixels", wires.Vllm(), "Qwen/Qwen2.5-VL-7B-Instruct",
              with_arguments(in_text(hermes), _boxes(lambda box: [side + 0.5 for side in box])), "pixel"),
        *(
            _case(name, wires.Vllm(), qwen, with_arguments(plain, _boxes(change)), ways=STREAMED)
            for name, change in texts
        ),
        _case("missing-img-idx", wires.Vllm(), qwen, with_arguments(plain, _without_index)),
        _case("missing-image-index", wires.Vllm(), "Qwen/Qwen2.5-VL-7B-Instruct",
              with_arguments(in_text(hermes), _without_index), "pixel", ways=STREAMED),
        _case("img-idx-as-text", wires.Vllm(), qwen, with_arguments(plain, lambda given: {**given, "img_idx": "0"})),
        _case("other-names-of-arguments", wires.Vllm(), qwen, aliased, ways=STREAMED),
    ]  # fmt: skip


def _families() -> list[tuple[Case, tuple[Way, ...]]]:
    """What boxes are counted in, by the name that the server gives the model, or by what the user says."""
    text = in_text(hermes)
    behind_alias = wires.Listed("default", "Qwen/Qwen3-VL-8B-Instruct")
    pixels_behind_alias = wires.Listed("default", "/models/Qwen2.5-VL-7B-Instruct", pixels_of_token=28)
    return [
        _case("qwen25vl-ollama", wires.OllamaNative(architecture="qwen25vl"), "qwen2.5vl:7b", text, "pixel"),
        _case("qwen25vl-vllm", wires.Vllm(), "Qwen/Qwen2.5-VL-7B-Instruct", text, "pixel"),
        _case("qwen25vl-lmstudio", wires.LmStudio(), "qwen/qwen2.5-vl-7b", text, "pixel", longest=2048, ways=STREAMED),
        _case("qwen2vl", wires.LmDeploy(), "qwen2-vl", text, ways=STREAMED),
        _case("qwen3vl-ollama-instruct", wires.OllamaNative(), "qwen3-vl:8b-instruct", structured(), ways=STREAMED),
        _case("qwen35-ollama", wires.OllamaNative(architecture="qwen35"), "qwen3.5:9b", apart(structured()),
              ways=STREAMED),
        _case("internvl-structured", wires.Vllm(), "OpenGVLab/InternVL3_5-8B", structured(), ways=STREAMED),
        _case("glm-openrouter", wires.OpenRouter(), "z-ai/glm-4.6v", apart(structured()), ways=STREAMED),
        _case("gemma4-ollama", wires.OllamaNative(architecture="gemma4"), "gemma4:e4b", apart(structured()),
              "thousand_yx", ways=STREAMED),
        _case("root-names-the-family", wires.Vllm(), behind_alias, text),
        _case("root-names-pixels", wires.Vllm(), pixels_behind_alias, text, "pixel", ways=STREAMED),
        _case("family-option", wires.LiteLlm(), "vision", text, words=("--family", "qwen3-vl")),
        _case("family-option-gemma4", wires.LlamaCpp(), "model.gguf", in_text(gemma), "thousand_yx",
              words=("--family", "gemma4"), ways=STREAMED),
        _case("family-option-against-the-name", wires.LiteLlm(), "qwen2.5-vl-but-not-really", structured(),
              words=("--family", "qwen3-vl"), ways=STREAMED),
        _case("unknown-in-pixels", wires.OpenRouter(), "meta-llama/llama-4-scout", structured(), "pixel",
              ways=STREAMED),
    ]  # fmt: skip


def _sizes() -> list[tuple[Case, tuple[Way, ...]]]:
    """A large picture, also behind servers that scale it down before the model sees it."""
    text = in_text(hermes)
    qwen25 = wires.Listed("Qwen/Qwen2.5-VL-7B-Instruct", pixels_of_token=28)
    return [
        _case("photo-qwen3vl", wires.Vllm(), "Qwen/Qwen3-VL-8B-Instruct", text, picture="photo", ways=STREAMED),
        _case("photo-qwen25vl", wires.Vllm(), qwen25, text, "pixel", picture="photo", ways=STREAMED),
        _case("photo-lmstudio", wires.LmStudio(), "qwen/qwen3-vl-8b", structured(), picture="photo", longest=2048,
              ways=STREAMED),
        _case("photo-lmstudio-pixels", wires.LmStudio(), "qwen/qwen2.5-vl-7b", text, "pixel", picture="photo",
              longest=2048, ways=STREAMED),
        _case("photo-max-pixels", wires.LlamaCpp(), "Qwen2.5-VL-7B-Instruct-Q4_K_M.gguf", text, "pixel",
              words=("--max-pixels", "500000"), picture="photo", ways=WHOLE),
    ]  # fmt: skip
