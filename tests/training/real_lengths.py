"""Runs in the engine's interpreter: the lengths of rows by LLaMA-Factory's own preprocessing, and by ours.

Takes the path of a JSON list of {folder, dataset, base, template, min_pixels, max_pixels}; prints a list of
{theirs, ours, ids}: numbers of tokens by row, and their ids by LLaMA-Factory.
"""

import contextlib
import json
import sys
from pathlib import Path
from typing import Any


def theirs(case: dict[str, Any], output: str) -> list[list[int]]:
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer  # type: ignore[import-not-found]
    from llamafactory.hparams import get_train_args  # type: ignore[import-not-found]
    from llamafactory.model import load_tokenizer  # type: ignore[import-not-found]

    args = get_train_args({
        "model_name_or_path": case["base"], "template": case["template"], "stage": "sft", "do_train": True,
        "finetuning_type": "full", "dataset": case["dataset"], "dataset_dir": case["folder"],
        "media_dir": case["folder"], "cutoff_len": 100_000, "image_min_pixels": case["min_pixels"],
        "image_max_pixels": case["max_pixels"], "overwrite_cache": True, "output_dir": output, "use_cpu": True,
        "report_to": "none",
    })  # fmt: skip
    model_args, data_args, training_args, _, _ = args
    loaded = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(loaded["tokenizer"], data_args)
    module = get_dataset(template, model_args, data_args, training_args, stage="sft", **loaded)
    return [row["input_ids"] for row in module["train_dataset"]]


def ours(case: dict[str, Any]) -> list[int]:
    from virc.data.check.images import file_of
    from virc.data.formats.registry import only_source
    from virc.training.preflight.lengths import Text, counting, lengths

    rules = counting(Path(case["base"]), case["min_pixels"], case["max_pixels"], 100_000)
    source = only_source(Path(case["folder"]))
    records = [row.record for row in source.rows()]
    found = lengths(rules, [Text(each.messages, tuple(map(file_of, each.images))) for each in records])
    assert not any(each.fault for each in found), found
    return [each.tokens for each in found]


def main(cases: Path) -> None:
    with contextlib.redirect_stdout(sys.stderr):
        asked = json.loads(cases.read_text())
        ids = [theirs(case, str(cases.parent / "out")) for case in asked]
        found = [
            {"theirs": [*map(len, each)], "ours": ours(case), "ids": each}
            for case, each in zip(asked, ids, strict=True)
        ]
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
