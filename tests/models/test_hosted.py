"""Names of models that only services and other servers have."""

import pytest

from virc.core.options import spelled
from virc.models import registry


@pytest.mark.parametrize(
    ("name", "said", "typed"),
    [
        ("GPT-5", "OpenAI", "--model GPT-5"),
        ("claude-sonnet-4", "Anthropic", "api.anthropic.com"),
        ("openai/gpt-4o", "OpenRouter", "openrouter.ai"),
        ("qwen2.5vl:7b", "Ollama", "--endpoint http://localhost:11434/v1 --model qwen2.5vl:7b"),
    ],
)
def test_who_has_a_model_is_said_with_what_to_type(name: str, said: str, typed: str) -> None:
    found = registry.elsewhere_hint(name)
    assert found
    sentence, hint = found
    assert said in sentence
    assert typed in spelled(hint)
