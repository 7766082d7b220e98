"""Right by rule: what counts as the same answer, what does not, and that nothing in an answer breaks the rule."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tables import each_case

from virc.scoring.rules import numbers_agree, same

SAME = [
    # spelling
    ("97", "97"), (" 97\n", "97"), ("Yes", "yes"), ("yes.", "Yes"), ("**97**", "97"), ('"Paris"', "paris"),
    ("New  York", "new york"), ("９７", "97"), ("−5", "-5"), ("‒5", "-5"), ("―5", "-5"),
    ("$97$", "97"), (r"\(97\)", "97"), (r"\[97\]", "97"),
    ("e\u0301tage", "\u00e9tage"), ("∞", r"\infty"), (r"\pi r^2", "πr²"), (r"m\angle H", "m∠H"), (r"\boxed{97}", "97"),
    (r"\text{yes}", "yes"), (r"\mathbf{AB}", "AB"), (r"3\sqrt{2}", "3√2"), (r"\sqrt{2x}", "√(2x)"), ("sqrt(2)", "√2"),
    # how LaTeX sets it
    (r"\underline{6}", "6"), (r"\bm{x}", "x"), (r"\emph{no}", "no"), (r"\textcolor{red}{6}", "6"),
    (r"{\bf 6 cm}", "6 cm"), (r"\color{red}{6}", "6"), (r"{\color{blue} x = 6}", "6"), (r"\bf{A}", "A"),
    (r"\large\frac{1}{2}", "1/2"), (r"\{\small 1, 2\}", r"\{1,2\}"), (r"\boxed{\textbf{\Large B}}", "B"),
    (r"\underline{\underline{12}}", "12"),
    (r"\frac{x}{2}", "x/2"), ("( 1, 2 )", "(1,2)"), (r"x^{10}", "x^10"), (r"a \cdot b", "a*b"), (r"\sin x", "sin x"),
    (r"\left(1, 2\right)", "(1,2)"), ("a = b", "a=b"), ("5 × 3", "5*3"), (r"\text{\textbf{no}}", "no"),
    # numbers
    ("97.0", "97"), ("97.", "97"), ("+97", "97"), ("1,000", "1000"), ("1{,}000", "1000"), (r"1\,000", "1000"),
    ("1,234,567.50", "1234567.5"), (".5", "0.5"), ("1/2", "0.5"), (r"\frac{1}{2}", "1/2"), (r"\dfrac12", ".5"),
    ("2/4", "1/2"), ("-3/4", "-0.75"), (r"-\frac{3}{4}", "-0.75"), ("1 1/2", "1.5"), ("1½", "3/2"), ("½", "0.5"),
    (r"1\frac{1}{2}", "1.5"), ("2e3", "2000"), (r"2 \times 10^{3}", "2000"), ("1.5e-2", "0.015"), ("007", "7"),
    ("88.55 +/- 0.04", "88.55±0.04"), (r"88.550 \pm .040", "88.55±0.04"), ("88.55%±0.04%", "88.55±0.04%"),
    ("-0", "0"), ("50%", "1/2"), ("50%", "50"), (r"50\%", "0.5"), ("50 percent", "50%"),
    # a unit that one side leaves to the question, or another name of it
    ("97°", "97"), ("97 degrees", "97°"), (r"97^\circ", "97"), (r"97^{\circ}", "97 degrees"), ("$5", "5 dollars"),
    ("5 cm", "5"), ("5 cm", "5cm"), ("5 centimeters", "5 cm"), (r"5\text{ cm}", "5"), (r"5\,\mathrm{m}", "5 meters"),
    ("5 cm²", "5 square cm"), ("5 cm^2", "5"), ("12 sq. units", "12"), ("3 m", "3"), ("90 km/h", "90"),
    # a name before the value
    ("x = 5", "5"), (r"m\angle H = 97^\circ", "97"), ("x=1/2", "0.5"), ("f(x) = 2x", "2x"),
    # letters of choices that are not known
    ("(B)", "B"), ("B.", "B"), ("b", "(B)"), ("B. 102", "B"), ("(B) 102", "102"), ("Option B", "B"), ("B) 102", "(B)"),
]  # fmt: skip

OTHER = [
    ("97", "98"), ("97", "97.1"), ("", ""), (" ", " "), ("", "0"), (".", "."[:0]), ("yes", "no"), ("97", "9 7"),
    ("1 2", "12"), ("5²", "52"), ("x²", "x2"), ("1/3", "0.333"), ("1,00", "100"), ("1,2", "12"), ("1 2", "1.5"),
    ("5 cm", "5 m"), ("50 mm", "5 cm"), ("5 cm", "5 cm^2"), ("30°", "30%"), ("5m", "5"), ("2x", "2"), ("5i", "5"),
    ("3π", "3"), ("-5", "5"), ("50%", "5"), ("1/0", "0"), ("1/0", "2/0"), ("x=5", "y=5"), ("x>=5", "5"), ("x>5", "x<5"),
    ("x=5,y=3", "3"), ("2x=5", "5"), ("A", "B"), ("B. 102", "A"), ("B. 102", "97"), ("a:b", "b"), ("e.g", "g"),
    (r"\frac{1}{2x}", r"\frac{1}{2}x"), (r"\sqrt{2}x", r"\sqrt{2x}"), ("97 or 98", "97"), ("[97", "97"), ("1-2", "1"),
    ("1e2000", "1"), ("1e99999", "1e99998"), ("0x10", "16"), ("nan", "NaN."[:0]), ("inf", "1"), ("5 in", "5 ft"),
    ("88.55±0.04", "88.55±0.05"), ("88.5±0.04", "88.55±0.04"), ("±3", "3"),
    ("97 98", "97"), ("1 2", "3"), ("(1,2)", "(2,1)"), ("10^2", "102"), ("1_000", "1000"),
]  # fmt: skip

CHOICES = ["97", "102", "107", "122"]
CHOSEN = [
    ("B", "102", CHOICES), ("(B)", "102", CHOICES), ("B. 102", "B", CHOICES), ("102", "B", CHOICES),
    ("b) 102°", "102", CHOICES), ("B: 102.0", "(b)", CHOICES), ("102 degrees", "B", CHOICES),
    ("Option B", "B", CHOICES), ("option (B)", "102", CHOICES), ("Choice (B). 102", "102", CHOICES),
    ("B", "102", ["A. 97", "B. 102"]), ("102", "(B)", ["(A) 97", "(B) 102"]), ("B", "B. 102", ["A. 97", "B. 102"]),
    ("Yes", "A", ["yes", "no"]), ("50%", "50%", ["50%", "50"]), ("B", "50", ["50%", "50"]),
    (r"\frac12", "A", ["0.5", "2"]),
    ("B", "102", ["A. 97", "102"]), ("A", "A. 97", ["A. 97", "102"]),  # one letter of two is a part of its choice
    ("C", "C", ["B", "C", "A"]), ("(B)", "B", ["(A)", "(B)"]), ("B", "(B)", ["A.", "B."]),
    ("110", "110", CHOICES), ("110.0", "110", CHOICES),
    ("A", "C. Monet", ["C. Monet", "E. Manet"]),  # initials, no letters of choices
]  # fmt: skip
NOT_CHOSEN = [
    ("(A)", "B", ["(A)", "(B)"]),
    ("A", "102", CHOICES), ("B. 97", "B", CHOICES), ("B. 97", "97", CHOICES), ("E", "122", CHOICES),
    ("97", "B", CHOICES),
    ("2", "B", CHOICES), ("97 102", "B", CHOICES), ("50%", "50", ["50%", "50"]), ("A", "50", ["50%", "50"]),
    ("5", "A", ["5 cm", "5 m"]), ("B", "C", ["B", "C", "A"]), ("A", "B", ["B", "C", "A"]), ("", "A", CHOICES),
    ("A, B", "A", CHOICES), ("110", "B", CHOICES), ("B", "110", CHOICES),
    ("(B)", "C", ["A", "C", "B"]),  # where the choices are letters, a letter is a content
]  # fmt: skip


@each_case(("one", "other"), SAME)
def test_these_say_the_same(one: str, other: str) -> None:
    assert same(one, other)
    assert same(other, one)


@each_case(("one", "other"), OTHER)
def test_these_do_not(one: str, other: str) -> None:
    assert not same(one, other)
    assert not same(other, one)


UNITS = """
° deg degree degrees; rad radian radians; % percent; dollar dollars usd; cent cents; unit units; mg
mm millimeter millimeters millimetre millimetres; cm centimeter centimeters centimetre centimetres
m meter meters metre metres; km kilometer kilometers kilometre kilometres; in inch inches; ft foot feet
yd yard yards; mi mile miles; g gram grams; kg kilogram kilograms; lb lbs pound pounds; oz ounce ounces
ml milliliter milliliters; l liter liters litre litres; s sec secs second seconds; min mins minute minutes
h hr hrs hour hours; day days; week weeks; month months; year years; km/h kmh; m/s; mph; °c; °f
"""


def test_names_of_a_unit_are_one_and_units_are_not() -> None:
    groups = [names.split() for line in UNITS.strip().splitlines() for names in line.split(";")]
    for names in groups:
        assert all(same(f"5 {name}", f"5 {names[0]}") for name in names), names
    firsts = [names[0] for names in groups]
    assert [pair for pair in combinations(firsts, 2) if same(*(f"5 {name}" for name in pair))] == []
    powers = {
        "5 cm": 1,
        "5 sq cm": 2,
        "5 sq. cm": 2,
        "5 square cm": 2,
        "5 cm²": 2,
        "5 cubic cm": 3,
        "5 cu. cm": 3,
        "5 cm³": 3,
    }
    for (one, first), (other, second) in combinations(powers.items(), 2):
        assert same(one, other) == (first == second), (one, other)


SIGNS = {
    r"\theta": "θ", r"\alpha": "α", r"\beta": "β", r"\gamma": "γ", r"\triangle": "△", r"x\neq y": "x≠y",
    r"x\ne y": "x≠y", r"x\leq y": "x≤y", r"x\le y": "x≤y", r"x\geq y": "x≥y", r"x\ge y": "x≥y", r"\pm x": "±x",
    r"6 \div x": "6/x", "6 ÷ x": "6/x", "6∕x": "6/x", "6⁄x": "6/x", r"x \times y": "x*y", "x·y": "x*y", "x⋅y": "x*y",
    "x∗y": "x*y", "97º": "97°", "97˚": "97°", "9\u200b7": "97", "9\ufeff7": "97", "x–y": "x-y", "x—y": "x-y",
    "x‐y": "x-y", "x³": "x^3", "it’s": "it's", "97。": "97", "¼": "1/4", "⅔": "2/3", "⅝": "5/8", "2⅓": "7/3",
    r"\#7": "#7", r"a\_b": "a_b", r"\operatorname{no}": "no", r"\mbox{no}": "no", r"\tfrac{1}{2}": "0.5",
    r"\frac{1}2": "0.5", r"\displaystyle 5": "5", r"x\quad y": "x y", "5~cm": "5 cm",
}  # fmt: skip


@each_case("written", SIGNS)
def test_a_sign_is_the_same_however_it_is_written(written: str) -> None:
    assert same(written, SIGNS[written])
    assert same(SIGNS[written], written)


def test_how_long_an_answer_and_a_number_may_be() -> None:
    """2,000 characters of an answer, 120 of a number; none is cut, which could make it another."""
    assert same("A" * 2000, "a" * 2000)
    assert not same("A" * 2001, "a" * 2001)
    for dots, is_read in ((1999, True), (2000, False)):
        assert same("5" + "." * dots, "5") == same("5", "5" + "." * dots) == is_read
        agreed = numbers_agree("5" + "." * dots, "5"), numbers_agree("5", "5" + "." * dots)
        assert agreed == ((True, True) if is_read else (None, None))
    assert same("0" * 119 + "5", "5")
    assert not same("0" * 120 + "5", "5")


@each_case(("one", "other", "choices"), CHOSEN)
def test_a_choice_is_named_by_its_letter_or_its_content(one: str, other: str, choices: list[str]) -> None:
    assert same(one, other, choices)
    assert same(other, one, choices)


@each_case(("one", "other", "choices"), NOT_CHOSEN)
def test_another_choice_is_another_answer(one: str, other: str, choices: list[str]) -> None:
    assert not same(one, other, choices)
    assert not same(other, one, choices)


@each_case(
    "text",
    [
        "9" * 10_000_000, "(" * 1_000_000, "\\frac{" * 400, "{" * 1900, "\\text{" * 300 + "}" * 300, "1e999", "1e-999",
        "9" * 60 + "e999", "1," * 900, "1 " * 900, "-" * 1900, "*" * 1999, "\\" * 1999, "$" * 1999, "\ud800", "\x00",
        "x" * 20 + "=" * 1900, "√(" * 900, "^{" * 900, "٣", "۱/۲", "1/" + "0" * 100, "." * 1999, "ﷺ" * 1999,
        "B. " * 600, " " * 1_000_000 + "x",
    ],
)  # fmt: skip
def test_no_answer_breaks_the_rule(text: str) -> None:
    assert not same(text, "97")
    assert not same("97", text, ["97", "98", text])
    assert same(text, text)


# what answers are made of, so that chance meets the rules
_WORDS = r"1 2 0 5 . , / - % ° e x = ( ) A B b. cm ^2 m ½ \frac { } \text{ \sqrt $ \ ^{\circ} \, * ∠ ٣".split()
_PIECES = st.sampled_from([*_WORDS, " ", "\n", "\ud800"])
_TEXTS = st.lists(_PIECES, max_size=12).map("".join)


def _holds(one: str, other: str, choices: list[str]) -> None:
    for given_choices in (None, choices):
        assert same(one, other, given_choices) == same(other, one, given_choices)
    assert same(one, one, choices) == bool(one.strip())


@pytest.mark.integration
@settings(max_examples=300, deadline=None)
@given(_TEXTS, _TEXTS, st.lists(_TEXTS, max_size=4))
def test_which_of_two_is_the_reference_does_not_matter(one: str, other: str, choices: list[str]) -> None:
    _holds(one, other, choices)


@given(st.fractions(), st.integers(1, 10**6))
def test_a_fraction_is_the_same_however_it_is_written(value: object, by: int) -> None:
    assert hasattr(value, "numerator")
    assert hasattr(value, "denominator")
    top, bottom = value.numerator, value.denominator
    assert same(f"{top * by}/{bottom * by}", f"{'-' if top < 0 else ''}\\frac{{{abs(top)}}}{{{bottom}}}")
    assert not same(f"{top + 1}/{bottom}", f"{top}/{bottom}")
