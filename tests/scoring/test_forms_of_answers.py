"""Answers that are named in many languages, with reasons and remarks, and lists of choices in any order and form."""

from itertools import product

from support.tables import cases_of, each_case

from virc.scoring.answers import choices_named, extract, is_unread, same_answer
from virc.scoring.score import Key

CASES = cases_of(__file__)

COLORS = ("red", "blue", "green", "yellow")


@each_case(("named", "reason"), CASES["named"])
def test_an_answer_is_named_with_its_reason_in_any_language(named: str, reason: str) -> None:
    for answer, reference in (("B", "B"), ("(B)", "B"), ("**B**", "B"), ("27", "27")):
        reply = named.format(answer) + reason
        assert same_answer(reply, reference), reply
        assert reference != "B" or same_answer(reply, reference, COLORS), reply
    for answer, reference in (("A", "B"), ("72", "27"), ("27/2", "27")):
        reply = named.format(answer) + reason
        assert not same_answer(reply, reference), reply
        assert not same_answer(reply, reference, COLORS), reply


@each_case("reply", CASES["an_answer_that_is_denied_or_one_of_two_is_not_given"])
def test_an_answer_that_is_denied_or_one_of_two_is_not_given(reply: str) -> None:
    assert not same_answer(reply, "B")
    assert not same_answer(reply, "B", COLORS)


@each_case("reply", CASES["instead"])
def test_what_stands_in_the_place_of_a_denied_answer_is_the_answer(reply: str) -> None:
    assert [same_answer(reply, letter, COLORS) for letter in "BAC"] == [True, False, False]
    assert not same_answer(reply, "A")


@each_case("remark", CASES["remarks"])
def test_a_remark_after_an_answer_changes_nothing(remark: str) -> None:
    for between, reference in product((" ", "\n\n"), ("B", "27")):
        for reply in (f"The answer is {reference}.{between}{remark}", f"**Answer: {reference}**\n{remark}"):
            assert same_answer(reply, reference), reply
            assert reference != "B" or same_answer(reply, "B", COLORS), reply
    assert not same_answer(f"The answer is A. {remark}", "B", COLORS)


@each_case(("reply", "reference", "same"), CASES["how_a_number_was_found_is_not_a_part_of_it"])
def test_how_a_number_was_found_is_not_a_part_of_it(reply: str, reference: str, same: bool) -> None:
    assert same_answer(reply, reference) is same


BOTH = CASES["both"]
OTHERS = CASES["others"]


@each_case("reference", ["A, C", "AC", "A and C", "(C)(A)", "A C", "C; A", "green and red"])
def test_several_choices_are_read_in_any_order_and_form(reference: str) -> None:
    for choices in (COLORS, tuple(f"{letter}. {color}" for letter, color in zip("ABCD", COLORS, strict=True))):
        wrong = [reply for reply in BOTH if not same_answer(reply, reference, choices)]
        wrong += [reply for reply in OTHERS if same_answer(reply, reference, choices)]
        assert not wrong
    assert choices_named(reference, COLORS) == {0, 2}
    assert is_unread("A or C", Key(reference, COLORS))
    assert not is_unread("A and D", Key(reference, COLORS))


@each_case("reply", CASES["letters_are_read_as_lists_of_programs_and_with_their_contents"])
def test_letters_are_read_as_lists_of_programs_and_with_their_contents(reply: str) -> None:
    assert choices_named(reply, COLORS) == {0, 2}
    assert same_answer(reply, "C, A", COLORS)


LENGTHS = ("8 cm", "12 cm", "15 cm", "20 cm")


@each_case(("reply", "letter"), CASES["a_letter_is_read_with_the_content_of_its_choice"])
def test_a_letter_is_read_with_the_content_of_its_choice(reply: str, letter: str | None) -> None:
    assert extract(reply, LENGTHS) == letter
    assert is_unread(reply, Key("D", LENGTHS)) is (letter is None)


HEADINGS = [
    "Options:\n", "**Options:**\n\n", "Choices:\n", "The options are:\n", "Which is it?\nOptions\n", "选项：\n",
    "Options: ", "Answer choices:\n", "Possible answers:\n", "",
]  # fmt: skip
LISTS = ["A. {}\nB. {}\nC. {}\nD. {}", "(A) {}\n(B) {}\n(C) {}\n(D) {}", "- **A:** {}\n- **B:** {}\n- **C:** {}"]
SHOWN = [heading + items for heading, items in product(HEADINGS, LISTS)] + [
    "Options: (A) {} (B) {} (C) {} (D) {}", "Options: A. {}, B. {}, C. {}, D. {}", "Choices: A) {}; B) {}; C) {}",
    "The options are A. {}, B. {}, C. {} and D. {}.", "Options:\n1. {}\n2. {}\n3. {}", "Options:\na. {}\nb. {}\nc. {}",
]  # fmt: skip


@each_case("shown", SHOWN)
def test_choices_that_a_reply_repeats_are_no_answer(shown: str) -> None:
    before = f"{shown.format(*COLORS)}\n\nThe sky is clear.\n\n"
    for end in ("**B**", "(B)", "B. blue", "So it is B.", "I choose B", "The sky is blue."):
        assert same_answer(before + end, "B", COLORS), before + end
        assert not any(same_answer(before + end, other, COLORS) for other in "ACD")
    assert not any(same_answer(f"{before}I cannot tell.", each, COLORS) for each in "ABCD")


def test_choices_under_a_heading_of_answers_are_answers() -> None:
    assert same_answer("The correct answers are:\nA. red\nB. blue\n\nI hope this helps.", "A. red")


@each_case("accepted", [("a", "two tall trees"), ("two tall trees", "a")])
def test_a_text_as_short_as_any_accepted_answer_is_read(accepted: tuple[str, str]) -> None:
    key = Key(accepted[0], answers=accepted)
    assert not is_unread("a bus that drives past two cars", key)
    assert is_unread("a bus that drives past two red cars", key)


@each_case(("choices", "reply", "letter"), CASES["a_choice_may_be_several_others"])
def test_a_choice_may_be_several_others(choices: tuple[str, ...], reply: str, letter: str) -> None:
    assert extract(reply, choices) == letter
    assert [same_answer(reply, each, choices) for each in "ABCD"] == [each == letter for each in "ABCD"]


@each_case(("answer", "reference", "choices", "same"), CASES["letters_that_are_names_of_things_are_no_list"])
def test_letters_that_are_names_of_things_are_no_list(
    answer: str, reference: str, choices: tuple[str, ...], same: bool
) -> None:
    assert same_answer(answer, reference, choices) is same
