"""Bodies of answers, read without a server: lists of models, errors in their many shapes, and what they are told as."""

import gzip
import json
import time
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from PIL import Image

from virc.backends.interface import Sampling
from virc.backends.openai import ollama
from virc.backends.openai.backend import OpenAIBackend
from virc.backends.openai.body import (
    ListedModel,
    WireError,
    bounded,
    error_text,
    failed,
    fitted,
    read_models,
    reported,
    unpacked,
    unreadable,
)
from virc.backends.openai.causes import AskedServer, StatusError, as_error
from virc.backends.openai.client import hidden
from virc.backends.openai.images import ByteLimits, Picture, Pieces
from virc.backends.openai.refusals import RefusedError
from virc.backends.openai.request import RESULT
from virc.backends.prompt_count import PromptCounts
from virc.core.errors import ConfigError, NetworkError, NoAnswerError
from virc.core.timeouts import LateError
from virc.reasoning.bodies import Called as Written
from virc.reasoning.images import Shown
from virc.reasoning.session import Ask, Called, Message, Reply


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"data": [{"id": "a"}, {"id": "b"}]}, ["a", "b"]),
        ({"models": [{"name": "a"}, {"name": "b", "id": "c"}]}, ["a", "c"]),
        ({"object": "list", "data": None}, []),
        ({"object": "list"}, []),
        ([{"id": "a"}], ["a"]),
        (["a", "b"], ["a", "b"]),
        (None, []),
        ({"data": [None, {"id": None}, {"id": "a", "owned_by": 5, "created": "now"}]}, ["a"]),
        (
            {"data": [{"id": "a"}, {"id": 7}, {"id": "x" * 257}, {"id": "x" * 256}, {"id": "a\nb"}, {}]},
            ["a", "x" * 256],
        ),
    ],
)
def test_models_are_listed_in_many_ways(body: Any, names: list[str]) -> None:
    assert [each.id for each in read_models([json.dumps(body).encode()])] == names
    assert [each.id for each in read_models([b"\xef\xbb\xbf", json.dumps(body).encode()])] == names


@pytest.mark.parametrize("body", [{"error": "no"}, {"x": 1}, {"data": [7]}, {"data": "a"}, 7])
def test_what_lists_no_models_is_an_error(body: Any) -> None:
    with pytest.raises(WireError):
        read_models([json.dumps(body).encode()])


@pytest.mark.parametrize(
    ("fields", "context", "weights"),
    [
        ({"max_model_len": 9, "root": "org/x", "virc_weights": "f"}, 9, ("org/x", "f")),
        ({"meta": {"n_ctx": 7, "n_params": 5, "size": 3}}, 7, ("5", "3")),
        ({"max_model_len": 9, "meta": {"n_ctx": 7}}, 9, ()),
        ({"max_model_len": 0}, None, ()),
        ({"max_model_len": "9", "root": "x" * 1001}, None, ("x" * 1000,)),
    ],
)
def test_what_a_listed_model_tells(fields: Any, context: int | None, weights: tuple[str, ...]) -> None:
    found = ListedModel("m", **fields)
    assert (found.context, found.weights) == (context, weights)


@pytest.mark.parametrize(
    ("body", "is_error"),
    [
        ({"code": 0, "message": "OK"}, False),
        ({"code": 200, "message": "all is well"}, False),
        ({"code": "200", "msg": "fine"}, False),
        ({"message": "done."}, False),
        ({"status": "running", "message": "ok"}, False),
        ({"code": 0, "message": "OK", "success": False}, True),
        ({"object": "error", "message": "OK", "code": 0}, True),
        ({"code": -1, "message": "OK"}, True),
        ({"status": -1, "message": "OK"}, True),
        ({"code": 7, "message": "OK"}, True),
        ({"code": 500, "message": "OK"}, True),
        ({"code": "quota", "message": "OK"}, True),
        ({"status": "failed", "message": "OK"}, True),
        ({"message": "no room"}, True),
        ({"error": {"message": "no room"}}, True),
    ],
)
def test_what_reports_an_error(body: Any, is_error: bool) -> None:
    assert reported(body) is is_error


@pytest.mark.parametrize(
    ("body", "said", "status"),
    [
        ({"error": {"message": "slow down", "code": 429}}, "slow down", 429),
        ({"error": {"message": "broken", "code": 500}}, "broken", 0),
        ({"error": {"message": "busy", "type": "overloaded_error"}}, "busy", 529),
        ({"error": {"message": "slow", "code": 11, "type": "rate_limit_error"}}, "slow", 429),
        ({"detail": [{"msg": "a"}, {"msg": "b"}]}, "[{'msg': 'a'}, {'msg': 'b'}]", 0),
        ({"errors": [{"message": "one"}]}, "one", 0),
        ({"error": {"message": "outer", "metadata": {"raw": '{"error": {"message": "inner"}}'}}}, "inner", 0),
        ({"base_resp": {"status_msg": "no balance", "status_code": 1008}}, "no balance", 0),
        ({"x": 1}, '{"x":1}', 0),
    ],
)
def test_an_error_in_an_answer_is_quoted_and_classed(body: Any, said: str, status: int) -> None:
    error = failed(body)
    assert (error.quoted, error.status, error.broken) == (said, status, True)


def test_a_page_has_no_sentence_but_a_title() -> None:
    assert error_text("<!DOCTYPE html><title>x</title>") == ""
    error = unreadable(b"\xef\xbb\xbf<html><title>Log in</title><p>Welcome</p>")
    assert (error.is_page, error.quoted) == (True, "Log in")
    assert unreadable(b"<html><p>Welcome</p>").quoted.split() == ["Welcome"]
    assert unreadable("<html><title>Accès refusé</title>".encode("latin-1")).quoted == "Acc\ufffds refus\ufffd"


def test_a_connection_that_fails_after_the_time_was_closed_here() -> None:
    def fails() -> Iterator[bytes]:
        yield from ()
        raise OSError("closed")

    for seconds, kind in ((-1, LateError), (60, WireError)):
        with pytest.raises(kind):
            list(bounded(fails(), 10, time.monotonic() + seconds))


def test_a_field_of_a_wrong_type_is_left_out_and_a_part_of_a_list_is_not() -> None:
    class Told(msgspec.Struct):
        content: str = ""
        scores: list[int] = []
        index: int | None = None

    assert fitted({"content": "a", "index": "x", "scores": [1]}, Told) == Told("a", [1])
    for wrong in ({"scores": [1, "x"]}, {"content": 7}):
        with pytest.raises(msgspec.ValidationError):
            fitted(wrong, Told)


def test_a_packed_body_is_known_however_small_its_pieces_are() -> None:
    data = gzip.compress(b'{"a": 1}')
    assert b"".join(unpacked((bytes([each]) for each in data), {})) == b'{"a": 1}'


SERVER = AskedServer("http://h:9/v1", str, True, "name one", None)


@pytest.mark.parametrize(
    ("code", "body", "kind", "said", "hint", "fails_all"),
    [
        (407, "", ConfigError, "the proxy on the way to http://h:9/v1 wants", "export no_proxy=h\n", True),
        (511, "", ConfigError, "the proxy on the way to http://h:9/v1 wants", "export no_proxy=h\n", True),
        (302, "", ConfigError, "http://h:9/v1 redirects to http://there", "the address it moved to", False),
        (403, "<html><title>Login</title>", ConfigError, "a web page answers in place of", "export no_proxy=h\n", True),
        (403, {"code": "content_filter", "message": "no"}, NoAnswerError, "content filter refuses the", "", False),
        (422, {"code": "content_filter", "message": "no"}, NoAnswerError, "content filter refuses the", "", False),
        (
            400,
            "<html><title>400 The plain HTTP request was sent to HTTPS port</title>",
            ConfigError,
            "http://h:9/v1 is asked without TLS, and wants it",
            "--endpoint https://h:9/v1\n",
            False,
        ),
        (402, {"message": "pay"}, ConfigError, "the quota or credit of the key at", "add credit", True),
        (401, {"message": "no"}, ConfigError, "http://h:9/v1 refuses the key (401): no", "set VIRC_API_KEY", True),
        (
            401,
            {"message": "wrong subscription"},
            ConfigError,
            "refuses the key",
            "set VIRC_API_KEY to a key it accepts; a key in a header",
            True,
        ),
        (403, {"message": "not here"}, ConfigError, "http://h:9/v1 forbids the request (403)", "its provider", True),
        (404, {"message": "model m not found"}, ConfigError, "does not serve the model", "name one", True),
        (404, "<html><title>model m not found", ConfigError, "does not know what was requested", "name one", True),
        (410, {"message": "gone"}, ConfigError, "does not know what was requested (410)", "name one", False),
        (400, {"message": "rate limit reached"}, NetworkError, "is too busy (400)", "", True),
        (429, {"message": "slow"}, NetworkError, "is too busy (429)", "", True),
        (429, {"message": "Request too large"}, ConfigError, "takes no request of this size", "--max-pixels", True),
        (503, {"message": "loading model"}, NetworkError, "is still loading its model", "wait", True),
        (503, {"message": "failed loading model"}, NetworkError, "http://h:9/v1 fails (503)", "", True),
        (500, {"message": "oops"}, NetworkError, "http://h:9/v1 fails (500)", "", True),
        (413, {"message": "no"}, ConfigError, "takes no images of this size", "--max-pixels", False),
        (400, {"message": "what?"}, ConfigError, "http://h:9/v1 refuses the request (400): what?", "", False),
    ],
)
def test_each_status_is_one_sentence_with_what_to_do(
    code: int, body: Any, kind: type[Exception], said: str, hint: str, fails_all: bool
) -> None:
    error = as_error(StatusError(code, {"location": "http://there"}, body), SERVER)
    assert isinstance(error, kind)
    assert said in error.message
    assert hint in f"{error.hint or ''}\n"
    assert error.fails_all_requests is fails_all


def test_a_prompt_takes_half_a_token_a_word_and_each_image_its_own() -> None:
    images = [Shown(Image.new("RGB", size)) for size in ((320, 320), (64, 32))]
    user = Message("user", "one two three four five six seven", (0, 1))
    thought = Message("assistant", "a b c d e f g h</think>i j")
    ask = Ask((Message("system", "a b c d"), user), tuple(images))
    assert PromptCounts(images=False).least(ask) == 5
    assert PromptCounts(images=True).least(ask) == 5 + 100 + 2
    assert PromptCounts(images=True, most=64).least(ask) == 5 + 64 + 2
    longer = Ask((*ask.messages, thought, Message("user", "k l")), tuple(images))
    assert PromptCounts(images=False).least(longer) == 5 + 1 + 1
    counts = PromptCounts(images=False)
    counts.check(ask, Reply("i j", prompt_tokens=500), "server")
    assert counts.least(longer) == 500 + 1 + 1  # what was read before, and what is new
    others = Ask(longer.messages, tuple(Shown(Image.new("RGB", (64, 32))) for _ in images))
    assert counts.least(others) == 5 + 1 + 1  # of other pictures nothing was read


@pytest.mark.parametrize("code", [429, 503])
def test_a_busy_server_says_how_long_it_is_waited_for(code: int) -> None:
    error = as_error(StatusError(code, {"retry-after": "3"}, {"message": "no", "param": "seed"}), SERVER)
    assert getattr(error, "wait", None) == 3.0
    assert "it asks to wait for 3 s" in (error.hint or "")
    told = as_error(StatusError(429, {}, {"error": {"message": "Rate limit. Please try again in 7s."}}), SERVER)
    assert told.hint == "it asks to wait for 7 s"


def test_the_parameter_that_a_server_names_is_known() -> None:
    error = as_error(StatusError(400, {}, {"error": {"message": "no", "param": "seed"}}), SERVER)
    assert getattr(error, "parameter", None) == "seed"
    error = as_error(StatusError(400, {}, {"error": {"message": "no", "param": 7}}), SERVER)
    assert getattr(error, "parameter", "") is None


@pytest.mark.parametrize(
    ("text", "key", "shown"),
    [
        ("xx" + "k" * 16 + "yy", "k" * 16, "xx***yy"),
        ("xx" + "k" * 15 + "yy", "k" * 15, "xx" + "k" * 15 + "yy"),  # a short one may be part of a word
        ("skip sk, sk-x sk.", "sk", "skip ***, sk-x ***."),
        ("a%2fb a/b a\\/b a&amp;b", "a/b", "*** *** *** a&amp;b"),
        ('say \\"hi\\"', 'say "hi"', "***"),
        ("text", "", "text"),
    ],
)
def test_a_key_is_hidden_however_it_is_written(text: str, key: str, shown: str) -> None:
    assert hidden(text, key) == shown


@pytest.mark.parametrize(
    ("names", "model", "options", "listed"),
    [
        (("a",), "a", "--endpoint http://h/v1", True),
        (("a", "b"), "b", "--endpoint http://h/v1 --model b", True),
        ((), "my model", "--endpoint http://h/v1 --model 'my model'", True),
        (("a",), "b", "--endpoint http://h/v1", False),
    ],
)
def test_a_model_is_named_by_its_options(names: tuple[str, ...], model: str, options: str, listed: bool) -> None:
    backend: Any = object.__new__(OpenAIBackend)
    backend._link, backend.model = SimpleNamespace(names=names, typed="http://h/v1"), model
    assert (backend.named, backend.is_listed) == (options, listed)


def test_results_of_tools_have_their_names_with_ollama() -> None:
    calls = (Written("one", {"a": 1}), Written("two", {}))
    messages = (Message("user", "q"), Message("assistant", "x"), Message("user", "r", (0,)))
    asked = Ask(messages, (Shown(Image.new("RGB", (2, 2))),), called={1: Called("say", calls, ("", "No."), {"t": 1})})
    body = ollama.request(asked, Sampling(top_k=5, max_tokens=9, seed=3, likeliest=2), "m", 77)
    user, said, first, second, last = body["messages"]
    assert (said["content"], said["t"], [each["function"]["name"] for each in said["tool_calls"]]) == (
        "say", 1, ["one", "two"],
    )  # fmt: skip
    assert [(each["tool_name"], each["content"]) for each in (first, second)] == [("one", RESULT), ("two", "No.")]
    assert ([each["role"] for each in (user, last)], len(last["images"])) == (["user", "user"], 1)
    assert (body["options"]["num_ctx"], body["options"]["num_predict"], body["options"]["top_k"]) == (77, 9, 5)
    assert (body["options"]["seed"], body["top_logprobs"], "tools" in body) == (3, 2, False)


def test_pictures_of_a_request_keep_their_order() -> None:
    images = [Shown(Image.new("RGB", (side, 30), "red")) for side in (60, 90)]
    parts = [{"url": Picture(images[0])}, {"data": Picture(images[1], url=False)}, {"url": Picture(images[1])}]
    pieces = Pieces({"model": "m", "parts": parts})
    found = json.loads(b"".join(pieces))["parts"]
    urls = [image.url.decode() for image in images]
    assert found == [{"url": urls[0]}, {"data": urls[1].partition(",")[2]}, {"url": urls[1]}]
    assert len(pieces) == len(b"".join(pieces))


@pytest.mark.parametrize(("keeps", "most"), [(True, 100_000), (False, 20_000)])
def test_pictures_that_are_too_large_are_made_smaller_in_their_shape(keeps: bool, most: int) -> None:
    noise = Image.effect_noise((480, 240), 90).convert("RGB")
    images = (Shown(noise), Shown(Image.new("RGB", (60, 30))))
    asked, limits = Ask((Message("user", "q", (0, 1)),), images), ByteLimits()
    limits.keeps_sizes = keeps
    assert limits.fitted(asked) is asked
    said = RefusedError("refused", None, f"the image exceeds the maximum of {most} bytes", None)
    assert limits.learn(asked, said, asked) is True
    first, second = limits.fitted(asked).images
    assert (second, limits.scales) == (images[1], not keeps)
    assert first.width == 2 * first.height
    assert (first.size == (480, 240)) is keeps
    assert images[0].sent == first.size
    assert 0.4 * most < len(first.url) <= most
    assert limits.learn(asked, RefusedError("refused", None, "no", None), asked) is False
    assert all(each.width == 2 * each.height for each in limits._versions(images[0]))


@pytest.mark.parametrize(("most", "is_reduced"), [(15_000, True), (2100, False)])
def test_pictures_of_earlier_requests_are_not_held(most: int, is_reduced: bool) -> None:
    limits, shown = ByteLimits(), Shown(Image.effect_noise((120, 80), 90).convert("RGB"))
    limits.keeps_sizes = True
    asked = Ask((Message("user", "q", (0,)),), (shown,))
    limits.learn(asked, RefusedError("refused", None, f"the image exceeds the maximum of {most} bytes", None), asked)
    assert (limits.fitted(asked).images != (shown,)) is is_reduced
    held = weakref.ref(shown)
    del asked, shown
    assert held() is None
