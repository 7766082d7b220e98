"""Runs in the engine's interpreter: the lengths of rows by LLaMA-Factory's own preprocessing, and by ours.

Takes the path of a JSON list of {folder, dataset, base, template, min_pixels, max_pixels, keys}; prints a list of
{theirs, ours, ids, labels}: numbers of tokens by row, and ids and labels by LLaMA-Factory as `virc train` starts it.
"""

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from virc.engines.llamafactory import start


def theirs(case: dict[str, Any], output: str) -> list[dict[str, list[int]]]:
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer  # type: ignore[import-not-found]
    from llamafactory.hparams import get_train_args  # type: ignore[import-not-found]
    from llamafactory.model import load_tokenizer  # type: ignore[import-not-found]

    args = get_train_args({
        "model_name_or_path": case["base"], "template": case["template"], "stage": "sft", "do_train": True,
        "finetuning_type": "full", "dataset": case["dataset"], "dataset_dir": case["folder"],
        "media_dir": case["folder"], "cutoff_len": 100_000, "image_min_pixels": case["min_pixels"],
        "image_max_pixels": case["max_pixels"], "overwrite_cache": True, "output_dir": output, "use_cpu": True,
        "report_to": "none", **case.get("keys", {}),
    })  # fmt: skip
    model_args, data_args, training_args, _, _ = args
    loaded = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(loaded["tokenizer"], data_args)
    module = get_dataset(template, model_args, data_args, training_args, stage="sft", **loaded)
    return [{name: row[name] for name in ("input_ids", "labels")} for row in module["train_dataset"]]


def ours(case: dict[str, Any]) -> list[int]:
    from virc.data.check.images import file_of
    from virc.data.formats.registry import only_source
    from virc.training.preflight.lengths import Text, counting, lengths

    rules = counting(Path(case["base"]), case["min_pixels"], case["max_pixels"], 100_000)
    source = only_source(Path(case["folder"]))
    records = (row.record for row in source.rows())
    texts = [Text(each.messages, tuple(map(file_of, each.images)), tools=each.tools) for each in records]
    found = lengths(rules, texts)
    assert not any(each.fault for each in found), found
    return [each.tokens for each in found]


def main(cases: Path) -> None:
    with contextlib.redirect_stdout(sys.stderr):
        asked = json.loads(cases.read_text())
        from llamafactory.data import template  # type: ignore[import-not-found]
        from llamafactory.model.model_utils import visual  # type: ignore[import-not-found]

        start.know_families(visual, template)
        start._prepare()
        rows = [theirs(case, str(cases.parent / "out")) for case in asked]
        ids = [[row["input_ids"] for row in each] for each in rows]
        labels = [[row["labels"] for row in each] for each in rows]
        found = [
            {"theirs": [*map(len, of_case)], "ours": ours(case), "ids": of_case, "labels": learnt}
            for case, of_case, learnt in zip(asked, ids, labels, strict=True)
        ]
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
