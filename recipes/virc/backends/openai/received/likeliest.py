"""The likeliest first tokens of a reply, as servers send their log-probabilities."""

from collections.abc import Iterator, Mapping

from virc.backends.interface import Likeliest


def likeliest(logprobs: object) -> Likeliest | None:
    """The texts and log-probabilities of the likeliest first tokens; None where a server sends none.

    Args:
        logprobs: `logprobs` of a choice: OpenAI's {"content": [{"top_logprobs": [{"token", "logprob"}]}]}, the
            {"top_logprobs": [{TOKEN: LOGPROB}]} of its older API, or Ollama's list of {"top_logprobs"}.
    """
    content = logprobs.get("content") or [logprobs] if isinstance(logprobs, Mapping) else logprobs
    if not isinstance(content, list) or not content or not isinstance(content[0], Mapping):
        return None
    return tuple(_pairs(content[0].get("top_logprobs"))) or None


def _pairs(tokens: object) -> Iterator[tuple[str, float]]:
    if isinstance(tokens, list) and tokens and isinstance(tokens[0], Mapping) and "token" not in tokens[0]:
        tokens = [{"token": token, "logprob": value} for token, value in tokens[0].items()]
    for each in tokens if isinstance(tokens, list) else ():
        token, value = (each.get("token"), each.get("logprob")) if isinstance(each, Mapping) else (None, None)
        if isinstance(token, str) and isinstance(value, int | float) and value <= 0:
            yield token, float(value)
