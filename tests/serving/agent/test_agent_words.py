"""Errors as the clients of an agent endpoint read them: in the names of its fields, not of its command's options."""

from typing import Any

import openai
import pytest
from agent_server import Running, chat

from virc.core.errors import DataError, UsageError
from virc.reasoning.opening import pictures
from virc.serving.agent import request


def refusal(endpoint: Running, **fields: Any) -> str:
    client = openai.OpenAI(base_url=endpoint.url, api_key="none", max_retries=0)
    with pytest.raises(openai.APIStatusError) as raised:
        client.chat.completions.create(**chat(), **fields)
    return str(raised.value.body["message"])  # type: ignore[index, call-overload]


def test_clients_read_the_names_of_their_fields(endpoint: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def unread(*_: object, **__: object) -> None:
        raise DataError("«--page 9» is over 3, and «--max-tokens» under 2", "leave «--page» out")

    def refused(*_: object) -> None:
        raise UsageError("«--samples» is for majority", "leave «--samples» out")

    assert refusal(endpoint, n=9).startswith("n: ")
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "shown", unread)
        assert refusal(endpoint) == "page 9 is over 3, and max_tokens under 2"
    monkeypatch.setattr(request.strategies, "resolved", refused)
    assert refusal(endpoint, extra_body={"virc_strategy": "majority"}) == "n is for majority"
