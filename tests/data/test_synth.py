"""`virc data synth`: a folder that is whole, reproducible, and readable by others."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from virc.core.errors import ConfigError
from virc.data.formats import registry as formats
from virc.data.rows.record import Record
from virc.data.synth.draw import SynthConfig, write
from virc_cli.main import main

pytestmark = pytest.mark.usefixtures("capfd")
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals")


def synth(to: Path, *options: str) -> int:
    return main(["data", "synth", "--to", str(to), "--count", "12", *options])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def records(file: Path) -> list[Record]:
    (source,) = formats.sources(file)
    rows = list(formats.get(source.format).read(source))
    assert not [row.fault or row.flaws for row in rows if row.fault or row.flaws]
    return [row.record for row in rows if row.record]


@pytest.mark.integration
def test_the_same_seed_makes_the_same_folder_byte_for_byte_with_any_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("virc.data.synth.draw._CHUNK", 3)
    for name, workers in (("a", 1), ("b", 2), ("c", 3)):
        write(SynthConfig(tmp_path / name, count=30, workers=workers))
    first = contents(tmp_path / "a")
    assert len(first) > 30
    assert first == contents(tmp_path / "b") == contents(tmp_path / "c")
    assert synth(tmp_path / "d", "--seed", "1") == 0
    theirs = contents(tmp_path / "d")["problems.jsonl"].splitlines()
    assert not {line[10:] for line in theirs} & {line[10:] for line in first["problems.jsonl"].splitlines()}


def test_fewer_problems_are_the_first_of_more(tmp_path: Path) -> None:
    assert synth(tmp_path / "more", "--count", "4") == 0
    assert synth(tmp_path / "few", "--count", "2") == 0
    few, more = contents(tmp_path / "few"), contents(tmp_path / "more")
    assert few["problems.jsonl"] == b"".join(more["problems.jsonl"].splitlines(keepends=True)[:2])
    images = {name for name in few if name.endswith(".png")}
    assert len(images) > 2
    assert all(few[name] == more[name] for name in images)


def test_the_formats_of_all_stages_tell_of_the_same_problems(tmp_path: Path) -> None:
    assert synth(tmp_path / "a", "--formats", "sft,rl,prompts,batch,trajectories", "--count", "3") == 0
    solved = records(tmp_path / "a/trajectories.json")
    assert records(tmp_path / "a/lines.jsonl") == solved
    problems, prompts = records(tmp_path / "a/problems.jsonl"), records(tmp_path / "a/prompts.parquet")
    for known in (problems, prompts):
        assert [(row.id, row.question, row.answer) for row in known] == [
            (row.id, row.question, row.answer) for row in solved
        ]
    assert [row.messages for row in prompts] == [row.messages[:2] for row in solved]
    units = records(tmp_path / "a/rl.parquet")
    assert [(row.id, row.messages, row.answer) for row in units] == [
        (row.id, row.messages[:end], row.answer) for row in solved for end in range(3, len(row.messages) + 1, 2)
    ]
    ours = (tmp_path / "a").resolve()
    assert all(image.path().is_relative_to(ours) and image.read() for row in units for image in row.images)


def test_embedded_images_are_those_of_the_files_and_need_none(tmp_path: Path) -> None:
    assert synth(tmp_path / "a", "--formats", "rl,prompts", "--embed", "--count", "3") == 0
    assert sorted(contents(tmp_path / "a")) == ["prompts.parquet", "rl.parquet", "virc_protocol.json"]
    assert synth(tmp_path / "b", "--formats", "sft,rl", "--embed", "--count", "3") == 0
    files = {file for name, file in contents(tmp_path / "b").items() if name.endswith(".png")}
    for folder in ("a", "b"):
        held = {image.data for record in records(tmp_path / folder / "rl.parquet") for image in record.images}
        assert held == files


def test_problems_name_pictures_that_open_and_boxes_inside_them(tmp_path: Path) -> None:
    assert synth(tmp_path / "a", "--split", "heldout") == 0
    rows = [json.loads(line) for line in (tmp_path / "a/problems.jsonl").read_text().splitlines()]
    assert len({row["id"] for row in rows}) == 12
    for row in rows:
        with Image.open(tmp_path / "a" / row["image"]) as image:
            width, height = image.size
        crops = [corner["crop"] for corner in row["corners"]]
        assert crops == sorted(crops)  # as a reader meets them
        for corner in row["corners"]:
            for box in (corner["letter_box"], corner["value_box"], corner["crop"]):
                assert 0 <= box[0] < box[2] <= width
                assert 0 <= box[1] < box[3] <= height


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [(["--sides", "5"], 2, "5 sides"), (["--formats", "sft,parket"], 2, "no format parket")],
)
def test_bad_options_are_said_and_leave_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], options: list[str], code: int, said: str
) -> None:
    assert synth(tmp_path / "a", *options) == code
    assert said in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/mine.txt").write_text("keep")
    assert synth(tmp_path / "a") == 2
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["mine.txt"]


def test_of_two_runs_into_one_folder_the_second_is_refused(tmp_path: Path) -> None:
    refused: list[str] = []

    def other(what: str, done: int) -> None:
        with pytest.raises(ConfigError, match="another run") as raised:
            write(SynthConfig(tmp_path / "a", count=4, seed=9))
        refused.append(raised.value.message)

    write(SynthConfig(tmp_path / "a", count=2), other)
    assert refused
    assert [record.id for record in records(tmp_path / "a/problems.jsonl")] == ["train-0-000000", "train-0-000001"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def started(to: Path, count: int) -> "subprocess.Popen[str]":
    """The real command with workers, as it runs in a terminal."""
    words = ["data", "synth", "--to", str(to), "--count", str(count), "--workers", "2", "--formats", "batch,sft,rl"]
    program = "import sys; from virc_cli.main import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", program, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def reached(to: Path, files: int, process: "subprocess.Popen[str]") -> None:
    """Wait until so many images are drawn; what a run before left may be cleared meanwhile, which os.walk allows."""
    while sum(name.endswith(".png") for _, _, names in os.walk(to.parent) for name in names) < files:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


@POSIX
@pytest.mark.integration
def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    with started(tmp_path / "a", 10**6) as process:
        reached(tmp_path / "a", 50, process)
        os.killpg(process.pid, signal.SIGINT)
        out, said = process.communicate(timeout=240)
    assert (process.returncode, out) == (130, "")
    assert [line for line in said.splitlines() if not line.endswith("drawn")] == ["error: interrupted"]
    assert not list(tmp_path.iterdir())


@POSIX
@pytest.mark.integration
@pytest.mark.parametrize("moments", [2, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_a_rerun_completes_what_a_killed_run_left(tmp_path: Path, moments: int) -> None:
    rng = random.Random(0)
    for _ in range(moments):
        with started(tmp_path / "a", 10**6) as process:
            reached(tmp_path / "a", rng.randrange(1, 2000 if moments > 2 else 300), process)
            process.kill()
            process.communicate(timeout=240)  # ends when the workers have ended
        assert not (tmp_path / "a").exists()
    with started(tmp_path / "a", 120) as process:
        process.communicate(timeout=240)
    assert process.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    write(SynthConfig(tmp_path / "b", count=120))
    left, right = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert left.pop("rl.parquet")
    assert left == right


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_times_the_problems_need_no_more_memory(tmp_path: Path) -> None:
    """Of text; parquet gathers groups of rows, whatever their number, and has its own test."""
    program = (
        "import sys; from virc_cli.main import main; code = main();"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]); sys.exit(code)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    peaks = []
    for count in (300, 3000):
        options = ["--to", str(tmp_path / str(count)), "--count", str(count), "--formats", "batch,sft"]
        words = [sys.executable, "-c", program, "data", "synth", *options]
        done = subprocess.run(words, capture_output=True, text=True, check=True, env=env)
        peaks.append(int(done.stdout.split()[-1]))
    assert peaks[1] - peaks[0] < 10 * 2**10, peaks  # KiB; 2,700 records with their images are over 30 MiB
