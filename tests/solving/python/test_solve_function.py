"""`virc.solve` for a script."""

from pathlib import Path

import pytest
from PIL import Image
from support.servers import MODEL, serve
from support.solving import CROP, answer

from virc.core.errors import DataError, NetworkError, NoAnswerError, UsageError
from virc.core.events import Event
from virc.reasoning.session import Unit
from virc.solving.python.one import solve


def test_a_path_and_an_image_give_the_same_answer(image: Path) -> None:
    with serve([CROP, answer("97"), CROP, answer("97")]) as server:
        by_path = solve(image, "What is x?", MODEL, endpoint=server.url)
        by_image = solve(Image.open(image).convert("RGB"), "What is x?", MODEL, endpoint=server.url)
    assert (by_path.answer, by_path.error, by_path.trace) == ("97", None, None)
    assert by_path.fields == by_image.fields
    assert (by_path.fields["model"], by_path.fields["turns"]) == (MODEL, 2)


def test_events_and_the_trace_are_the_callers(image: Path, tmp_path: Path) -> None:
    units: list[Unit] = []
    events: list[Event] = []
    with serve([CROP, answer("97")]) as server:
        found = solve(
            [image],
            "What is x?",
            MODEL,
            endpoint=server.url,
            trace=tmp_path / "trace",
            on_event=lambda event: units.append(event) if isinstance(event, Unit) else None,
            on_progress=events.append,
        )
    assert [unit.answer for unit in units] == [None, "97"]
    assert found.trace == tmp_path / "trace"
    assert (tmp_path / "trace" / "index.html").is_file()
    assert {event.kind for event in events} <= {"note", "warning", "progress"}


def test_no_answer_is_returned_and_what_fails_is_raised(image: Path) -> None:
    with serve([answer("unreadable")]) as server:
        found = solve(image, "What is x?", MODEL, endpoint=server.url)
        assert found.answer is None
        assert isinstance(found.error, NoAnswerError)
        with pytest.raises(DataError, match="there is no file"):
            solve("gone.png", "What is x?", MODEL, endpoint=server.url)
    with pytest.raises(NetworkError):
        solve(image, "What is x?", MODEL, endpoint=server.url)
    with pytest.raises((DataError, UsageError)):
        solve(image, " ", MODEL, endpoint=server.url)
    with pytest.raises(UsageError, match="the question is of type int, not str"):
        solve(image, 3, MODEL, endpoint=server.url)  # type: ignore[arg-type]
