"""`virc solve --pipeline` by its real entry point, on two scripted endpoints."""

import json
import sys
from collections.abc import Iterator
from html import unescape
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from PIL import Image
from solving.batches import problems, read, write
from support.called import Done, virc
from support.faults import status
from support.servers import Body, Server, dead_url, serve

import virc as package
from virc.core.errors import UsageError
from virc.solving import batch as retry
from virc_extras.sandbox import pool

TEXT = """
from virc_extras.pipelines import Problem, Role, Roles, together

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


def test_the_file_names_an_endpoint_which_gets_no_key(
    image: Path, file: Path, eyes: Server, mind: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRC_API_KEY", "secret-key")
    file.write_text(TEXT.replace('"mind": Role()', f'"mind": Role(endpoint="{mind.url}")'))
    assert asked(image, file, "--role", f"eyes={eyes.url}").code == 0
    assert "secret-key" in str(eyes.requests[-1].headers)
    assert "secret-key" not in str([request.headers for request in mind.requests])


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


def test_a_changed_pipeline_does_not_go_on_with_answers_of_the_former(
    image: Path, file: Path, eyes: Server, mind: Server, tmp_path: Path
) -> None:
    source = write(tmp_path / "in.jsonl", problems(image, "a"))
    words = [source, "--pipeline", file, "--to", tmp_path / "out", "--endpoint", mind.url]
    assert virc("batch", *words, "--role", f"eyes={eyes.url}").code == 0
    file.write_text(TEXT.replace("You see.", "You look."))
    assert virc("batch", *words, "--role", f"eyes={eyes.url}").code == 3


@pytest.mark.integration
def test_code_that_a_role_wrote_runs_in_the_sandbox_until_it_works(image: Path, file: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("code is isolated on Linux alone")
    file.write_text("""
from virc_extras.pipelines import Interpreter, Role

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


def test_a_trace_folder_that_cannot_be_written_is_refused_before_any_role(image: Path, file: Path) -> None:
    with serve([]) as server:
        done = asked(image, file, "--endpoint", server.url, "--trace", "/proc/no/out")
        assert not server.chats()
    assert (done.code in (1, 2), "/proc/no/out" in done.err) == (True, True), done.err


@pytest.mark.parametrize("refused", [{"temperature": 0.5}, {"max_tokens": 9}, {"samples": 2}, {"strategy": "majority"}])
def test_settings_of_one_model_do_not_go_with_a_pipeline_from_python(image: Path, refused: dict[str, Any]) -> None:
    name = next(iter(refused)).replace("_", "-")
    with pytest.raises(UsageError, match=f"--{name} does not go with --pipeline"):
        package.solve(image, "What is x?", endpoint="http://localhost:9", pipeline="gone.py", **refused)
