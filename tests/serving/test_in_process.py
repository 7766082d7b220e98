"""The server in this process, with the model in the package: its answers are those of the model."""

import json
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from support.called import virc
from support.loopback import free_port

from virc.backends.interface import Sampling
from virc.backends.local import LocalBackend, load
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.images import open_image, show
from virc.reasoning.session import Ask, Message
from virc.serving import chat_http
from virc.serving.start import serve

pytestmark = pytest.mark.integration

PICTURE = Path(__file__).parents[1] / "pictures" / "triangle.png"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve("tiny", engine="transformers", device="cpu", port=free_port()) as server:
        yield server.url


def test_the_answer_is_that_of_the_model_whole_and_streamed(url: str) -> None:
    backend = load(EMBEDDED_FOLDER, "cpu")
    shown = show(open_image(PICTURE, "a picture"), backend.grid)
    expected = backend.reply(Ask([Message("user", "Go on.", (0,))], [shown]), Sampling(max_tokens=30))
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0).chat.completions
    picture = {"type": "image_url", "image_url": {"url": shown.data_url}}
    asked: Any = {"model": "tiny", "max_tokens": 30, "temperature": 0}
    asked["messages"] = [{"role": "user", "content": [picture, {"type": "text", "text": "Go on."}]}]
    whole = client.create(**asked)
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == (expected.text, expected.finish)
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (
        expected.prompt_tokens, expected.completion_tokens,
    )  # fmt: skip
    pieces = list(client.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces[:-1]) == expected.text
    assert len(pieces) > 5
    assert (pieces[-2].choices[0].finish_reason, pieces[-1].usage) == (expected.finish, whole.usage)


def test_a_batch_on_it_has_the_answers_of_the_model_in_this_process(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("--count", 4, "--seed", 30_000, "--split", "heldout", "--formats", "batch")
    assert virc("data", "synth", "--to", "held", *words).code == 0
    answers = {}
    for name, options in {"served": ("--endpoint", url), "here": ("--model", "tiny")}.items():
        out = tmp_path / f"{name}.jsonl"
        done = virc("batch", "held/problems.jsonl", "--to", out, *options)
        assert done.code in (0, 1), done.err
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        answers[name] = {row["id"]: (row["answer"], row["turns"], row["calls"]) for row in rows}
        assert {row["protocol"] for row in rows} == {"trained"}
    assert len(answers["here"]) == 4
    assert answers["served"] == answers["here"]


def test_the_key_the_model_and_the_parameters_are_checked() -> None:
    with serve("tiny", engine="transformers", device="cpu", port=free_port(), api_key="sesame") as server:
        client = openai.OpenAI(base_url=server.url, api_key="sesame", max_retries=0)
        chat: Any = {"model": "tiny", "messages": [{"role": "user", "content": "Go on."}]}
        with pytest.raises(openai.NotFoundError, match="there is no model 'large', served is 'tiny'"):
            client.chat.completions.create(**{**chat, "model": "large"})
        with pytest.raises(openai.BadRequestError, match="n cannot be honoured"):
            client.chat.completions.create(**chat, n=2)
        with pytest.raises(openai.PermissionDeniedError):
            client.chat.completions.create(**chat, extra_headers={"Origin": "http://elsewhere"})
        stranger = client.with_options(api_key="wrong")
        for ask in (stranger.models.list, lambda: stranger.chat.completions.create(**chat)):
            with pytest.raises(openai.AuthenticationError):
                ask()


def test_a_body_is_bounded_also_where_it_does_not_say_its_size(url: str) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(url).port), 60) as connection:
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        with pytest.raises((BrokenPipeError, ConnectionResetError, AssertionError)):  # noqa: PT012
            for _ in range(2 * chat_http.MAX_BODY // 2**20):
                connection.sendall(b"100000\r\n" + bytes(2**20) + b"\r\n")
            raise AssertionError("it took twice its limit")
    with urllib.request.urlopen(url.replace("/v1", "/health"), timeout=60) as answer:
        assert answer.status == 200


def test_a_fault_of_ours_is_told_by_its_kind_alone(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ValueError("secret")

    monkeypatch.setattr(LocalBackend, "reply", fails)
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    with pytest.raises(openai.InternalServerError, match="internal: ValueError") as told:
        client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "Go on."}])
    assert "secret" not in told.value.response.text
