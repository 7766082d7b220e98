"""What pictures cost the commands and functions that open the user's own: batches, pipelines, Python, data checks."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from batches import echo, problems, read
from support.costly_pictures import encoded, held_now
from support.servers import serve

from virc.core.limits import image_memory
from virc.core.limits.image_memory import IMAGE_MEMORY, SETTING, TooLargeError, limit
from virc.reasoning.opening import pictures as opening


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


def test_a_large_jpeg_is_decoded_in_part_and_others_say_what_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MAX_PIXELS", 10**5)
    for module in (opening, image_memory):
        monkeypatch.setattr(module, "limit", lambda: 2**20)
    jpeg, png = (encoded(kind, (1000, 600)) for kind in ("JPEG", "PNG"))
    with opening.opened_all([(jpeg, "it")]) as (picture,):
        assert (picture.size, picture.pixels.size) == ((1000, 600), (250, 150))
    for data, whole in ((png, False), (jpeg, True)):
        with pytest.raises(TooLargeError, match="5 MiB"), opening.opened_all([(data, "it")], whole=whole):
            pass


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
