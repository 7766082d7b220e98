"""`virc.batch`: solutions in the order of the rows, while further rows are in work."""

import io
import itertools
import json
import re
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image
from support.faults import status
from support.servers import MODEL, Body, Exchange, serve
from support.silence import Silence
from support.solving import answer

from virc.core.errors import ConfigError, DataError, NoAnswerError, UsageError
from virc.models.load import load
from virc.solving.batch import HOPELESS_IN_A_ROW
from virc.solving.python.many import batch

Pair = namedtuple("Pair", "image question")


def _asked(body: Body) -> str:
    """The question of a request."""
    found = re.search(r"Say [\w :]+", json.dumps(body["messages"][-1]))
    assert found, body
    return found[0]


def _echo(body: Body) -> str:
    """A reply whose answer is the last word of the question."""
    return answer(_asked(body).split()[-1])


def _rows(image: object, count: int) -> list[dict[str, object]]:
    return [{"image": image, "question": f"Say {number}"} for number in range(count)]


def _threads() -> list[str]:
    """The threads of batches."""
    names = (thread.name for thread in threading.enumerate())
    return [name for name in names if name in ("virc-batch", "virc-row")]


def test_solutions_come_in_the_order_of_the_rows_whatever_is_done_first(image: Path) -> None:
    others = threading.Semaphore(0)

    def late(body: Body) -> str:
        if "Say 0" in _asked(body):
            assert all(others.acquire(timeout=60) for _ in range(4))  # rows behind it are answered before it
        others.release()
        return _echo(body)

    rows = _rows(str(image), 12)
    with serve(late) as server:
        found = list(batch(iter(rows), MODEL, endpoint=server.url, concurrency=3))
    assert [solution.answer for solution in found] == [str(number) for number in range(12)]
    assert all(solution.row is row for solution, row in zip(found, rows, strict=True))
    assert {solution.fields["model"] for solution in found} == {MODEL}
    assert all(solution.view and solution.seconds for solution in found)
    assert not _threads()


class Frame:
    """What a data frame of pandas has of its interface."""

    columns = ("picture", "question", "id", "choices", "price")

    def __init__(self, *rows: tuple[object, ...]) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.rows)

    def itertuples(self, index: bool, name: None) -> Iterator[tuple[object, ...]]:
        return iter([(at, *row) for at, row in enumerate(self.rows)] if index else self.rows)


def test_rows_come_as_pairs_mappings_and_frames_with_pictures_in_memory(image: Path) -> None:
    pixels = Image.open(image).convert("RGB")
    array, data = np.asarray(pixels), image.read_bytes()
    nan = float("nan")
    frame = Frame(
        (pixels, "Say a", np.int64(7), np.array(["x", "y"], dtype=object), np.float64(2.5)),
        (data, "Say b", nan, nan, nan),
    )
    mixed: list[object] = [
        (image, "Say 0"),
        [str(image), "Say 1"],
        ([image, pixels], "Say 2"),
        Pair(pixels, "Say 3"),
        {"images": [data, pixels], "question": np.str_("Say 4"), "embedding": array, "made": object()},
        {"image": {"bytes": data, "path": None}, "query": "Say 5"},
        {"image": data, "question": "Say 6"},
        ((image, pixels), "Say 7"),
    ]
    with serve(_echo) as server, load(MODEL, endpoint=server.url) as model:
        assert [each.answer for each in batch(mixed, model)] == list("01234567")
        sent = [sum(part["type"] == "image_url" for part in body["messages"][-1]["content"]) for body in server.chats()]
        assert sorted(sent) == [1, 1, 1, 1, 1, 2, 2, 2]
        assert [each.answer for each in batch(frame, model)] == ["y", "b"]  # the choices stand behind the question
        assert list(batch([], model)) == []
        more = [pixels.rotate(90), pixels.rotate(180)]
        pixels.save(several := io.BytesIO(), "GIF", save_all=True, append_images=more)
        (solution,) = batch([([image, Image.open(several)], "Say 7")], model)
        assert [each["frames"] for each in solution.fields["pictures"]] == [1, 3]


def test_a_row_that_fails_is_its_own_result(image: Path) -> None:
    rows: list[Any] = [
        {"image": image, "question": "Say 0"},
        {"image": "gone.png", "question": "q"},
        {"image": image, "question": None},
        {"image": np.zeros((3, 40, 50), np.uint8), "question": "q"},
        "no row",
        (image, "Say unreadable"),
        {"image": image, "question": "Say 6"},
    ]
    with serve(_echo) as server:
        found = list(batch(rows, MODEL, endpoint=server.url))
    kinds = [type(None), DataError, DataError, UsageError, DataError, NoAnswerError, type(None)]
    assert [type(each.error) for each in found] == kinds
    assert [each.answer for each in found] == ["0", *[None] * 5, "6"]
    assert "there is no file gone.png" in str(found[1].error)
    assert "no column is known as the question" in str(found[2].error)
    assert "not a path, a URL, bytes or a PIL.Image" in str(found[3].error)
    assert not [each for each in found if each.error and "line" in str(each.error)]


def test_endless_rows_are_read_no_further_than_they_are_solved(image: Path) -> None:
    read = list[int]()

    def endless() -> Iterator[object]:
        for number in itertools.count():
            read.append(number)
            yield (image, f"Say {number}")

    with serve(_echo) as server:
        solutions = batch(endless(), MODEL, endpoint=server.url, concurrency=2)
        assert [next(solutions).answer for _ in range(3)] == ["0", "1", "2"]
        assert server.wait_for(6)
        threading.Event().wait(0.05)  # for who would read on
        assert len(read) == 6  # two that were taken, one that is in hand, and four places less that one
        solutions.close()
    assert not _threads()


@pytest.mark.parametrize("leave", [lambda held: held[0].close(), lambda held: held.clear()], ids=["close", "delete"])
def test_a_batch_that_is_left_ends_its_requests_and_threads(image: Path, leave: Callable[[list[Any]], None]) -> None:
    silence = Silence()

    def but_for_the_first(exchange: Exchange) -> None:
        assert exchange.body
        return exchange.complete(exchange.body) if "Say 0" in _asked(exchange.body) else silence(exchange)

    with serve(_echo, fault=but_for_the_first) as server:
        held = [batch(_rows(image, 99), MODEL, endpoint=server.url, concurrency=4)]
        assert next(held[0]).answer == "0"
        for _ in range(4):
            assert silence.began.acquire(timeout=60)
        leave(held)
        assert not _threads()
        for _ in range(4):
            assert silence.ended.acquire(timeout=60)
        assert len(server.chats()) == 5


def test_an_endpoint_that_refuses_every_row_ends_the_batch(image: Path) -> None:
    found, rows = list[type](), itertools.cycle(_rows(image, 2))
    with (
        serve(_echo, fault=status(401)) as server,
        pytest.raises(ConfigError, match=f"{HOPELESS_IN_A_ROW} rows in a row"),
    ):
        found.extend(type(each.error) for each in batch(rows, MODEL, endpoint=server.url, concurrency=1))
    assert set(found) == {ConfigError}
    with pytest.raises(ConfigError, match="no-such-model"):
        next(batch(_rows(image, 1), "no-such-model"))
    assert not _threads()


def test_a_file_of_rows_its_traces_and_its_seeds(image: Path, tmp_path: Path) -> None:
    lines = [{"id": f"r{number}", "image": image.name, "question": f"Say {number}", "level": 3} for number in range(2)]
    file = image.with_name("rows.jsonl")
    file.write_bytes(b"\n".join(map(msgspec.json.encode, lines)))
    with serve(_echo) as server, load(MODEL, endpoint=server.url) as model:
        found = list(batch(file, model, trace=tmp_path / "t", temperature=1.0, seed=5))
        other = list(batch(str(file), model, temperature=1.0, seed=5, timeout=60))
        again = list(batch(reversed([dict(line, image=image) for line in lines]), model, temperature=1.0, seed=5))
        seeds = {(_asked(body), body["seed"]) for body in server.chats()}
    assert [each.answer for each in found] == [each.answer for each in other] == ["0", "1"]
    assert [each.answer for each in again] == ["1", "0"]
    assert len(seeds) == len({seed for _, seed in seeds}) == 2  # by the id of a row, whatever its place
    assert found[1].row == {"id": "r1", "images": [image.name], "question": "Say 1", "level": 3}
    assert found[1].trace == tmp_path / "t" / "r1"
    assert (tmp_path / "t" / "r1" / "index.html").is_file()
