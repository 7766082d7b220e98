"""What algebra is asked about: texts that are formulas, and their units; no process is started."""

from support.tables import each_case

from virc.scoring.symbolic import Symbolic, formula


class Recorded(Symbolic):
    """Finds all formulas equal that it is asked about."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def _equal(self, answer: str, reference: str) -> bool:
        self.asked.append((answer, reference))
        return True


@each_case(
    ("text", "latex"),
    [
        ("2(x+1)", "2(x+1)"), ("√12", r"\sqrt{12}"), ("3 cm", "3"), ("sqrt(2)/2", r"\sqrt{2}/2"), ("$x^2$", "x^{2}"),
        ("no", None), ("not 97", None), ("the red car", None), ("x", None), (r"\input{file}", None), ("9" * 501, None),
    ],
)  # fmt: skip
def test_formulas_are_told_from_words(text: str, latex: str | None) -> None:
    found = formula(text)
    assert (found and found.latex) == latex


@each_case(
    ("one", "other", "equal", "asked"),
    [
        ("2x+2", "2(x+1)", True, 1), ("5 cm", "5 m", False, 0), ("5 cm", "5", True, 0), ("yes", "2x", False, 0),
        ("2x", "2x", True, 0),
    ],
)  # fmt: skip
def test_algebra_decides_where_formulas_and_units_may_agree(one: str, other: str, equal: bool, asked: int) -> None:
    symbolic = Recorded()
    assert (symbolic.same(one, other), len(symbolic.asked)) == (equal, asked)
