"""Counts of tokens held against those of LLaMA-Factory itself, and rows against those that it reads."""

from pathlib import Path

import odd_rows
import pytest
from data.test_transcripts import IN_TEXT, READ, THOUGHT, converted
from sft_engine import RECIPES, case, lengths_of, ran
from stage_rows import COUNT, drawn, request
from support import workspaces
from support.engine_python import interpreter

from virc.backends.tokenizer import tokenizer
from virc.models.registry import EMBEDDED_FOLDER
from virc.training.preflight import process as preflight
from virc.training.preflight.sft import check

pytestmark = pytest.mark.engine


def test_every_row_is_as_long_as_the_engine_makes_it(tmp_path: Path) -> None:
    odd = tmp_path / "odd"
    odd_rows.build(odd)
    qwen3 = odd_rows.qwen3(tmp_path / "qwen3")
    good = drawn(tmp_path / "good")
    whole = check(request(good))
    fewer = check(request(good, cutoff_len=whole.percentiles[0], filter_overlong=True, folder=tmp_path / "fewer"))
    assert 0 < fewer.rows < COUNT
    cases = [
        case(odd, "odd", EMBEDDED_FOLDER),
        case(odd, "odd", EMBEDDED_FOLDER, min_pixels=5000, max_pixels=40_001),
        case(odd, "odd", qwen3, template="qwen3_vl_nothink", min_pixels=784, max_pixels=150_000),
        case(odd, "odd", odd_rows.like_published(tmp_path / "published")),
        case(fewer.file.parent, fewer.dataset, EMBEDDED_FOLDER),
    ]
    found = lengths_of(cases, tmp_path)
    for each, asked in zip(found, cases, strict=True):
        assert each["ours"] == each["theirs"], asked
    assert [len(each["theirs"]) for each in found] == [*[odd_rows.COUNT] * 4, fewer.rows]
    assert sum(found[-1]["theirs"]) == fewer.total
    assert len({sum(each["theirs"]) for each in found[:4]}) == 4  # the cases are no copies of one another


def test_calls_are_counted_and_learnt_and_results_are_not(tmp_path: Path) -> None:
    row = READ["ms-swift"][0]
    assert converted(tmp_path, {**row, "system": "You look."}, "--format", "sft").code == 0
    qwen3 = case(tmp_path / "out", "rows", odd_rows.qwen3(tmp_path / "qwen3"), template="qwen3_vl_nothink")
    for found in lengths_of([case(tmp_path / "out", "rows", EMBEDDED_FOLDER), qwen3], tmp_path):
        assert found["ours"] == found["theirs"]
        ids = [[label for label in found["labels"][0] if label >= 0], found["ids"][0]]
        learnt, whole = tokenizer(EMBEDDED_FOLDER).decode_batch(ids, skip_special_tokens=False)
        assert learnt == f"{THOUGHT}{IN_TEXT}\n{IN_TEXT}<|im_end|>\nIt is 12.<|im_end|>\n"
        assert "You look.\n\n# Tools" in whole
        assert "<tool_response>\n12\n</tool_response>\n<tool_response>\n<|vision_start|>" in whole
    run = workspaces.trained(tmp_path, "tiny", "instruct", "--data", str(tmp_path / "rows.jsonl"), steps=1)
    assert 0 < workspaces.losses(run)[1] < 20


def test_the_look_through_the_rows_runs_in_the_engines_interpreter(tmp_path: Path) -> None:
    asked = request(drawn(tmp_path / "rows"))
    planned = preflight.step(asked, interpreter("sft"), RECIPES)
    assert preflight.read_failure(ran(*planned.argv[1:])) == check(asked)
    said = ran("-c", "import sys, virc.training.preflight.sft, tokenizers; print('torch' in sys.modules)")
    assert said == "False\n"
