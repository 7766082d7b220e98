"""Signs that are no value decide nothing, and a box that holds no choice hides no stated answer."""

from support.tables import each_case

from virc.scoring.answers import extract, is_unread, same_answer, score
from virc.scoring.score import Key

CHOICES = ("the vector F", "the vector G", "the vector sum", "the plane H")

ORNATE = [
    ("Answer: 47 ✅", "47"), ("47 🎉🎉", "47"), ("👉 47", "47"), ("Answer: → 47", "47"), ("• 47", "47"),
    ("**Answer:** 47 ✔️", "47"), ("47", "47 ⭐"), ("✅ The answer is 47.", "47"), ("4️⃣7️⃣", "47"),
    ("Answer: => 47", "47"), ("Paris 🇫🇷", "Paris"), ("blue 💙", "blue"), ("Yes ✓", "yes"), ("12:30 ⏰", "12:30"),
    ("3/4 ◀", "3/4"), ("➜ 47 cm", "47 cm"), ("☑ B", "B"), ("★", "★"), ("📐 \\frac{1}{2}", "1/2"), ("47 👨‍👩‍👧", "47"),
]  # fmt: skip


@each_case(("answer", "reference"), ORNATE)
def test_ornaments_are_left_out_on_both_sides(answer: str, reference: str) -> None:
    assert same_answer(answer, reference)
    assert same_answer(reference, answer)
    assert score(answer, Key(reference)).right


@each_case(("one", "other"), [
    ("★", "☆"), ("Q♠", "Q♥"), ("A → B", "A ← B"), ("△ABC", "□ABC"), ("-5", "5"), ("25 ℃", "25 K"), ("C♯", "C♭"),
    ("①", "②"), ("x > 5", "x < 5"), ("🅰", "🅱"), ("↑", "↓"), ("½", "¼"),
])  # fmt: skip
def test_signs_that_are_values_stay(one: str, other: str) -> None:
    assert not same_answer(one, other)
    assert same_answer(one, one)


@each_case("reply", [
    r"We get \boxed{\langle H\rangle}. Answer: D", r"\boxed{} Answer: D", r"So \boxed{42}. The correct option is D.",
    r"The answer is D \boxed{x+1}", r"\fbox{see above} **Answer: (D)**",
    r"\boxed{\text{done}} Final answer: D. the plane H",
    r"\boxed{?} My answer is D ✅", r"$\boxed{7 = 7}$ Hence the answer is (D).",
])  # fmt: skip
def test_a_box_without_a_choice_hides_no_stated_answer(reply: str) -> None:
    assert extract(reply, CHOICES) == "D"
    assert score(reply, Key("D", choices=CHOICES)).right
    assert not is_unread(reply, Key("D", choices=CHOICES))


@each_case("reply", [
    r"\boxed{\langle H\rangle}", r"\boxed{7}", r"\boxed{\text{none}} and that is all", r"\boxed{}",
    "It is hard to say.",
    r"\boxed{E}", r"The vectors \boxed{F + G} meet.",
])  # fmt: skip
def test_where_no_choice_is_read_the_answer_is_unread(reply: str) -> None:
    assert extract(reply, CHOICES) is None
    assert is_unread(reply, Key("D", choices=CHOICES))


@each_case("reply", [r"\boxed{} Answer: 47", r"\boxed{?} The answer is 47", r"\boxed{\ } 47"])
def test_an_empty_box_hides_no_value(reply: str) -> None:
    assert same_answer(reply, "47")
