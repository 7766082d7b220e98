"""Rows of any kind, killed processes, a great many rows: `virc data check` says what is wrong, or nothing is left."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from checking import FILE, good_set, whole, write
from deadly import Deadly
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from virc.data.check.result import Rules
from virc.data.check.run import CheckConfig, check_rows, check_rows_of
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.record import Message, Picture, Record

pytestmark = pytest.mark.integration

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["<image>", "user", "assistant", "<think>", "</think><answer>", "Image 0: 99999999999 x 1."]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["messages", "images", "role", "content", "id", "x"]), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool"]) | JSON, "content": st.text() | JSON}
)
CONVERSATION = st.fixed_dictionaries(
    {"messages": st.lists(MESSAGE | JSON, max_size=5) | JSON, "images": JSON},
    optional={"id": JSON, "answer": JSON, "choices": JSON, "question": JSON},
)
PROBLEM = st.fixed_dictionaries(
    {"id": JSON, "question": JSON},
    optional={"image": st.just("0.png") | JSON, "images": JSON, "answer": JSON, "choices": JSON},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = good_set(tmp_path_factory.mktemp("hostile") / "a")
    Image.new("RGB", (60, 60), "white").save(folder / "0.png")
    return folder


def looked_through(folder: Path, name: str, row: object) -> None:
    """Check a file of one row, beside one that is good."""
    good = json.loads(whole().dynamic.read_text())[0]
    problem = {"id": "good", "image": "0.png", "question": "q", "answer": "a"}
    if name == FILE:
        write(folder / name, [good, row])
    else:
        (folder / name).write_text(json.dumps(problem) + "\n" + json.dumps(row) + "\n")
    report = check_rows_of(CheckConfig([folder / name]))
    of_rows = {kind: count for kind, count in report.faults.items() if kind != "chat_protocol"}
    assert (report.rows, report.good) in ((2, 1 + (not of_rows)), (3, 1))
    json.dumps(msgspec.to_builtins(report), allow_nan=False)


def settled(cases: int) -> settings:
    return settings(
        max_examples=cases, deadline=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip


def any_row(cases: int, folder: Path) -> None:
    @settled(cases)
    @given(st.one_of(CONVERSATION.map(lambda row: (FILE, row)), PROBLEM.map(lambda row: ("x.jsonl", row))))
    def run(case: tuple[str, Any]) -> None:
        looked_through(folder, *case)

    run()


def mutated_row(cases: int, folder: Path) -> None:
    rows = json.loads(whole().dynamic.read_text())

    @settled(cases)
    @given(st.data())
    def run(data: st.DataObject) -> None:
        row = json.loads(json.dumps(data.draw(st.sampled_from(rows))))
        mutate(data, row)
        looked_through(folder, FILE, row)

    run()


def mutate(data: st.DataObject, value: Any) -> None:
    """Change one place somewhere in a value: text is cut and joined with other text, the rest replaced or dropped."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = data.draw(st.sampled_from(keys))
    inner = value[key]
    if isinstance(inner, dict | list) and inner and data.draw(st.integers(0, 9)):
        mutate(data, inner)
    elif isinstance(inner, str) and data.draw(st.integers(0, 3)):
        start, end = sorted((data.draw(st.integers(0, len(inner))), data.draw(st.integers(0, len(inner)))))
        value[key] = inner[:start] + data.draw(st.text(max_size=6) | st.just("<image>")) + inner[end:]
    elif data.draw(st.booleans()):
        value[key] = data.draw(JSON)
    else:
        del value[key]


def test_rows_of_any_shape_are_looked_through(folder: Path) -> None:
    any_row(200, folder)


def test_good_rows_with_anything_changed_are_looked_through(folder: Path) -> None:
    mutated_row(200, folder)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_row_that_ends_its_process_is_a_fault_and_costs_no_other() -> None:
    def row(number: int) -> ParsedRow:
        picture = Deadly("x.png") if number in (3, 14) else Picture("none.png")
        return ParsedRow(number, Record((Message("user", "<image>"),), (picture,), id=number))

    found = list(check_rows(map(row, range(1, 21)), Rules(holds="prompts"), 2))
    assert [row.number for row, _ in found] == list(range(1, 21))
    crashed = [row.number for row, verdict in found if verdict.faults[0].kind == "crash"]
    assert crashed == [3, 14]
    assert {verdict.faults[0].kind for _, verdict in found} == {"crash", "no_question"}


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def many_rows(folder: Path, turns: int = 100) -> Path:
    """A good set that takes a while."""
    good_set(folder)
    rows = json.loads((folder / FILE).read_text())
    write(folder / FILE, [row | {"id": f"{turn} {at}"} for turn in range(turns) for at, row in enumerate(rows)])
    return folder


def started(source: Path, clean: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "virc_cli", "data", "check", source, "--clean", clean, "--workers", "2"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment()
    )
    while process.poll() is None and not list(clean.parent.glob(".*.partial")):
        time.sleep(0.005)
    return process


def ended(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """What it said; its output is at its end only when no worker holds it any more."""
    return process.communicate(timeout=240)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_run_leaves_nothing_half_and_the_next_completes(tmp_path: Path) -> None:
    source, clean = many_rows(tmp_path / "a"), tmp_path / "clean"
    killed = kills(source, clean, 5)
    assert killed
    process = started(source, clean)
    out, _ = ended(process)
    assert process.returncode == 0
    assert out.splitlines()[-1] == "700 rows, 700 good"
    assert len(json.loads((clean / FILE).read_text())) == 700
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def kills(source: Path, clean: Path, count: int) -> int:
    """How many of so many runs were killed before their end; the folder is whole or not there after each."""
    rng, killed = random.Random(1), 0
    for _ in range(count):
        process = started(source, clean)
        time.sleep(rng.uniform(0, 0.6))
        process.kill()
        ended(process)
        if clean.exists():
            assert len(json.loads((clean / FILE).read_text())) == 700
            clean.rename(clean.with_name(f"done-{killed}-{time.monotonic_ns()}"))
        else:
            killed += 1
    return killed


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_all_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    source, clean = many_rows(tmp_path / "a", turns=10_000), tmp_path / "clean"
    process = started(source, clean)
    os.killpg(process.pid, signal.SIGINT)
    _, said = ended(process)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
