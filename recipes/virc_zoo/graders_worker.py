"""The functions of the process that `graders` asks: SymPy reads what models wrote, and may loop."""

import ast
import logging
from typing import Any

MAX_BYTES = 2 * 2**30
_FORMULA = (
    ast.Expression, ast.BinOp, ast.operator, ast.UnaryOp, ast.unaryop, ast.Compare, ast.cmpop,
    ast.Call, ast.Name, ast.Load, ast.Constant, ast.Tuple,
)  # fmt: skip


def equal(answer: str, reference: str) -> bool:
    """Whether mathruler finds an answer equal to the reference; False where it raises."""
    try:
        return bool(_mathruler().grade_answer(answer, reference))
    except Exception:  # whatever a parser meets in such texts, it has not found them equal
        return False


def boxed_equal(text: str, reference: str) -> bool:
    """Whether what mathruler takes from the last box of a text is equal to the reference."""
    return equal(_mathruler().extract_boxed_content(text), reference)


def texts_agree(one: str, other: str) -> bool:
    """Whether math-verify finds the same formula or number in two whole texts; False where it raises."""
    from math_verify import parse, verify  # type: ignore[import-untyped, unused-ignore]

    try:
        # None: its time limits raise, and what they interrupt may catch that
        read = [parse(text, parsing_timeout=None) for text in (one, other)]
        return bool(verify(*read, timeout_seconds=None))
    except Exception:
        return False


def parsed_agree(one: str, other: str) -> float:
    """The same as 1 or 0, and -1 where one of them has nothing that can be parsed."""
    from math_verify import parse, verify  # type: ignore[import-untyped, unused-ignore]

    try:
        read = [parse(text, parsing_timeout=None) for text in (one, other)]
        return float(verify(*read, timeout_seconds=None)) if all(read) else -1.0
    except Exception:
        return -1.0


def _mathruler() -> Any:
    from mathruler import grader  # type: ignore[import-untyped, unused-ignore]

    return grader


def _refuse_code() -> None:
    """Keep SymPy from running text as Python: of what it is about to run, only formulas are left.

    mathruler and math-verify hand it what models wrote. Operators stay, and calls of SymPy's numbers, symbols and
    functions; any other call, such as of `S`, which reads a text again, and each attribute is refused.
    """
    import sympy  # type: ignore[import-untyped, unused-ignore]
    from sympy.parsing import sympy_parser  # type: ignore[import-untyped, unused-ignore]

    as_python = sympy_parser.stringify_expr

    def is_formula(node: ast.AST) -> bool:
        if not isinstance(node, ast.Call):
            return isinstance(node, _FORMULA)
        called = node.func.func if isinstance(node.func, ast.Call) else node.func  # of a function without a name: f(x)
        named = getattr(sympy, called.id, None) if isinstance(called, ast.Name) else None
        is_class = isinstance(named, type) and issubclass(named, sympy.Basic)
        return not node.keywords and (is_class or named is sympy.Function or named is sympy.sqrt)

    def checked(*given: Any) -> str:
        python: str = as_python(*given)
        if not all(map(is_formula, ast.walk(ast.parse(python.strip(), mode="eval")))):
            raise ValueError("no formula")
        return python

    sympy_parser.stringify_expr = checked


if __name__ == "__main__":  # before the time of the first question begins
    logging.disable(logging.CRITICAL)
    for prepare in (equal, texts_agree):
        try:
            prepare("2(x+1)", "2x+2")
        except ImportError:
            continue
    _refuse_code()
