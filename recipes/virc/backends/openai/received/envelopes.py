"""Chat completions inside the objects that gateways put around them."""

from collections.abc import Mapping
from typing import Any

from virc.backends.openai.body import parsed

_AROUND = ("data", "result", "output", "response", "body")
_MAX_DEPTH = 3


def unwrapped(said: object, depth: int = 0) -> Mapping[str, Any] | None:
    """Return the completion, or the chunk of one, that stands in an answer without choices; None if there is none.

    It stands in a field of another object, such as `data` of many gateways, `output` of DashScope's own API and `body`
    of AWS Lambda, where it is text. Cohere and Ollama send a message without choices.
    """
    if isinstance(said, str) and said.lstrip()[:1] == "{":
        said = parsed(said.encode(errors="replace"))
    if not isinstance(said, dict) or depth > _MAX_DEPTH:
        return None
    if said.get("choices"):
        return said
    message = said.get("message")
    if isinstance(message, dict) and "content" in message and said.get("type") != "message_start":  # Anthropic's
        field = "delta" if "done" in said else "message"
        finish = said.get("done_reason") or said.get("finish_reason") or ("stop" if said.get("done") else None)
        return {"choices": [{field: message, "finish_reason": finish}], "usage": said.get("usage")}
    return next((found for key in _AROUND if (found := unwrapped(said.get(key), depth + 1))), None)
