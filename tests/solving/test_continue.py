"""A question after an answer: `virc solve --continue` and `Solution.ask`."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from PIL import Image
from support.called import Done, virc
from support.loopback import Connection, Loopback
from support.replies import asked, picture
from support.servers import MODEL, Server, serve
from support.solving import CROP, answer
from support.tables import each_case

import virc as api
from virc.backends.chatml import render
from virc.families import registry as families
from virc.models.chat_protocol import of_system
from virc.models.registry import EMBEDDED, PACKAGE
from virc.reasoning.calls import Call, Checked, Conversation
from virc.reasoning.messages import Turn
from virc.reasoning.protocol import Protocol, own_protocol
from virc.reasoning.session import Ask, Reply, Session, Unit
from virc.reasoning.trace import Trace
from virc.reasoning.writing import written
from virc.solving.reading import examples
from virc.solving.traces.files import document
from virc.systems import registry as systems
from virc.tools.registry import known

TURNS = [CROP, answer("97"), CROP, answer("40"), answer("43")]


class Tokens:
    """A tokenizer whose tokens are characters."""

    def encode(self, text: str, **_: object) -> list[int]:
        return [ord(each) for each in text]

    def convert_tokens_to_ids(self, token: str) -> int:
        return 0x110000 + len(token)


def go_on(server: Server, *words: object) -> Done:
    return virc("solve", "--continue", *words, "--endpoint", server.url)


def saved(session: Session) -> Trace:
    """A session's trace as it comes back from its file."""
    return msgspec.json.decode(json.dumps(document(session.trace(), {})), type=Trace)


def protocols() -> dict[str, Protocol]:
    """Those of every family, told in words or by the server's `tools`, and of the systems of the core."""
    found = {f"{name} {native}": families.protocol(family, coordinates="pixel", native=native)
             for name, family in families.discover().items() for native in (False, True)}  # fmt: skip
    return found | {"virc": of_system(systems.get("virc"))}


@each_case(("name", "protocol"), protocols().items())
def test_the_next_question_follows_what_the_model_saw(name: str, protocol: Protocol) -> None:
    grid = families.of_system(systems.get("virc")).grid
    session = Session(protocol, "Find x", [picture()], grid, tools=known())
    call = next(examples(("crop_image",), protocol, (336, 252), grid))
    session.feed(Reply(call))
    before = asked(session)
    session.feed(Reply(written(Turn("so" if protocol.grammar.think else "", answer="97"), protocol.grammar)))

    again = Session(protocol, "Find x", [picture()], grid, tools=known())
    assert again.replay(saved(session))
    again.ask("And y?")
    after = asked(again)
    count = len(before.messages)
    assert list(after.messages[:count]) == list(before.messages)
    assert [each.role for each in after.messages[count:]] == ["assistant", "user"]
    assert "97" in after.messages[count].text
    assert "And y?" in after.messages[-1].text
    assert not after.messages[-1].text.startswith("\n")
    assert after.messages[-1].images == ()
    assert [each.png for each in after.images] == [each.png for each in before.images]
    assert after.called == before.called
    ids = [_ids(each) for each in (before, after)]
    assert ids[1][: len(ids[0])] == ids[0]
    assert [turn.role for turn in after.turns()][-2:] == ["assistant", "user"]


def _ids(ask: Ask) -> list[int]:
    """The conversation as a model in this process is given it."""
    return render(ask.messages, [4] * len(ask.images), Tokens()).ids


class Counter:
    """A tool that keeps how often it was called."""

    NAME, TEMPLATE = "count", "after_text"
    SCHEMA: ClassVar = {"type": "function", "function": {"name": NAME, "parameters": {"type": "object"}}}

    @staticmethod
    def check(arguments: object, view: object) -> Checked:
        return Checked(Call("count", None, None), ())

    @staticmethod
    def apply_to_all(call: Call, conversation: Conversation) -> str:
        conversation.kept["count"] = conversation.kept.get("count", 0) + 1
        return f"called {conversation.kept['count']} times"


def test_what_tools_keep_is_there_for_the_next_question() -> None:
    protocol = own_protocol([Counter.SCHEMA])
    call = '<think>so</think><tool_call>{"name": "count", "arguments": {}}</tool_call>'
    tools: Any = {"count": Counter}
    session, again = (Session(protocol, "q", [picture()], tools=tools) for _ in range(2))
    for reply in (call, answer("97")):
        session.feed(Reply(reply))
    assert again.replay(saved(session))
    again.ask("And y?")
    unit = again.feed(Reply(call))
    assert isinstance(unit, Unit)
    assert [each.text for each in unit.results] == ["called 2 times"]


def test_a_further_question_sends_the_whole_conversation(image: Path) -> None:
    with serve(TURNS) as server:
        virc("solve", image, "Find $x$", "--endpoint", server.url, "--trace", "out")
        first = server.chats()[-1]["messages"]
        done = go_on(server, "out/trace.json", "And y?", "--trace", "both", "--json")
        second = server.chats()[-1]["messages"]
        last = go_on(server, "And z?")
        third = server.chats()[-1]["messages"]
    assert (done.json["answer"], done.json["turns"], done.json["calls"]) == ("40", 2, {"crop_image": 1})
    assert second[: len(first)] == first
    assert [each["role"] for each in second[len(first) :]] == ["assistant", "user", "assistant", "user"]
    assert "And y?" in str(second[len(first) + 1]["content"])
    assert (last.code, last.out) == (0, "43\n")
    assert "going on after 'And y?', answered '40'" in last.err
    assert third[: len(second)] == second
    trace = json.loads(Path("both/trace.json").read_bytes())
    assert [trace["question"], trace["answer"], len(trace["units"])] == ["And y?", "40", 4]
    assert trace["earlier"] == [{"question": "Find $x$", "answer": "97", "units": 2}]
    assert [each["file"] for each in trace["images"]] == ["image-0.png", "image-1.png", "image-2.png"]
    page = Path("both/index.html").read_text()
    questions = [page.index(f'<h3 class="asked" dir="auto">{each}') for each in ("Find $x$", "And y?")]
    assert questions[0] < page.index(">97</p>") < questions[1] < page.index(">40</p>")


def test_a_folder_elsewhere_finds_its_pictures_after_both_moved(image: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    image.rename(project / "figure.png")
    with serve(TURNS) as server:
        virc("solve", project / "figure.png", "q", "--endpoint", server.url, "--trace", project / "out")
        assert str(tmp_path) not in (project / "out" / "trace.json").read_text()
        project.rename(tmp_path / "moved")
        assert go_on(server, tmp_path / "moved" / "out", "And y?").out == "40\n"


def test_a_trace_of_others_has_no_picture_fetched(image: Path) -> None:
    class Picture(Connection):
        def get(self) -> None:
            self.send_body(image.read_bytes(), headers={"Connection": "close"})

    site = Loopback(Picture)
    url = f"{site.address}/figure.png"
    with serve(TURNS) as server, site.running():
        virc("solve", url, "q", "--endpoint", server.url, "--trace", "out")
        before = site.accepted
        refused = go_on(server, "out", "And y?")
        assert (refused.code, site.accepted, "names a picture that is not fetched" in refused.err) == (5, before, True)
        assert "hint: virc solve --continue TRACE 'QUESTION' --image URL fetches it" in refused.err
        assert go_on(server, "out", "And y?", "--image", url).out == "40\n"
        assert go_on(server, "And z?").out == "43\n"  # the last answer is the user's own


def _edit(change: Any) -> None:
    path = Path("out/trace.json")
    trace = json.loads(path.read_bytes())
    change(trace)
    path.write_text(json.dumps(trace))


def _media(**choice: object) -> None:
    _edit(lambda trace: trace["pictures"][0].update(media=choice))


BOTH = ("out", "And y?")
MISTAKES: list[tuple[str, Any, tuple[object, ...], int, str]] = [
    ("gone", lambda image: image.unlink(), BOTH, 5, "the picture of the conversation is gone: "),
    ("changed", lambda image: Image.new("RGB", (112, 84)).save(image), BOTH, 5, "is another picture than"),
    ("given twice", lambda _: None, (*BOTH, "--image", "a.png", "--image", "a.png"), 2, "is about 1 picture, and 2"),
    ("another size", lambda _: None, (*BOTH, "--max-pixels", 4000), 5, "others now"),
    ("another model", lambda _: _edit(lambda trace: trace.update(model="other")), BOTH, 2, "is with the model other"),
    ("another family", lambda _: None, (*BOTH, "--family", "qwen3-vl"), 2, "was had by another chat protocol"),
    ("no trace", lambda _: None, ("away", "And y?"), 5, "there is no trace away"),
    ("no question", lambda _: None, ("out",), 2, "there is no question"),
    ("nothing", lambda _: None, (), 2, "there is no question\nhint: virc solve --continue 'QUESTION'"),
    ("an empty word", lambda _: None, ("",), 2, "the word after --continue is empty"),
    ("an empty trace", lambda _: None, ("", "And y?"), 2, "the word after --continue is empty"),
    ("no answer", lambda _: _edit(lambda trace: trace.update(answer=None)), BOTH, 5, "has no answer to ask on from"),
    ("of a row", lambda _: _edit(lambda trace: trace.pop("pictures")), BOTH, 5, "does not say which files"),
    ("not ours", lambda _: Path("out/trace.json").write_text("[]"), BOTH, 5, "is no trace of virc solve"),
    ("with a page", lambda _: None, (*BOTH, "--page", 2), 2, "--page does not go with --continue"),
    ("dry run", lambda _: None, (*BOTH, "--dry-run"), 2, "--dry-run does not go with --continue"),
    ("frames", lambda _: _media(frames=10**7), BOTH, 5, "$.pictures[0].media.frames"),
    ("frames a second", lambda _: _media(fps=1e9), BOTH, 5, "$.pictures[0].media.fps"),
    ("pages", lambda _: _media(pages=[*range(1, 1002)]), BOTH, 5, "$.pictures[0].media.pages"),
    ("a page", lambda _: _edit(lambda trace: trace["pictures"][0].update(page=0)), BOTH, 5, "$.pictures[0].page"),
    ("another turn", lambda _: _edit(lambda trace: trace["messages"][-1].update(text="?")), BOTH, 5, "others now"),
]


@each_case(("name", "spoil", "words", "code", "sentence"), MISTAKES)
def test_a_conversation_that_cannot_go_on_is_refused(
    name: str, spoil: Any, words: tuple[object, ...], code: int, sentence: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    picture().save("a.png")
    image = tmp_path / "figure.png"
    picture(112, 84).save(image)
    with serve(TURNS) as server:
        virc("solve", image, "q", "--endpoint", server.url, "--trace", "out")
        count = len(server.chats())
        spoil(image)
        done = go_on(server, *words)
        assert (done.code, done.out) == (code, "")
        assert sentence in done.err
        assert "hint: " in done.err
        assert len(server.chats()) == count


def test_without_an_answer_before_there_is_nothing_to_continue(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "new"))
    done = virc("solve", "--continue", "And y?")
    assert (done.code, "there is no answer to ask on from" in done.err) == (5, True)


def test_a_picture_that_was_no_file_is_given_again(image: Path) -> None:
    with serve(TURNS) as server:
        virc("solve", "-", "q", "--endpoint", server.url, stdin=image.read_bytes())
        assert "has to be given again" in go_on(server, "And y?").err
        assert go_on(server, "And y?", "--image", image).out == "40\n"


def test_turns_are_limited_and_samples_counted_for_each_question(image: Path) -> None:
    with serve(TURNS) as server:
        virc("solve", image, "q", "--endpoint", server.url)
        sampled = go_on(server, "And y?", "--samples", 3, "--json", "--max-turns", 2)
        assert sampled.json["votes"] == [{"answer": "40", "count": 3}]
        assert go_on(server, "And z?", "--max-turns", 1).out == "43\n"


def test_a_solution_is_asked_on_in_python(image: Path) -> None:
    with serve(TURNS) as server, Image.open(image) as picture:
        first = api.solve(picture, "Find x", MODEL, endpoint=server.url)
        second = first.ask("And y?", trace="both")
        third = second.ask("And z?")
        last = server.chats()[-1]["messages"]
    assert [each.answer for each in (first, second, third)] == ["97", "40", "43"]
    assert sum(each["role"] == "user" for each in last) == 5
    assert Path("both/index.html").is_file()
    copied = pickle.loads(pickle.dumps(first))
    assert copied.answer == "97"
    with pytest.raises(api.UsageError, match="no question can follow"):
        copied.ask("And y?")


def test_a_model_of_first_questions_has_no_further_answer_and_says_how_to_ask_another(image: Path) -> None:
    another = "virc solve IMAGE 'QUESTION' --model NAME asks another model, from the first question on"
    with serve(TURNS) as server, api.load(MODEL, endpoint=server.url) as model:
        solution = api.solve(image, "Find x", msgspec.structs.replace(model, embedded=True)).ask("And y?")
        virc("solve", image, "Find x", "--endpoint", server.url, "--trace", "out")
        _edit(lambda trace: trace.update(model=EMBEDDED))
        done = go_on(server, *BOTH)
    assert isinstance(solution.error, api.NoAnswerError)
    assert (solution.answer, solution.fields["model"], solution.error.hint) == (None, MODEL, another)
    assert (done.code, f"is with the model {EMBEDDED}, not {MODEL}\nhint: {another}\n" in done.err) == (2, True)


@pytest.mark.integration
def test_a_model_in_this_process_is_asked_on(image: Path) -> None:
    shutil.copytree(PACKAGE / "tiny", "mine")
    figure = Path(__file__).parents[1] / "pictures" / "triangle.png"
    words = ("--model", "./mine", "--max-turns", 4)
    assert virc("solve", figure, "How large is angle B?", *words, "--trace", "first").out == "73\n"
    done = virc("solve", "--continue", "first", "How large is angle H?", *words, "--trace", "both")
    assert done.code in (0, 8), done.err
    before, after = (json.loads(Path(each, "trace.json").read_bytes())["messages"] for each in ("first", "both"))
    assert after[: len(before)] == before
    assert "How large is angle H?" in after[len(before)]["text"]
