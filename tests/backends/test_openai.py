"""The openai backend against a server that behaves."""

import io
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from asks import ANSWER, LOOK, ask, further
from PIL import Image
from support.faults import stall, status
from support.servers import CHAT, MODELS, image_bytes, serve
from support.tables import each_case

from virc.backends.chat import ollama
from virc.backends.chat.backend import OpenAIBackend
from virc.backends.interface import Sampling
from virc.core.errors import ConfigError, VircError
from virc.reasoning.protocol import Protocol

GREEDY = Sampling()


def test_the_first_piece_is_handed_on_while_the_server_still_writes() -> None:
    heard = threading.Event()

    def wait_then_end(exchange: Any) -> None:
        exchange.start_events()
        exchange.send_event({"choices": [{"delta": {"content": "one "}}]})
        text = "two" if heard.wait(60) else "never heard"
        exchange.send_event({"choices": [{"delta": {"content": text}, "finish_reason": "stop"}]})
        exchange.send_chunk(b"")

    with serve(fault=wait_then_end) as server:
        reply = OpenAIBackend(server.url).reply(ask(), GREEDY, lambda _: heard.set())
    assert reply.text == "one two"


@pytest.mark.parametrize("seed", [5, 0])
def test_the_request_carries_the_sampling_and_each_image_before_its_text(seed: int) -> None:
    sampling = Sampling(temperature=0.7, top_p=0.9, top_k=20, max_tokens=77, seed=seed)
    first = ask("What is this?")
    with serve([LOOK, ANSWER]) as server:
        OpenAIBackend(server.url).reply(further(first, LOOK), sampling)
        sent = server.chats()[0]
    wanted = {"temperature": 0.7, "top_p": 0.9, "top_k": 20, "max_tokens": 77, "seed": seed}
    assert {key: sent.get(key) for key in wanted} == wanted
    assert [message["role"] for message in sent["messages"]] == ["system", "user", "assistant", "user"]
    assert sent["messages"][2]["content"] == LOOK
    image, text = sent["messages"][1]["content"]
    assert text == {"type": "text", "text": "What is this?"}
    assert Image.open(io.BytesIO(image_bytes(image))).tobytes() == first.images[0].pixels.tobytes()


def test_a_json_schema_goes_to_the_server_until_it_refuses_it() -> None:
    schema = {"type": "object"}
    wanted = msgspec.structs.replace(ask(), json_schema=schema)
    with serve(["{}"]) as server:
        OpenAIBackend(server.url).reply(wanted, Sampling())
        assert server.chats()[0]["response_format"]["json_schema"]["schema"] == schema
    with serve(["{}"], fault=status(400, "response_format is not supported"), times=1) as server:
        assert OpenAIBackend(server.url).reply(wanted, Sampling()).text == "{}"
        assert ["response_format" in chat for chat in server.chats()] == [True, False]
    assert ollama.request(wanted, Sampling(), "m", 4096)["format"] == schema


@pytest.mark.parametrize(("models", "hint"), [(["a/b", "c"], "--model a/b"), ([], "name one: --model NAME")])
def test_without_a_name_several_models_or_none_are_a_mistake(models: Sequence[str], hint: str) -> None:
    with serve(models=[*models, *(["my-embed"] if models else [])]) as server, pytest.raises(ConfigError) as raised:
        OpenAIBackend(server.url)
    assert raised.value.hint == hint
    assert not models or raised.value.message.endswith("serves 3 models and none was chosen: a/b, c, my-embed")


def test_hints_of_a_model_name_what_helps() -> None:
    """Azure answers 400 for its list of models; of models for another API alone, 404 with a name that its list has."""
    with serve(fault=status(400, "unknown path"), fault_on=MODELS) as server, pytest.raises(ConfigError) as unlisted:
        OpenAIBackend(server.url)
    of_another_api = status(404, "This is not a chat model")
    with serve(models=["pro"], fault=of_another_api, fault_on=CHAT) as server, pytest.raises(ConfigError) as listed:
        OpenAIBackend(server.url, "pro").reply(ask(), GREEDY)
    assert unlisted.value.hint == "where it lists no models, name one: --model NAME"
    assert listed.value.hint == "it lists pro, but not for this API, as it says: --model names another"


def test_a_model_that_is_not_served_is_a_mistake_that_names_those_that_are(tmp_path: Path) -> None:
    with serve([ANSWER], models=["one", "two"]) as server:
        backend = OpenAIBackend(server.url, "three")
        with pytest.raises(ConfigError, match="three") as raised:
            backend.reply(ask(), GREEDY)
        with pytest.raises(ConfigError) as of_folder:
            OpenAIBackend(server.url, str(tmp_path)).reply(ask(), GREEDY)
    assert raised.value.hint == "it serves one, two: --model one"
    assert of_folder.value.hint == f"--endpoint none runs the folder {tmp_path} on this machine"


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_of_this_machine_is_asked_without_a_proxy(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    with serve([ANSWER]) as server, serve([]) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        backend = OpenAIBackend(server.url.replace("127.0.0.1", host), max_retries=0)
        assert backend.reply(ask(), GREEDY).text == ANSWER
        assert proxy.accepted == 0


@pytest.mark.usefixtures("no_proxies")
def test_another_machine_is_asked_by_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve([]) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with pytest.raises(VircError):
            OpenAIBackend("http://model.invalid/v1", max_retries=0)
        assert [request.path for request in proxy.requests] == ["http://model.invalid/v1/models"]


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        ("socks5://me:secret@host", "the SOCKS proxy of http_proxy needs the package socksio"),
        ("foo://me:secret@host", "a proxy of http_proxy has no address that can be used"),
        ("http://me:secret/@host", "a proxy of http_proxy has no address that can be used"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_a_mistake(monkeypatch: pytest.MonkeyPatch, proxy: str, message: str) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)  # not installed
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(ConfigError) as raised:
        OpenAIBackend("http://model.invalid/v1", max_retries=0)
    assert raised.value.message == message
    assert "secret" not in str(raised.value.hint)


def test_the_key_goes_to_the_endpoint_and_nothing_from_the_environment_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-environment")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-environment")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Mine: environment\nAuthorization: Bearer environment")
    with serve([ANSWER]) as server:
        OpenAIBackend(server.url, api_key=" sk-given\n").reply(ask(), GREEDY)
        OpenAIBackend(server.url).reply(ask(), GREEDY)
        keys = [request.headers.get("authorization") for request in server.requests]
        sent = str([request.headers for request in server.requests])
    assert keys == ["Bearer sk-given"] * 2 + [None] * 2
    assert "environment" not in sent


@each_case(
    ("key", "named"),
    [("sk-one\nsk-two", r"'\n' at character 7"), ("sk-\u028babc", r"'\u028b' at character 4"), ("“sk-a”", r"'\u201c'")],
)
def test_a_key_that_no_header_can_carry_is_a_mistake_that_does_not_print_it(key: str, named: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"the API key holds {named}")) as raised:
        OpenAIBackend("http://127.0.0.1:9/v1", api_key=key)
    assert "sk-" not in f"{raised.value.message} {raised.value.hint}"
    assert "set VIRC_API_KEY" in str(raised.value.hint)


def test_pictures_go_to_no_other_address_than_the_endpoint() -> None:
    with serve([ANSWER]) as elsewhere:
        moved = status(307, headers={"Location": f"{elsewhere.url}/chat/completions"})
        with serve(fault=moved) as server, pytest.raises(ConfigError, match="redirects to http"):
            OpenAIBackend(server.url).reply(ask(), GREEDY)
    assert not elsewhere.requests


@pytest.mark.parametrize("published", ["text", {"schema": "virc.protocol/9"}, {"coordinates": "\x1b[31mmiles"}])
def test_a_published_chat_protocol_that_cannot_be_read_is_a_mistake(published: object, own: Protocol) -> None:
    if isinstance(published, dict):
        published = {**msgspec.to_builtins(own), **published} if published else {}
    with serve(extra={"virc_protocol": published}) as server:
        backend = OpenAIBackend(server.url)
        with pytest.raises(ConfigError, match="chat protocol") as raised:
            backend.published_protocol()
    assert raised.value.message.isprintable()


def test_a_reply_is_there_when_it_is_whole_even_if_its_body_never_ends() -> None:
    def endless(exchange: Any) -> None:
        exchange.start_events()
        exchange.send_event({"choices": [{"delta": {"content": ANSWER}, "finish_reason": "stop"}]})
        exchange.send_chunk(b"data: [DONE]\n\n")
        exchange.server.stopping.wait()

    with serve(fault=endless) as server:
        backend = OpenAIBackend(server.url)
        for _ in range(2):
            assert backend.reply(ask(), GREEDY, seconds=60).text == ANSWER


INTERRUPTED = """
import sys
sys.path[:0] = sys.argv[2:]
from asks import ask
from virc.backends.interface import Sampling
from virc.tools.registry import known
from virc.backends.chat import ollama
from virc.backends.chat.backend import OpenAIBackend
backend = OpenAIBackend(sys.argv[1], timeout=600)
try:
    backend.reply(ask(), Sampling(), lambda text: print("heard", text, flush=True))
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.integration
def test_ctrl_c_in_the_middle_of_a_reply_leaves_at_once() -> None:
    here = Path(__file__).parent
    with serve(fault=stall) as server:
        command = [sys.executable, "-c", INTERRUPTED, server.url, str(here), str(here.parent)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "heard <think>\n"
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=240)[0] == "interrupted\n"


def test_a_thought_nested_without_end_is_no_traceback() -> None:
    nested: Any = "I look."
    for _ in range(900):
        nested = [nested]
    told = {"choices": [{"index": 0, "message": {"content": "97", "reasoning": nested}, "finish_reason": "stop"}]}
    with serve(fault=lambda exchange: exchange.send_json(told)) as server:
        assert OpenAIBackend(server.url).reply(ask(), GREEDY).text == "97"
