"""Requests and answers of Ollama's own API, and the context that it is asked for."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from asks import LOOK, ask, further
from PIL import Image
from support.called import virc
from support.loopback import Connection, Loopback

from virc.backends.interface import Sampling
from virc.backends.openai import ollama
from virc.backends.openai.backend import OpenAIBackend
from virc.backends.openai.images import Pieces
from virc.core.errors import ConfigError

GREEDY = Sampling()


def sent(sampling: Sampling = GREEDY, **fields: Any) -> dict[str, Any]:
    """A request as it stands on the wire."""
    asked = msgspec.structs.replace(further(ask("What is this?"), LOOK), **fields)
    body: dict[str, Any] = json.loads(b"".join(Pieces(ollama.request(asked, sampling, "m", 8192))))
    return body


@pytest.mark.parametrize("seed", [0, None])
def test_the_sampling_is_sent_by_ollamas_names(seed: int | None) -> None:
    sampling = Sampling(temperature=0.7, top_p=0.9, top_k=20, max_tokens=77, seed=seed, repetition_penalty=1.05)
    wanted = {
        "num_ctx": 8192, "num_predict": 77, "temperature": 0.7, "top_p": 0.9, "top_k": 20, "repeat_penalty": 1.05,
        **({} if seed is None else {"seed": seed}),
    }  # fmt: skip
    assert sent(sampling)["options"] == wanted
    assert sent(Sampling(top_k=None))["options"]["top_k"] == 0  # all tokens


@pytest.mark.parametrize(
    ("ends", "finish"), [({"done_reason": "stop"}, "stop"), ({"done_reason": "length"}, "length"), ({}, "stop")]
)
@pytest.mark.parametrize("streamed", [True])
def test_an_answer_is_read_line_by_line_or_whole(ends: dict[str, str], finish: str, streamed: bool) -> None:
    counts = {"done": True, "prompt_eval_count": 40, "eval_count": 3, **ends}
    parts = [("I look.", ""), ("", "4"), ("", "2")] if streamed else [("I look.", "42")]
    lines = [{"message": {"thinking": thought, "content": text}, "done": False} for thought, text in parts]
    lines[-1] |= counts
    shown: list[str] = []
    reply = ollama.read([b"\n".join(json.dumps(each).encode() for each in lines)], 1000, shown.append)
    assert (reply.thought, reply.text, reply.finish) == ("I look.", "42", finish)
    assert (reply.prompt_tokens, reply.completion_tokens) == (40, 3)
    assert "".join(shown) == "<think>I look.</think>\n42"


def described(context: object) -> dict[str, Any]:
    return {"general.architecture": "qwen3vl", "qwen3vl.context_length": context, "llama.context_length": 99}


@pytest.mark.parametrize(
    ("shown", "running", "context"),
    [
        ({}, {}, 32_768),
        ({"model_info": described(8192)}, {}, 8192),
        ({"parameters": "num_ctx 65536", "model_info": described(40_960)}, {}, 40_960),
        ({}, {"models": [{"model": "m:latest", "context_length": 100_000}]}, 100_000),
        ({"model_info": described("many")}, {"models": "none"}, 32_768),
    ],
)
def test_the_context_is_no_more_than_the_model_has(
    shown: dict[str, Any], running: dict[str, Any], context: int
) -> None:
    assert ollama.context_of(shown, running, "m") == context
    assert ollama.context_of(shown, running, "m", 4096) == 4096


class Fresh(Connection):
    """An Ollama without models, as its routes answer (server/routes.go, openai/openai.go)."""

    def get(self) -> None:
        body = {"/v1/models": {"object": "list", "data": None}, "/api/version": {"version": "0.13.1"}}
        self.send_json(body.get(self.path, {"error": "not found"}), 200 if self.path in body else 404)

    def post(self) -> None:
        model = json.loads(self.sent())["model"]
        missing = f"model '{model}' not found"
        native = self.path.startswith("/api")
        self.send_json(
            {"error": missing if native else {"message": missing, "type": "not_found_error", "code": None}}, 404
        )


@pytest.mark.parametrize("model", [None, "qwen3-vl:8b"])
def test_the_hint_for_a_fresh_ollama_pulls_a_model(model: str | None) -> None:
    server = Loopback(Fresh)
    with server.running(), pytest.raises(ConfigError) as raised:
        OpenAIBackend(f"{server.address}/v1", model, max_retries=0).reply(ask(), GREEDY)
    assert raised.value.hint == f"ollama pull {model or 'qwen3-vl'}, then the same command"


def test_a_batch_on_a_fresh_ollama_names_the_command_not_for_each_row(tmp_path: Path) -> None:
    Image.new("RGB", (56, 56)).save(tmp_path / "a.png")
    rows = [{"id": at, "image": "a.png", "question": "?"} for at in range(3)]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    server = Loopback(Fresh)
    with server.running():
        done = virc("batch", tmp_path / "in.jsonl", "--endpoint", f"{server.address}/v1", "--model", "qwen3-vl:8b")
    assert (done.code, done.err.count("does not serve the model")) == (1, 4)  # each row's fault, and why all failed
    assert (
        done.err.count("hint: ollama pull qwen3-vl:8b, then the same command") == 2
    )  # of the first row, and at the end
