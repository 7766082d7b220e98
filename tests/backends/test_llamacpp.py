"""llama.cpp in this process: against transformers, and against what llama.cpp's own converter writes."""

import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.called import virc
from support.real_server import VIRC
from test_kv_cache import SIZES, picture

from virc.backends import llamacpp, local
from virc.backends.gguf import convert, header, model
from virc.backends.interface import Sampling, TooLongError
from virc.backends.llamacpp import LlamaCppBackend
from virc.core.errors import ConfigError, EngineError
from virc.data.synth.families import polygons
from virc.models.load import Choice, open_model
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.images import show
from virc.reasoning.resize import QWEN2
from virc.reasoning.session import Ask, Message, Session
from virc.tools.registry import known

PUBLISHED = json.loads((Path(__file__).parent / "gguf_published.json").read_text())
"""Keys and tensors that llama.cpp's convert_hf_to_gguf.py wrote of the same random models, with four blocks in place of
two (the version in llama-cpp-python 0.3.36).
"""


@pytest.fixture(scope="module")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> model.GGUF:
    return model.read(convert.convert(EMBEDDED_FOLDER, tmp_path_factory.mktemp("gguf"), "tiny"))


@pytest.fixture(scope="module")
def backend(tiny_gguf: model.GGUF) -> LlamaCppBackend:
    assert tiny_gguf.grid
    return llamacpp.load(tiny_gguf, "cpu", tiny_gguf.grid)


def a_question(backend: LlamaCppBackend, text: str = "What is it?") -> Ask:
    return Ask([Message("user", text, (0,))], [show(picture(SIZES[0], 0), backend.grid)])


def test_a_reply_is_json_that_fits_the_schema(backend: LlamaCppBackend) -> None:
    schema = {"type": "object", "properties": {"unit": {"enum": ["cm", "m"]}}, "required": ["unit"]}
    text = backend.reply(Ask([Message("user", "Which?")], [], json_schema=schema), Sampling(max_tokens=400)).text
    assert json.loads(text)["unit"] in ("cm", "m")


def fitting(folder: Path, to: Path) -> Path:
    """The model with the one size of windows that llama.cpp has, and with sections of rotary positions that leave no
    frequency out where they are interleaved; its weights suit any.
    """
    shutil.copytree(folder, to)
    config = json.loads((to / "config.json").read_text())
    config["vision_config"]["window_size"] = 112
    if config["model_type"] == "qwen3_vl":
        config["text_config"]["rope_parameters"]["mrope_section"] = [3, 3, 2]
    (to / "config.json").write_text(json.dumps(config))
    return to


def content(file: Path) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """Keys and the shapes of tensors, read by the package of llama.cpp's authors."""
    from gguf import GGUFReader

    reader = GGUFReader(file)
    fields = {key: field.contents() for key, field in reader.fields.items()}
    return fields, {each.name: [int(side) for side in each.shape] for each in reader.tensors}


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_keys_and_tensors_are_those_of_llama_cpps_own_converter(
    tiny: Callable[..., Path], family: str, tmp_path: Path
) -> None:
    (tmp_path / "to").mkdir()
    file = convert.convert(fitting(tiny(family), tmp_path / "model"), tmp_path / "to", "random")
    for part, written in (("text", file), ("vision", model.read(file).vision)):
        keys, tensors = content(written)
        published = PUBLISHED[f"{family} {part}"]
        differ = {key for key, value in published["keys"].items() if keys.get(key) != pytest.approx(value)}
        # they were written of four blocks and other sections; and of an id that the vocabulary does not have
        assert differ <= {
            "clip.vision.block_count", "clip.vision.is_deepstack_layers", "clip.vision.n_wa_pattern",
            "tokenizer.ggml.bos_token_id", "qwen3vl.rope.dimension_sections",
        }  # fmt: skip
        first = {name: shape for name, shape in tensors.items() if not re.search(r"blk\.1\.", name)}
        assert first == published["tensors"]


@pytest.mark.integration
@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_first_tokens_are_as_likely_as_by_transformers(tiny: Callable[..., Path], family: str, tmp_path: Path) -> None:
    import torch

    folder = fitting(tiny(family), tmp_path / "model")
    (tmp_path / "to").mkdir()
    written = model.read(convert.convert(folder, tmp_path / "to", "random"))
    assert written.grid
    here, there = local.load(folder, device="cpu"), llamacpp.load(written, "cpu", written.grid)
    differences = []
    for number, question in enumerate(
        ("What is it?", "Why?", "Who?", "Tell me.", "Look.", "Go on.", "And now?", "Yes.")
    ):
        images = [show(picture(SIZES[index], number + index), here.grid) for index in range(2)]
        ask = Ask([Message("system", "You look closer."), Message("user", question, (0, 1))], images)
        rendered = here._render(ask.messages, ask.images)
        here.cached.clear()
        ours = torch.log_softmax(here.cached.read(rendered, ask.images).double(), -1)
        request = {**there._request(ask, Sampling(max_tokens=40)), "stream": False, "logprobs": True, "top_logprobs": 4}
        request.pop("stream_options")
        said = there._server.handle_chat_completions(request)
        assert said["usage"]["prompt_tokens"] == len(rendered.ids)
        top = said["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        if top[0]["id"] == int(ours.argmax()):  # else the first token was half a character, and is not listed
            differences.append(max(abs(each["logprob"] - float(ours[each["id"]])) for each in top))
    assert len(differences) >= 3
    assert max(differences) < 0.25, differences


@pytest.mark.integration
def test_tiny_says_the_same_at_every_turn_of_drawn_problems(backend: LlamaCppBackend) -> None:
    here = local.load(EMBEDDED_FOLDER, device="cpu")
    protocol = open_model(Choice("tiny")).chat_protocol.protocol
    turns = 0
    for seed in range(12):
        drawn = polygons.generate(random.Random(seed), "heldout")
        session = Session(protocol, drawn.question, [polygons.draw(drawn)], tools=known(), grid=here.grid)
        while isinstance(ask := session.next(), Ask):
            ours, theirs = here.reply(ask, Sampling()), backend.reply(ask, Sampling())
            assert (theirs.text, theirs.prompt_tokens) == (ours.text, ours.prompt_tokens)
            assert theirs.completion_tokens == ours.completion_tokens
            session.feed(ours)
            turns += 1
    assert turns > 30


def test_the_files_in_the_package_are_made_of_its_weights(tiny_gguf: model.GGUF) -> None:
    kept = model.in_folder(EMBEDDED_FOLDER)
    assert kept
    for ours, written in ((kept, tiny_gguf.file), (model.read(kept).vision, tiny_gguf.vision)):
        assert ours.read_bytes() == written.read_bytes(), "python tests/regenerate.py"


@pytest.mark.integration
def test_a_header_of_any_bytes_is_read_or_refused(tmp_path: Path, tiny_gguf: model.GGUF) -> None:
    data, rng = tiny_gguf.file.read_bytes()[:60_000], random.Random(3)
    for number in range(300):
        cut = bytearray(data[: rng.randrange(1, len(data))] if number % 2 else data)
        for _ in range(rng.randrange(4)):
            cut[rng.randrange(len(cut))] = rng.randrange(256)
        (tmp_path / "odd.gguf").write_bytes(cut)
        with suppress(ConfigError):  # anything else is a fault
            header.read(tmp_path / "odd.gguf")


def test_what_llama_cpp_does_not_load_is_one_sentence(tmp_path: Path, tiny_gguf: model.GGUF) -> None:
    data = tiny_gguf.file.read_bytes()
    odd = tmp_path / "odd.gguf"
    shutil.copy(tiny_gguf.vision, tmp_path / "mmproj.gguf")
    odd.write_bytes(data[:200_000])
    with pytest.raises(ConfigError, match="damaged GGUF file: it ends too early"):
        model.read(odd)
    odd.write_bytes(data.replace(b"qwen2vl", b"quux2vl"))
    with pytest.raises(ConfigError, match=r"llama\.cpp does not load"):
        llamacpp.load(model.read(odd), "cpu")


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_an_interrupted_batch_ends_with_its_own_code(tmp_path: Path) -> None:
    made = virc("data", "synth", "--to", tmp_path / "many", "--count", 200, "--formats", "batch")
    assert made.code == 0, made.err
    rows = [json.loads(line) for line in (tmp_path / "many" / "problems.jsonl").read_text().splitlines()]
    many = [json.dumps({**row, "id": f"{turn}-{row['id']}"}) for turn in range(50) for row in rows]
    (tmp_path / "many" / "problems.jsonl").write_text("\n".join(many))
    command = [*VIRC, "batch", tmp_path / "many/problems.jsonl", "--to", tmp_path / "answers.jsonl"]
    with subprocess.Popen([*command, "--concurrency", "3"], stderr=subprocess.PIPE, text=True) as batch:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and not (tmp_path / "answers.jsonl").exists():
            time.sleep(0.1)
        time.sleep(0.5)
        batch.send_signal(signal.SIGINT)
        assert batch.wait(240) == 130
        assert batch.stderr
        assert "FATAL" not in batch.stderr.read()


def test_a_conversation_that_is_too_long_is_said(tiny_gguf: model.GGUF) -> None:
    short = llamacpp.load(tiny_gguf, "cpu", context=256)
    with pytest.raises(TooLongError, match="the model takes 256"):
        short.reply(a_question(short, "word " * 400), Sampling())


def test_what_hears_a_reply_may_end_it(backend: LlamaCppBackend) -> None:
    class LeftError(Exception):
        pass

    def leave(_: str) -> None:
        raise LeftError

    with pytest.raises(LeftError):
        backend.reply(a_question(backend), Sampling(), leave)
    with pytest.raises(EngineError, match="no whole answer in 0 s"):
        backend.reply(a_question(backend), Sampling(), seconds=0)
    assert backend.reply(a_question(backend), Sampling()).finish == "stop"


@pytest.mark.integration
@pytest.mark.parametrize("name", ["im_end", "im_start", "endoftext", "vision_pad", "video_pad", "box_start"])
def test_the_name_of_a_control_token_is_text(backend: LlamaCppBackend, name: str) -> None:
    tokens = backend.reply(a_question(backend, f"a<|{name}|>b"), Sampling(max_tokens=1)).prompt_tokens
    control = backend.reply(a_question(backend, "a b"), Sampling(max_tokens=1)).prompt_tokens
    assert tokens
    assert control
    assert tokens > control + 3


def test_sampling_is_drawn_from_all_tokens_and_by_its_seed(backend: LlamaCppBackend) -> None:
    ask = a_question(backend)
    hot = [backend.reply(ask, Sampling(temperature=3.0, seed=seed, max_tokens=20)).text for seed in (1, 1, 2, 3)]
    assert hot[0] == hot[1]
    assert len(set(hot)) > 1


class Scripted:
    """In place of llama.cpp: keeps what it was started with and what it was asked."""

    def __init__(self, params: Any) -> None:
        self.params, self.requests = params, list[dict[str, Any]]()

    def handle_chat_completions(self, request: dict[str, Any], heard: Callable[[Any], object]) -> dict[str, Any]:
        self.requests.append(request)
        heard({"choices": [{"delta": {"content": "one"}, "finish_reason": "stop"}]})
        return {}


@pytest.mark.parametrize(("trained", "context"), [(4096, 4096), (131_072, 32_768)])
def test_llama_cpp_is_told_its_limits_and_answers_nobody_else(
    trained: int, context: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import xllamacpp

    monkeypatch.setattr(xllamacpp, "Server", Scripted)
    for name in ("m.gguf", "mmproj.gguf"):
        (tmp_path / name).touch()
    found = model.GGUF(tmp_path / "m.gguf", tmp_path / "mmproj.gguf", "m", "qwen2vl", 0.0, trained)
    backend: Any = llamacpp.load(found, "cpu", QWEN2)
    backend.reply(a_question(backend), Sampling(temperature=0.5, top_k=7, seed=3, repetition_penalty=1.2))
    params, (request,) = backend._server.params, backend._server.requests
    assert (backend.context, params.n_ctx // params.n_parallel) == (context, context)
    assert (params.port, params.endpoint_slots, params.n_gpu_layers) == (0, False, 0)
    assert [len(key) > 30 for key in params.api_keys] == [True]
    asked = {"temperature": 0.5, "top_k": 7, "seed": 3, "min_p": 0.0, "repeat_penalty": 1.2, "repeat_last_n": context}
    assert {name: request[name] for name in asked} == asked
