"""What a run of `virc data make` that goes on compares, counts and keeps, in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from extras.make.made import read_rows, write_rows
from extras.make.test_making_by_models import OPERATOR, caption, captioning, reply
from support.servers import Body, serve

from virc.core import plugins
from virc.core.errors import ConfigError
from virc.solving.one import SolveConfig
from virc.solving.setup import set_up
from virc_extras.make.run import make


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return captioning(tmp_path)


def stop_at_fourth_row(home: Path) -> None:
    rows = read_rows(home / "rows.jsonl")
    write_rows(home / "rows.jsonl", [row | {"stop": at == 3} for at, row in enumerate(rows)])


def _other_model(home: Path, given: dict[str, Any]) -> None:
    given["model"] = "other"


def _other_file(home: Path, given: dict[str, Any]) -> None:
    (home / "words.txt").write_text("two")


def _other_seed(home: Path, given: dict[str, Any]) -> None:
    given["options"] = given["options"] | {"seed": 7}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_other_model, 'was begun with models {"eyes":"one","editor":"one"}'),
        (_other_file, "was begun with files"),
        (_other_seed, "was begun with seed 0, not 7"),
    ],
)  # fmt: skip
def test_rows_of_other_settings_are_not_mixed(
    change: Callable[[Path, dict[str, Any]], None], says: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = OPERATOR.replace("words: int = 1\n", "words: int = 1\n    texts: str = ''\n    more: list[str] = []\n")
    (home / "caption.py").write_text(
        text.replace("words: fewest.\n", "words: fewest.\n        texts: a file.\n        more: files.\n")
    )
    for name in ("words.txt", "listed.txt"):
        (home / name).write_text("one")
    monkeypatch.chdir(home)
    given: dict[str, Any] = {"model": "one", "max_turns": 16, "protocol": None, "choice": {}}
    given["options"] = {"texts": "words.txt", "more": ["listed.txt"]}

    def run(url: str) -> None:
        choice = {"endpoint": url, "model": given["model"], **given["choice"]}
        setup = set_up(choice, SolveConfig(max_turns=given["max_turns"]), given["protocol"], None, True)
        make("./caption.py", ["rows.jsonl"], home / "new.jsonl", given["options"], setup=setup, at_once=1)

    stop_at_fourth_row(home)
    with serve(reply, models=("one", "other")) as server:
        with pytest.raises(ConfigError, match="fails: KeyError"):
            run(server.url)
        asked = len(server.chats())
        change(home, given)
        with pytest.raises(ConfigError) as refused:
            run(server.url)
    assert says in refused.value.message
    assert len(server.chats()) == asked


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
