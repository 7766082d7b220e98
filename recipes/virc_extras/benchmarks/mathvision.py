"""MathVision: problems of mathematical competitions with figures (Wang et al. 2024, arXiv:2402.14804).

Source: mathllm/MATH-V@a1f5cc3: the prompt of models/GPT4V.py, process_example_mergedimg; the scoring of
evaluation/evaluate.py, evaluate, and evaluation/utils.py, find_math_answer and is_equal. What differs: published,
numbers are what latex2sympy2 and Python's eval make of a text, also of one that goes on behind the number; here they
are computed of numbers, fractions, roots, powers, pi and brackets alone. Published, a list is compared as text, so that
a whole number in it that was computed or rounded (`2.0`) is not the one that was written (`2`); here both are equal.
"""

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from virc.evaluation.benchmarks.hub_rows import HubBenchmark, choice
from virc.evaluation.benchmarks.letters import LETTERS
from virc.evaluation.benchmarks.registry import Fields

_ASKED = (
    'Please solve the problem and put your answer in one "\\boxed{}". '
    'If it is a multiple choice question, only one letter is allowed in the "\\boxed{}".\n'
)
_LABELS = list(LETTERS[:5])
_FLAGS = ("the final answer is", "the answer is", "the correct answer is", "the answer should be")
_DECIMALS = 2
_MAX_LENGTH = 400  # characters of a formula that is computed
_MAX_DIGITS = 20
_SIGNS = (("\\cdot", "*"), ("\\times", "*"), ("\\div", "/"), (":", "/"), ("^", "**"), ("\\pi", f"({math.pi})"))
_PARTS = (
    (r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))"),
    (r"\\sqrt\[([^\]{}]*)\]\{([^{}]*)\}", r"((\2)**(1/(\1)))"),
    (r"\\sqrt\{([^{}]*)\}", r"((\1)**(1/2))"),
    (r"(?<![ct}\]])\{([^{}]*)\}", r"(\1)"),  # not those of \frac and \sqrt
)
_OPERATORS: Mapping[type, Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Pow: math.pow,
}  # fmt: skip
_DROPPED = (
    (" ", ""), ("\\,", ""), ("∞", "\\infty"), ("+\\infty", "\\infty"), ("\\\\", "\\"), ("\n", ""), ("\\text", ""),
    ("\\mbox", ""), ("bmatrix", "pmatrix"), ("\\left", ""), ("\\right", ""), ("^{\\circ}", ""), ("^\\circ", ""),
    ("{m}^3", ""), ("m^3", ""), ("{units}", ""), ("units", ""), ("{km}", ""), ("km", ""),
    ("\\!", ""), ("\\\\", "\\"), ("tfrac", "frac"), ("dfrac", "frac"), ("\\left", ""), ("\\right", ""),
    ("^{\\circ}", ""), ("^\\circ", ""), ("\\$", ""), ("$", ""),
)  # fmt: skip
"""What is replaced in a formula, in this order."""


def _right(answer: str, fields: Mapping[str, Any]) -> bool:
    short = _short_answer(answer)
    return any(_equal(wanted, short) for wanted in (fields.get("label", fields["answer"]), fields["answer"]))


def _short_answer(answer: str) -> str:
    """The answer in a reply: the content of its box, the text after one of the flags, or all of it, normalised."""
    text = answer.strip()
    for letter in _LABELS:
        ends = text.endswith((f" {letter}.", f" ({letter})."))
        if ends or text.startswith((f"{letter}\n", f"({letter})\n", f"({letter}) {letter}\n")):
            text = letter
    last = text.rpartition("is ")[2].rstrip(".")
    text = last if _is_number(last) else text
    if "oxed{" not in text:
        for flag in _FLAGS:
            for written in (flag, f"T{flag[1:]}"):
                if written in text:
                    text = text.rpartition(written)[2].strip().partition("\n")[0].partition(". ")[0]
    elif text.count("oxed{") > 1:
        text = "\\boxed{" + text.rpartition("oxed{")[2]
    text = _formula(text)
    for form in ("({})", "{{{}}}"):
        for letter in "abcde":
            text = text.replace(form.format(letter), letter)
    return text.rstrip(".").lstrip(":").strip()


def _formula(text: str) -> str:
    """The content of a box, or a text, with its LaTeX in one spelling."""
    text = text.lower().replace("{}", "")
    _, box, content = text.partition("oxed{")
    if box and "}" in content:
        text = content.rpartition("}")[0]
    before_end, end, _ = text.partition("}")
    if end and "{" not in before_end:  # a bracket that was not opened
        text = before_end
    text = text.rpartition("=")[2].rpartition("\\approx")[2]
    for old, new in _DROPPED:
        text = text.replace(old, new)
    text = text.partition("\\text{ ")[0].replace("\\%", "").replace("{.", "{0.")
    text = f"0{text}" if text.startswith(".") else text
    text = re.sub(r"\\sqrt([^{])", r"\\sqrt{\1}", text)
    if "sqrt" in text:
        text = re.sub(r"\\frac([^{])([^{])", r"\\frac{\1}{\2}", text)
    if text == "0.5":
        return "\\frac{1}{2}"
    return re.sub(r"\A(-?\d+)/(-?\d+)\Z", r"\\frac{\1}{\2}", text)


def _equal(wanted: str, short: str) -> bool:
    wanted, short = wanted.lower(), short.lower()
    if not wanted.strip() or not short.strip():
        return False
    if wanted.strip() == short.strip():
        return True
    wanted, short = _listed(wanted), _listed(short)
    if wanted == short:
        return True
    number = _rounded(wanted)
    return number is not None and number == _rounded(short)


def _listed(text: str) -> str:
    """A tuple or an interval with its numbers to two decimals; another text as it is."""
    parts = text[1:-1].split(",")
    if len(parts) < 2 or text[:1] + text[-1:] not in ("()", "[]"):
        return text
    shown = [each if "infty" in each or each in ("a", "-a") else _rounded(each) for each in parts]
    return text if None in shown else f"{text[0]}{','.join(map(str, shown))}{text[-1]}"


def _rounded(formula: str) -> float | None:
    """The number that a formula stands for, to two decimals; None if it is more than numbers and signs."""
    code = re.sub(r"[\s$]|\\displaystyle|(?<=\d),(?=\d{3}(?!\d))", "", formula)
    for old, new in _SIGNS:
        code = code.replace(old, new)
    before = ""
    while code != before and len(code) < _MAX_LENGTH:  # the innermost brackets first
        before = code
        for old, new in _PARTS:
            code = re.sub(old, new, code)
    code = re.sub(r"(?<=[\d.)])(?=\()|(?<=\))(?=[\d.])", "*", re.sub(r"\d*\.?\d+", _as_float, code.rstrip(".")))
    if len(code) >= _MAX_LENGTH or not re.fullmatch(r"[\d.e()*/+-]+", code):
        return None
    try:
        value = _computed(ast.parse(code, mode="eval").body)
        return round(value, _DECIMALS) if math.isfinite(value) else None
    except (ValueError, TypeError, SyntaxError, ArithmeticError, RecursionError, MemoryError):
        return None


def _as_float(number: re.Match[str]) -> str:
    return f"{float(number[0]):.12f}" if len(number[0]) < _MAX_DIGITS else "!"


def _computed(node: ast.AST) -> float:
    match node:
        case ast.Constant(value=float(value)):
            return value
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            return -_computed(operand) if isinstance(sign, ast.USub) else _computed(operand)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATORS:
            return _OPERATORS[type(sign)](_computed(left), _computed(right))
    raise ValueError


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _made(row: Mapping[str, Any], fields: Fields) -> Fields:
    choices = fields.get("choices", [])
    shown = choices if choices != _LABELS else []
    options = "".join(f"({letter}) {each}\n" for letter, each in zip(_LABELS, shown, strict=False))
    return (choice(fields["answer"], choices) if choices else {}) | {
        "prompt": f"{_ASKED}{fields['question']}\n{options}",
        "category": {"subject": row["subject"], "level": str(row["level"])},
    }


BENCHMARKS = (
    HubBenchmark(
        "mathvision",
        "3,040 problems of mathematical competitions with figures",
        "MathLLMs/MathVision",
        {split: (f"data/{split}-*.parquet", f"{split}.jsonl") for split in ("test", "testmini")},
        {"id": "id", "question": "question", "choices": "options", "answer": "answer"}
        | {"images": ["decoded_image", "image"]},
        _made,
        _right,
    ),
)
