"""Two samples as they are sent: streamed and whole, by both APIs; and what plain chats and pipelines are answered."""

import asyncio
import base64
import io
import json
import threading
import time
from collections.abc import AsyncGenerator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from virc.core.errors import ConfigError, DataError, EngineError
from virc.core.seeds import derived
from virc.core.timeouts import Deadline
from virc.models import chat_protocol
from virc.models.registry import EMBEDDED_FOLDER, Weights
from virc.reasoning.session import Message, Reply, Unit
from virc.serving.agent import fetch, page, piped, responses, server, wire
from virc.serving.agent.answer import Answer, ClientCall, is_too_long, text_answers
from virc.serving.agent.problems import Solving, SolvingJob
from virc.serving.agent.request import Problem
from virc.serving.agent.request_queue import MAX_READ, Job, RequestQueue
from virc.serving.chat_request import RefusedError
from virc.solving.one import SampleStart, SolveConfig

OWN = chat_protocol.of_weights(Weights("m", EMBEDDED_FOLDER), "default").protocol
FRAMED = {"id": "x", "created": 7, "model": "m"}
FIRST = [
    SampleStart(1, 2), Unit("", "a"), Unit("", "b"), wire.Looked(0, image=1), wire.Looked(1, image=2),
    Answer("one", "no", "length", None, 2, 3),
]  # fmt: skip
SECOND = [SampleStart(2, 2), Unit("", "c"), wire.Looked(0, image=1), Answer("two", None, "stop", None, 5, 7)]
CALL = Answer("", None, "tool_calls", ClientCall("f", '{"a": 1}'), 2, 3)


def values(text: str) -> list[dict[str, Any]]:
    lines = [line for block in text.split("\n\n") for line in block.split("\n") if line.startswith("data: {")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


async def happening(*things: Any) -> AsyncGenerator[Any, None]:
    for thing in things:
        yield thing


@pytest.mark.parametrize("counted", [False, True])
def test_samples_are_streamed_each_with_its_own_thoughts_and_looks(counted: bool) -> None:
    stream = wire.Events(FRAMED, Problem("m", "?", counted=counted))
    text = "".join(map(stream.event, [*FIRST, *SECOND])) + stream.ended()
    assert text.endswith("data: [DONE]\n\n")
    *chunks, last = values(text) if counted else [*values(text), {}]
    told = [(each["choices"][0]["index"], each["choices"][0]["delta"]) for each in chunks]
    looks = [(at, delta[wire.TOOL_CALLS][0]) for at, delta in told if wire.TOOL_CALLS in delta]
    assert [(at, look["index"], look["image"]) for at, look in looks] == [(0, 0, 1), (0, 1, 2), (1, 0, 1)]
    assert [each for each in told if wire.TOOL_CALLS not in each[1]] == [
        (0, {"role": "assistant", "content": ""}), (0, {"reasoning_content": "a"}),
        (0, {"reasoning_content": "\n\nb"}), (0, {"content": "one", "refusal": "no"}), (0, {}),
        (1, {"role": "assistant", "content": ""}), (1, {"reasoning_content": "c"}), (1, {"content": "two"}), (1, {}),
    ]  # fmt: skip
    ends = [each["choices"][0]["finish_reason"] for each in chunks]
    assert [end for end in ends if end] == ["length", "stop"]
    usage = {"prompt_tokens": 7, "completion_tokens": 10, "total_tokens": 17}
    assert last == ({**FRAMED, "object": "chat.completion.chunk", "choices": [], "usage": usage} if counted else {})


def test_samples_are_choices_of_a_whole_answer() -> None:
    found = json.loads(asyncio.run(server._whole(FRAMED, happening(*FIRST, *SECOND))))
    one, two = found["choices"]
    assert [(each["index"], each["finish_reason"]) for each in (one, two)] == [(0, "length"), (1, "stop")]
    assert [each["message"]["reasoning_content"] for each in (one, two)] == ["a\n\nb", "c"]
    assert [[(look["index"], look["unit"]) for look in each["message"][wire.TOOL_CALLS]] for each in (one, two)] == [
        [(0, 0), (1, 1)], [(0, 0)],
    ]  # fmt: skip
    assert (one["message"]["refusal"], "refusal" in two["message"]) == ("no", False)
    assert found["usage"] == {"prompt_tokens": 7, "completion_tokens": 10, "total_tokens": 17}


@pytest.mark.parametrize("answer", [FIRST[-1], SECOND[-1], CALL], ids=["cut", "whole", "call"])
def test_a_response_is_its_events_put_together(answer: Any) -> None:
    made = responses.Response(FRAMED)
    events = values("".join(map(made.event, [*FIRST[:-1], answer])) + made.ended())
    assert [each["sequence_number"] for each in events] == list(range(len(events)))
    done = [each for each in events if each["type"] == "response.output_item.done"]
    added = [each for each in events if each["type"] == "response.output_item.added"]
    assert [each["output_index"] for each in added] == [each["output_index"] for each in done] == [0, 1]
    whole = events[-1]["response"]
    assert whole["output"] == [each["item"] for each in done]
    thoughts, last = whole["output"]
    assert thoughts["summary"] == [{"type": "summary_text", "text": "a\n\nb"}]
    assert "".join(each["delta"] for each in events if each["type"].endswith("summary_text.delta")) == "a\n\nb"
    assert [look["index"] for look in last[wire.TOOL_CALLS]] == [0, 1]
    cut = answer.finish == "length"
    assert whole["status"] == events[-1]["type"].removeprefix("response.") == ("incomplete" if cut else "completed")
    assert whole["incomplete_details"] == ({"reason": "max_output_tokens"} if cut else None)
    counts = [whole["usage"][name] for name in ("input_tokens", "output_tokens", "total_tokens")]
    assert counts == [answer.prompt_tokens, answer.completion_tokens, answer.prompt_tokens + answer.completion_tokens]
    of_answer = [each for each in events if each.get("item_id") == last["id"]]
    assert {each["output_index"] for each in of_answer} == {1}
    if answer.call:
        assert (last["name"], last["arguments"]) == ("f", '{"a": 1}')
    else:
        (part,) = last["content"]
        assert (part["type"], part.get("text"), part.get("refusal")) == (
            ("refusal", None, "no") if answer.refusal else ("output_text", "two", None)
        )
    (failed,) = values(responses.Response(FRAMED).failed(RefusedError("too long", "input", "full")))
    assert failed == {"type": "error", "sequence_number": 0, "code": "full", "message": "too long", "param": "input"}
    unthought = responses.Response(FRAMED)
    assert "reasoning" not in unthought.event(SampleStart(1, 1)) + unthought.event(answer)


def test_each_sample_of_a_plain_chat_has_its_seed_and_its_end() -> None:
    replies = [
        Reply("<think>t</think><answer>x</answer>", prompt_tokens=1, completion_tokens=2, finish="length"),
        Reply("", refusal="filtered"), Reply(" "),
    ]  # fmt: skip
    seeds, events = list[int | None](), list[Any]()

    def reply(ask: Any, sampling: Any, on_text: Any, seconds: float) -> Reply:
        assert seconds == 9
        seeds.append(sampling.seed)
        on_text("word")
        return replies[len(seeds) - 1]

    messages = (Message("user", "q"),)
    backend: Any = SimpleNamespace(reply=reply)
    checked = list[int]()  # how many had begun
    deadline: Any = SimpleNamespace(left=lambda: 9, check=lambda: checked.append(len(seeds)))
    found = text_answers(messages, SolveConfig(samples=3, seed=5), backend, OWN, deadline, events.append)
    assert list(found) == [
        Answer("x", None, "length", None, 1, 2), Answer("", "filtered"), Answer("", "the model wrote no answer"),
    ]  # fmt: skip
    assert seeds == [derived(5, sample, 0) for sample in range(3)]
    assert checked == [0, 1, 1, 2, 2, 3]  # at the beginning of each, and at each word
    assert [each for each in events if isinstance(each, SampleStart)] == [SampleStart(at, 3) for at in (1, 2, 3)]
    assert [each.think for each in events if isinstance(each, Unit)] == ["t"]


@pytest.mark.parametrize(("size", "sent"), [((300, 200), (300, 200)), ((3136, 784), (1568, 392))])
def test_a_look_is_sent_in_good_quality_and_its_picture_stays(size: tuple[int, int], sent: tuple[int, int]) -> None:
    picture = Image.effect_noise(size, 80).convert("RGB")
    url = wire.jpeg_url(picture)
    found = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    picture.save(file := io.BytesIO(), "JPEG", quality=90)
    assert (found.size, picture.size) == (sent, size)
    assert found.quantization == Image.open(file).quantization  # type: ignore[attr-defined]


def test_examples_are_larger_for_other_models_and_keep_their_form() -> None:
    urls = {model: [each.url for each in page.examples(model)] for model in ("tiny", "another")}
    sizes = {
        model: [Image.open(io.BytesIO(base64.b64decode(each.partition(",")[2]))).size for each in found]
        for model, found in urls.items()
    }
    assert sizes == {
        "tiny": [(224, 224), (252, 196), (252, 252)], "another": [(448, 448), (504, 392), (504, 504)],
    }  # fmt: skip


def roles(**answers: Any) -> dict[str, Any]:
    opened = {name: SimpleNamespace(answers=each, at_once=4 + at) for at, (name, each) in enumerate(answers.items())}
    return {name: SimpleNamespace(opened=each) for name, each in opened.items()}


def test_roles_that_are_silent_are_known_until_they_answer() -> None:
    up = {"a": False, "b": True}
    setup: Any = SimpleNamespace(pipeline=SimpleNamespace(writer="b"))
    found = piped.Piped(setup, roles(c=None, a=lambda: up["a"], b=lambda: up["b"]))
    assert (found.answers_now(), found.silent, found.at_once) == (False, {"a"}, 4)
    up.update(a=True, b=False)
    assert (found.answers_now(), found.silent) == (False, {"b"})
    up.update(b=True)
    assert (found.answers_now(), found.silent) == (True, set())


def test_a_role_is_asked_when_it_is_its_turn() -> None:
    turn = threading.Lock()
    closed = list[bool]()
    reply = lambda *words: (turn.locked(), words)  # noqa: E731
    backend: Any = SimpleNamespace(model="m", grid=None, reply=reply, close=lambda: closed.append(True))
    words: Any = ("ask", "sampling", None, 5.0)
    asked = piped.InTurn(backend, turn)
    assert (asked.reply(*words), turn.locked()) == ((True, words), False)
    asked.close()
    assert closed == [True]


def test_what_a_stream_has_sent_is_not_held_any_more() -> None:
    look = wire.Looked(0, url="1234", text="12", error="1")
    things = [Unit("", "123"), look, SampleStart(1, 1), Answer("12345")]
    for stream, released in ((wire.Events(FRAMED, Problem("m", "?")), [3, 7, 0, 5]), (responses.Response(FRAMED), [])):
        found = list[int]()
        hold: Any = SimpleNamespace(release=found.append)

        async def read(stream: Any = stream, hold: Any = hold) -> None:
            async for _ in server._events(stream, SampleStart(1, 1), happening(*things), hold, None):  # type: ignore[arg-type]
                pass

        asyncio.run(read())
        assert found == released  # a response is sent once more as a whole


def test_what_says_how_replies_are_drawn_has_no_effect_on_a_pipeline() -> None:
    said = {"temperature": 0.5, "turn_tokens": 7, "strategy": "majority"}
    names = ("temperature", "virc_max_turn_tokens", "virc_strategy")
    assert piped.without_effect(Problem("m", "?", **said)) == names  # type: ignore[arg-type]
    assert piped.without_effect(Problem("m", "?", (Message("user", "?"),), **said)) == ()  # type: ignore[arg-type]


def test_a_picture_that_is_too_large_for_a_pipeline_is_named() -> None:
    piped.check_sizes([SimpleNamespace(size=(4096, 4096))])  # type: ignore[list-item]
    with pytest.raises(DataError, match="image 1 has 4097 x 4096 pixels; at most 16,777,216"):
        piped.check_sizes([SimpleNamespace(size=(9, 9)), SimpleNamespace(size=(4097, 4096))])  # type: ignore[list-item]


def test_a_server_takes_as_many_requests_as_it_can_solve_and_let_wait() -> None:
    is_ready = [True]
    solving = Solving(SimpleNamespace(), OWN, SolveConfig(), at_once=2, waiting=3, ready=lambda: is_ready[0])  # type: ignore[arg-type]
    queue = server.app(server.Served(solving, "m", 1)).state.queue
    holds = [queue.place(f"client {number}") for number in range(5)]
    with pytest.raises(RefusedError, match="too many requests are waiting: ask again later") as refused:
        queue.place("another")
    assert (refused.value.status, refused.value.wait) == (429, 10)
    holds[0].end()
    queue.place("another").end()
    is_ready[0] = False
    with pytest.raises(RefusedError, match="the model is being started again") as refused:
        queue.place("another")
    assert (refused.value.status, refused.value.wait) == (503, 60)


def test_pictures_of_steps_are_numbered_after_those_of_the_question() -> None:
    first, second, cut, scaled, other = (
        SimpleNamespace(size=(side, 2), pixels=Image.new("RGB", (side, 2))) for side in range(3, 8)
    )
    sent: list[Any] = []
    steps: Any = piped._Steps([first, second], sent.append)  # type: ignore[list-item]
    ran: Any = SimpleNamespace(name="zoom", kind="crop", role="eye", output=["out"], pictures=[(5, 2), (6, 2)])
    boxes = [SimpleNamespace(picture=second, box=(0, 0, 1, 1)), SimpleNamespace(picture=first, box=(1, 0, 2, 1))]
    steps.add(ran, SimpleNamespace(pictures=[cut, other, scaled], boxes=boxes))
    boxes = [SimpleNamespace(picture=cut, box=(0, 0, 1, 2))]
    steps.add(ran, SimpleNamespace(pictures=[cut], boxes=boxes))
    thought = "zoom (eye): out\npicture of 5 x 2 px\npicture of 6 x 2 px"
    assert [each.think for each in sent if isinstance(each, Unit)] == [thought] * 2
    assert [(each.unit, each.image, each.size, each.source, each.source_size, each.box)
            for each in sent if isinstance(each, wire.Looked)] == [
        (0, 2, (5, 2), 1, (4, 2), (0, 0, 1, 1)), (0, 3, (7, 2), 0, (3, 2), (1, 0, 2, 1)),
        (0, 4, (6, 2), None, None, None), (1, 5, (5, 2), 2, (5, 2), (0, 0, 1, 2)),
    ]  # fmt: skip


def test_images_of_a_chat_are_fetched_each_under_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[tuple[Any, ...]] = []

    async def fetch(*words: Any) -> bytes:
        fetched.append(words)
        return words[0].encode()

    monkeypatch.setattr("virc.serving.agent.fetch.fetch", fetch)
    rules, hold = object(), SimpleNamespace(add=print)
    solving: Any = SimpleNamespace(pipeline=None, rules=rules)
    urls = ["data:,a", "https://h/b", "DATA:,c", "https://h/d"]
    job = SolvingJob(solving, Problem("m", "?"), urls, Deadline(60))
    asyncio.run(job.prepare(hold))  # type: ignore[arg-type]
    assert fetched == [("https://h/b", "image 1", rules, print), ("https://h/d", "image 3", rules, print)]
    assert (job.pictures, urls) == (["data:,a", b"https://h/b", "DATA:,c", b"https://h/d"], [])


def test_an_image_is_fetched_no_further_than_the_server_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fetched:
        def __init__(self, url: str, rules: object, on_bytes: Callable[[int], None]) -> None:
            self.on_bytes = on_bytes

        def run(self) -> bytes:
            self.on_bytes(7)
            return b"pixels"

        def abort(self) -> None:
            aborted.append(True)

    def hold(size: int) -> None:
        raise RefusedError(f"{size} bytes are too many")

    aborted = list[bool]()
    monkeypatch.setattr(fetch, "Fetch", Fetched)
    with pytest.raises(RefusedError, match="7 bytes are too many"):
        asyncio.run(fetch.fetch("https://h/a", "image 0", fetch.RULES, hold))
    assert aborted == [True]


def test_more_images_than_threads_are_refused_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_THREADS", threading.BoundedSemaphore(0))
    with pytest.raises(RefusedError, match="too many images are being fetched") as refused:
        asyncio.run(fetch.fetch("https://h/a", "image 0", fetch.RULES))
    assert (refused.value.status, refused.value.wait) == (429, 10)


def test_a_full_context_is_known_by_its_word_in_any_case() -> None:
    assert is_too_long(ConfigError("Context size exceeded"))
    assert not is_too_long(ConfigError("no such model"))
    assert not is_too_long(EngineError("the context of CUDA is gone"))


def test_room_for_a_body_is_given_back() -> None:
    async def again() -> None:
        queue = RequestQueue(1)
        first, second, third = (queue.place("a") for _ in range(3))
        await first.room(MAX_READ // 2 + 1, Deadline(60))
        with pytest.raises(RefusedError, match=r"no answer within 0\.01 s"):
            await second.room(MAX_READ // 2, Deadline(0.01))
        first.release()
        await third.room(MAX_READ // 2, Deadline(60))

    asyncio.run(again())


def test_a_job_that_is_late_may_still_name_what_it_waited_for() -> None:
    class Late(Job[str]):
        longer = 60.0

        def run(self, send: Any, release: Any) -> None:
            time.sleep(0.03)
            error = EngineError("it was stopped")
            error.place = "role eye"
            raise error

    async def one() -> None:
        queue = RequestQueue(1)
        async for _ in queue.solve(Late(Deadline(0.01)), queue.place("a"), asyncio.Event().wait):
            pass

    with pytest.raises(RefusedError, match=r"^role eye: no answer within 0\.01 s$") as late:
        asyncio.run(one())
    assert late.value.status == 504
