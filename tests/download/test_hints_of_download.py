"""What `virc download` says to type next works: each hint is typed back."""

import shlex
from pathlib import Path

import pytest
from downloads import packed, serving
from support.called import Done, virc

from virc.download.benchmarks import HUB_IDS

ROWS = b'{"image": "a.png", "question": "What is it?", "answer": "7"}\n'
HUB = {
    "datasets/a/one": {"my set/images.tar": packed({"a.png": b"picture"}), "my set/rows.jsonl": ROWS},
    "datasets/b/two": {"rows.jsonl": ROWS.replace(b"a.png", b"https://h/a.png")},
    f"datasets/{HUB_IDS['blink']}": {"Counting/val-00000-of-00001.parquet": b"rows"},
}


def leads_to(done: Done) -> list[str]:
    """The command that its only hint names, as words."""
    (hint,) = (line for line in done.err.splitlines() if line.startswith("hint: "))
    return shlex.split(hint[hint.index("virc ") :])[1:]


@pytest.mark.parametrize(
    ("before", "typed", "code", "after"),
    [
        ((), ("eval",), 2, ()),
        ((), ("https://huggingface.co/datasets/b/two/blob/main/rows.jsonl",), 3, ()),
        ((), ("datasets/a/one", "--keep-packed"), 0, ("datasets/a/one",)),
        (("datasets/a/one", "--to", "my rows"), ("datasets/b/two", "--to", "my rows"), 5, ("--yes",)),
    ],
    ids=["no benchmark", "page of a file", "packed", "folder of another"],
)
def test_what_is_said_works(
    before: tuple[str, ...],
    typed: tuple[str, ...],
    code: int,
    after: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    with serving(monkeypatch, tmp_path, HUB):
        if before:
            assert virc("download", *before).code == 0
        done = virc("download", *typed)
        assert done.code == code
        again = virc(*leads_to(done), *(option for option in after if option.startswith("--")))
        assert again.code == 0, again.err
        if after:
            last = virc("download", *typed)
            assert (last.code, "hint" in last.err) == (0, False), last.err
