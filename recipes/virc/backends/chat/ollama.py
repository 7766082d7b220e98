"""Ollama's own API, `/api/chat`: unlike its `/v1` it keeps the parts of a message together and takes a context length.

Read from its source (github.com/ollama/ollama: api/types.go, server/routes.go, openai/openai.go).
"""

import re
from collections.abc import Mapping
from typing import Any

from virc.backends.chat.images import RequestPicture
from virc.backends.chat.request import RESULT, offered
from virc.backends.interface import Sampling
from virc.reasoning.session import Ask, ChatTurn

CHAT = "/api/chat"
CONTEXT = 32_768
"""Tokens of context to request if the model has as many: its default of 4,096 on small machines holds one
large picture, and what does not fit is dropped without an error.
"""


def root_of(endpoint: str) -> str:
    """The address of the server whose `/v1` an endpoint is."""
    return endpoint.rstrip("/").removesuffix("/v1")


def context_of(shown: Mapping[str, Any], running: Mapping[str, Any], model: str, chosen: int | None = None) -> int:
    """The context to ask for, in tokens: as `chosen`, else `CONTEXT`, or more if its Modelfile says so (`shown` by
    `/api/show`) or it is loaded with more (`running` by `/api/ps`); and no more than the model has.
    """
    info = shown.get("model_info")
    info = info if isinstance(info, Mapping) else {}
    trained = info.get(f"{info.get('general.architecture')}.context_length")
    models = running.get("models")
    loaded = [
        each["context_length"]
        for each in (models if isinstance(models, list) else ())
        if isinstance(each, Mapping)
        and each.get("model") in (model, f"{model}:latest")
        and type(each.get("context_length")) is int
    ]
    found = re.search(r"^num_ctx\s+(\d{1,8})$", str(shown.get("parameters") or ""), re.MULTILINE)
    wanted = chosen or max([CONTEXT, *loaded, int(found[1]) if found else 0])
    return int(min(wanted, trained)) if type(trained) is int and trained > 0 else int(wanted)


def request(ask: Ask, sampling: Sampling, model: str, context: int) -> dict[str, Any]:
    options: dict[str, Any] = {
        "num_ctx": context,
        "num_predict": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": 0 if sampling.top_k is None else sampling.top_k,
        "repeat_penalty": sampling.repetition_penalty or 1,
    }
    chosen = {"seed": sampling.seed, "min_p": sampling.min_p}
    options |= {name: value for name, value in chosen.items() if value is not None}
    messages = [part for turn in ask.turns() for part in _messages(turn, ask)]
    body: dict[str, Any] = {"model": model, "messages": messages, "stream": True, "options": options}
    if ask.json_schema is not None:
        body["format"] = ask.json_schema
    if sampling.likeliest:
        body |= {"logprobs": True, "top_logprobs": sampling.likeliest}
    return body | ({"tools": offered(ask.schemas)} if ask.schemas else {})


def _messages(turn: ChatTurn, ask: Ask) -> list[dict[str, Any]]:
    """A turn as Ollama has it: images stand next to the text, and come before it."""
    if sent := turn.called:
        functions = [{"function": {"name": each.name, "arguments": each.arguments}} for each in sent.calls]
        said = zip(sent.calls, sent.results, strict=True)
        return [
            {"role": "assistant", "content": sent.before, **(sent.message or {}), "tool_calls": functions},
            *({"role": "tool", "tool_name": each.name, "content": result or RESULT} for each, result in said),
        ]
    pictures = [RequestPicture(ask.images[index], url=False) for index in turn.images]
    return [{"role": turn.role, "content": turn.text} | ({"images": pictures} if pictures else {})]
