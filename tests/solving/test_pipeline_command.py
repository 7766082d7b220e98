"""`virc solve --pipeline` by its real entry point, on two scripted endpoints."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from batches import problems, read, write
from support.called import Done, virc
from support.faults import status
from support.servers import Body, Server, dead_url, serve
from support.solving import answer

from virc.sandbox import pool
from virc.solving import retry

TEXT = """
roles:
  eyes: {system: You see.}
  mind: {}
steps:
  - {name: scene, ask: eyes, images: true, prompt: Describe the picture.}
  - {name: count, ask: eyes, images: true, prompt: "How many? {question}"}
  - {name: reply, ask: mind, prompt: "{scene} and {count}: {question}"}
answer: reply
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "see.yaml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def eyes() -> Iterator[Server]:
    def see(body: Body) -> str:
        return "a square" if "Describe" in str(body["messages"]) else "4"

    with serve(see) as server:
        yield server


@pytest.fixture
def mind() -> Iterator[Server]:
    with serve(["four"]) as server:
        yield server


def asked(image: Path, file: Path, *words: object) -> Done:
    return virc("solve", image, "Sides?", "--pipeline", file, *words)


def text_of(body: Body) -> str:
    content: Any = body["messages"][-1]["content"]
    return content if isinstance(content, str) else str(content[-1]["text"])


def test_each_role_is_asked_and_the_answer_alone_is_on_stdout(
    image: Path, file: Path, eyes: Server, mind: Server
) -> None:
    done = asked(image, file, "--role", f"eyes={eyes.url}", "--role", f"mind={mind.url}")
    assert (done.code, done.out) == (0, "four\n")
    assert "-> scene, by eyes: a square\n" in done.err
    assert "-> reply, by mind: four\n" in done.err
    (request,) = mind.chats()
    assert text_of(request) == "a square and 4: Sides?"
    assert "image_url" not in str(request)
    assert all("image_url" in str(body) and "You see." in str(body) for body in eyes.chats())


def test_one_role_is_the_default_endpoint(image: Path, file: Path, eyes: Server, mind: Server) -> None:
    done = asked(image, file, "--role", f"eyes={eyes.url}", "--endpoint", mind.url, "--quiet")
    assert (done.code, done.out, done.err) == (0, "four\n", "")


def test_the_file_names_an_endpoint_which_gets_no_key(
    image: Path, file: Path, eyes: Server, mind: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRC_API_KEY", "secret-key")
    file.write_text(TEXT.replace("mind: {}", f"mind: {{endpoint: '{mind.url}'}}"))
    assert asked(image, file, "--role", f"eyes={eyes.url}").code == 0
    assert "secret-key" in str(eyes.requests[-1].headers)
    assert "secret-key" not in str([request.headers for request in mind.requests])


def test_json_has_the_steps_and_the_roles(image: Path, file: Path, eyes: Server, mind: Server) -> None:
    found = asked(image, file, "--role", f"eyes={eyes.url}", "--role", f"mind={mind.url}", "--json").json
    schema = json.loads(files("virc").joinpath("core", "schemas", "solve.json").read_text(encoding="utf-8"))
    jsonschema.validate(found, schema)
    assert [step["name"] for step in found["steps"]] == ["scene", "count", "reply"]
    assert found["steps"][2]["output"] == ["four"]
    assert found["answer"] == "four"
    assert set(found["roles"]) == {"eyes", "mind"}


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("ask: mind", "ask: minds", 8, "step 'reply' asks an unknown role"),
        ("images: true, prompt: Desc", "imags: true, prompt: Desc", 6, "unknown key 'steps.0.imags'"),
        ("answer: reply", "answer: replies", 9, "answer names no step: 'replies'"),
        ("mind: {}", "mind: {temperature: -1}", 4, "roles.mind.temperature must be"),
    ],
)
def test_a_fault_of_the_file_has_its_line(image: Path, file: Path, old: str, new: str, line: int, said: str) -> None:
    file.write_text(TEXT.replace(old, new))
    done = asked(image, file, "--model", "tiny")
    assert done.code == 3
    assert f"error: {file}:{line}: {said}" in done.err


LOOP = """
roles: {eyes: {}}
steps:
  - repeat:
      - {name: reply, ask: eyes, images: true, prompt: "{question}"}
    until: {value: reply, matches: "^yes"}
    rounds: 2
answer: reply
"""


def test_a_loop_that_never_matches_is_warned_of(image: Path, file: Path, eyes: Server, tmp_path: Path) -> None:
    file.write_text(LOOP)
    done = asked(image, file, "--endpoint", eyes.url, "--json", "--trace", tmp_path / "t")
    assert "warning: 'reply' matched in none of 2 rounds; its output is that of the last\n" in done.err
    schema = json.loads(files("virc").joinpath("core", "schemas", "solve.json").read_text(encoding="utf-8"))
    jsonschema.validate(done.json, schema)
    assert done.json["loops"] == [{"until": "reply", "rounds": 2, "met": False}]
    assert json.loads((tmp_path / "t" / "steps.json").read_text())["loops"] == done.json["loops"]
    write(tmp_path / "in.jsonl", problems(image, "a", "b"))
    batch = virc("solve", "--batch", tmp_path / "in.jsonl", "--pipeline", file, "--endpoint", eyes.url)
    assert "0 failed; in 2 a loop ended without a match of its until" in batch.err


def test_a_trained_model_that_is_asked_plainly_is_warned_of(image: Path, file: Path) -> None:
    file.write_text(LOOP)
    done = asked(image, file, "--model", "tiny")
    assert "warning: role 'eyes': tiny was trained with a chat protocol of its own" in done.err
    assert "hint: own_protocol: true in the role 'eyes'" in done.err
    file.write_text(LOOP.replace("eyes: {}", "eyes: {own_protocol: true}"))
    assert "own_protocol" not in asked(image, file, "--model", "tiny").err


def test_the_trace_has_the_steps_also_of_a_failure(image: Path, file: Path, eyes: Server, tmp_path: Path) -> None:
    roles = ["--role", f"eyes={eyes.url}", "--trace", tmp_path / "t"]
    with serve(["four"]) as mind:
        assert asked(image, file, *roles, "--role", f"mind={mind.url}").code == 0
    assert json.loads((tmp_path / "t" / "steps.json").read_text())["answer"] == "four"
    with serve(["four"], fault=status(400)) as mind:
        assert asked(image, file, *roles, "--role", f"mind={mind.url}").code == 3
    found = json.loads((tmp_path / "t" / "steps.json").read_text())
    assert {step["name"] for step in found["steps"]} == {"scene", "count"}
    assert "role 'mind', step 'reply'" in found["error"]["message"]


def test_steps_that_do_not_need_each_other_run_together(image: Path, file: Path, mind: Server) -> None:
    both = threading.Barrier(2, timeout=20)

    def see(body: Body) -> str:
        both.wait()  # breaks where the second request waits for the first
        return "seen"

    with serve(see) as eyes:
        done = asked(image, file, "--role", f"eyes={eyes.url}", "--role", f"mind={mind.url}")
    assert (done.code, done.out) == (0, "four\n")


def test_a_role_asked_by_its_own_protocol_gives_its_answer(image: Path, file: Path, mind: Server) -> None:
    file.write_text(TEXT.replace("system: You see.", "own_protocol: true"))
    with serve([answer("97")]) as eyes:
        assert asked(image, file, "--role", f"eyes={eyes.url}", "--role", f"mind={mind.url}").code == 0
        assert "<tool_call>" in str(eyes.chats()[0]["messages"][0])
    assert text_of(mind.chats()[0]) == "97 and 97: Sides?"


def test_a_dry_run_prints_what_each_role_would_be_sent(image: Path, file: Path) -> None:
    done = asked(image, file, "--role", "eyes=tiny", "--role", f"mind={dead_url()}", "--dry-run")
    assert done.code == 0
    assert "  prompt: Describe the picture.\n" in done.out
    assert "  prompt: {scene} and {count}: Sides?\n" in done.out


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--role", "eyes=tiny"], 2, "role 'mind' has no model"),
        (["--role", "eye=tiny"], 2, "--role eye: there is no such role"),
        (["--role", "eyes"], 2, "--role eyes: it is NAME=URL or NAME=MODEL"),
        (["--role", "eyes=tiny", "--role", "eyes=tiny"], 2, "--role eyes is given twice"),
        (["--samples", "3"], 2, "--samples does not go with --pipeline"),
        (["--max-tokens", "9"], 2, "--max-tokens does not go with --pipeline"),
        (["--temperature", "1"], 2, "leave one out, or in the pipeline's file write `temperature` to a role\n"),
        (["--strategy", "majority:n=3"], 2, "write steps that do the same: `samples: N` with `vote: NAME` or"),
        (["--dry-run", "--json"], 2, "--dry-run prints what is sent for one"),
        (["--model", "nowhere"], 3, "role 'eyes': "),
    ],
)
def test_mistakes_end_with_a_sentence(image: Path, file: Path, words: list[str], code: int, sentence: str) -> None:
    done = asked(image, file, *words)
    assert done.code == code
    assert sentence in done.err


def test_options_of_pipelines_need_one(image: Path) -> None:
    done = virc("solve", image, "q", "--role", "eyes=tiny")
    assert (done.code, done.out) == (2, "")
    assert "--role belongs to --pipeline" in done.err


def test_a_role_that_is_down_is_named(image: Path, file: Path, eyes: Server) -> None:
    done = asked(image, file, "--role", f"eyes={eyes.url}", "--role", f"mind={dead_url()}")
    assert done.code == 6
    assert "role 'mind': " in done.err


def test_a_batch_has_a_line_and_a_trace_for_each_row(
    image: Path, file: Path, eyes: Server, mind: Server, tmp_path: Path
) -> None:
    source, out = write(tmp_path / "in.jsonl", problems(image, "a", "b")), tmp_path / "out.jsonl"
    words = [
        "--batch",
        source,
        "--pipeline",
        file,
        "--to",
        out,
        "--role",
        f"eyes={eyes.url}",
        "--trace",
        tmp_path / "t",
    ]
    done = virc("solve", *words, "--role", f"mind={mind.url}")
    assert (done.code, done.out) == (0, "")
    schema = json.loads(files("virc").joinpath("core", "schemas", "solve.json").read_text(encoding="utf-8"))
    for line in read(out):
        jsonschema.validate(line, schema)
        assert (line["answer"], len(line["steps"])) == ("four", 3)
        assert json.loads((tmp_path / "t" / line["id"] / "steps.json").read_text())["answer"] == "four"


def test_a_role_that_is_killed_in_a_batch_loses_nothing(
    image: Path, file: Path, eyes: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "MOST_SECONDS", 0.2)
    monkeypatch.setattr(retry, "LOOK_SECONDS", 0.1)
    names = list("abcdef")
    source, out = write(tmp_path / "in.jsonl", problems(image, *names)), tmp_path / "out.jsonl"
    words = ["--batch", source, "--pipeline", file, "--to", out, "--role", f"eyes={eyes.url}", "--concurrency", 1]

    def dies(body: Body) -> str:
        if len(mind.chats()) == 4:
            mind.die()
        return text_of(body).partition(": ")[2]

    with serve(dies) as mind:
        done = virc("solve", *words, "--role", f"mind={mind.url}")
    assert done.code == 6
    assert "role 'mind', step 'reply'" in done.err
    before = read(out)
    assert 3 <= len(before) < 6
    with serve(lambda body: text_of(body).partition(": ")[2]) as again:  # at another address
        assert virc("solve", *words, "--role", f"mind={again.url}").code == 0
        assert len(again.chats()) == 6 - len(before)
    assert {line["id"]: line["answer"] for line in read(out)} == {name: f"q {name}" for name in names}


def test_a_role_that_comes_back_is_waited_for(
    image: Path, file: Path, eyes: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "LOOK_SECONDS", 0.1)
    source, out = write(tmp_path / "in.jsonl", problems(image, *"abcdef")), tmp_path / "out.jsonl"
    words = ["--batch", source, "--pipeline", file, "--to", out, "--role", f"eyes={eyes.url}"]
    with ExitStack() as stack:
        mind = stack.enter_context(serve(["four"]))

        def die_and_come_back() -> None:
            mind.wait_for(2)
            mind.die()
            time.sleep(0.5)
            stack.enter_context(serve(["four"], port=mind.server_address[1]))

        killer = threading.Thread(target=die_and_come_back)
        killer.start()
        done = virc("solve", *words, "--role", f"mind={mind.url}")
        killer.join()
    assert done.code == 0
    assert "6 rows: 6 answered" in done.err


def test_a_changed_pipeline_does_not_go_on_with_answers_of_the_former(
    image: Path, file: Path, eyes: Server, mind: Server, tmp_path: Path
) -> None:
    source = write(tmp_path / "in.jsonl", problems(image, "a"))
    words = ["--batch", source, "--pipeline", file, "--to", tmp_path / "out", "--endpoint", mind.url]
    assert virc("solve", *words, "--role", f"eyes={eyes.url}").code == 0
    file.write_text(TEXT.replace("You see.", "You look."))
    assert virc("solve", *words, "--role", f"eyes={eyes.url}").code == 3


def test_a_system_has_its_own_pipeline(image: Path, eyes: Server, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("name: looking\npipeline:" + TEXT.replace("\n", "\n  "))
    assert virc("solve", image, "Sides?", "--pipeline", own, "--endpoint", eyes.url).out == "4\n"
    assert virc("systems", "check", own).code == 0
    own.write_text(own.read_text().replace("ask: mind", "ask: mond"))
    done = virc("systems", "check", own)
    assert done.code != 0
    assert "step 'reply' asks an unknown role: 'mond'" in done.out + done.err


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("tiny", "tiny has no pipeline"), ("gone.yaml", "there is no file gone.yaml"), ("nothing", "there is no system")],
)
def test_a_missing_pipeline_is_a_sentence(image: Path, name: str, sentence: str) -> None:
    done = virc("solve", image, "q", "--pipeline", name)
    assert done.code == 3
    assert sentence in done.err


@pytest.mark.integration
def test_code_that_a_role_wrote_runs_in_the_sandbox_until_it_works(image: Path, file: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("code is isolated on Linux alone")
    file.write_text("""
roles: {mind: {}}
steps:
  - repeat:
      - {name: code, ask: mind, prompt: "Write code. The last result: {result}"}
      - {name: result, run: code, images: true}
    until: {value: result, matches: "^[0-9]+$"}
    rounds: 3
answer: result
""")

    def write_code(body: Body) -> str:
        return "```python\nprint(image_0.width)\n```" if "NameError" in text_of(body) else "print(width)"

    with serve(write_code) as mind:
        done = asked(image, file, "--endpoint", mind.url)
        assert (done.code, done.out, len(mind.chats())) == (0, "112\n", 2)
    pool.shared().close()


def test_an_option_for_other_roles_is_refused_where_there_are_none(
    image: Path, file: Path, eyes: Server, mind: Server
) -> None:
    done = asked(image, file, "--role", f"eyes={eyes.url}", "--role", f"mind={mind.url}", "--model", "tiny")
    assert done.code == 2
    assert "error: --model is the model of roles that have none, and each role has one\n" in done.err
    assert not eyes.chats()


def test_several_replies_of_a_greedy_role_are_warned_of(image: Path, file: Path, eyes: Server) -> None:
    file.write_text(TEXT.replace("ask: mind,", "ask: mind, samples: 2,"))
    done = asked(image, file, "--endpoint", eyes.url)
    assert done.code == 0
    sentence = "warning: step 'reply' draws 2 replies of role 'mind', whose temperature is 0: all may be the same\n"
    assert sentence in done.err
    assert "hint: temperature: 1 in the role 'mind'\n" in done.err


def test_a_role_that_no_step_asks_needs_no_model_but_to_go(image: Path, file: Path, eyes: Server) -> None:
    file.write_text(TEXT.replace("ask: mind", "ask: eyes"))
    done = asked(image, file, "--role", f"eyes={eyes.url}")
    assert done.code == 2
    assert "error: role 'mind' has no model, and no step asks it\n" in done.err


def test_a_file_with_a_pipeline_alone_is_checked_as_one(file: Path) -> None:
    done = virc("systems", "check", file)
    assert (done.code, done.err) == (0, f"{file}: no fault found in the pipeline\n")
    file.write_text(TEXT.replace("ask: mind", "ask: minds"))
    done = virc("systems", "check", file)
    assert done.code == 3
    assert f"error: {file}:8: step 'reply' asks an unknown role: 'minds'\n" in done.err
    file.write_text("")
    done = virc("solve", file, "Sides?", "--pipeline", file)
    assert (done.code, f"error: {file} is empty\n" in done.err) == (3, True)
