"""The function of the process that `Symbolic` asks. What it reads is hostile: it may loop or take all memory."""

import logging
import re
from decimal import Decimal
from typing import Any, NoReturn

MAX_BYTES = 2 * 2**30


def equal(answer: str, reference: str) -> bool:
    """Whether two texts in LaTeX are equal by algebra; the roles differ in that `x = 5` answers 5."""
    import math_verify  # type: ignore[import-untyped, unused-ignore]

    try:
        one, other = _read(answer), _read(reference)
        # None: its time limits raise, and what they interrupt may catch that
        return bool(one and other and math_verify.verify(other, one, timeout_seconds=None))
    except Exception:  # whatever a parser meets in such texts, it has not found them equal
        return False


def _read(text: str) -> list[Any]:
    """What math-verify reads in LaTeX. Its reader of plain expressions is never asked: that one runs them as code."""
    from latex2sympy2_extended import NormalizationConfig  # type: ignore[import-untyped, unused-ignore]
    from math_verify import LatexExtractionConfig, parse
    from sympy import Basic  # type: ignore[import-untyped, unused-ignore]

    # units and boxes were seen to before
    spelling = NormalizationConfig(basic_latex=True, malformed_operators=True, nits=True, boxed="none")
    target = LatexExtractionConfig(normalization_config=spelling)
    read: list[Any] = parse(f"${text}$", [target], fallback_mode="no_fallback", parsing_timeout=None)
    return [_with_imaginary_unit(each) if isinstance(each, Basic) else each for each in read]


def _with_imaginary_unit(formula: Any) -> Any:
    """`i` as the imaginary unit, no other symbol real: for the reader it is a symbol, real in `2i` and not in `2-i`."""
    from sympy import I, Symbol, evaluate

    names = {symbol: I if symbol.name == "i" else Symbol(symbol.name) for symbol in formula.free_symbols}
    with evaluate(False):  # a relation stays one
        return formula.xreplace(names) if I in names.values() else formula


def _refuse_code() -> None:
    """Keep SymPy from running text as Python, as it does to read any text, be it the 2 in `2x`.

    math-verify hands it the numbers of a formula only. They are read here; a name, as SymPy's own modules hand it,
    is a symbol; all else is refused.
    """
    import sympy  # type: ignore[import-untyped, unused-ignore]
    from sympy.parsing import sympy_parser  # type: ignore[import-untyped, unused-ignore]

    def read(text: str, *_: object, **__: object) -> Any:
        if re.fullmatch(r"[a-zA-Z]+", text):
            return sympy.Symbol(text)
        if not re.fullmatch(r"[-+]?(\d+(\.\d*)?|\.\d+)", text, re.ASCII):
            raise ValueError("no number")
        return sympy.Float(text) if "." in text else sympy.Integer(int(text))

    def refuse(*_: object) -> NoReturn:
        raise ValueError("no text is run")

    sympy_parser.parse_expr = read  # what `sympify` calls
    sympy_parser.eval_expr = refuse  # what those call who took `parse_expr` before


def _compare_relatively() -> None:
    """Let math-verify find two numbers equal by their ratio too: it rounds absolutely, where 2^-99 and 2^-98 are 0."""
    from math_verify import grader
    from sympy import Float, MatrixBase, Rational

    absolutely = grader.sympy_numeric_eq

    def agree(one: Any, other: Any, *precision: int) -> bool:
        if not absolutely(one, other, *precision):
            return False
        if isinstance(one, Float) is not isinstance(other, Float):
            decimal, exact = (one, other) if isinstance(one, Float) else (other, one)
            last = Decimal(str(decimal)).normalize().as_tuple().exponent
            size = abs(exact).evalf()  # three digits at least: 3e-9 is no more right than 3 for pi
            near = max(1e-6 * size, min(Rational(10) ** last / 2, size / 200))
            return bool(abs(Rational(str(decimal)) - exact).evalf() <= near)
        if isinstance(one, MatrixBase) or other == 0:  # the numbers of a matrix come here, each by itself
            return True
        near = 1e-6 if one.has(Float) or other.has(Float) else 1e-100
        return bool((one / other - 1).evalf(maxn=200, chop=near) == 0)

    grader.sympy_numeric_eq = agree


if __name__ == "__main__":  # before the time of the first question begins
    logging.disable(logging.CRITICAL)
    equal("2(x+1)", "2x+2")  # imports all that a question needs
    _refuse_code()
    _compare_relatively()
