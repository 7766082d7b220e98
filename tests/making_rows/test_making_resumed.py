"""What a run of `virc data make` that goes on compares, counts and keeps, in this process."""

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from making_rows.made import read_rows, write_rows
from making_rows.test_making_by_models import OPERATOR, caption, captioning, reply
from support.servers import Body, serve, turn_of
from support.solving import CROP, answer

from virc.core import plugins
from virc.core.errors import ConfigError, UsageError
from virc.core.events import Event, Reporter
from virc.data.make import job
from virc.data.make.asking import Models
from virc.data.make.run import make
from virc.solving.one import SolveConfig
from virc.solving.setup import set_up

PLANNED = '''
"""Take the first row twice, and leave the last one to another file."""

import msgspec
from virc.data.make.operator import LeftOut, Plan


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """None."""


def measure(row, means):
    return row.number


def plan(measured, means):
    return Plan((1, 1, 2), left_out={3: LeftOut("odd", "it is the third")}, others={"rest": (5,)})
'''


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return captioning(tmp_path)


def stop_at_fourth_row(home: Path) -> None:
    rows = read_rows(home / "rows.jsonl")
    write_rows(home / "rows.jsonl", [row | {"stop": at == 3} for at, row in enumerate(rows)])


def stopped(home: Path, url: str, **given: Any) -> None:
    """A run that stops at its fourth row, of which two replies were paid for."""
    stop_at_fourth_row(home)
    with pytest.raises(ConfigError, match="fails: KeyError"):
        caption(home, url, at_once=1, **given)


def _other_model(home: Path, given: dict[str, Any]) -> None:
    given["model"] = "other"


def _other_turns(home: Path, given: dict[str, Any]) -> None:
    given["max_turns"] = 5


def _other_file(home: Path, given: dict[str, Any]) -> None:
    (home / "words.txt").write_text("two")


def _other_listed_file(home: Path, given: dict[str, Any]) -> None:
    (home / "listed.txt").write_text("two")


def _other(name: str, value: object) -> Callable[[Path, dict[str, Any]], None]:
    return lambda _, given: given["choice"].update({name: value})


def _other_protocol(home: Path, given: dict[str, Any]) -> None:
    given["protocol"] = "default"


def _other_seed(home: Path, given: dict[str, Any]) -> None:
    given["options"] = given["options"] | {"seed": 7}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_other_model, 'was begun with models {"eyes":"one","editor":"one"}'),
        (_other_turns, 'was begun with asked {"max_turns":16'),
        (_other_file, "was begun with files"),
        (_other_listed_file, "was begun with files"),
        (_other("max_pixels", 50_000), "was begun with asked"),
        (_other("family", "qwen2.5-vl"), "was begun with asked"),
        (_other("system", "deepeyes"), "was begun with asked"),
        (_other_protocol, "was begun with asked"),
        (_other_seed, "was begun with seed 0, not 7"),
    ],
)
def test_rows_of_other_settings_are_not_mixed(
    change: Callable[[Path, dict[str, Any]], None], says: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = OPERATOR.replace("words: int = 1\n", "words: int = 1\n    texts: str = ''\n    more: list[str] = []\n")
    (home / "caption.py").write_text(
        text.replace("words: fewest.\n", "words: fewest.\n        texts: a file.\n        more: files.\n")
    )
    for name in ("words.txt", "listed.txt"):
        (home / name).write_text("one")
    monkeypatch.chdir(home)
    given: dict[str, Any] = {"model": "one", "max_turns": 16, "protocol": None, "choice": {}}
    given["options"] = {"texts": "words.txt", "more": ["listed.txt"]}

    def run(url: str) -> None:
        choice = {"endpoint": url, "model": given["model"], **given["choice"]}
        setup = set_up(choice, SolveConfig(max_turns=given["max_turns"]), given["protocol"], None, True)
        make("./caption.py", ["rows.jsonl"], home / "new.jsonl", given["options"], setup=setup, at_once=1)

    stop_at_fourth_row(home)
    with serve(reply, models=("one", "other")) as server:
        with pytest.raises(ConfigError, match="fails: KeyError"):
            run(server.url)
        asked = len(server.chats())
        change(home, given)
        with pytest.raises(ConfigError) as refused:
            run(server.url)
    assert says in refused.value.message
    assert len(server.chats()) == asked


@pytest.mark.parametrize("own", [True, False])
def test_own_and_fetched_words_are_not_mixed(own: bool, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(reply) as server:
        for now, says in ((own, "fails: KeyError"), (not own, "was begun with words")):
            monkeypatch.setattr(job.texts, "own_words", lambda now=now: now)
            if now is own:
                stopped(home, server.url)
            else:
                with pytest.raises(ConfigError, match=says):
                    caption(home, server.url)


def test_what_was_paid_is_on_disk_and_a_torn_last_line_is_cut(home: Path) -> None:
    file, on_disk = home / "new.jsonl.progress", list[int]()

    def told(body: Body) -> str:
        on_disk.append(file.read_bytes().count(b"\n"))
        return reply(body)

    text = (home / "caption.py").read_text()
    with serve(told) as server:
        for stops in ('row.id == "r3"', 'row.id in ["r4"]'):  # of different sizes: Python compiles the file again
            (home / "caption.py").write_text(text.replace('row.fields.get("stop")', stops))
            plugins.loaded.cache_clear()
            with pytest.raises(ConfigError, match="fails: KeyError"):
                caption(home, server.url, at_once=1)
            with file.open("ab") as progress:
                progress.write(b'{"n":4,"row":"')
        assert on_disk[2::3] == [3, 7, 11, 15, 19][: len(on_disk[2::3])]  # the head; of a row three replies and itself
        (home / "caption.py").write_text(text)
        plugins.loaded.cache_clear()
        assert caption(home, server.url)["kept"] == 6
        assert len(on_disk) == 6 * 3


def test_progress_counts_rows_replies_and_what_is_left_out(home: Path) -> None:
    events = list[Event]()
    with serve(reply) as server:
        caption(home, server.url, report=Reporter(events.append), options={"words": 100}, at_once=1)
    said = [event.text for event in events if event.kind == "progress"]
    assert [text.partition("; ")[2] for text in said[-2:]] == ["5 left out, 15 replies", "6 left out, 18 replies"]
    assert said[-1].startswith("6 of 6, ")
    assert " tokens; " in said[-1]
    (warned,) = [event for event in events if event.kind == "warning"]
    assert (warned.text, warned.hint) == ("no row is kept", "other options")


def test_roles_with_turns_of_their_own_may_ask_as_often_as_they_have_turns(home: Path) -> None:
    events = list[Event]()
    (home / "caption.py").write_text(OPERATOR.replace("Role(temperature=0.7)", "Role(own_protocol=True)"))
    with serve(reply) as server:
        setup = set_up({"endpoint": server.url}, SolveConfig(max_turns=2), None, None, offline=True)
        with pytest.raises(ConfigError):
            make(
                str(home / "caption.py"), [str(home / "rows.jsonl")], home / "new.jsonl", setup=setup,
                report=Reporter(events.append),
            )  # fmt: skip
    assert "6 rows, at most 36 requests of models" in [event.text for event in events]


def test_rules_report_each_thousand_rows_and_say_why_no_row_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "_EVERY", 2)
    write_rows(tmp_path / "rows.jsonl", [{"id": at, "level": at, "odd": [at] * (at % 2) or None} for at in range(5)])
    for given, hint, out in (
        ({"column": "levl"}, "no row has the column that is named", [2, 4]), ({"min": 9}, "other options", [2, 4]),
        ({"column": "odd", "min": 2}, "other options ", [2, 4]), ({"min": 1, "max": 2}, None, [1, 2]),
    ):  # fmt: skip
        events = list[Event]()
        options = {"column": "level", **given}
        make(
            "select",
            [str(tmp_path / "rows.jsonl")],
            tmp_path / f"{len(hint or '')}.jsonl",
            options,
            report=Reporter(events.append),
        )
        progress = [text.text.partition("; ")[2] for text in events if text.kind == "progress"]
        assert progress == [f"{count} left out" for count in out]
        warnings = [(event.text, event.hint) for event in events if event.kind == "warning"]
        assert warnings == ([("no row is kept", hint.strip())] if hint else [])


def test_a_plan_orders_repeats_and_leaves_out(tmp_path: Path) -> None:
    (tmp_path / "planned.py").write_text(PLANNED)
    write_rows(tmp_path / "rows.jsonl", [{"id": f"r{at}"} for at in range(1, 6)])
    fields = make(str(tmp_path / "planned.py"), [str(tmp_path / "rows.jsonl")], tmp_path / "new.jsonl")
    assert [row["id"] for row in read_rows(tmp_path / "new.jsonl")] == ["r1", "r1-2", "r2"]
    assert [row["id"] for row in read_rows(tmp_path / "new.rest.jsonl")] == ["r5"]
    left_out = [(row["id"], row["rule"]) for row in read_rows(tmp_path / "new.jsonl.left_out")]
    assert left_out == [("r3", "odd"), ("r4", "plan")]
    assert (fields["rows"], fields["kept"], fields["made"], fields["left_out"]) == (5, 3, 4, {"odd": 1, "plan": 1})


RULE = '''
"""Say what is left of the time."""

import msgspec
from virc.data.make.operator import kept


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """None."""


def run(row, means):
    return kept({**row.fields, "left": means.deadline.left()})
'''


def test_the_time_limit_holds_for_each_row(tmp_path: Path) -> None:
    (tmp_path / "rule.py").write_text(RULE)
    given = {"endpoint": "http://127.0.0.1:9/v1", "timeout": 30}
    setup, new = set_up(given, SolveConfig(), None, None, offline=True), tmp_path / "new.jsonl"
    make(str(tmp_path / "rule.py"), [str(write_rows(tmp_path / "rows.jsonl", [{"id": 1}]))], new, setup=setup)
    assert 0 < read_rows(new)[0]["left"] <= 30


def test_what_is_left_out_names_the_file_that_it_is_from(tmp_path: Path) -> None:
    files = [str(write_rows(tmp_path / f"{name}.jsonl", [{"id": name, "level": 1}])) for name in "ab"]
    make("select", files, tmp_path / "new.jsonl", {"column": "level", "min": 2})
    assert [row["source"] for row in read_rows(tmp_path / "new.jsonl.left_out")] == files


def test_a_further_file_does_not_replace_one_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "planned.py").write_text(PLANNED)
    rows = write_rows(tmp_path / "new.rest.jsonl", [{"id": f"r{at}"} for at in range(1, 6)])
    before = rows.read_bytes()
    with pytest.raises(UsageError, match="is read and cannot be written"):
        make(str(tmp_path / "planned.py"), [str(rows)], tmp_path / "new.jsonl")
    assert rows.read_bytes() == before


def test_paid_rows_stay_where_a_plan_refuses_its_options(home: Path) -> None:
    text = OPERATOR.replace("def run(row, means):", "def measure(row, means):").replace("return kept(", "return (")
    refusing = (
        "\n\ndef plan(measured, means):\n    from virc.core.errors import UsageError\n    raise UsageError('no')\n"
    )
    (home / "caption.py").write_text(text + refusing)
    with serve(reply) as server:
        for _ in range(2):
            with pytest.raises(UsageError):
                caption(home, server.url)
        assert len(server.chats()) == 6 * 3


def test_replies_of_the_first_row_are_kept_where_it_fails(home: Path) -> None:
    rows = read_rows(home / "rows.jsonl")
    write_rows(home / "rows.jsonl", [row | {"stop": not at} for at, row in enumerate(rows)])
    with serve(reply) as server:
        for _ in range(2):
            with pytest.raises(ConfigError, match="fails: KeyError"):
                caption(home, server.url, at_once=1)
        assert len(server.chats()) == 2


@pytest.mark.parametrize(
    ("was", "now", "more"),
    [
        ("", "", 0),
        ("temperature=0.7", "temperature=0.6", 2),
        ("0.7)", "0.7, max_tokens=9)", 2),
        ("Describe", "Portrays", 2),
        ("means.image(row, 0)", "means.image(row, 0).resize((8, 8))", 2),
        ('f"Describe {row.id}.", means.image(row, 0)', 'means.image(row, 0), f"Describe {row.id}."', 2),
    ],
)
def test_a_kept_reply_is_that_of_the_same_request(was: str, now: str, more: int, home: Path) -> None:
    write_rows(home / "rows.jsonl", read_rows(home / "rows.jsonl")[:1])
    text = (home / "caption.py").read_text()
    with serve(reply) as server:
        (home / "caption.py").write_text(text.replace('row.fields.get("stop")', "True"))
        with pytest.raises(ConfigError, match="fails: KeyError"):
            caption(home, server.url, at_once=1)
        (home / "caption.py").write_text(text.replace(was, now))
        plugins.loaded.cache_clear()
        assert caption(home, server.url, at_once=1)["kept"] == 1
        assert len(server.chats()) == 3 + more


def test_an_operator_may_ask_how_likely_answers_are(home: Path) -> None:
    def likely(exchange: Any) -> None:
        tops = [{"token": "yes", "logprob": math.log(0.6)}, {"token": "no", "logprob": math.log(0.2)}]
        choice = {"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": "yes"}}
        choice["logprobs"] = {"content": [{"token": "yes", "logprob": math.log(0.6), "top_logprobs": tops}]}
        exchange.send_json({"id": "c", "object": "chat.completion", "choices": [choice]})

    text = (home / "caption.py").read_text()
    (home / "caption.py").write_text(
        text.replace('caption = means.ask("editor", f"Correct {first} or {second}")', "caption = f'{first:.2f}'")
        .replace("first, second = ", "first = ")
        .replace(
            '.sample(2, f"Describe {row.id}.", means.image(row, 0))', ".probabilities(('yes', 'no'), 'Is it?')['yes']"
        )
    )
    with serve(reply, fault=likely) as server:
        caption(home, server.url, at_once=1)
    assert {row["caption"] for row in read_rows(home / "new.jsonl")} == {"0.75"}


def test_turns_of_a_role_with_its_own_protocol_are_counted_and_kept(home: Path) -> None:
    write_rows(home / "rows.jsonl", read_rows(home / "rows.jsonl")[:1])
    text = OPERATOR.replace("Role(temperature=0.7)", "Role(own_protocol=True, temperature=0.7)")

    def looking(body: Body) -> str:
        if body["messages"][0]["content"] == "You correct.":
            return "edited"
        return answer("97") if turn_of(body) else CROP

    def run(url: str, turns: int) -> dict[str, Any]:
        setup, to = set_up({"endpoint": url}, SolveConfig(max_turns=turns), None, None, True), home / f"{turns}.jsonl"
        return dict(make(str(home / "caption.py"), [str(home / "rows.jsonl")], to, setup=setup, at_once=1))

    with serve(looking) as server:
        (home / "caption.py").write_text(text.replace('row.fields.get("stop")', "True"))
        with pytest.raises(ConfigError, match="fails: KeyError"):
            run(server.url, 2)
        assert len(server.chats()) == 2 * 2
        (home / "caption.py").write_text(text)
        plugins.loaded.cache_clear()
        fields = run(server.url, 2)
        assert (fields["kept"], fields["replies"], len(server.chats())) == (1, 5, 5)
        fields = run(server.url, 1)
        assert (fields["rows"], fields["left_out"], len(server.chats())) == (1, {"no answer": 1}, 7)
    (out,) = read_rows(home / "1.jsonl.left_out")
    assert (out["id"], out["why"]) == ("r0", "role 'eyes', step 'eyes': no answer after 1 turns")


@pytest.mark.parametrize(("here", "there", "back"), [(True, True, True), (True, False, False), (False, True, False)])
def test_an_outage_lasts_until_every_server_answers(here: bool, there: bool, back: bool) -> None:
    opened: Any = {
        name: SimpleNamespace(opened=SimpleNamespace(answers=lambda up=up: up))
        for name, up in (("a", here), ("b", there))
    } | {"in this process": SimpleNamespace(opened=SimpleNamespace(answers=None))}
    found = Models(opened).outage(lambda _: None)
    assert found
    assert found._answers() is back
