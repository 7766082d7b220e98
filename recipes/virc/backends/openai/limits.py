"""The limits that servers name in refusals: the table of their wordings, and `named_limit`, which reads it."""

import math
import re
from typing import Literal, NamedTuple

Kind = Literal["context", "reply", "pictures", "side", "area", "bytes"]
"""Tokens of a conversation and of a reply, pictures of a request, pixels a side and of a whole picture, and bytes."""

_I = re.IGNORECASE
PER_MINUTE = re.compile(r"tokens per (?:minute|day)|\bTP[MD]\b", _I)
"""A limit of tokens in a time, which a shorter conversation keeps."""
CONTEXT = r"context(?! (?:deadline|cancel))"
"""What the conversation is in; servers in Go also say by it that they gave up."""
PICTURES = re.compile(r"\b(?:images?|pictures?|photos?|multi-?modal|media)\b", _I)
_TOKENS = rf"{PER_MINUTE.pattern}|{CONTEXT}|\btokens\b"
_COUNTS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "eight": 8, "ten": 10}
_WORDS = {"single": 1, **_COUNTS}
_WORD = (
    r"(?:at most|up to|no more than|maximum|max\b|limit|\bonly\b|allow|exceed|between \d+ and|> ?|<= ?|\bunder\b"
    r"|\bbelow\b|(?<!must be )(?:larger|longer) than|(?:lower|smaller|more|less) than)[^\d]{0,60}?"
)
"""What stands before a limit, where other numbers say how much was sent."""
_COUNT = (
    rf"\b(?P<n>\d{{1,4}}|{'|'.join(_COUNTS)})"
    r"(?![\d.,]*\d|\s*(?:[kmg]i?b?\b|bytes|px|pixel|mega|tokens|%|seconds|x ?\d))"
)
_NUMBER = r"(?<![\w.,])(?P<n>\d[\d,_]{0,14}(?:\.\d{1,3})?) ?"
_BYTES = rf"{_NUMBER}(?P<unit>bytes?|kilobytes?|megabytes?|[km]i?b)\b"
_AREA = rf"{_NUMBER}(?P<unit>mega-?pixels?|mpix\w*|mp\b|million pixels|pixels?|px\b)"
_SIDE = (
    r"(?<![\w.,])(?P<n>\d{2,5}|\d,\d{3}) ?(?:px\b|pixels?\b)?"
    r"(?: ?[x×*] ?(?P<m>\d{2,5}|\d,\d{3}) ?(?:px\b|pixels?\b)?)?(?![\w,]|\.\d)"
)
_ABOUT_SIDES = (
    r"\bpixels?\b|\d ?px\b|\d ?[x×*] ?\d|dimension|resolution|width|height|(?:longest|long|each|per) (?:side|edge)"
)
_TOO_LARGE = r"too (?:large|big|long)|" + _WORD.partition("[^")[0]


class _Wording(NamedTuple):
    """How servers word limits of one kind.

    Args:
        patterns: the limit as `n`, with its `unit`; for two sides also `m`. The first that fits one counts.
        about, other: what a refusal speaks of, and what it does not.
        anywhere: a number with its unit, without a word before it: the least counts.
        least: less is none.
    """

    patterns: tuple[str, ...]
    about: str = ""
    other: str = r"(?!)"
    anywhere: str = r"(?!)"
    least: int = 1


_WORDINGS: dict[Kind, _Wording] = {  # the numbers behind names are issues in which the wording was read
    "context": _Wording((
        r"\bn_ctx: (?P<n>\d{3,8})\b",  # LM Studio: tinyhumansai/openhuman#3550
        # OpenAI, vLLM, SGLang, llama.cpp, Ollama, LM Studio, OpenRouter: vllm-project/vllm#20409, QwenLM/Qwen3#1321,
        # lmstudio-ai/lmstudio-bug-tracker#546, OpenHands/OpenHands#9937
        r"(?:context|kv)[ _](?:length|window|size)\D{0,40}?\b(?P<n>\d{3,8})\b",
        r"max_kv_size is (?P<n>\d{3,8})\b",  # MLX
        r"max_new_tokens\W{1,3}must be <= (?P<n>\d{3,8})\b",  # TGI: huggingface/huggingface_hub#2763
        r"must have less than (?P<n>\d{3,8}) tokens",  # TGI: huggingface/text-generation-inference#695
        r"maximum model length(?: of)? (?P<n>\d{3,8})\b",  # vLLM: QwenLM/Qwen3-VL#946, Gabesarch/grounded-rl#16
        r"input length should be \[\d+, ?(?P<n>\d{3,8})\]",  # DashScope: QwenLM/Qwen-Agent#615
    )),
    "reply": _Wording((
        r"(?:at most|between 1 and|max_tokens\b.{0,60}\[1, ?|less than or equal to|expected a value <=)"
        r" ?[`'\"]?(?P<n>\d{2,7})\b",
    )),
    "pictures": _Wording(
        (
            r"set image=(?P<n>\d+)",  # vLLM 0.7: xorbitsai/inference#3054
            # vLLM, Azure, Copilot, Muse: vllm-project/vllm#13513, the-open-agent/openagent#874,
            # microsoft/vscode#306919, anomalyco/opencode#48647
            rf"{_WORD}{_COUNT}",
            rf"{_COUNT} images? (?:is|are|per|at most)",
            r"\bonly (?:\w+ )?(?:an? )?(?P<n>single) (?:image|picture)",
        ),
        PICTURES.pattern,
    ),
    "side": _Wording(
        (_WORD + _SIDE,),  # Anthropic: anthropics/claude-code#4778, #49537
        _ABOUT_SIDES, rf"{_TOKENS}|total pixels|pixels in total|mega-?pixel|\bMP\b|\bbytes\b|\d ?[KM]i?B\b",
        _SIDE, least=64,
    ),
    "area": _Wording(
        (
            _WORD + _AREA,  # Volcengine, Google: infiniflow/ragflow#13063, openfoodfacts/openfoodfacts-server#10764
            rf"total pixels\b.{{0,20}}{_WORD}{_NUMBER}",  # LM Studio: lmstudio-ai/lmstudio-bug-tracker#2003
        ),
        r"pixel|\bMP\b|\bpx\b", _TOKENS, _AREA, least=100_000,
    ),
    "bytes": _Wording(
        (r"body size (?P<n>\d{5,12}) exceeded",),  # proxies: google-gemini/gemini-cli#13776
        _TOO_LARGE, _TOKENS,
        # Anthropic, Gemini: gptme/gptme#185, google-gemini/deprecated-generative-ai-android#26
        rf"{_BYTES}|(?:limit\W{{1,6}}|\bbytes\b[^.\d]{{0,40}}\b)(?P<m>\d{{5,12}})\b(?! ?(?:tokens|pixels|px))",
        least=2000,
    ),
}  # fmt: skip


def named_limit(kind: Kind, said: str, sent: float = math.inf) -> int | None:
    """Return the limit of a kind that a refusal names, below what was `sent`; None: it names none."""
    patterns, about, other, anywhere, least = _WORDINGS[kind]
    is_about = re.search(about, said, _I) and (not about or re.search(_TOO_LARGE, said, _I))
    if not is_about or re.search(other, said, _I):
        return None
    for pattern in (*patterns, anywhere):
        numbers = map(_value, re.finditer(pattern, said, _I))
        if fitting := [number for number in numbers if least <= number < sent]:
            return min(fitting) if pattern == anywhere else fitting[0]
    return None


def _value(match: re.Match[str]) -> int:
    """The number in a match; of two sides the smaller."""
    groups = match.groupdict()
    numbers = [text.lower() for name in "nm" if (text := groups.get(name))]
    scale = {"k": 1000, "m": 1_000_000}.get((groups.get("unit") or " ")[0].lower(), 1)
    return int(min(float(_WORDS.get(text) or re.sub("[,_]", "", text)) for text in numbers) * scale)
