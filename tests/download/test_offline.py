"""Where no requests are allowed, what was fetched before is the answer."""

from pathlib import Path

import pytest
from downloads import packed, serving
from huggingface_hub import constants
from support.called import virc

from virc.download.hub import record

DATA = "datasets/some/data"
FILES = {"rows.jsonl": b"{}\n", "more[1].jsonl": b"{}\n", "images.tar": packed({"images/a.png": b"a"})}


@pytest.mark.parametrize(
    ("before", "then", "code"),
    [
        ((), (), 0),
        (("--include", "rows.jsonl"), ("--include", "rows.jsonl"), 0),
        (("--include", "more[1].jsonl"), ("--include", "more[1].jsonl"), 0),
        (("--revision", "main"), ("--revision", "main"), 0),
        (("--include", "rows.jsonl"), (), 6),
        (("--include", "rows.jsonl"), ("--include", "*.jsonl"), 6),
        ((), ("--revision", "main"), 6),
        (None, (), 6),
    ],
)
def test_what_was_fetched_by_the_same_words_is_the_answer(
    before: tuple[str, ...] | None, then: tuple[str, ...], code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with serving(monkeypatch, tmp_path, {DATA: FILES}) as server:
        if before is not None:
            assert virc("download", DATA, *before).code == 0
        commit = server.commit(DATA)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    done = virc("download", DATA, *then)
    assert (done.code, done.out) == (code, "" if code else "data/data\n")
    kept = record.read_record(Path("data/data"))
    assert (kept and kept.commit) == (None if before is None else commit)
