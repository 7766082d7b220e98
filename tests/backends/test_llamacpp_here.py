"""What llama.cpp is given and what comes of what it says, with a scripted one in its place."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from asks import ask

from virc.backends import llamacpp
from virc.backends.gguf.model import GGUF
from virc.backends.interface import Sampling, TooLongError
from virc.core.errors import EngineError
from virc.reasoning.resize import Grid

GRID = Grid(28, 3136, 63504)


class Params(SimpleNamespace):
    """What a server of llama.cpp is started with."""

    def __init__(self) -> None:
        super().__init__(**{name: SimpleNamespace() for name in ("model", "mmproj", "cpuparams", "cpuparams_batch")})


class Server:
    """In place of llama.cpp: says `chunks`, until nobody wants more."""

    chunks: ClassVar[Iterable[dict[str, Any]]] = ()

    def __init__(self, params: Params) -> None:
        self.params, self.requests = params, list[dict[str, Any]]()

    def handle_chat_completions(
        self, request: dict[str, Any], heard: Callable[[Any], bool] = lambda _: True
    ) -> dict[str, Any]:
        self.requests.append(request)
        for chunk in Server.chunks:
            if heard(chunk):
                break
        return {"timings": {"prompt_per_token_ms": 2.5, "predicted_per_token_ms": 40.0}}


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", SimpleNamespace(CommonParams=Params, Server=Server))
    monkeypatch.setattr(Server, "chunks", [piece("one"), piece(" two"), piece(" three", "stop")])


def piece(text: str, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}, "finish_reason": finish}]}


def loaded(folder: Path, trained: int | None = None, size: int = 0, **chosen: Any) -> tuple[Any, Server]:
    model = GGUF(folder / "m.gguf", folder / "mmproj.gguf", "m", "qwen2vl", 0.0, trained)
    for file in (model.file, model.vision):
        file.touch()
    with model.file.open("wb") as opened:
        opened.truncate(size)  # no block of it is on the disk
    backend = llamacpp.load(model, grid=GRID, **chosen)
    return backend, backend._server


@pytest.mark.parametrize(
    ("chosen", "trained", "context"),
    [
        (None, 131_072, 32_768),
        (65_536, 4096, 4096), (1000, 4096, 1000),
    ],
)  # fmt: skip
def test_a_context_is_no_longer_than_a_model_was_trained_for(
    tmp_path: Path, chosen: int | None, trained: int | None, context: int
) -> None:
    backend, server = loaded(tmp_path, trained, context=chosen)
    assert (backend.context, server.params.n_ctx / server.params.n_parallel) == (context, context)
    backend.reply(ask(), Sampling(max_tokens=10**6))
    assert server.requests[0]["max_tokens"] == context


def test_the_server_within_answers_nobody_else(tmp_path: Path) -> None:
    _, server = loaded(tmp_path)
    assert (server.params.port, server.params.endpoint_slots, server.params.ui) == (0, False, False)
    assert len(*server.params.api_keys) > 30


def test_a_penalty_is_on_all_of_the_conversation_and_seeds_and_cuts_are_given(tmp_path: Path) -> None:
    backend, server = loaded(tmp_path, 500)
    backend.reply(ask(), Sampling(temperature=0.5, top_k=7, top_p=0.8, seed=3, repetition_penalty=1.2))
    backend.reply(ask(), Sampling())
    first, second = server.requests
    asked = {"temperature": 0.5, "top_k": 7, "top_p": 0.8, "seed": 3, "min_p": 0.0}
    assert {name: first[name] for name in asked} == asked
    assert (first["repeat_penalty"], first["repeat_last_n"]) == (1.2, 500)
    assert (second["top_k"], "repeat_penalty" in second) == (0, False)


def test_what_llama_cpp_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, _ = loaded(tmp_path, 900)
    too_long = {"error": {"type": "exceed_context_size_error", "n_prompt_tokens": 1200}}
    monkeypatch.setattr(Server, "chunks", [too_long])
    with pytest.raises(TooLongError, match="the conversation has 1200 tokens, the model takes 900"):
        backend.reply(ask(), Sampling())
    backend.close()
    with pytest.raises(EngineError, match="the model m is closed"):
        backend.reply(ask(), Sampling())
