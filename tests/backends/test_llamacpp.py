"""llama.cpp in this process, against transformers."""

import json
import random
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
from virc.backends.gguf import header, model
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


@pytest.fixture(scope="module")
def tiny_gguf() -> model.GGUF:
    return model.read_gguf(EMBEDDED_FOLDER / "tiny-F16.gguf")


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


@pytest.mark.integration
def test_tiny_says_the_same_at_every_turn_of_drawn_problems(backend: LlamaCppBackend) -> None:
    here = local.load(EMBEDDED_FOLDER, device="cpu")
    protocol = open_model(Choice("tiny")).chat_protocol
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


@pytest.mark.integration
def test_a_header_of_any_bytes_is_read_or_refused(tmp_path: Path, tiny_gguf: model.GGUF) -> None:
    data, rng = tiny_gguf.file.read_bytes()[:60_000], random.Random(3)
    for number in range(300):
        cut = bytearray(data[: rng.randrange(1, len(data))] if number % 2 else data)
        for _ in range(rng.randrange(4)):
            cut[rng.randrange(len(cut))] = rng.randrange(256)
        (tmp_path / "odd.gguf").write_bytes(cut)
        with suppress(ConfigError):  # anything else is a fault
            header.read_header(tmp_path / "odd.gguf")


def test_what_llama_cpp_does_not_load_is_one_sentence(tmp_path: Path, tiny_gguf: model.GGUF) -> None:
    data = tiny_gguf.file.read_bytes()
    odd = tmp_path / "odd.gguf"
    shutil.copy(tiny_gguf.vision, tmp_path / "mmproj.gguf")
    odd.write_bytes(data[:200_000])
    with pytest.raises(ConfigError, match="damaged GGUF file: it ends too early"):
        model.read_gguf(odd)
    odd.write_bytes(data.replace(b"qwen2vl", b"quux2vl"))
    with pytest.raises(ConfigError, match=r"llama\.cpp does not load"):
        llamacpp.load(model.read_gguf(odd), "cpu")


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
    backend.reply(a_question(backend), Sampling(temperature=0.5, top_k=7, seed=3, repetition_penalty=1.2, min_p=0.2))
    params, (request,) = backend._server.params, backend._server.requests
    assert (backend.context, params.n_ctx // params.n_parallel) == (context, context)
    assert (params.port, params.endpoint_slots, params.n_gpu_layers) == (0, False, 0)
    assert [len(key) > 30 for key in params.api_keys] == [True]
    asked = {"temperature": 0.5, "top_k": 7, "seed": 3, "min_p": 0.2, "repeat_penalty": 1.2, "repeat_last_n": context}
    assert {name: request[name] for name in asked} == asked
