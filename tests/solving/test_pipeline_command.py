"""`virc solve --pipeline` by its real entry point, on two scripted endpoints."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from html import unescape
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from batches import problems, read, write
from PIL import Image
from support.called import Done, virc
from support.faults import status
from support.servers import Body, Server, count_usage, dead_url, serve
from support.solving import answer, told_to_wait

import virc as package
from virc.sandbox import pool
from virc.solving import batch as retry

TEXT = """
from virc.solving.pipelines import Problem, Role, Roles, together

ROLES = {"eyes": Role(system="You see."), "mind": Role()}


def solve(problem: Problem, roles: Roles) -> str:
    scene, count = together(
        lambda: roles.eyes.ask(problem.images, "Describe the picture.", step="scene"),
        lambda: roles.eyes.ask(problem.images, f"How many? {problem.question}", step="count"),
    )
    return roles.mind.ask(f"{scene} and {count}: {problem.question}", step="reply")
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "see.py"
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
    file.write_text(TEXT.replace('"mind": Role()', f'"mind": Role(endpoint="{mind.url}")'))
    assert asked(image, file, "--role", f"eyes={eyes.url}").code == 0
    assert "secret-key" in str(eyes.requests[-1].headers)
    assert "secret-key" not in str([request.headers for request in mind.requests])


def test_json_has_the_steps_and_the_roles(image: Path, file: Path, eyes: Server, mind: Server) -> None:
    found = asked(image, file, "--role", f"eyes={eyes.url}", "--role", f"mind={mind.url}", "--json").json
    schema = json.loads(files("virc").joinpath("core", "schemas", "solve.json").read_text(encoding="utf-8"))
    jsonschema.validate(found, schema)
    assert [step["name"] for step in found["steps"]] == ["scene", "count", "reply"]
    assert found["steps"][2]["output"] == ["four"]
    assert (found["answer"], found["model"].partition(":")[0]) == ("four", "see (eyes")
    assert set(found["roles"]) == {"eyes", "mind"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("roles.mind", "roles.minds", "see.py:12: AttributeError: ROLES has no 'minds'; it has eyes, mind"),
        ("def solve(", "def solved(", "see.py has no function `solve(problem, roles)`"),
        ("ROLES =", "ROLE =", "see.py has no ROLES: a dict of names and `Role(...)`"),
        ("Role()", "Role(temperature=-1)", "see.py: role 'mind': Expected `float` >= 0.0"),
        ("import Problem", "import Problems", "see.py cannot be loaded: ImportError: cannot import name 'Problems'"),
        ("ROLES =", "WRITER = 'ear'\nROLES =", "see.py: WRITER is 'ear', which ROLES has not"),
    ],
)
def test_a_fault_of_the_file_is_one_sentence(
    image: Path, file: Path, eyes: Server, old: str, new: str, said: str
) -> None:
    file.write_text(TEXT.replace(old, new))
    done = asked(image, file, "--endpoint", eyes.url)
    assert done.code in (1, 3)
    assert said in done.err
    assert "Traceback" not in done.err


ONCE = """
from virc.solving.pipelines import Role

ROLES = {"eyes": Role()}


def solve(problem, roles):
    return roles.eyes.ask(problem.images, problem.question, step="reply")
"""


def test_a_trained_model_that_is_asked_plainly_is_warned_of(image: Path, file: Path) -> None:
    file.write_text(ONCE)
    done = asked(image, file, "--model", "tiny")
    assert "warning: role 'eyes': tiny was trained with a chat protocol of its own" in done.err
    assert "hint: Role(own_protocol=True) for 'eyes'" in done.err
    file.write_text(ONCE.replace("Role()", "Role(own_protocol=True)"))
    assert "own_protocol" not in asked(image, file, "--model", "tiny").err


def test_the_trace_has_the_steps_also_of_a_failure(image: Path, file: Path, eyes: Server, tmp_path: Path) -> None:
    roles = ["--role", f"eyes={eyes.url}", "--trace", tmp_path / "t"]
    with serve(["four"]) as mind:
        assert asked(image, file, *roles, "--role", f"mind={mind.url}").code == 0
    assert json.loads((tmp_path / "t" / "steps.json").read_text())["answer"] == "four"
    with serve(["four"], fault=status(400)) as mind:
        assert asked(image, file, *roles, "--role", f"mind={mind.url}").code == 3
    found = json.loads((tmp_path / "t" / "steps.json").read_text())
    failed = found["steps"].pop()
    assert (failed["name"], failed["role"], failed["output"]) == ("reply", "mind", [])
    assert failed["error"] == found["error"]["message"]
    page = unescape((tmp_path / "t" / "index.html").read_text())
    assert page.count('<summary>System message</summary><pre dir="auto">You see.</pre>') == 2
    assert "It failed: role 'mind', step 'reply': " in page
    assert {step["name"] for step in found["steps"]} == {"scene", "count"}
    assert [step["system"] for step in found["steps"]] == ["You see."] * 2
    assert "role 'mind', step 'reply'" in found["error"]["message"]


@pytest.mark.parametrize("name", ["index.html", "notes.txt", "steps.json"])
def test_a_trace_replaces_nothing_but_a_trace(image: Path, file: Path, tmp_path: Path, name: str) -> None:
    (folder := tmp_path / "t").mkdir()
    (folder / name).write_text('{"mine": 1}')
    done = asked(image, file, "--endpoint", dead_url(), "--trace", folder)
    assert done.code == 2
    assert f"{folder} holds " in done.err
    assert (folder / name).read_text() == '{"mine": 1}'


def test_steps_that_do_not_need_each_other_run_together(image: Path, file: Path, mind: Server) -> None:
    both = threading.Barrier(2, timeout=60)

    def see(body: Body) -> str:
        both.wait()  # breaks where the second request waits for the first
        return "seen"

    with serve(see) as eyes:
        done = asked(image, file, "--role", f"eyes={eyes.url}", "--role", f"mind={mind.url}")
    assert (done.code, done.out) == (0, "four\n")


def test_a_role_asked_by_its_own_protocol_gives_its_answer(image: Path, file: Path, mind: Server) -> None:
    file.write_text(TEXT.replace('system="You see."', "own_protocol=True"))
    with serve([answer("97")]) as eyes:
        done = asked(image, file, "--role", f"eyes={eyes.url}", "--role", f"mind={mind.url}", "--json")
        assert "<tool_call>" in str(eyes.chats()[0]["messages"][0])
    replies = [*((chat, answer("97")) for chat in eyes.chats()), (mind.chats()[0], "four")]
    used = [count_usage(*each) for each in replies]
    assert done.json["tokens"] == {
        kind: sum(each[f"{kind}_tokens"] for each in used) for kind in ("prompt", "completion")
    }
    assert text_of(mind.chats()[0]) == "97 and 97: Sides?"


def test_a_dry_run_prints_what_each_role_would_be_sent(image: Path, file: Path) -> None:
    done = asked(image, file, "--role", "eyes=tiny", "--role", f"mind={dead_url()}", "--dry-run")
    assert done.code == 0
    assert "  prompt: Describe the picture.\n" in done.out
    assert "  system: You see.\n" in done.out
    assert "  prompt: {scene} and {count}: Sides?\n" in done.out
    file.write_text(TEXT.replace("return roles", "int(count)\n    return roles"))
    done = asked(image, file, "--role", "eyes=tiny", "--role", f"mind={dead_url()}", "--dry-run")
    assert (done.code, done.out.count("  prompt: ")) == (0, 2)
    assert f"# what follows depends on the replies ({file}:12: ValueError: " in done.out


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("roles.mouth.ask('x')", 1),
        ("problem.picture", 1),
        ("undefined()", 1),
        ("roles.mind.ask(prompt='x')", 1),
        ("roles.mind.sample(2, 'x')", 1),
        ("boxes(scene, 'thousandths')", 1),
        ("import no_such_module", 1),
        ("re.search('no', scene).group()", 0),
        ("re.search('no', scene)[0]", 0),
        ("json.loads(scene)", 0),
        ("scene.split()[9]", 0),
    ],
)
def test_a_dry_run_fails_where_the_function_is_wrong_whatever_the_replies_are(
    image: Path, file: Path, fault: str, code: int
) -> None:
    head = "import json, re\nfrom virc.solving.pipelines import boxes\n"
    file.write_text(head + TEXT.replace("return roles", f"{fault}\n    return roles"))
    done = asked(image, file, "--endpoint", dead_url(), "--dry-run")
    assert (done.code, done.out.count("  prompt: ")) == (code, 2)
    assert ("# what follows" in done.out) == (code == 0)
    assert (f"error: {file}:14: " in done.err) == (code == 1)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--role", "eyes=tiny"], 2, "role 'mind' has no model"),
        (["--role", "eye=tiny"], 2, "--role eye: there is no such role"),
        (["--role", "eyes"], 2, "--role eyes: it is NAME=URL or NAME=MODEL"),
        (["--role", "eyes=tiny", "--role", "eyes=tiny"], 2, "--role eyes is given twice"),
        (["--samples", "3"], 2, "--samples does not go with --pipeline"),
        (["--max-tokens", "9"], 2, "or in the pipeline's file use `Role(max_tokens=...)`"),
        (["--temperature", "1"], 2, "leave one out, or in the pipeline's file use `Role(temperature=...)`\n"),
        (["--strategy", "majority:n=3"], 2, "use code that does the same: `sample` with `vote`, or a loop"),
        (["--dry-run", "--json"], 2, "--dry-run prints what is sent as text"),
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
    frames = tmp_path / "frames.gif"
    Image.new("L", (112, 84)).save(frames, save_all=True, append_images=[Image.new("L", (112, 84), "white")])
    rows = [*problems(image, "a"), *problems(frames, "b")]
    source, out = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    words = [source, "--pipeline", file, "--to", out, "--role", f"eyes={eyes.url}", "--trace", tmp_path / "t"]
    done = virc("batch", *words, "--role", f"mind={mind.url}")
    assert (done.code, done.out) == (0, "")
    schema = json.loads(files("virc").joinpath("core", "schemas", "solve.json").read_text(encoding="utf-8"))
    for line in read(out):
        jsonschema.validate(line, schema)
        assert (line["answer"], len(line["steps"])) == ("four", 3)
        assert json.loads((tmp_path / "t" / line["id"] / "steps.json").read_text())["answer"] == "four"
    second = package.solve([frames, frames], "Sides?", endpoint=eyes.url, pipeline=file, page=2)
    assert [each["shown"] for each in second.fields["pictures"]] == [2, 2]
    warnings = {line["id"]: [each.partition(" has ")[2] for each in line["warnings"]] for line in read(out)}
    assert warnings == {"a": [], "b": ["2 frames, and the second is not looked at"]}  # a long path is cut


def test_a_role_that_is_killed_in_a_batch_loses_nothing(
    image: Path, file: Path, eyes: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "MAX_SECONDS", 0.2)
    monkeypatch.setattr(retry, "LOOK_SECONDS", 0.1)
    names = list("abcdef")
    source, out = write(tmp_path / "in.jsonl", problems(image, *names)), tmp_path / "out.jsonl"
    words = [source, "--pipeline", file, "--to", out, "--role", f"eyes={eyes.url}", "--concurrency", 1]

    def dies(body: Body) -> str:
        if len(mind.chats()) == 4:
            mind.die()
        return text_of(body).partition(": ")[2]

    with serve(dies) as mind:
        done = virc("batch", *words, "--role", f"mind={mind.url}")
    assert done.code == 6
    assert "role 'mind', step 'reply'" in done.err
    before = read(out)
    assert 3 <= len(before) < 6
    with serve(lambda body: text_of(body).partition(": ")[2]) as again:  # at another address
        assert virc("batch", *words, "--role", f"mind={again.url}").code == 0
        assert len(again.chats()) == 6 - len(before)
    assert {line["id"]: line["answer"] for line in read(out)} == {name: f"q {name}" for name in names}


def test_a_role_that_comes_back_is_waited_for(
    image: Path, file: Path, eyes: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = told_to_wait(monkeypatch)
    source, out = write(tmp_path / "in.jsonl", problems(image, *"abcdef")), tmp_path / "out.jsonl"
    words = [source, "--pipeline", file, "--to", out, "--role", f"eyes={eyes.url}"]
    with ExitStack() as stack:
        mind = stack.enter_context(serve(["four"]))

        def die_and_come_back() -> None:
            mind.wait_for(2)
            mind.die()
            waiting.wait(60)
            stack.enter_context(serve(["four"], port=mind.server_address[1]))

        killer = threading.Thread(target=die_and_come_back)
        killer.start()
        done = virc("batch", *words, "--role", f"mind={mind.url}")
        killer.join()
    assert done.code == 0
    assert "6 rows: 6 answered" in done.err


def test_a_changed_pipeline_does_not_go_on_with_answers_of_the_former(
    image: Path, file: Path, eyes: Server, mind: Server, tmp_path: Path
) -> None:
    source = write(tmp_path / "in.jsonl", problems(image, "a"))
    words = [source, "--pipeline", file, "--to", tmp_path / "out", "--endpoint", mind.url]
    assert virc("batch", *words, "--role", f"eyes={eyes.url}").code == 0
    file.write_text(TEXT.replace("You see.", "You look."))
    assert virc("batch", *words, "--role", f"eyes={eyes.url}").code == 3


def test_a_system_has_its_own_pipeline(image: Path, eyes: Server, tmp_path: Path) -> None:
    (tmp_path / "looking.py").write_text(TEXT.replace("roles.mind", "roles.eyes"))
    (own := tmp_path / "own.yaml").write_text("name: looking\npipeline: looking.py\n")
    assert virc("solve", image, "Sides?", "--pipeline", own, "--endpoint", eyes.url).out == "4\n"
    assert virc("systems", "check", own).code == 0
    (tmp_path / "looking.py").write_text("ROLES = {}\n")
    done = virc("systems", "check", own)
    assert done.code != 0
    assert "looking.py has no ROLES" in done.out + done.err


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("tiny", "tiny has no pipeline"), ("gone.py", "there is no file gone.py"), ("nothing", "there is no system")],
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
from virc.solving.pipelines import Interpreter, Role

ROLES = {"mind": Role()}


def solve(problem, roles):
    result = ""
    while not result.isdigit():
        code = roles.mind.ask(f"Write code. The last result: {result}")
        result = Interpreter().run(code, problem.images).strip()
    return result
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


def test_a_file_with_a_pipeline_is_checked(file: Path) -> None:
    done = virc("systems", "check", file)
    assert (done.code, done.err) == (0, f"{file}: no fault found in the pipeline\n")
    file.write_text("")
    done = virc("systems", "check", file)
    assert done.code == 3
    assert f"error: {file} has no ROLES" in done.err
