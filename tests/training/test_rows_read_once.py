"""A stage's rows are read once: checked, counted and, where the engine does not read them as they are, written."""

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from PIL import Image
from stage_rows import request
from support import preflight
from support.tables import each_case

from virc.data.formats import sft as conversations
from virc.data.formats.registry import RowsFile, only_source
from virc.data.rows.llamafactory import ValuesOfFile
from virc.data.rows.numbered import ParsedRow
from virc.models.chat_protocol import read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.encoded import as_png
from virc.reasoning.protocol import FILE_NAME
from virc.training.preflight import pairs, rl, sft
from virc.training.preflight.types import PairsRequest, Result, RlRequest

PICTURE = f"data:;base64,{base64.b64encode(as_png(Image.new('RGB', (56, 56))).data).decode()}"
COUNT = 30  # more rows than are looked at to recognise a file
ASKED = {"role": "user", "content": "What is it?"}
REPLY = {"role": "assistant", "content": "A disk."}
PAIR = {"messages": [ASKED], "chosen": REPLY, "rejected": {"role": "assistant", "content": "A ring."}}
PROBLEM = {"question": "What is it?", "answer": "a disk", "images": ["a.png"]}
PARTS = [{"type": "image_url", "image_url": {"url": PICTURE}}, {"type": "text", "text": "What is it?"}]


def written(folder: Path, row: dict[str, Any]) -> Path:
    Image.new("RGB", (56, 56)).save(folder / "a.png")
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row | {"id": f"row {number}"}) + "\n" for number in range(COUNT)))
    return file


def of_parts(folder: Path) -> Result:
    pytest.importorskip("virc_extras")  # layouts of tables
    return sft.check(request(written(folder, {"messages": [ASKED | {"content": PARTS}, REPLY]})))


def of_rl(folder: Path) -> Result:
    source, protocol = only_source(written(folder, PROBLEM)), read_protocol(EMBEDDED_FOLDER / FILE_NAME)
    common = {"source": source, "base": EMBEDDED_FOLDER, "chat_protocol": protocol, "home": folder / "home"}
    return rl.check(preflight.request(RlRequest, **common, rollout="multi_turn"))


@each_case(
    ("check", "is_written"),
    [
        (lambda folder: sft.check(request(written(folder, {"messages": [ASKED, REPLY]}))), False),
        (of_parts, True),
        (lambda folder: pairs.check(request(written(folder, PAIR), PairsRequest)), False),
        (lambda folder: pairs.check(request(written(folder, PAIR), PairsRequest, loss="kto")), True),
        (of_rl, True),
    ],
)
def test_rows_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: Callable[[Path], Result], is_written: bool
) -> None:
    whole, to_the_end = Counter[str](), Counter[str]()
    read, open_file = RowsFile.rows, conversations.opened

    @contextmanager
    def counted_open(path: Path) -> Iterator[IO[bytes]]:
        with open_file(path) as file:
            yield file
            to_the_end[path.name] += not file.read(1)

    def counted(self: RowsFile, *values: ValuesOfFile) -> Iterator[ParsedRow]:
        yield from read(self, *values)
        whole[self.file.name] += 1

    monkeypatch.setattr(RowsFile, "rows", counted)
    monkeypatch.setattr(conversations, "opened", counted_open)
    found = check(tmp_path)
    ((name, times),) = whole.items()
    assert (times, name != found.file.name) == (1, is_written), whole
    assert to_the_end[name] <= 1
