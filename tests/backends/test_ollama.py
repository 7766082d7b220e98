"""Requests and answers of Ollama's own API, and the context that it is asked for."""

import json
from typing import Any

import msgspec
import pytest
from asks import LOOK, ask, further

from virc.backends.interface import Sampling
from virc.backends.openai import ollama
from virc.backends.openai.images import Pieces

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
