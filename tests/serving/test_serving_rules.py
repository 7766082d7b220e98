"""Rules of servers, one by one: what requests hold, which GPUs do, who may ask, and what pipelines can take."""

import asyncio
import json
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from virc.backends.interface import Sampling
from virc.core.errors import ConfigError, SetupError, UsageError
from virc.core.events import Reporter
from virc.core.timeouts import Deadline
from virc.envs.hardware import Gpu, Machine
from virc.reasoning.session import Reply
from virc.serving import address, vllm_process
from virc.serving.agent.answer import Answer
from virc.serving.agent.finish import Finisher
from virc.serving.agent.piped import Piped
from virc.serving.agent.request import Problem, read
from virc.serving.agent.responses import as_chat
from virc.serving.mcp.asking import Model
from virc.serving.mcp.start import McpRequest, serve
from virc.serving.settings import refuse_unfit
from virc.stages.serve import Config


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ({"type": "base64", "media_type": "image/jpeg", "data": "/9j/"}, "data:image/jpeg;base64,/9j/"),
        ({"type": "base64", "media_type": "image/webp", "data": "UklG"}, "data:image/webp;base64,UklG"),
        ({"data": "iVBO"}, "data:image/png;base64,iVBO"),
        ({"type": "url", "url": "https://h/a.jpg"}, "https://h/a.jpg"),
    ],
)
def test_an_image_of_anthropics_form_keeps_its_type(source: dict[str, str], url: str) -> None:
    parts = [{"type": "image", "source": source}, {"type": "text", "text": "What?"}]
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": parts}]}).encode()
    assert read(body, most_images=2, most_characters=1000)[1] == [url]


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("12", "12"),
        ("", ""),
        ([{"type": "output_text", "text": "12"}], '[{"type": "output_text", "text": "12"}]'),
        ({"sum": 12}, '{"sum": 12}'),
        (12, "12"),
    ],
)
def test_the_output_of_a_function_is_a_text_of_the_chat(output: object, text: str) -> None:
    called = {"type": "function_call_output", "call_id": "c", "output": output}
    sent = json.dumps({"model": "m", "input": [called, {"role": "user", "content": "So?"}]}).encode()
    assert json.loads(as_chat(sent))["messages"][0] == {"role": "tool", "tool_call_id": "c", "content": text}
    assert read(as_chat(sent), 2, 1000)[0].question.startswith(f"User: Result of the tool: {text}".rstrip())


def machine(*free: int) -> Machine:
    return Machine(8, 64.0, 60.0, 500.0, tuple(Gpu("A100", 80.0, float(each), "580.1") for each in free))


@pytest.mark.parametrize(
    ("free", "gpus", "fits"),
    [
        ((80, 80), (), True),
        ((80, 20), (), False),  # each of two gets half of it
        ((80, 20, 80), (), False),  # vLLM takes the first ones
        ((80, 80, 20), (), True),
        ((80, 80), (0, 0), False),
        ((80, 20, 80), (0, 2), True),
        ((80, 20, 80), (0, 1), False),
        ((80,), (), False),
    ],
)
def test_weights_have_to_fit_the_fullest_gpu_that_is_needed(
    free: tuple[int, ...], gpus: tuple[int, ...], fits: bool
) -> None:
    config = Config(device="cuda", tensor_parallel_size=2, gpus=gpus or None, gpu_memory_utilization=0.9)
    with nullcontext() if fits else pytest.raises(SetupError):
        refuse_unfit(config, "large", 100.0, machine(*free))


def test_other_gpus_that_are_large_enough_are_named() -> None:
    with pytest.raises(SetupError) as refused:
        refuse_unfit(Config(device="cuda", tensor_parallel_size=2), "large", 100.0, machine(20, 80, 30, 80))
    assert refused.value.hint == "--gpus 1,3"


@pytest.mark.parametrize("host", ["192.0.2.1", "0.0.0.0", "[::]", "example.org"])
def test_tools_are_served_to_other_machines_with_a_key_alone(host: str) -> None:
    """Refused before the address is bound: 192.0.2.1 is nobody's."""
    request = McpRequest(setup=lambda: pytest.fail("no model is needed"), http=f"{host}:8000")
    with pytest.raises(UsageError, match="could read the folders and ask the model"):
        serve(request, Reporter(), lambda _: None)


def role(at_once: int, answers: list[bool]) -> Any:
    return SimpleNamespace(opened=SimpleNamespace(at_once=at_once, answers=lambda: answers.pop(0)))


def test_a_pipeline_is_as_able_as_its_weakest_role() -> None:
    unasked = SimpleNamespace(opened=SimpleNamespace(at_once=16, answers=None))
    roles = {"reader": role(8, [True, False, True]), "writer": role(2, [True, False, True]), "own": unasked}
    piped = Piped(SimpleNamespace(pipeline=SimpleNamespace(writer="writer")), roles)  # type: ignore[arg-type]
    assert (piped.at_once, piped.writer) == (2, roles["writer"])
    assert [(piped.answers_now(), set(piped.silent)) for _ in range(3)] == [
        (True, set()), (False, {"reader", "writer"}), (True, set()),
    ]  # fmt: skip


def test_seconds_of_a_start_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, said = [0.0], list[str]()
    monkeypatch.setattr(vllm_process.time, "monotonic", lambda: clock[-1])
    stages = vllm_process.Stages(Reporter(lambda event: said.append(event.text)))
    for stage, at in {"weights": 2.0, "graphs": 5.0, "weights ": 6.0, " weights": 7.0, "first answer": 9.0}.items():
        clock.append(at)
        stages.begin(stage.strip())
    clock.append(9.05)
    stages.end()
    assert said[-1] == "vLLM started in 9.1 s: imports 2.0 s, weights 6.0 s, graphs 1.0 s"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000/v1"),
        ("0.0.0.0", "http://127.0.0.1:8000/v1"),
        ("::", "http://[::1]:8000/v1"),
        ("fe80::1", "http://[fe80::1]:8000/v1"),
        ("gpu-1", "http://gpu-1:8000/v1"),
    ],
)
def test_a_server_is_reached_here_at_an_address_of_this_machine(host: str, url: str) -> None:
    assert address.url(Config(host=host, port=8000)) == url


def test_a_model_that_failed_to_load_is_loaded_at_the_next_question() -> None:
    loads: list[str] = []

    def setup() -> Any:
        loads.append("setup")
        raise ConfigError("the endpoint is away")

    async def twice() -> None:
        model = Model(setup, Reporter())
        for _ in range(2):
            with pytest.raises(ConfigError, match="the endpoint is away"):
                await model.ask([], "q", 1, lambda _: None)

    asyncio.run(twice())
    assert loads == ["setup", "setup"]


NUMBER = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a"]}
CUT, WHOLE = Reply('{"a": 1', finish="length", completion_tokens=3), Reply('{"a": 1}', completion_tokens=4)


@pytest.mark.parametrize(
    ("replies", "max_tokens", "content", "finish", "asks"),
    [
        ([WHOLE], None, '{"a": 1}', "stop", 1),
        ([CUT, WHOLE], None, '{"a": 1}', "stop", 2),  # cut by the model's own limit: the next try may be shorter
        ([CUT, WHOLE], 50, '{"a": 1}', "stop", 2),
        ([CUT, WHOLE], 3, '{"a": 1', "length", 1),  # by the limit of the request, which holds for each try
        ([Reply("no JSON"), WHOLE], 3, '{"a": 1}', "stop", 2),
    ],
)
def test_json_that_was_cut_is_written_again(
    replies: list[Reply], max_tokens: int | None, content: str, finish: str, asks: int
) -> None:
    left = list(replies)
    backend: Any = SimpleNamespace(reply=lambda *_: left.pop(0))
    problem = Problem("m", "q", max_tokens=max_tokens, schema=NUMBER)
    samplings = [Sampling(max_tokens=50), Sampling(max_tokens=50, temperature=1.0)]
    finisher = Finisher(problem, backend, samplings, Deadline(None), lambda: None)
    found = finisher.finished(Answer("one"), ["thought"])
    assert (found.content, found.finish, len(replies) - len(left)) == (content, finish, asks)
    assert found.completion_tokens == sum(reply.completion_tokens or 0 for reply in replies[:asks])
