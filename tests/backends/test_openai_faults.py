"""The openai backend against servers that are down, busy, refuse, break off, send garbage or never end."""

import gzip
import itertools
import json
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
from asks import ANSWER, ask
from hypothesis import given
from hypothesis import strategies as st
from support.faults import body, cut, drip, endless, hang, status
from support.https_site import Site
from support.servers import CHAT, MODELS, Exchange, Fault, error, piece, serve

from virc.backends.chat.backend import OpenAIBackend
from virc.backends.chat.errors import WireError
from virc.backends.chat.listing import read_models
from virc.backends.chat.reply import read_reply
from virc.backends.interface import Sampling
from virc.core.errors import ConfigError, NetworkError, VircError
from virc.core.http.client import hidden

GREEDY = Sampling()
KEY = "sk-secret-key-4f1d"
EVENTS = "text/event-stream"


def failure(fault: Fault, timeout: float = 30.0, tries: int = 0, on: str = CHAT) -> tuple[VircError, int]:
    """The error that a faulty server leads to, and how often it was asked."""

    def use(url: str) -> None:
        backend = OpenAIBackend(url, api_key=KEY, timeout=timeout, max_retries=tries)
        backend.reply(ask(), GREEDY)

    with serve([ANSWER], fault=fault, fault_on=on) as server:
        with pytest.raises(VircError) as raised:
            use(server.url)
        asked = sum(request.path == on for request in server.requests)
    return raised.value, asked


def listed(site: Site, path: str, connection: socket.socket) -> None:
    found = json.dumps({"object": "list", "data": [{"id": "m", "object": "model"}]}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(found)}\r\n\r\n"
    connection.sendall(head.encode() + found)


@pytest.mark.integration
def test_over_tls_only_a_server_that_this_machine_trusts_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(listed)
    url = site.url("/v1")
    try:
        with pytest.raises(NetworkError, match="cannot be reached"):
            OpenAIBackend(url, api_key=KEY, max_retries=0)
        assert site.heads == []
        site.authority.cert_pem.write_to_path(tmp_path / "authority.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        OpenAIBackend(url, api_key=KEY, max_retries=0)
        assert site.paths == ["/v1/models"]
    finally:
        site.close()


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({}, 0.375, 0.5),
        ({"Retry-After": "2.5"}, 2.5, 2.5),
        ({"Retry-After": "soon"}, 0.375, 0.5),
        ({"retry-after-ms": "1500", "Retry-After": "2"}, 1.5, 1.5),
    ],
)
def test_a_busy_server_is_asked_again_after_what_it_asks_for(
    headers: dict[str, str], least: float, most: float, pauses: list[float]
) -> None:
    with serve([ANSWER], fault=status(429, headers=headers), times=1) as server:
        assert OpenAIBackend(server.url).reply(ask(), GREEDY).text == ANSWER
        assert len(server.chats()) == 2
    (pause,) = pauses
    assert least <= pause <= most


@pytest.mark.parametrize(
    ("fault", "asked"),
    [
        (status(429, "You exceeded your current quota, please check your plan and billing details."), 1),
        (status(429, "Rate limit reached: 3 requests per minute"), 3),
        (status(501), 1),
        (status(503, headers={"x-should-retry": "false"}), 1),
        (status(400, headers={"x-should-retry": "true"}), 3),
        (lambda exchange: exchange.hang_up(), 3),
    ],
)
def test_only_what_may_pass_is_tried_again(fault: Fault, asked: int) -> None:
    assert failure(fault, tries=2)[1] == asked


@pytest.mark.parametrize("wait", ["100", "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_a_server_that_asks_for_more_patience_than_there_is_is_not_waited_for(wait: str, pauses: list[float]) -> None:
    failed, asked = failure(status(429, headers={"Retry-After": wait}), tries=2)
    assert isinstance(failed, NetworkError)
    assert (asked, pauses) == (1, [])
    assert failed.hint == ("it asks to wait for 100 s" if wait == "100" else None)


@pytest.mark.parametrize("on", [CHAT, MODELS])
def test_a_server_that_says_nothing_is_given_up_when_the_time_is_over(on: str) -> None:
    failed, asked = failure(hang, timeout=0.3, tries=5, on=on)
    assert isinstance(failed, NetworkError)
    assert "0.3 s" in failed.message
    assert asked <= 1  # on a busy machine the time may be over before it was sent


WORD = b"data: " + json.dumps(piece("word " * 100)).encode() + b"\n\n"
ENDLESS = {
    "words": endless(WORD),
    "a line": endless(b"x" * 65536),
    "JSON": endless(b" " * 65536, kind="application/json"),
    "events without text": endless(b"data: " + json.dumps(piece("")).encode() + b" " * 4000 + b"\n\n"),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_reply_without_end_is_cut_at_a_size(kind: str) -> None:
    failed, _ = failure(ENDLESS[kind], timeout=120)
    assert isinstance(failed, NetworkError)
    assert ("65,536 characters" if kind == "words" else "bytes") in failed.message


def test_headers_that_trickle_are_given_up_when_the_time_is_over() -> None:
    failed, _ = failure(drip, timeout=0.3)
    assert isinstance(failed, NetworkError)
    assert "no whole answer in 0.3 s" in failed.message


def test_the_body_of_an_error_is_not_read_without_end() -> None:
    failed, _ = failure(endless(b"x" * 1000, code=400, kind="text/plain; charset=zlib_codec"), timeout=120)
    assert isinstance(failed, ConfigError)
    assert len(failed.message) < 500


@pytest.mark.integration
@pytest.mark.parametrize("times", [1, 2])
def test_a_compressed_body_is_bounded_as_it_is_unpacked(times: int) -> None:
    bomb = b"data: " + json.dumps(piece("")).encode() + b" " * 10**8 + b"\n\n"
    for _ in range(times):
        bomb = gzip.compress(bomb, 1)
    packed = {"Content-Type": "application/json", "Content-Encoding": ", ".join(["gzip"] * times)}
    failed, _ = failure(lambda exchange: exchange.send_body(bomb, 200, packed))
    assert isinstance(failed, NetworkError)
    assert "bytes for one answer" in failed.message


@pytest.mark.parametrize("code", [401, 500])
def test_what_a_server_says_is_one_short_line_without_the_key(code: int) -> None:
    failed, _ = failure(status(code, f"wrong key {KEY}\x1b[31m\r\nred\u202e. " + "long " * 1000))
    assert "wrong key *** [31m red" in failed.message
    assert failed.message.isprintable()
    assert len(failed.message) < 500


def test_a_refusal_is_given_without_the_key() -> None:
    message = {"content": None, "refusal": f"Nothing for {KEY} here"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    with serve(fault=body(json.dumps({"choices": [choice]}).encode())) as server:
        assert OpenAIBackend(server.url, api_key=KEY).reply(ask(), GREEDY).refusal == "Nothing for *** here"


KEY_AT_A_CUT = {
    "an HTTP error": status(400, "x " * 145 + KEY),
    "an error in the stream": body(b"data: " + json.dumps(error("x " * 145 + KEY)).encode() + b"\n\n", EVENTS),
    "a web page": body(b"<html>" + b"x" * 46 + KEY.encode()),
    "a long web page": body(b"<html>" + b"x " * 142 + KEY.encode()),
}


@pytest.mark.parametrize("kind", KEY_AT_A_CUT)
def test_the_key_is_taken_out_before_a_text_is_shortened(kind: str) -> None:
    failed, _ = failure(KEY_AT_A_CUT[kind])
    assert KEY[:4] not in failed.message
    assert "***" in failed.message


@pytest.mark.parametrize("address", ["http://me:{}@127.0.0.1:9/v1", "me:{}@h"])
def test_an_address_with_a_password_is_refused_without_printing_it(address: str) -> None:
    with pytest.raises(ConfigError) as raised:
        OpenAIBackend(address.format(KEY))
    assert KEY not in f"{raised.value.message} {raised.value.hint}"
    assert "VIRC_API_KEY" in str(raised.value.hint)


STREAM = b"".join(
    (
        b": welcome\n\nevent: message\nid: 1\n",
        b"data: " + json.dumps(piece("<think>\u00e9")).encode() + b"\r\n\r\n",
        b"data:" + json.dumps(piece("</think>", "stop"), ensure_ascii=False).encode() + b"\n\n",
        b'data: {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}\n\n',
        b"data: [DONE]\n\n",
    )
)


@pytest.mark.integration
@given(st.lists(st.integers(0, len(STREAM))))
def test_a_stream_means_the_same_wherever_it_is_split(cuts: Sequence[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in itertools.pairwise(edges)]
    reply = read_reply(pieces, most=100)
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == ("<think>\u00e9</think>", 5, 2)


SCRAPS = st.sampled_from([b'{"choices":[{"delta":{"content":"a"}}]}', b"data: ", b"\n", b"[DONE]", b'"', b"{", b"null"])


@pytest.mark.integration
@given(st.lists(st.one_of(st.binary(max_size=20), SCRAPS)))
def test_any_bytes_are_a_reply_or_a_wire_error(pieces: list[bytes]) -> None:
    said = ""
    for read in (lambda: read_reply(pieces, 100), lambda: read_models(pieces)):
        try:
            read()
        except WireError as wrong:
            said += str(wrong)
    assert said.isprintable()


def test_the_text_of_a_reply_that_is_asked_for_again_is_not_streamed_again() -> None:
    said = list[str]()
    with serve([ANSWER], fault=cut, times=1) as server:
        reply = OpenAIBackend(server.url).reply(ask(), GREEDY, said.append)
        assert len(server.chats()) == 2
    assert (reply.text, "".join(said)) == (ANSWER, "<think>half a ")


@pytest.mark.parametrize(("pieces", "whole"), [(("1", "10"), "110"), (("4", "42"), "42")])
def test_pieces_that_can_be_read_in_two_ways_are_asked_for_as_a_whole(pieces: tuple[str, str], whole: str) -> None:
    def answer(exchange: Exchange) -> None:
        assert exchange.body is not None
        if not exchange.body.get("stream"):
            message = {"role": "assistant", "content": whole}
            exchange.send_json({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
            return
        exchange.start_events()
        for each in pieces:
            exchange.send_event(piece(each))
        exchange.send_event(piece("", "stop"))
        exchange.send_chunk(b"")

    with serve(fault=answer) as server:
        assert OpenAIBackend(server.url).reply(ask(), Sampling()).text == whole
        assert len(server.chats()) == 2


SECRET = "sk-proj-a/B+c=4f1d9c0e77"


@pytest.mark.parametrize(
    ("key", "text", "masked"),
    [
        ("sk", "the task asks sk-12 and sk_1, not sk.", "the task asks sk-12 and sk_1, not ***."),
        ("token-abc123", "Bearer token-abc123\nx", "Bearer ***\nx"),
        (SECRET, "key=sk-proj-a%2FB%2Bc%3D4f1d9c0e77&x sk-proj-a%2fB%2bc%3d4f1d9c0e77", "key=***&x ***"),
        (SECRET, f"xx{SECRET}yy", "xx***yy"),
        ('q"1&', 'k q\\"1& q&quot;1&amp; q"1&', "k *** *** ***"),
    ],
)
def test_a_key_is_hidden_as_a_whole_word(key: str, text: str, masked: str) -> None:
    assert hidden(text, key) == masked
