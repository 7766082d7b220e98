"""Texts that look like times stay texts: of those in a file of lines, datasets 4.0.0 and 5.2.0 make times."""

import json
from pathlib import Path
from typing import Any

from stage_rows import chat_protocol, request
from support.tables import each_case

from virc.training.preflight import pairs, sft
from virc.training.preflight.types import PairsRequest, Result

ALIKE = [
    (("2024-05-01", "2024-05-02", "1999-12-31"), True),
    (("2024-05-01T10:00:00Z", "2024-05-02 11:00", "2024-05-02"), True),
    # pyarrow 26.0.1 reads offsets as well
    (("2024-05-01T10:00:00+02:00", "2024-05-02 11:00-0230", "2024-05-02T11+02"), True),
    (("2024-05-01", "on 2024-05-02", "2024-05-03"), False),  # one that is no time keeps all
    (("0.50", "007", "null"), False),
    (("2024-05", "10:00", "20240501"), False),
]


def trained_on(folder: Path, replies: tuple[str, ...], in_pairs: bool) -> Result:
    """The rows that LLaMA-Factory gets of a file of lines with these replies."""
    folder.mkdir()
    asked = {"role": "user", "content": "When?"}
    says = [{"role": "assistant", "content": reply} for reply in replies]
    if in_pairs:
        other = {"role": "assistant", "content": "never"}
        rows: list[dict[str, Any]] = [{"messages": [asked], "chosen": each, "rejected": other} for each in says]
    else:
        rows = [{"messages": [asked, each]} for each in says]
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    chat_protocol(folder, system="")
    if in_pairs:
        return pairs.check(request(file, PairsRequest, folder=folder.with_name("run")))
    return sft.check(request(file, folder=folder.with_name("run")))


@each_case(("replies", "are_times", "in_pairs"), [(*case, in_pairs) for case in ALIKE for in_pairs in (True, False)])
def test_texts_like_times_are_written_where_they_stay_texts(
    tmp_path: Path, replies: tuple[str, ...], are_times: bool, in_pairs: bool
) -> None:
    found = trained_on(tmp_path / "rows", replies, in_pairs)
    assert found.file.suffix == (".json" if are_times and in_pairs else ".jsonl")  # questions are no times
    if found.file.suffix == ".json":
        assert [row["chosen"]["content"] for row in json.loads(found.file.read_text())] == [*replies]
