"""OpenAI's Responses API, by which some gateways answer a request for a chat completion."""

from collections.abc import Mapping
from typing import Any

from virc.backends.openai.body import WireError, failed, parsed
from virc.backends.openai.received.usage import Usage, usage
from virc.backends.openai.received.wire import Gathered

_ENDS = {"response.completed", "response.incomplete", "response.failed"}


def take(data: bytes, gathered: Gathered) -> bool:
    """Take a response or an event of one, as JSON; False where it is neither.

    Source: platform.openai.com/docs/api-reference/responses and responses-streaming.

    Raises:
        WireError: it reports an error.
    """
    said = parsed(data)
    if not isinstance(said, dict):
        return False
    kind = str(said.get("type") or "")
    if kind.startswith("response."):
        if kind == "response.output_text.delta" and isinstance(said.get("delta"), str):
            gathered.ended(None)
            gathered.content(said["delta"])
        if kind not in _ENDS or not isinstance(said.get("response"), dict):
            return True
        said = said["response"]
    elif said.get("object") != "response" or not isinstance(said.get("output"), list):
        return False
    _whole(said, gathered)
    return True


def _whole(response: Mapping[str, Any], gathered: Gathered) -> None:
    """Take a whole response."""
    if response.get("status") == "failed" or response.get("error"):
        raise failed(response)
    details = response.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    gathered.ended(str(reason or response.get("status") or "stop"))
    counts = usage(response.get("usage"), Usage())
    gathered.counted(counts.prompt, counts.drawn)
    for item in _objects(response.get("output")):
        if item.get("type") == "function_call":
            gathered.function(str(item.get("name") or ""), str(item.get("arguments") or ""))
        said = item.get("content") or item.get("summary")
        parts = _objects([{"text": said}] if isinstance(said, str) else said)
        text = "".join(part["text"] for part in parts if isinstance(part.get("text"), str))
        (gathered.thought if item.get("type") == "reasoning" else gathered.content)(text, is_whole=True)
        for part in parts:
            gathered.refused(part["refusal"] if isinstance(part.get("refusal"), str) else None)


def _objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list, or in none at all; a WireError for anything else."""
    if value and not isinstance(value, list):
        raise WireError("sent something that cannot be read", str(value)[:2048])
    return [each for each in value or () if isinstance(each, dict)]
