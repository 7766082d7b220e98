"""What servers do otherwise than OpenAI's API has it: one table, each entry with whose way it is, and its source.

Parts: `PROVIDERS` and `HOSTS`, what their requests hold; names and words of replies; `WORDINGS`, what their refusals
mean; `LIMITS`, the limits that these name. OWNER/NAME#NUMBER is an issue on github.com in which the wording was read;
without one, the source is the API reference of the provider.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

Ways = tuple[dict[str, Any], dict[str, Any]]
"""The fields that switch thinking on, and those that switch it off."""
TEMPLATE: Ways = (
    {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}},
    {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}},
)

_EFFORT: Ways = {"reasoning_effort": "medium"}, {"reasoning_effort": "none"}


class Provider(NamedTuple):
    """A kind of server.

    Args:
        name: for people.
        source: where the rest was read.
        thinking: None: as its host has it.
        keeps_stop: the parameter that has it leave in a reply the text of `stop` that ended it. Others cut that text
            off, so that it is unknown which of several it was.
        takes_sampling: it takes `top_k`, `min_p` and the penalty, which openai.com refuses. Left out, it takes
            top_k and top_p from the model's generation_config.json, where top_k may be 1, and then tries are alike.
        penalty: what it calls `repetition_penalty`, and what that needs beside it.
        shows_whole: it shows pictures by the model's own rules, and never smaller.
        batches: it computes replies in batches, and refuses a conversation that is too long.
    """

    name: str
    source: str
    thinking: Ways | None = None
    keeps_stop: str | None = None
    takes_sampling: bool = False
    shows_whole: bool = False
    batches: bool = False
    penalty: tuple[str, Mapping[str, Any]] = ("repetition_penalty", {})


OLLAMA, VLLM = "library", "vllm"
PROVIDERS = {
    VLLM: Provider(
        "vLLM", "docs.vllm.ai: Sampling Parameters, Engine Arguments, Reasoning Outputs",
        TEMPLATE, "include_stop_str_in_output", True, True, True,
    ),
    "sglang": Provider("SGLang", "docs.sglang.ai: Sampling Parameters", TEMPLATE, "no_stop_trim", True, True, True),
    "virc": Provider("virc serve", "virc.serving", TEMPLATE, takes_sampling=True, shows_whole=True),
    "llamacpp": Provider(
        "llama.cpp", "ggml-org/llama.cpp: tools/server/README.md", TEMPLATE,
        penalty=("repeat_penalty", {"repeat_last_n": -1}),
    ),
    OLLAMA: Provider("Ollama", "ollama/ollama: api/types.go, `think`", ({"think": True}, {"think": False})),
    "organization_owner": Provider(
        "LM Studio", "lmstudio.ai/docs; GD4AI/obsidian-llm-wiki#481", _EFFORT, penalty=("repeat_penalty", {})
    ),
    "lmdeploy": Provider("LMDeploy", "lmdeploy.readthedocs.io", TEMPLATE),
}  # fmt: skip
"""By the owner of the models that a server lists, in lower case."""
HOSTS: Mapping[tuple[str, ...], Ways] = {
    (".openrouter.ai",): ({"reasoning": {"enabled": True}}, {"reasoning": {"enabled": False}}),
    (".aliyuncs.com", ".siliconflow.cn", ".siliconflow.com"): ({"enable_thinking": True}, {"enable_thinking": False}),
    (".z.ai", ".bigmodel.cn", ".deepseek.com", ".moonshot.ai", ".moonshot.cn", ".volces.com"): (
        {"thinking": {"type": "enabled"}},
        {"thinking": {"type": "disabled"}},
    ),
    # earendil-works/pi#3522, vellum-ai/vellum-assistant#36284
    (".openai.com", ".openai.azure.com", ".googleapis.com", ".api.x.ai", ".fireworks.ai", ".together.xyz"): _EFFORT,
}
"""How thinking is switched where the host tells it; sources: the API references of the hosts."""


def provider(kind: str) -> Provider:
    """The kind of server that calls itself so; one without differences where it is not known."""
    return PROVIDERS.get(kind.lower(), Provider(kind, ""))


def ways_to_think(endpoint: str, kind: str) -> Ways:
    """How thinking is switched; two empty objects where that is not known."""
    host = f".{urlsplit(endpoint).hostname}"
    by_host: Ways = next((ways for names, ways in HOSTS.items() if host.endswith(names)), ({}, {}))
    return provider(kind).thinking or by_host


# Names and words of replies.

THOUGHTS = (
    "reasoning_content",  # DeepSeek, llama.cpp, SGLang, older vLLM, LM Studio
    "reasoning",  # OpenRouter, Ollama's /v1, newer vLLM, Groq
    "thinking",  # Ollama's own API
)
READ = ("prompt_tokens", "input_tokens", "prompt_eval_count")  # OpenAI; its Responses API, Cohere; Ollama
DRAWN = ("completion_tokens", "output_tokens", "eval_count")
CACHED = ("cached_tokens", "cache_read_input_tokens", "prompt_cache_hit_tokens")  # OpenAI; Anthropic; DeepSeek
WRITTEN = ("cache_creation_input_tokens", "cache_write_tokens", "cache_creation_tokens")  # Anthropic; OpenRouter
_ENDS: Mapping[str, tuple[str, ...]] = {
    "stop": (
        "stop", "stop sequence", "stop string", "stop string found", "stop token", "stop word", "matched stop",
        "eos", "eos token", "eos found", "eot", "eot token", "eot id", "im end", "end", "end of text", "end of turn",
        "end of sequence", "end of stream", "end turn", "turn end", "complete", "completed", "finish", "finished",
        "done", "normal",
    ),
    "length": (
        "length", "length limit", "limit", "token limit", "max length", "model length", "max tokens", "max new tokens",
        "max output tokens", "max completion tokens", "max predicted tokens reached",
    ),
    "call": ("tool calls", "tool call", "tool use", "function call", "function calls"),
}  # fmt: skip
FINISHES: Mapping[str, Any] = {word.replace(" ", ""): finish for finish, words in _ENDS.items() for word in words}
"""Finish reasons of many servers, reduced to lower-case letters; any other word means that the reply was cut off."""
NUMBERED_FINISHES = {"1": "stop", "2": "length"}  # Google's enum; where 2 means an end, the reply is requested again
FILTERED = {
    **dict.fromkeys(
        ("contentfilter", "contentfiltered",  # OpenAI, Azure
         "safety", "imagesafety", "prohibitedcontent", "imageprohibitedcontent", "blocklist", "spii", "recitation",
         "imagerecitation",  # Google
         "sensitive",  # Zhipu
         "guardrailintervened"),  # AWS
        "the server's content filter ended the reply",
    ),
    "refusal": "the model refuses",  # Anthropic
}  # fmt: skip


# What refusals mean.

Meaning = Literal[
    "quota", "ends soon", "rate limit", "overloaded", "request too large", "filter", "permanent", "passing", "loading",
    "failed", "bad key", "key", "own key header", "anthropic", "model", "no vision model", "wants https", "context",
    "too long", "full", "per minute", "pictures", "too many", "refuses", "reply length", "empty content",
    "order of messages", "whole request",
]  # fmt: skip
_PICTURES = r"\b(?:images?|pictures?|photos?|multi-?modal|media)\b"
WORDINGS: Mapping[Meaning, Mapping[str, str]] = {  # pattern, whatever its case -> who writes so
    "quota": {
        r"insufficient[_ ](?:quota|balance|credits?|funds)": "OpenAI, DeepSeek, OpenRouter",
        r"exceeded your current quota|billing": "OpenAI, Google",
        r"quota (?:is )?(?:exhausted|used up)|payment required|spend(?:ing)? limit|prepaid": "gateways",
        r"credit balance|balance is (?:too low|not enough)": "Anthropic",
        r"out of credits?|more credits|no credits": "OpenRouter",
        r"in arrears|arrearage|overdue": "DashScope",
        r"余额不足|欠费|额度不足|配额": "Chinese gateways",
    },
    "ends soon": {  # a rate limit, which ends by itself, in contrast to a used up quota
        r"per (?:minute|second|hour)|\b[RT]P[MS]\b": "OpenAI, Groq",
        r"(?:retry|try again|reset)s? (?:in|after) (?:\d|about)": "OpenAI, Google",
    },
    "rate limit": {
        r"rate.?limit|too many (?:\w+ )?requests": "OpenAI, Anthropic",
        r"throttl|slow down": "AWS, DashScope",
        r"requests? (?:rate|too frequent)|请求过于频繁|限流": "Chinese gateways",
    },
    "overloaded": {r"overload|\bbusy\b|capacity|(?-i:\bUNAVAILABLE\b)": "Anthropic, SGLang, Google"},
    "request too large": {r"request too large|too large for (?:model|gpt)|must be reduced": "OpenAI, Groq"},
    "filter": {
        r"content.?(?:filter|policy)|responsible.?ai": "OpenAI, Azure, Zhipu",
        r"inspection": "DashScope",
        r"moderation|flagged|prohibited.?content": "OpenRouter, Google",
    },
    "permanent": {  # sent with 500, and not changed by another try
        r"image input is not supported|required for image input|not support image": "llama.cpp",
        r"(?:exceed\w*|larger than|longer than)[^.]{0,40}context": "llama.cpp, Ollama",
        r"context(?! (?:deadline|cancel))[^.]{0,20} exceeded": "Ollama",
        r"limit-mm-per-prompt|at most \d+ (?:image|picture)": "Xinference: xorbitsai/inference#3054",
    },
    "passing": {  # sent with 400, and changed by another try: lmstudio-ai/lmstudio-bug-tracker#1057, #1492
        r"model (?:has |was |is |been )*(?:(?:un|re)loaded|crashed)|crashed without": "LM Studio",
        r"(?:operation|generation|request|stream|context) (?:was |has been )?(?:cancel+ed|aborted)": "several",
        r"connection (?:was )?(?:reset|closed|aborted)|broken pipe|unexpected EOF|socket hang up": "gateways",
    },
    "loading": {
        r"\bload(?:ing|ed yet)": "llama.cpp",
        r"warming up|starting up|still starting|not (?:yet )?ready|initiali[sz]ing": "several",
    },
    "failed": {r"fail|error|unable|could not|cannot|can't": "all"},
    "bad key": {
        r"api[ _-]?key[^.]{0,40}(?:invalid|not valid|missing|required|incorrect|expired|not found|revoked)": "Google",
        r"(?:invalid|incorrect|missing|expired|wrong|no|revoked)[^.]{0,20}api[ _-]?key": "OpenAI, vLLM, LiteLLM",
    },
    "key": {
        r"\bkeys?\b|token|auth|credential|permission|unauthori[sz]ed|not allowed to access": "all",
        r"密钥|令牌": "Chinese gateways",
    },
    "own key header": {r"subscription|api-key header|basic": "Azure"},
    "anthropic": {
        r"anthropic-version|x-api-key.{0,30}(?:required|missing|must)|missing.{0,30}x-api-key": "Anthropic",
    },
    "model": {
        r"invalid model|unknown model|(?:no|not find) (?:such )?model|model_not_found|model:": "OpenAI, Anthropic",
        r"model[^.]{0,80}(?:not found|not exist|not available|not supported|not loaded)": "vLLM, Ollama, LM Studio",
        r"no endpoints found for|deployment": "OpenRouter, Azure",
    },
    "no vision model": {r"no endpoints[^.]{0,40}image": "OpenRouter"},
    "wants https": {
        r"plain HTTP request was sent to HTTPS port": "nginx",
        r"client sent an HTTP request to an HTTPS server": "Go",
    },
    "context": {r"context(?! (?:deadline|cancel))": "all; servers in Go also say by it that they gave up"},
    "too long": {  # the prompt and the reply together: neither is a parameter to leave out
        r"context (?:length|window|size)|maximum length": "OpenAI, vLLM, llama.cpp",
        r"inputs?\W{0,2} tokens": "TGI, OpenAI",
    },
    "full": {
        r"context(?! (?:deadline|cancel))|too long|maximum length|prompt tokens|too many tokens": "all",
        r"inputs?\W{0,2} (?:tokens?|length)|inputs?\W{0,2} must have less than": "TGI, DashScope",
        r"token limit|tokens per (?:minute|day)": "Groq",
        r"prompt.{0,4}超|超长|上下文|长度超": "Chinese gateways",
    },
    "per minute": {r"tokens per (?:minute|day)|\bTP[MD]\b": "Groq, OpenAI"},  # which a shorter conversation keeps
    "pictures": {_PICTURES: "all"},
    "too many": {r"at most|too many|maximum|max\b|limit|exceed": "all"},
    "refuses": {
        r"unsupported|not supported|n.t support|unrecogni[sz]ed|must be verified|use '?max_completion_tokens": "OpenAI",
        r"unknown|unexpected|not (permitted|allowed|valid)|forbidden|extra inputs": "FastAPI: Mistral, vLLM",
        r"invalid (param|arg|field)|cannot find field": "DashScope, Google",
        r"cannot both be|only [\d.]+ is allowed": "Anthropic, Moonshot",
        r"must be (?:strictly )?(?:positive|greater than 0)|n.t enabled": "TGI, gateways",
        r"only [\w, ]+ roles are|roles must alternate": "chat templates of Gemma and Mistral",
    },
    "reply length": {
        r"max\w*[ _-]?(?:new |output )?tokens?|num_predict|tokens_to_generate|token limit|maximum tokens": "all",
        r"(?:output|completion|response|generat\w+|ausgabe)[- ]?(?:tokens?|length|limit)": "all",
        r"token[^.]{0,30}(?:limit|maxim|máxim|höchst)|limit[^.]{0,30}token": "gateways",
        r"(?:输出|输出长度|出力).{0,12}(?:超|上限|限)|トークン数": "Chinese and Japanese gateways",
    },
    "empty content": {r"non-?empty|(?:be|is|an?) empty|empty (?:text|content|string)|blank": "Anthropic, Bedrock"},
    "order of messages": {r"after role '?tool|roles must alternate": "Mistral, its chat templates"},
    "whole request": {r"request|payload|body|entity|total": "Google, proxies"},
}  # fmt: skip

SMALLER_PIXELS = 1_000_000  # in hints; `backend` proposes fewer if the picture is smaller
SEND_SMALLER = f"send smaller images: «--max-pixels {SMALLER_PIXELS}»"
HINTS = (
    (
        r"context(?! (?:deadline|cancel))|inputs?\W{0,2} (?:tokens|length|must have less)|prompt is too long|超长",
        "serve it with a longer context (llama.cpp: -c, vLLM: --max-model-len), or send smaller images: «--max-pixels»",
    ),
    (r"image[^.]{0,60}(?:dimension|resolution|pixels)|(?:dimension|resolution|pixels)[^.]{0,60}image", SEND_SMALLER),
    (
        r"(at most|too many|limit|maximum|only a single)[^.]{0,40}\bimage",
        "allow as many images a prompt as «--max-turns» and the pictures of the question together, 17 by default "
        "(vLLM: --limit-mm-per-prompt '{\"image\": 17}')",
    ),
    (
        r"mmproj|required for image input",
        "serve a vision model, and with the file of its vision tower (llama.cpp: -hf, or --mmproj)",
    ),
    (
        r"not support[^.]{0,20}\bimage|\bimage[^.]{0,20}not support|multi-?modal|no endpoints[^.]{0,40}image"
        # takes texts: Lapis0x0/obsidian-yolo#255, vercel/ai#2837, chatboxai/chatbox#1740, browser-use/web-ui#99
        r"|content\.type\b[^.]{0,20}\['text'\]|content must be a string|sequence, expected a string|RequestContent\b",
        "serve a vision model",
    ),
    (
        r"max\w*[ _-]?(?:new |output )?tokens?|num_predict|tokens_to_generate|token limit|maximum tokens",
        "let it write less: «--max-tokens 1024»",
    ),
    (
        r"reasoning is mandatory|budget 0 is invalid|only (?:works in thinking mode|type=enabled)|support '?none\b"
        r"|(?:thinking|reasoning)\b[^.]{0,20}\b(?:cannot|can't|can not) be (?:disabled|turned off)"
        r"|thinking_?budget[^.]{0,20} to 0\b|enable_thinking\b[^.]{0,40}\btrue",
        'leave out «--thinking off»; to have it think less: «--extra-body \'{"reasoning_effort": "low"}\'»',
    ),
    (
        r"chat_template_kwargs|enable_thinking|reasoning_effort|['\"`]thinking['\"`]|support thinking",
        "leave out «--thinking», or the field in «--extra-body»",
    ),
)
"""What helps after a refusal, by its words; the first counts."""


@cache
def _pattern(meaning: Meaning) -> re.Pattern[str]:
    return re.compile("|".join(WORDINGS[meaning]), re.IGNORECASE)


def says(meaning: Meaning, text: str) -> bool:
    """Whether a server's text has that meaning in the words of any provider."""
    return bool(_pattern(meaning).search(text))


# The limits that refusals name.

LimitKind = Literal["context", "reply", "pictures", "side", "area", "bytes"]
"""Tokens of a conversation and of a reply, pictures of a request, pixels a side and of a whole picture, and bytes."""
_COUNTS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "eight": 8, "ten": 10}
NUMBER_WORDS = {"single": 1, **_COUNTS}
_TOKENS = r"tokens per (?:minute|day)|\bTP[MD]\b|context(?! (?:deadline|cancel))|\btokens\b"
_BEFORE = (
    r"(?:at most|up to|no more than|maximum|max(?![a-z])|limit|超过|\bonly\b|allow|exceed|between \d+ and|> ?|<= ?"
    r"|\bunder\b|\bbelow\b|(?<!must be )(?:larger|longer) than|(?:lower|smaller|more|less) than)"
)
TOO_LARGE = rf"too (?:large|big|long)|{_BEFORE}"
_WORD = rf"{_BEFORE}[^\d]{{0,60}}?"
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
    r"(?:(?: ?[x×*] ?|, )(?P<m>\d{2,5}|\d,\d{3}) ?(?:px\b|pixels?\b)?)?(?!\w|[.,]\d)"
)
_ABOUT_SIDES = (
    r"\bpixels?\b|\d ?px\b|\d ?[x×*] ?\d|dimension|resolution|width|height|(?:longest|long|each|per) (?:side|edge)"
)


class LimitWording(NamedTuple):
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


LIMITS: Mapping[LimitKind, LimitWording] = {
    "context": LimitWording((
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
    "reply": LimitWording((
        # OpenAI, DeepSeek, Groq, Volcengine; DashScope: open-webui/open-webui#10507
        r"(?:at most|between 1 and|max_tokens\b.{0,60}\[1, ?|less (?:than )?or equal to|expected a value <=)"
        r" ?[`'\"]?(?P<n>\d{2,7})\b",
        r"max_tokens: \d+ > (?P<n>\d{2,7})\b",  # Anthropic
        r"\(inclusive\) to (?P<n>\d{2,7}) \(exclusive\)",  # Google's Vertex AI
    )),
    "pictures": LimitWording(
        (
            r"set image=(?P<n>\d+)",  # vLLM 0.7: xorbitsai/inference#3054
            # vLLM, Azure, Copilot, Muse: vllm-project/vllm#13513, the-open-agent/openagent#874,
            # microsoft/vscode#306919, anomalyco/opencode#48647
            rf"{_WORD}{_COUNT}",
            rf"{_COUNT} images? (?:is|are|per|at most)",
            r"\bonly (?:\w+ )?(?:an? )?(?P<n>single) (?:image|picture)",
        ),
        _PICTURES,
    ),
    "side": LimitWording(
        (_WORD + _SIDE,),  # Anthropic: anthropics/claude-code#4778, #49537
        _ABOUT_SIDES, rf"{_TOKENS}|total pixels|pixels in total|mega-?pixel|\bMP\b|\bbytes\b|\d ?[KM]i?B\b",
        _SIDE, least=64,
    ),
    "area": LimitWording(
        (
            _WORD + _AREA,  # Volcengine, Google: infiniflow/ragflow#13063, openfoodfacts/openfoodfacts-server#10764
            rf"total pixels\b.{{0,20}}{_WORD}{_NUMBER}",  # LM Studio: lmstudio-ai/lmstudio-bug-tracker#2003
        ),
        r"pixel|\bMP\b|\bpx\b", _TOKENS, _AREA, least=100_000,
    ),
    "bytes": LimitWording(
        (r"body size (?P<n>\d{5,12}) exceeded",),  # proxies: google-gemini/gemini-cli#13776
        TOO_LARGE, _TOKENS,
        # Anthropic, Gemini: gptme/gptme#185, google-gemini/deprecated-generative-ai-android#26
        rf"{_BYTES}|(?:limit\W{{1,6}}|\bbytes\b[^.\d]{{0,40}}\b)(?P<m>\d{{5,12}})\b(?! ?(?:tokens|pixels|px))",
        least=2000,
    ),
}  # fmt: skip
