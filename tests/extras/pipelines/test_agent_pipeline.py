"""A pipeline behind an agent endpoint: any client gets its answer, and none chooses what its roles ask."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from serving.agent.agent_server import PICTURE, chat, data_url
from support.called import virc as command
from support.faults import status
from support.loopback import free_port
from support.servers import Body, Fault, Server, dead_url, serve

import virc

TEXT = """
from virc_extras.pipelines import Role

ROLES = {"eyes": Role(system="You see."), "mind": Role(temperature=0.7, max_tokens=64)}


def solve(problem, roles):
    scene = roles.eyes.ask(problem.images, f"Describe: {problem.question}", step="scene")
    return roles.mind.ask(f"{scene}; {problem.question}", step="reply")
"""


def see(body: Body) -> str:
    return "a square"


def think(body: Body) -> str:
    text = body["messages"][-1]["content"]
    if "JSON schema" in text:
        return '{"sides": 4, "sure": true}'
    if "as often" in text:
        return f"by seed {body['seed']}"
    return "a title" if "title" in text else "four sides"


class Endpoint(msgspec.Struct):
    url: str
    eyes: Server
    mind: Server

    @property
    def chats(self) -> Any:
        return openai.OpenAI(base_url=self.url, api_key="none", max_retries=0).chat.completions


@contextmanager
def pipeline(folder: Path, fault: Fault | None = None, **words: Any) -> Iterator[Endpoint]:
    """An endpoint for the pipeline, in front of two scripted servers, of which `fault` is the second one's."""
    file = folder / "see.py"
    file.write_text(TEXT)
    with ExitStack() as stack:
        eyes = stack.enter_context(serve(see, models=["small"]))
        mind = stack.enter_context(serve(think, models=["large"], fault=fault))
        roles = {"eyes": eyes.url, "mind": mind.url}
        server = virc.serve(agent=True, pipeline=file, roles=roles, port=free_port(), **words)
        stack.enter_context(server)
        assert server.model == "see"
        yield Endpoint(server.url, eyes, mind)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with pipeline(tmp_path_factory.mktemp("pipeline")) as found:
        yield found


def asked(text: str = "Sides?", **fields: Any) -> dict[str, Any]:
    return {**chat(text, **fields), "model": "see"}


def test_the_official_client_gets_the_answer_the_steps_and_the_tokens_of_all_roles(endpoint: Endpoint) -> None:
    before = len(endpoint.eyes.chats()), len(endpoint.mind.chats())
    answered = endpoint.chats.create(**asked())
    message = answered.choices[0].message
    assert (message.content, message.refusal, answered.choices[0].finish_reason) == ("four sides", None, "stop")
    assert message.reasoning_content == "scene (eyes): a square\n\nreply (mind): four sides"
    (looking,), (thinking,) = endpoint.eyes.chats()[before[0] :], endpoint.mind.chats()[before[1] :]
    assert "You see." in str(looking)
    assert "image_url" in str(looking)
    assert thinking["messages"] == [{"role": "user", "content": "a square; Sides?"}]
    assert answered.usage.completion_tokens > 1
    assert answered.model == "see"


@pytest.mark.parametrize("name", ["roles", "base_url"])
def test_no_request_chooses_what_a_role_asks(endpoint: Endpoint, name: str) -> None:
    before = len(endpoint.mind.requests)
    with serve(see) as theirs:
        with pytest.raises(openai.BadRequestError, match=f"unknown parameter '{name}': it is"):
            endpoint.chats.create(**asked(), extra_body={name: {"mind": theirs.url}})
        assert not theirs.requests
    assert len(endpoint.mind.requests) == before


def test_a_role_that_fails_is_named_with_its_step_and_nothing_of_its_server(tmp_path: Path) -> None:
    with pipeline(tmp_path, status(400, "a secret of the server")) as found:
        with pytest.raises(openai.InternalServerError) as refused:
            found.chats.create(**asked())
        assert refused.value.status_code == 502
        assert refused.value.body["message"] == "role 'mind', step 'reply': the model did not answer"  # type: ignore[index]
        with pytest.raises(openai.APIError) as broken:
            list(found.chats.create(**asked(), stream=True))
        assert broken.value.message == "role 'mind', step 'reply': the model did not answer"
        assert "secret" not in str(broken.value.body)


CLOSER = """
from virc_extras.pipelines import Role, boxes, crop

ROLES = {"eyes": Role()}


def solve(problem, roles):
    (region,) = boxes(roles.eyes.ask(problem.images, "Where?"), "thousand", image=1)
    part = crop(region)
    (smaller,) = boxes(roles.eyes.ask(problem.images, part, "Where in it?"), "thousand", image=2)
    return roles.eyes.ask(crop(smaller), problem.question)
"""


def test_crops_are_sent_with_the_image_and_the_box_that_they_were_cut_from(tmp_path: Path) -> None:
    (tmp_path / "closer.py").write_text(CLOSER)

    def look(body: Body) -> str:
        return "[0, 0, 500, 1000]" if "Where" in str(body["messages"]) else "97"

    with (
        serve(look, models=["small"]) as eyes,
        virc.serve(agent=True, pipeline=tmp_path / "closer.py", endpoint=eyes.url, port=free_port()) as server,
    ):
        client = openai.OpenAI(base_url=server.url, api_key="none", max_retries=0)
        request = chat("What does it read?", PICTURE, {"type": "image_url", "image_url": {"url": data_url((400, 200))}})
        message: Any = client.chat.completions.create(**{**request, "model": "closer"}).choices[0].message
    assert message.content == "97"
    first, second = message.virc_tool_calls
    assert {**first, "url": ""} == {
        "index": 0, "unit": 2, "tool": "crop", "source": 1, "source_size": [400, 200], "box": [0, 0, 200, 200],
        "image": 2, "size": [200, 200], "url": "", "text": None, "error": None,
    }  # fmt: skip
    assert (second["unit"], second["source"], second["source_size"]) == (5, 2, [200, 200])
    assert (second["image"], second["box"], second["size"]) == (3, [0, 0, 100, 200], [100, 200])
    assert first["url"].startswith("data:image/jpeg;base64,")


def test_a_system_that_is_a_pipeline_is_served_by_it_and_a_dry_run_asks_nobody() -> None:
    url = dead_url()
    words = ["serve", "--agent", "--system", "prism", "--role", f"eyes={url}", "--role", "mind=tiny"]
    done = command(*words, "--dry-run")
    assert done.code == 0, done.err
    assert f"steps of prism\neyes=its model at {url}\nmind=tiny\n" in done.out
    assert command(*words, "--dry-run", "--json").json["agent"]["model"] == "prism"
