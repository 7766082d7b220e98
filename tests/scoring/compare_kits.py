"""Ask virc and other kits about the pairs: `python tests/scoring/compare_kits.py [VLMEVALKIT LMMS_EVAL]`.

The arguments are checkouts or unpacked archives, of which only the functions named below are run, without their
packages; without arguments their verdicts stay. math-verify is the installed one. It writes kits.json.
"""

import ast
import logging
import os
import re
import string
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import math_verify  # type: ignore[import-untyped, unused-ignore]
import msgspec
import numpy as np
from answer_pairs import KITS, NAMES, Kit, Pair, Reading, key, kits, of_virc, pairs, table

from virc.scoring.symbolic import Symbolic


def functions(file: Path, *names: str, **given: Any) -> Any:
    """Some functions and constants of a file, with `given` in place of what it imports."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    kept = [
        node
        for node in tree.body
        if getattr(node, "name", None) in names
        or (isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) in names)
    ]
    found: dict[str, Any] = {"re": re, "os": os, "string": string, "np": np, **given}
    exec(compile(ast.Module(kept, []), file, "exec"), found)
    return SimpleNamespace(**{name: found[name] for name in names})


def letter(pair: Pair) -> str:
    """The letter of the choice that is right."""
    labels = [re.sub(r"^[A-Z]\. ", "", choice) for choice in pair.choices]
    return chr(65 + labels.index(pair.reference)) if pair.reference in labels else pair.reference


def of_math_verify(pair: Pair) -> bool:
    """Whether `verify(parse(reference), parse(answer))` holds; of choices, for the letter or the content.

    It reads LaTeX between signs of mathematics, which are put around a reference and a bare formula that lack them.
    """
    letters = tuple(string.ascii_uppercase[: len(pair.choices)]) or ("A", "B", "C", "D")
    configs = [
        math_verify.StringExtractionConfig(strings=letters), math_verify.LatexExtractionConfig(),
        math_verify.ExprExtractionConfig(),
    ]  # fmt: skip
    right = [letter(pair), pair.choices[ord(letter(pair)) - 65]] if pair.choices else [pair.reference]
    said = math_verify.parse(_delimited(pair.answer), configs)
    return any(math_verify.verify(math_verify.parse(_delimited(each), configs), said) for each in right)


def _delimited(text: str) -> str:
    is_delimited = re.search(r"\$|\\boxed|\\\(|\\\[|[.!?]\s", text)
    is_formula = re.search(r"[\\^√π]", text) and not is_delimited
    return f"${text}$" if is_formula else text


def of_vlmevalkit(root: Path) -> Reading:
    """`can_infer` where there are choices, else equality after `process_answer`."""
    matching = functions(
        root / "vlmeval/utils/matching_util.py",
        "_VERBOSE_ANSWER_RE", "can_infer_option", "can_infer_text", "can_infer",
        cp=SimpleNamespace(copy=str),
    )  # fmt: skip
    punctuation = functions(root / "vlmeval/smp/misc.py", "process_punctuation").process_punctuation
    vqa = functions(
        root / "vlmeval/dataset/utils/vqa_eval.py", "_process_digit_article", "process_answer",
        process_punctuation=punctuation,
    )  # fmt: skip

    def reading(pair: Pair) -> bool:
        if not pair.choices:
            return bool(vqa.process_answer(pair.reference) == vqa.process_answer(pair.answer))
        labelled = {chr(65 + at): re.sub(r"^[A-Z]\. ", "", choice) for at, choice in enumerate(pair.choices)}
        return bool(matching.can_infer(pair.answer, labelled) == letter(pair))

    return reading


def of_lmms_eval(root: Path) -> Reading:
    """The functions of MMMU: for choices, and for open answers. A letter that it would draw counts as none."""
    tasks = root / "lmms_eval/tasks"
    none = SimpleNamespace(choice=lambda _: "")
    choosing = functions(tasks / "_task_utils/mmmu_mcq_utils.py", "parse_mmmu_multi_choice_response", random=none)
    mmmu = functions(
        tasks / "mmmu/utils.py",
        "extract_numbers",
        "check_is_number",
        "normalize_str",
        "parse_open_response",
        "eval_open",
    )

    def reading(pair: Pair) -> bool:
        if not pair.choices:
            return bool(mmmu.eval_open(pair.reference, mmmu.parse_open_response(pair.answer)))
        labelled = {chr(65 + at): re.sub(r"^[A-Z]\. ", "", choice) for at, choice in enumerate(pair.choices)}
        return bool(choosing.parse_mmmu_multi_choice_response(pair.answer, [*labelled], labelled) == letter(pair))

    return reading


def commit(root: Path) -> str:
    """The version of an archive, or the commit of a checkout."""
    if (info := root / "PKG-INFO").is_file():
        return next(line[9:] for line in info.read_text().splitlines() if line.startswith("Version: "))
    return subprocess.run(
        ["git", "-C", root, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()


def main(vlmevalkit: Path | None = None, lmms_eval: Path | None = None) -> None:
    """Write the verdicts, and print the table."""
    logging.disable(logging.CRITICAL)
    found = {name: kit for name, kit in kits().items() if name not in ("virc", "math-verify")} if KITS.exists() else {}
    with Symbolic() as algebra:
        found["virc"] = recorded("", "virc.scoring.answers.score", lambda pair: of_virc(pair, algebra.same))
    found["math-verify"] = recorded(version("math-verify"), "`parse`, `verify`", of_math_verify)
    if vlmevalkit and lmms_eval:
        called = "`can_infer` (choices), `process_answer`"
        found["VLMEvalKit"] = recorded(commit(vlmevalkit), called, of_vlmevalkit(vlmevalkit))
        called = "`parse_mmmu_multi_choice_response` (choices), `parse_open_response`, `eval_open`"
        found["lmms-eval"] = recorded(commit(lmms_eval), called, of_lmms_eval(lmms_eval))
    KITS.write_bytes(msgspec.json.format(msgspec.json.encode({name: found[name] for name in NAMES}), indent=1) + b"\n")
    print(table())


def recorded(number: str, function: str, reading: Reading) -> Kit:
    """A kit with its verdicts on all pairs."""
    return Kit(number, function, sorted({key(pair) for pair in pairs() if reading(pair)}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
