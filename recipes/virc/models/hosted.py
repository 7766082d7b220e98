"""Models that only their makers' services have, and the servers where names are written as Ollama writes them."""

import re
from collections.abc import Mapping

_SERVICES: Mapping[str, tuple[str, str]] = {
    r"(gpt|chatgpt)-|o[1-9](-|$)": ("OpenAI", "https://api.openai.com/v1"),
    r"claude-": ("Anthropic", "https://api.anthropic.com/v1"),
    r"gemini-": ("Google", "https://generativelanguage.googleapis.com/v1beta/openai"),
    r"grok-": ("xAI", "https://api.x.ai/v1"),
    r"(pixtral|mistral|magistral)-(large|medium|small)": ("Mistral", "https://api.mistral.ai/v1"),
    r"(openai|anthropic|google|x-ai|mistralai)/(gpt|chatgpt|o[1-9]|claude|gemini|grok|pixtral-large|mistral-medium)": (
        "OpenRouter", "https://openrouter.ai/api/v1"
    ),
}  # fmt: skip
"""Beginning of a name -> the service that has the model, and its address."""
_OF_OLLAMA = re.compile(r"[\w.-]+(/[\w.-]+)?:[\w.-]+")


def hint_for(name: str) -> tuple[str, str] | None:
    """What a name means that is no model of this machine: a sentence and a hint; None where it may be one.

    Args:
        name: as a user gave it.
    """
    for begin, (service, address) in _SERVICES.items():
        if re.match(begin, name, re.IGNORECASE):
            return (
                f"{name} is a model of the service {service}, and no endpoint is set",
                f"export VIRC_API_KEY=KEY, and --endpoint {address} --model {name}",
            )
    if _OF_OLLAMA.fullmatch(name) and "\\" not in name:
        sentence = f"there is no model {name!r}; a server such as Ollama has models of such names"
        return sentence, f"--endpoint http://localhost:11434/v1 --model {name}"
    return None
