"""Operators that ask models: once for each row, at the concurrency that suits, counted, and continued."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from extras.make.made import picture, read_rows, write_rows
from support.servers import Body, serve

from virc.core import plugins
from virc.core.errors import ConfigError, VircError
from virc.core.events import Reporter
from virc.solving.setup import Setup, set_up
from virc_extras.make.run import make

OPERATOR = '''
"""Have a picture described, and the caption corrected."""

import msgspec
from virc_extras.make.operator import kept, left_out
from virc_extras.pipelines.speaking import Role

ROLES = {"eyes": Role(temperature=0.7), "editor": Role(system="You correct.")}


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How.

    Args:
        words: fewest.
    """

    words: int = 1


def requests(options):
    return 3


def run(row, means):
    first, second = means.roles["eyes"].sample(2, f"Describe {row.id}.", means.image(row, 0))
    if row.fields.get("stop"):
        raise KeyError("stop")
    caption = means.ask("editor", f"Correct {first} or {second}")
    if len(caption.split()) < means.options.words:
        return left_out("short", caption)
    return kept({**row.fields, "caption": caption})
'''


def reply(body: Body) -> str:
    """What the model says: a hash of what it was asked, so that each reply tells its request."""
    said = [str(part) for message in body["messages"] for part in _texts(message["content"])]
    return f"{'edited' if 'correct' in said[0] else 'seen'} {body.get('seed')} {said[-1][-20:]}"


def _texts(content: Any) -> list[str]:
    return [content] if isinstance(content, str) else [part["text"] for part in content if part["type"] == "text"]


def captioning(folder: Path) -> Path:
    """The folder, with the operator and six rows for it."""
    (folder / "caption.py").write_text(OPERATOR)
    rows = [{"id": f"r{at}", "image": picture(folder / f"{at}.png", at)} for at in range(6)]
    write_rows(folder / "rows.jsonl", rows)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return captioning(tmp_path)


def at(url: str | None) -> Setup:
    return set_up({"endpoint": url, "offline": True})


def caption(
    home: Path, url: str, to: str = "new.jsonl", report: Reporter | None = None, **given: Any
) -> dict[str, Any]:
    return dict(
        make(str(home / "caption.py"), [str(home / "rows.jsonl")], home / to, setup=at(url), report=report, **given)
    )


def test_concurrency_changes_nothing_but_time(home: Path) -> None:
    asked, together = list[Body](), threading.Event()

    def slow(body: Body) -> str:
        asked.append(body)
        if len(asked) > 2:
            together.set()
        assert together.wait(60)
        return reply(body)

    with serve(slow) as server:
        caption(home, server.url, "many.jsonl")
        caption(home, server.url, "one.jsonl", at_once=1)
    assert read_rows(home / "many.jsonl") == read_rows(home / "one.jsonl")


def test_rows_that_a_model_failed_are_done_again(home: Path) -> None:
    failing = True

    def sometimes(body: Body) -> str:
        if failing and "r2" in json.dumps(body["messages"]):
            raise BrokenPipeError
        return reply(body)

    with serve(sometimes) as server:
        with pytest.raises(VircError):
            caption(home, server.url, at_once=1)
        assert not (home / "new.jsonl").exists()
        failing = False
        assert caption(home, server.url)["kept"] == 6


def test_what_was_paid_is_on_disk_and_a_torn_last_line_is_cut(home: Path) -> None:
    file, on_disk = home / "new.jsonl.progress", list[int]()

    def told(body: Body) -> str:
        on_disk.append(file.read_bytes().count(b"\n"))
        return reply(body)

    text = (home / "caption.py").read_text()
    with serve(told) as server:
        for stops in ('row.id == "r3"', 'row.id in ["r4"]'):  # of different sizes: Python compiles the file again
            (home / "caption.py").write_text(text.replace('row.fields.get("stop")', stops))
            plugins.loaded.cache_clear()
            with pytest.raises(ConfigError, match="fails: KeyError"):
                caption(home, server.url, at_once=1)
            with file.open("ab") as progress:
                progress.write(b'{"n":4,"row":"')
        assert on_disk[2::3] == [3, 7, 11, 15, 19][: len(on_disk[2::3])]  # the head; of a row three replies and itself
        (home / "caption.py").write_text(text)
        plugins.loaded.cache_clear()
        assert caption(home, server.url)["kept"] == 6
        assert len(on_disk) == 6 * 3
