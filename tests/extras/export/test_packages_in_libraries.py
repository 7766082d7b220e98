"""What exported packages ask and reward in the libraries that run them, for recorded rollouts of each system.

Each library is installed beside virc in an environment of its own, and a scripted server says the recorded replies.
"""

import io
import json
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cli.test_packaging import PYTHONS, uv
from exported import EXPORTED, Chat, Recorded, Scripted, rollouts_of, tried
from PIL import Image
from support.called import virc
from support.conversations import gradient
from support.entry import ROOT
from support.servers import Body, image_bytes, serve

from virc.core.errors import VircError
from virc.data.rows.record import Picture, Record
from virc.models.chat_protocol import of_system, read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.images import open_file
from virc.reasoning.protocol import FILE_NAME
from virc.rewards.rollouts import grouped
from virc.solving.one import SolveConfig, solve
from virc.systems import registry as systems
from virc.systems.registry import System
from virc_extras.export.environment import Environment, of_package
from virc_extras.export.package import NEEDS, TARGETS, Target, refusals

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DRIVERS = Path(__file__).parent / "drivers"
ROLLOUTS = 4  # of each system
TORCH = f"torch==={version('torch').partition('+')[0]}"  # that of the index, as torchvision's there is built for it
AND_OF: Mapping[str, Sequence[str]] = {"inspect": ("openai",), "trl": (TORCH, "torchvision")}
"""What the README of a package installs beside it."""
PYTHON_OF: Mapping[str, str] = {"nemo-gym": ">=3.13.14,<3.14"}
"""The Python that a library needs; its tests are skipped where uv finds none."""
ASKED = re.compile(r"\[([a-z0-9_]+)/(\d)\]")
"""What the question of a row ends in: its module and its number."""
PERCENT = ("nemo-gym", "perception-r1", 1)
"""A rollout whose boxed percent math-verify does not read beside antlr4 4.9, which hydra asks for."""
OWN = {
    "ferry.yaml": """name: ferry
about: reads the time tables of piers; written from docs/systems.md, in no list
coordinates: permille
tools: [crop_image]
chat_protocol:
  system: |-
    You read what hangs on piers. To come closer, write
    <tool_call>{"name": "closer", "arguments": {"bbox_2d": [left, top, right, bottom], "note": "why"}}</tool_call>
    in thousandths of the sides of the picture.
  first: |-
    {question}
    Write <think>...</think>, then one call or the <answer>...</answer>.
  image_line: ""
  after_image: Picture {index} has {width} x {height} pixels. Go on.
  errors: show
  after_error: "That was not possible: {error}. Go on."
  grammar:
    calls:
      - open: <tool_call>
        close: </tool_call>
        names: {closer: crop_image}
        keys: {note: null}
        given: {image_index: 0}
reward: {total: ./ferry.py}
stages:
  rl:
    kind: rl
    settings: {base: Qwen/Qwen2.5-VL-7B-Instruct, data: ferry.parquet, rollout: multi_turn, max_turns: 3}
""",
    "ferry.py": """TERMS = ("format", "answer", "short")


def short(sample, means):
    return 1 / (1 + len(sample.turn.think)) if sample.turn else None


def total(t):
    return -1.0 if not t.format else t.answer if t.turn == "answer" else t.short
""",
}
"""A system of a user, and a case of each way that its rollouts end."""
CLOSER = (
    '<think>Too small.</think>\n<tool_call>{"name": "closer", "arguments": {"bbox_2d": %s, "note": "n"}}</tool_call>'
)
ANSWERED = "<think>I see.</think>\n<answer>%s</answer>"
SAID_OF_OWN = (
    [CLOSER % [100, 200, 600, 700], ANSWERED % "7:40"],
    [ANSWERED % "8:10"],
    [CLOSER % [700, 200, 600, 700], CLOSER % [0, 0, 500, 500], "7:40"],
    [CLOSER % [0, 0, 999, 500]] * 3,
)
REFERRING = ("tiny", "virc")
"""Systems whose rewards look at the row's own solution, which a problem has not."""


class Rollout(msgspec.Struct):
    """What a package did with a row: what it asked, and what it rewarded."""

    chats: Sequence[Chat]
    terms: Mapping[str, float]
    reward: float | None
    errors: Sequence[str]


def system_of(name: str, folder: Path) -> System:
    """A system by its name; that of a user is written into the folder."""
    if name != "ferry":
        return systems.get(name)
    for file, text in OWN.items():
        (folder / file).write_text(text)
    return systems.get(str(folder / "ferry.yaml"))


def rollouts(name: str, folder: Path) -> list[Recorded]:
    """Those of a system, by its name."""
    if name == "ferry":
        gradient(640, 420).save(folder / "pier.png")
        problem = Record((), (Picture("pier.png", folder),), name, "When does the last boat leave?", answer="7:40")
        return [Recorded(system_of(name, folder), problem, replies) for replies in SAID_OF_OWN]
    with pytest.MonkeyPatch.context() as patch:
        return rollouts_of(name, folder, patch, ROLLOUTS)


def module_of(name: str, target: str) -> str:
    """The module of a package."""
    return re.sub(r"[^a-z0-9]+", "_", f"virc_{name}_{target}")


def row_of(module: str, at: int, rollout: Recorded) -> dict[str, Any]:
    """The row of a rollout, whose question says which it is."""
    rollout.problem = msgspec.structs.replace(
        rollout.problem, question=f"{rollout.problem.question} [{module}/{at}]", id=f"{module}-{at}"
    )
    problem = rollout.problem
    answer = {} if problem.answer is None else {"answer": problem.answer}
    names = [picture.name for picture in problem.images]
    return problem.extra | {"id": problem.id, "images": names, "question": problem.question, **answer}


class Exported(msgspec.Struct):
    """The packages of a target, the rollouts of each, and what an environment with the library made of them."""

    target: Target
    folder: Path
    rollouts: dict[str, list[Recorded]]
    found: dict[tuple[str, int], Rollout]

    def environment(self, module: str) -> Environment:
        """The environment of a package, in this process."""
        return of_package(str(self.folder / "packages" / module / "__init__.py"), self.target == "inspect")


@pytest.fixture(scope="module")
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    """The packages of all systems that a target can have, after the library has run them."""
    target, folder = request.param, tmp_path_factory.mktemp(request.param)
    if wanted := PYTHON_OF.get(target):
        find = [sys.executable, "-m", "uv", "python", "find", "--no-python-downloads", wanted]
        search = subprocess.run(find, capture_output=True)
        if search.returncode:
            pytest.skip(f"{target} needs Python {wanted}")
    pages = folder / "pages"
    pages.mkdir()
    (folder / "packages").mkdir()
    replies: dict[tuple[str, int], Sequence[str]] = {}
    known: dict[str, list[Recorded]] = {}
    said: Counter[tuple[str, int]] = Counter()

    def next_reply(body: Body) -> str:
        key = key_of(body)
        said[key] += 1
        return replies[key][said[key] - 1] if said[key] <= len(replies[key]) else "Nothing further."

    with serve(next_reply) as server, serve(lambda _: "Judgement: 1") as judge:
        for name in (*EXPORTED, "ferry"):
            if refusals(system_of(name, folder))[target]:
                continue
            module, at = written(name, target, folder, judge.url)
            known[module] = at
            replies |= {(module, number): each.replies for number, each in enumerate(at)}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("VIRC_PAGES", str(pages))
            patch.setenv("VIRC_CACHE", str(folder / "cache"))
            patch.setenv("TEACHER_ENDPOINT", judge.url)
            if target == "trl":  # which draws replies itself
                assert virc("data", "synth", "--to", folder / "drawn", "--count", "4").code == 0
                (folder / "replies.json").write_text(json.dumps([[*key, texts] for key, texts in replies.items()]))
            run(target, folder, "replies.json" if target == "trl" else server.url, list(known))
            chats: dict[tuple[str, int], list[Chat]] = {key: [] for key in replies}
            for body in server.chats():
                chats[key_of(body)].append(parts_of(body["messages"]))
            done = json.loads((folder / "found.json").read_bytes())
            for each in done:
                each.setdefault("chats", chats[each["module"], each["row"]])
            found = {(each["module"], each["row"]): msgspec.convert(each, Rollout) for each in done}
            yield Exported(target, folder, known, found)


def written(name: str, target: Target, folder: Path, judge: str) -> tuple[str, list[Recorded]]:
    """Export a system with the rows of its rollouts; the module of the package, and the rollouts."""
    rows = folder / name
    rows.mkdir()
    found = rollouts(name, rows)
    for page in (rows / "pages").glob("*"):
        page.rename(folder / "pages" / page.name)
    module = module_of(name, target)
    lines = [json.dumps(row_of(module, at, each)) + "\n" for at, each in enumerate(found)]
    (rows / "rows.jsonl").write_text("".join(lines))
    system = found[0].system
    asks = name in EXPORTED and any(each.kind == "rl" for each in system.stages.values())
    judged = ("--set", f"reward.judge.endpoint={judge}") if asks else ()
    turns = ("--with", "multi-turn") if name == "tiny" else ()
    named = name if name in EXPORTED else system.file
    done = virc("export", named, rows / "package", "--to", target, "--data", rows / "rows.jsonl", *judged, *turns)
    assert done.code == 0, done.err
    (rows / "package" / module).rename(folder / "packages" / module)
    return module, found


def key_of(body: Body) -> tuple[str, int]:
    """The module and the row of a request."""
    found = ASKED.search(json.dumps(body["messages"]))
    assert found, body
    return found[1], int(found[2])


def run(target: Target, folder: Path, url: str, modules: Sequence[str]) -> None:
    """Have the library run the packages in an environment of its own, beside virc of this checkout."""
    venv = folder / "venv"
    uv("venv", "--python", PYTHON_OF.get(target, sys.executable), venv, folder=folder)
    wanted = (f"virc[eval,search] @ {ROOT.as_uri()}", NEEDS[target], *AND_OF.get(target, ()))
    uv("pip", "install", "--python", venv, *wanted, folder=folder)
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COV_"))}
    env |= {"PYTHONPATH": str(folder / "packages"), "NO_KEY": "none", "VIRC_API_KEY": "none", "HOME": str(folder)}
    driver = [venv / "bin" / "python", DRIVERS / f"run_{target}.py", url, str(ROLLOUTS), *modules]
    done = subprocess.run(driver, cwd=folder, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]


def parts_of(messages: Sequence[Mapping[str, Any]], pixels: bool = False) -> Chat:
    """Messages as lists of texts, and of digests of the bytes of images, or of their pixels."""
    return [{"role": each["role"], "content": [*contents_of(each["content"], pixels)]} for each in messages]


def contents_of(content: str | Sequence[Mapping[str, Any]], pixels: bool) -> Iterator[str]:
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    for kind, group in groupby(parts, key=lambda part: part["type"]):
        if kind == "text":
            yield "".join(part["text"] for part in group)
        else:
            for part in group:
                data = image_bytes(part)
                shown = Image.open(io.BytesIO(data)).convert("RGB").tobytes() if pixels else data
                yield sha256(shown).hexdigest()


def expected(rollout: Recorded, environment: Environment, folder: Path, target: Target) -> Rollout:
    """What `virc solve` asks a model that says the replies, and `virc rewards try` says of its solution.

    Where a target compares the rollouts of a problem, the reward is that of a group of this one.
    """
    replies = [*rollout.replies, *["Nothing further."] * 20]
    backend = Scripted(replies, environment.settings.grid)
    images = [open_file(each.read(), each.name) for each in rollout.problem.images]
    config = SolveConfig(tries=1, tolerate=environment.tolerate, max_turns=environment.max_turns)
    trained = rollout.system.name == "tiny"
    protocol = read_protocol(EMBEDDED_FOLDER / FILE_NAME) if trained else of_system(rollout.system)
    (attempt,) = solve(config, backend, protocol, images, rollout.problem.question or "").attempts
    found = Rollout([parts_of(chat, target == "trl") for chat in backend.chats], {}, None, [])
    if not environment.reward or not environment.reward.total:
        return found
    try:
        if attempt.trace.answer is None or not attempt.images or rollout.system.name in REFERRING:
            taken = environment.begin(rollout.problem, replies).replies
            scored: Any = environment.score_now(rollout.problem, taken)
            last = scored.last
        else:
            of_solution = tried(rollout, attempt, folder, environment)
            scored, last = of_solution.scored, of_solution.last
        found.terms = {name: value for name, value in scored.terms.items() if value is not None}
        found.reward = scored.total
        if target in ("verifiers", "trl") and scored.total is not None:
            (found.reward,) = grouped(environment.total, [scored.total], [last])
    except VircError as error:
        found.errors = [error.message]
    return found


@pytest.mark.parametrize("exported", TARGETS, indirect=True)
@pytest.mark.parametrize("name", [*EXPORTED, "ferry"])
def test_a_library_asks_and_rewards_as_solve_and_rewards_try(exported: Exported, name: str, tmp_path: Path) -> None:
    module = module_of(name, exported.target)
    if module not in exported.rollouts:
        assert refusals(systems.get(name))[exported.target]  # ferry can be had by all
        return
    environment = exported.environment(module)
    for at, rollout in enumerate(exported.rollouts[module]):
        own, theirs = expected(rollout, environment, tmp_path, exported.target), exported.found[module, at]
        assert theirs.chats == own.chats, at
        if (exported.target, name, at) == PERCENT:
            assert (theirs.terms["right"], own.terms["right"]) == (0, 1)
            continue
        if own.reward is None and (own.errors or environment.reward):
            assert theirs.errors, (at, own)
        else:
            assert (theirs.reward, theirs.terms) == (pytest.approx(own.reward), theirs.terms | own.terms), (at, theirs)


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("target", TARGETS)
def test_what_a_package_needs_resolves_together(target: Target, python: str, tmp_path: Path) -> None:
    assert virc("export", "deepeyes", tmp_path / "package", "--to", target).code == 0
    project = tomllib.loads((tmp_path / "package" / "pyproject.toml").read_text())["project"]
    if target in PYTHON_OF:
        assert project["requires-python"] == PYTHON_OF[target]
        python = "3.13.14"
    virc_wanted, *others = project["dependencies"]
    here = f"{virc_wanted.partition('~')[0]} @ {ROOT.as_uri()}"
    (tmp_path / "wanted.in").write_text("\n".join([here, *others]))
    assert "virc @" in uv("pip", "compile", "wanted.in", "--python-version", python, "--quiet", folder=tmp_path)


@pytest.mark.parametrize("exported", TARGETS, indirect=True)
def test_a_package_without_replies_or_rows_says_so(exported: Exported) -> None:
    sentences = {"verifiers": "{} ", "openenv": "none.json holds no problem"}  # no reward of a rollout without replies
    if sentence := sentences.get(exported.target):
        lacking = json.loads((exported.folder / "lacking.json").read_bytes())
        assert lacking
        assert all(sentence in each for each in lacking)


@pytest.mark.parametrize("exported", TARGETS, indirect=True)
def test_pictures_of_tools_reach_the_training_forward_of_trl(exported: Exported) -> None:
    if exported.target != "trl":  # the one that trains
        return
    trained = json.loads((exported.folder / "trained.json").read_bytes())
    assert trained["checked"]
    assert len(trained["rewards"]) == 2
    assert sum(trained["shown"]) == sum(images for images, _ in trained["seen"])
    assert any(images > 4 for images, _ in trained["seen"])  # each of 4 rollouts has one before a tool is called
    assert all(spread > 0 for _, spread in trained["seen"])
