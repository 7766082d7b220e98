"""Right by rule: what counts as the same answer, what does not, and that nothing in an answer breaks the rule."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tables import cases_of, each_case

from virc.scoring.rules import numbers_agree, same

CASES = cases_of(__file__)

SAME = CASES["same"]

OTHER = CASES["other"]

CHOICES = ["97", "102", "107", "122"]
CHOSEN = CASES["chosen"]
NOT_CHOSEN = CASES["not_chosen"]


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


SIGNS = CASES["signs"]


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
