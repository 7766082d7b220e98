"""`virc.serve` for a script."""

from pathlib import Path

import openai
import pytest
from PIL import Image
from support import servers
from support.loopback import free_port

from virc.core.errors import ConfigError, UsageError
from virc.core.events import Event
from virc.reasoning.images import Shown
from virc.serving.start import serve


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))


def test_what_is_chosen_of_an_agent_reaches_its_clients_and_its_model() -> None:
    events: list[Event] = []
    words = {"host": "0.0.0.0", "port": free_port(), "name": "mine", "limit_images": 3, "api_key": ("a", "b")}
    with servers.serve(["no tags"] * 4) as behind:
        chosen = {"endpoint": behind.url, "endpoint_key": "k", "max_tokens": 77, "timeout": 50, "concurrency": 2}
        with serve(agent=True, protocol="default", on_event=events.append, **chosen, **words) as server:
            client = openai.OpenAI(base_url=server.url, api_key="b", max_retries=0)
            (listed,) = client.models.list().data
            picture = {"type": "image_url", "image_url": {"url": Shown(Image.new("RGB", (56, 56))).data_url}}
            asked = [picture, {"type": "text", "text": "What is it?"}]
            said = client.chat.completions.create(model="mine", messages=[{"role": "user", "content": asked}])  # type: ignore[list-item,misc]
            with pytest.raises(openai.BadRequestError, match="at most 1 image"):
                client.chat.completions.create(model="mine", messages=[{"role": "user", "content": [picture, *asked]}])  # type: ignore[list-item,misc]
            with pytest.raises(openai.AuthenticationError):
                client.with_options(api_key="k").models.list()
    assert (listed.id, server.model, said.model) == ("mine", "mine", "mine")
    assert said.choices[0].message.refusal
    assert {body["max_tokens"] for body in behind.chats()} == {77}
    assert {request.headers["authorization"] for request in behind.requests} == {"Bearer k"}
    assert [event.text for event in events if event.kind == "warning" and "0.0.0.0" in event.text] == []
    with servers.serve() as behind:
        open_to_all = serve(agent=True, endpoint=behind.url, on_event=events.append, **{**words, "api_key": None})
        open_to_all.close()
    assert [event.kind for event in events if "0.0.0.0" in event.text] == ["warning"]


def test_mistakes_are_errors_of_the_package() -> None:
    with pytest.raises(UsageError, match="needs agent=True"):
        serve("tiny", endpoint="http://127.0.0.1:9/v1")
    with pytest.raises(UsageError, match="roles= belongs to pipeline="):
        serve("nothing-like-it", agent=True, roles={"eyes": "tiny"})
    with pytest.raises(ConfigError, match="no model 'nothing-like-it'"):
        serve("nothing-like-it")
