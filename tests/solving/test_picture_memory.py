"""What pictures cost the commands and functions that open the user's own: batches, pipelines, Python, data checks."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from batches import echo, problems, read
from PIL import Image
from support.called import virc as command
from support.costly_pictures import COSTLY, encoded, held_now
from support.servers import serve
from support.solving import answer

import virc
from virc.core.errors import DataError
from virc.core.limits.image_memory import IMAGE_MEMORY, SETTING, BusyError, ImageMemory, limit, of_client
from virc.data.check.images import decoded
from virc.data.rows.record import Picture
from virc.reasoning.opening import pictures as opening
from virc.solving.pipelines import steps

PIPELINE = """
from virc.solving.pipelines import Role

ROLES = {"eyes": Role(system="You see.")}


def solve(problem, roles):
    return roles.eyes.ask(problem.images, problem.question)
"""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A picture that a limit of 1 MiB does not let in."""
    path = tmp_path / "large.png"
    path.write_bytes(encoded("PNG", (500, 500)))
    return path


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """All memory came back; other tests of this process may still hold some."""
    before = held_now()
    yield
    assert IMAGE_MEMORY.held <= before


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes that were held whenever a picture was decoded."""
    found: list[int] = []
    decoded = opening.decoded

    def watched(*words: Any) -> Any:
        found.append(IMAGE_MEMORY.held)
        return decoded(*words)

    monkeypatch.setattr(opening, "decoded", watched)
    return found


def test_rows_in_work_at_the_same_time_stay_within_the_limit(
    batch: Callable[..., Any], tmp_path: Path, held: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SETTING, "1")
    (tmp_path / "a.png").write_bytes(encoded("PNG", (250, 250)))
    rows = problems(tmp_path / "a.png", *range(12))
    with serve(echo) as server:
        assert batch(rows, server, "--concurrency", 12).code == 0
    assert len(held) == 12
    assert max(held) <= limit()


def test_a_row_whose_picture_never_fits_costs_that_row_alone(
    batch: Callable[..., Any], image: Path, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SETTING, "1")
    with serve(echo) as server:
        batch([*problems(large, "large"), *problems(image, "small")], server)
    errors = {line["id"]: line["error"] for line in read(tmp_path / "out")}
    assert errors["small"] is None
    assert errors["large"]["code"] == 5
    assert "large.png has 500 x 500 px, which take 3 MiB" in errors["large"]["message"]
    assert errors["large"]["hint"] == f"make it smaller, or export {SETTING}=3"


def test_a_pipeline_holds_all_pictures_of_a_row_in_one_step(
    tmp_path: Path, image: Path, held: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SETTING, "1")
    (tmp_path / "a.png").write_bytes(encoded("PNG", (230, 230)))
    (tmp_path / "see.py").write_text(PIPELINE)
    rows = [{"id": number, "images": ["a.png", "a.png"], "question": "q"} for number in range(6)]
    rows.append({"id": 6, "images": ["a.png"] * 5, "question": "q"})
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("--pipeline", tmp_path / "see.py", "--concurrency", 6, "--to", tmp_path / "out")
    with serve(lambda _: "four") as server:
        command("batch", tmp_path / "in.jsonl", *words, "--endpoint", server.url)
    errors = {line["id"]: line["error"] for line in read(tmp_path / "out")}
    assert [errors[number] for number in range(6)] == [None] * 6
    assert "the 5 pictures have 264,500 px together" in errors[6]["message"]
    assert len(held) == 12
    assert max(held) <= limit()


def test_steps_of_a_pipeline_do_not_wait_for_the_memory_that_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "1")

    def open_more() -> Any:
        with opening.opened_all([(encoded("PNG", (280, 280)), "it")], of_client()) as more:
            return more

    with opening.opened_all([(encoded("PNG", (350, 350)), "it")]), pytest.raises(BusyError):
        steps.started(open_more).result(20)


def test_threads_of_a_notebook_share_the_limit(
    tmp_path: Path, large: Path, held: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SETTING, "1")
    (tmp_path / "a.png").write_bytes(encoded("PNG", (250, 250)))
    given: Sequence[Any] = [tmp_path / "a.png", (tmp_path / "a.png").read_bytes(), Image.new("RGB", (250, 250))] * 2
    with serve(lambda _: answer("4")) as server, ThreadPoolExecutor(6) as threads:
        solved = [threads.submit(virc.solve, each, "q", endpoint=server.url) for each in given]
        assert [each.result().answer for each in solved] == ["4"] * 6
        with pytest.raises(DataError, match="500 x 500 px, which take"):
            virc.solve(large, "q", endpoint=server.url)
        assert max(held) <= limit()


def test_a_large_file_of_the_users_own_is_opened_alone(
    tmp_path: Path, held: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SETTING, raising=False)
    monkeypatch.setattr("virc.core.limits.image_memory._DEFAULT", 1)
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(encoded("PNG", (500, 500)))
    threads = [
        threading.Thread(target=opening.open_image, args=(tmp_path / f"{number}.png", "it")) for number in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(held) == 3
    assert max(held) == held[0] > limit()  # never two of them


def test_memory_comes_back_when_the_model_cannot_be_asked(large: Path) -> None:
    with pytest.raises(virc.VircError):
        virc.solve(large, "q", "no-such-model")


def test_a_check_of_rows_opens_pictures_within_the_limit(held: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "1")
    fits = decoded(Picture("a.png", data=encoded("PNG", (250, 250))))
    assert (fits.size, fits.fault) == ((250, 250), None)
    for data in (encoded("PNG", (500, 500)), COSTLY["webp that fits"](), COSTLY["ppm"]()):
        fault = decoded(Picture("b.png", data=data)).fault
        assert fault
        assert fault.kind == "image_broken"
        assert "of memory to decode; at most 1 MiB are used" in fault.message
    assert len(held) == 1


@pytest.mark.integration
def test_processes_of_a_check_share_the_limit(tmp_path: Path) -> None:
    """Each worker has a part of the limit, and a lock that all have for what needs more."""
    from virc.core.parallel import in_order

    found = list(in_order(shared, [None] * 4, 2))
    assert set(found) == {(2, True)}


def shared(_: None) -> tuple[int, bool]:
    """How many processes share the limit, and whether they have a lock together."""
    memory: ImageMemory = IMAGE_MEMORY
    return memory._processes, hasattr(memory._alone, "acquire")
