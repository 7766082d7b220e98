"""What servers and hosts do otherwise than OpenAI's API has it: one table, by what a server calls itself, or its host.

Sources: the documentation of vLLM (engine arguments, sampling parameters, `chat_template_kwargs`) and of SGLang
(sampling parameters), the source of Ollama (api/types.go: `think`), and for the hosts their API references.
"""

from typing import Any, NamedTuple
from urllib.parse import urlsplit

Ways = tuple[dict[str, Any], dict[str, Any]]
"""The fields that switch thinking on, and those that switch it off."""
_TEMPLATE: Ways = (
    {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}},
    {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}},
)


class Provider(NamedTuple):
    """A kind of server.

    Args:
        name: for people.
        thinking: None: as its host has it.
        keeps_stop: the parameter that has it leave in a reply the text of `stop` that ended it. Others cut that text
            off, so that it is unknown which of several it was.
        takes_sampling: it takes `top_k` and `repetition_penalty`, which openai.com refuses. Left out, it takes top_k
            and top_p from the model's generation_config.json, where top_k may be 1, and then every try is the same.
        shows_whole: it shows pictures by the model's own rules, and never smaller.
        batches: it computes replies in batches, and refuses a conversation that is too long.
    """

    name: str
    thinking: Ways | None = None
    keeps_stop: str | None = None
    takes_sampling: bool = False
    shows_whole: bool = False
    batches: bool = False


OLLAMA, VLLM = "library", "vllm"
PROVIDERS = {
    VLLM: Provider("vLLM", _TEMPLATE, "include_stop_str_in_output", True, True, True),
    "sglang": Provider("SGLang", _TEMPLATE, "no_stop_trim", True, True, True),
    "virc": Provider("virc serve", _TEMPLATE, takes_sampling=True, shows_whole=True),
    "llamacpp": Provider("llama.cpp", _TEMPLATE),
    OLLAMA: Provider("Ollama", ({"think": True}, {"think": False})),
    "organization_owner": Provider("LM Studio"),
    "lmdeploy": Provider("LMDeploy"),
}
"""By the owner of the models that a server lists, in lower case."""
_HOSTS: dict[tuple[str, ...], Ways] = {
    (".openrouter.ai",): ({"reasoning": {"enabled": True}}, {"reasoning": {"enabled": False}}),
    (".aliyuncs.com", ".siliconflow.cn", ".siliconflow.com"): ({"enable_thinking": True}, {"enable_thinking": False}),
    (".z.ai", ".bigmodel.cn", ".deepseek.com", ".moonshot.ai", ".moonshot.cn", ".volces.com"): (
        {"thinking": {"type": "enabled"}},
        {"thinking": {"type": "disabled"}},
    ),
    (".openai.com", ".openai.azure.com", ".googleapis.com", ".api.x.ai"): (
        {"reasoning_effort": "medium"},
        {"reasoning_effort": "none"},
    ),
}


def provider(kind: str) -> Provider:
    """The kind of server that calls itself so; one without differences where it is not known."""
    return PROVIDERS.get(kind.lower(), Provider(kind))


def ways_to_think(endpoint: str, kind: str) -> Ways:
    host = f".{urlsplit(endpoint).hostname}"
    by_host = next((ways for names, ways in _HOSTS.items() if host.endswith(names)), _TEMPLATE)
    return provider(kind).thinking or by_host
