"""Operators that ask models: once for each row, at the concurrency that suits, counted, and continued."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from making_rows.made import picture, read_rows, write_rows
from support.servers import Body, Server, dead_url, serve

from virc.backends.interface import Sampling
from virc.core.errors import ConfigError, UsageError, VircError
from virc.core.events import Event, Reporter
from virc.core.timeouts import Deadline
from virc.data.make import asking
from virc.data.make.operator import Cost, Means
from virc.data.make.run import make
from virc.reasoning.session import Reply
from virc.reasoning.trace import Message
from virc.solving.one import SolveConfig
from virc.solving.setup import Setup, set_up

OPERATOR = '''
"""Have a picture described, and the caption corrected."""

import msgspec
from virc.data.make.operator import kept, left_out
from virc.solving.pipelines.speaking import Role

ROLES = {"eyes": Role(temperature=0.7), "editor": Role(system="You correct.")}


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How.

    Args:
        words: fewest.
    """

    words: int = 1


def requests(options):
    return 3


def run(row, means):
    first, second = means.roles["eyes"].sample(2, f"Describe {row.id}.", means.image(row, 0))
    if row.fields.get("stop"):
        raise KeyError("stop")
    caption = means.ask("editor", f"Correct {first} or {second}")
    if len(caption.split()) < means.options.words:
        return left_out("short", caption)
    return kept({**row.fields, "caption": caption})
'''


def reply(body: Body) -> str:
    """What the model says: a hash of what it was asked, so that each reply tells its request."""
    said = [str(part) for message in body["messages"] for part in _texts(message["content"])]
    return f"{'edited' if 'correct' in said[0] else 'seen'} {body.get('seed')} {said[-1][-20:]}"


def _texts(content: Any) -> list[str]:
    return [content] if isinstance(content, str) else [part["text"] for part in content if part["type"] == "text"]


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(reply) as running:
        yield running


def captioning(folder: Path) -> Path:
    """The folder, with the operator and six rows for it."""
    (folder / "caption.py").write_text(OPERATOR)
    rows = [{"id": f"r{at}", "image": picture(folder / f"{at}.png", at)} for at in range(6)]
    write_rows(folder / "rows.jsonl", rows)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return captioning(tmp_path)


def at(url: str | None) -> Setup:
    return set_up({"endpoint": url}, SolveConfig(), None, None, offline=True)


def caption(
    home: Path, url: str, to: str = "new.jsonl", report: Reporter | None = None, **given: Any
) -> dict[str, Any]:
    return dict(
        make(str(home / "caption.py"), [str(home / "rows.jsonl")], home / to, setup=at(url), report=report, **given)
    )


def test_rows_are_asked_counted_and_estimated(server: Server, home: Path) -> None:
    events = list[Event]()
    fields = caption(home, server.url, report=Reporter(events.append))
    notes = [event.text for event in events if event.kind == "note"]
    assert notes[0] == "6 rows, at most 18 requests of models"
    tokens = [int(count.replace(",", "")) for count in re.findall(r"([\d,]+) (?:prompt|completion) tokens", notes[1])]
    assert notes[1].startswith("by the first row about 18 requests, ")
    assert notes[1].index("prompt tokens") < notes[1].index("completion tokens")
    assert tokens[0] > tokens[1] > 0
    assert len({body["seed"] for body in server.chats()}) == 18
    assert len(notes) == 3  # the last one is the summary
    assert any(event.kind == "progress" and "of 6" in event.text for event in events)
    assert (fields["kept"], fields["replies"], len(server.chats())) == (6, 18, 18)
    assert fields["tokens"]["prompt"] > fields["tokens"]["completion"] > 0
    assert [row["id"] for row in read_rows(home / "new.jsonl")] == [f"r{at}" for at in range(6)]


def test_concurrency_changes_nothing_but_time(home: Path) -> None:
    asked, together = list[Body](), threading.Event()

    def slow(body: Body) -> str:
        asked.append(body)
        if len(asked) > 2:
            together.set()
        assert together.wait(60)
        return reply(body)

    with serve(slow) as server:
        caption(home, server.url, "many.jsonl")
        caption(home, server.url, "one.jsonl", at_once=1)
    assert read_rows(home / "many.jsonl") == read_rows(home / "one.jsonl")


def test_a_model_is_not_asked_twice_for_a_row(server: Server, home: Path) -> None:
    whole = caption(home, server.url, "whole.jsonl", at_once=1)
    asked, rows = len(server.chats()), read_rows(home / "rows.jsonl")
    text = (home / "caption.py").read_text()
    (home / "caption.py").write_text(text.replace('row.fields.get("stop")', 'row.id == "r3"'))
    from virc.core import plugins

    plugins.loaded.cache_clear()
    with pytest.raises(ConfigError, match="fails: KeyError"):
        caption(home, server.url, at_once=1)
    assert len(server.chats()) == asked + 3 * 3 + 2  # of the fourth row, two replies
    (home / "caption.py").write_text(text)
    plugins.loaded.cache_clear()
    events = list[Event]()
    again = caption(home, server.url, at_once=1, report=Reporter(events.append))
    assert events[0].text == "3 rows, at most 9 requests of models"
    assert [event.text for event in events if event.kind == "progress"][-1].startswith("6 of 6, ")
    assert len(server.chats()) == 2 * asked
    assert read_rows(home / "new.jsonl") == read_rows(home / "whole.jsonl")
    assert (again["replies"], again["tokens"]) == (whole["replies"], whole["tokens"])
    assert len(rows) == 6


def test_rows_that_a_model_failed_are_done_again(home: Path) -> None:
    failing = True

    def sometimes(body: Body) -> str:
        if failing and "r2" in json.dumps(body["messages"]):
            raise BrokenPipeError
        return reply(body)

    with serve(sometimes) as server:
        with pytest.raises(VircError):
            caption(home, server.url, at_once=1)
        assert not (home / "new.jsonl").exists()
        failing = False
        assert caption(home, server.url)["kept"] == 6


def test_rows_that_cannot_be_read_cost_no_model(server: Server, home: Path) -> None:
    with (home / "rows.jsonl").open("a") as file:
        file.write("no JSON\n")
    fields = caption(home, server.url)
    assert (fields["rows"], fields["kept"], fields["left_out"]["unreadable"]) == (7, 6, 1)


def test_offline_no_picture_is_fetched_for_a_model(server: Server, home: Path) -> None:
    rows = write_rows(home / "far.jsonl", [{"id": 1, "image": f"{server.url}/far.png", "question": "?"}])
    events, options = list[Event](), {"steps": {"said": {"prompt": "?"}}}
    with pytest.raises(VircError):
        make("teacher", [str(rows)], home / "n.jsonl", options, setup=at(server.url), report=Reporter(events.append))
    assert "offline" in " ".join(event.text for event in events)


def test_a_further_question_goes_on_from_the_reply_before_it(server: Server, home: Path) -> None:
    asked = 'means.ask("eyes", "And correct?", after=first)'
    text = OPERATOR.replace('means.ask("editor", f"Correct {first} or {second}")', asked)
    (home / "caption.py").write_text(text)
    caption(home, server.url, at_once=1)
    first, _, further = (body["messages"] for body in server.chats()[:3])
    assert [message["role"] for message in further] == ["user", "assistant", "user"]
    assert further[0] == first[0]
    asked, said, more = (_texts(message["content"])[-1] for message in further)
    assert (asked, more) == ("Describe r0.", "And correct?")
    assert said in {reply(body) for body in server.chats()[:2]}


def test_messages_of_an_operator_are_sent_once_in_the_time_of_their_row(home: Path) -> None:
    sent, saved = list[Any](), dict[str, Any]()

    def answered(*request: Any) -> Reply:
        sent.append(request)
        return Reply("Yes", prompt_tokens=30, completion_tokens=4)

    backend = SimpleNamespace(reply=answered)
    opened: Any = {"eyes": SimpleNamespace(turn=nullcontext(), opened=SimpleNamespace(backend=backend))}
    means = Means[Any](
        None, 5, home / "n.jsonl", opened=opened, deadline=Deadline(30),  # type: ignore[type-var]
        once=lambda key, make: saved[key] if key in saved else saved.setdefault(key, make()),
    )  # fmt: skip
    messages, sampling = [Message("user", "Is it?")], Sampling(0.5, seed=7)
    for _ in range(2):
        said = asking.reply(means, "eyes", "first", messages, [], sampling, ("END",), {"type": "string"})
        assert (said.text, said.prompt_tokens, said.completion_tokens) == ("Yes", 30, 4)
    ((ask, given, _, seconds),) = sent
    assert (ask.messages, ask.stop, ask.json_schema, given) == (messages, ("END",), {"type": "string"}, sampling)
    assert 0 < seconds <= 30
    assert means.cost == Cost(2, 60, 8)


def test_rules_of_models_are_counted(server: Server, home: Path) -> None:
    fields = caption(home, server.url, options={"words": 100})
    assert (fields["kept"], fields["left_out"]) == (0, {"short": 6})


@pytest.mark.parametrize(
    ("url", "roles", "said"),
    [
        (None, {"eyes": "http://127.0.0.1:9/v1"}, "role 'editor' has no model"),
        ("http://127.0.0.1:9/v1", {"nose": "x"}, "there is no such role"),
    ],
)
def test_roles_need_models(url: str | None, roles: dict[str, str], said: str, home: Path) -> None:
    with pytest.raises(UsageError, match=said):
        make(str(home / "caption.py"), [str(home / "rows.jsonl")], home / "n.jsonl", setup=at(url), roles=roles)


def test_a_role_is_not_for_an_operator_without_models(home: Path) -> None:
    with pytest.raises(UsageError, match="--role eyes: this operator asks no model"):
        make("select", [str(home / "rows.jsonl")], home / "n.jsonl", {"column": "id"}, roles={"eyes": dead_url()})


def test_roles_of_a_list_go_to_the_operators_that_have_them(server: Server, home: Path) -> None:
    (home / "s.yaml").write_text(
        f"- {{operator: select, column: id, contains: '3'}}\n- operator: {home}/caption.py\n"
        "- {operator: select, column: id}\n"
    )
    steps = str(home / "s.yaml")
    given = {"setup": at(None), "roles": {"eyes": server.url, "editor": server.url}}
    fields = make(steps, [str(home / "rows.jsonl")], home / "new.jsonl", **given)  # type: ignore[arg-type]
    assert (fields["rows"], fields["made"], fields["replies"]) == (6, 1, 3)
    assert fields["tokens"]["prompt"] > fields["tokens"]["completion"] > 0
    with pytest.raises(UsageError, match="--role nose: no operator of"):
        make(steps, [str(home / "rows.jsonl")], home / "n.jsonl", roles={"nose": server.url})
