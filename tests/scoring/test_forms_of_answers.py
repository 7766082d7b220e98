"""Answers that are named in many languages, with reasons and remarks, and lists of choices in any order and form."""

from itertools import product

from support.tables import each_case

from virc.scoring.answers import choices_named, extract, is_unread, same_answer
from virc.scoring.score import Key

COLORS = ("red", "blue", "green", "yellow")
NAMED = [
    ("Odpowiedź to {}", ", ponieważ niebo jest niebieskie."), ("Prawidłowa odpowiedź: {}", "."), ("Cevap: {}", "."),
    ("Doğru cevap {}", ", çünkü gökyüzü mavi."), ("Đáp án đúng là {}", ", vì bầu trời màu xanh."),
    ("Svaret är {}", "."),
    ("Câu trả lời là {}", "."), ("Jawabannya adalah {}", ", karena langit biru."),
    ("Jawaban yang benar adalah {}", "."),
    ("Rätt svar är {}", ", eftersom himlen är blå."), ("Det rigtige svar er {}", ", fordi himlen er blå."),
    ("Oikea vastaus on {}", "."), ("Správná odpověď je {}", ", protože obloha je modrá."), ("A helyes válasz: {}", "."),
    ("Răspunsul corect este {}", ", deoarece cerul este albastru."),
    ("Правильна відповідь: {}", ", тому що небо синє."),
    ("Η σωστή απάντηση είναι {}", ", επειδή ο ουρανός είναι μπλε."),
    ("Правильный ответ — {}", ", потому что небо синее."),
    ("התשובה הנכונה היא {}", "."), ("الإجابة الصحيحة هي {}", "."), ("الجواب هو {}", "."), ("सही उत्तर {} है।", ""),
    ("คำตอบคือ {}", ""), ("คำตอบที่ถูกต้องคือ {}", ""), ("La respuesta correcta es {}", ", porque el cielo es azul."),
    ("La bonne réponse est {}", " car le ciel est bleu."), ("La réponse est {}", ", puisque le ciel est bleu."),
    ("Die Antwort ist {}", ", da der Himmel blau ist."), ("Die richtige Antwort lautet {}", ", weil er blau ist."),
    ("La risposta corretta è {}", ", perché il cielo è blu."), ("A resposta correta é {}", ", pois o céu é azul."),
    ("A resposta correta é {}", ", pois não há outra."), ("Odpowiedź to {}", ", bo niebo jest niebieskie."),
    ("The answer is {}", ", see the legend."), ("The answer is {}", ", as A is too low."),
    ("Het juiste antwoord is {}", ", omdat de lucht blauw is."), ("정답은 {}입니다.", " 하늘이 파랗기 때문입니다."),
    ("正解は{}です。", "空が青いからです。"), ("答案是{}", "，因为天空是蓝色的。"),
    ("正确答案为{}", "。其他选项都是错误的。"),
    ("The answer is {}", " because the sky is so."), ("The answer is {}", ". Note that the picture is blurry."),
    ("Answer: {}", " (because of the sky)"), ("The correct answer is {}", ", given that the sky is clear."),
]  # fmt: skip


@each_case(("named", "reason"), NAMED)
def test_an_answer_is_named_with_its_reason_in_any_language(named: str, reason: str) -> None:
    for answer, reference in (("B", "B"), ("(B)", "B"), ("**B**", "B"), ("27", "27")):
        reply = named.format(answer) + reason
        assert same_answer(reply, reference), reply
        assert reference != "B" or same_answer(reply, reference, COLORS), reply
    for answer, reference in (("A", "B"), ("72", "27"), ("27/2", "27")):
        reply = named.format(answer) + reason
        assert not same_answer(reply, reference), reply
        assert not same_answer(reply, reference, COLORS), reply


@each_case(
    "reply",
    [
        "Odpowiedź to nie B.", "Doğru cevap B değil.", "Đáp án không phải là B.", "Jawabannya bukan B.",
        "Svaret är inte B.",
        "Det rigtige svar er ikke B.", "Oikea vastaus ei ole B.", "Správná odpověď není B.", "Răspunsul nu este B.",
        "Η απάντηση δεν είναι B.", "התשובה היא לא B.", "الإجابة ليست B.", "सही उत्तर B नहीं है।", "คำตอบไม่ใช่ B",
        "A válasz nem B.", "Відповідь не B.", "La risposta non è B.", "La respuesta no es B.",
        "Het antwoord is niet B.",
        "正解はBではない。", "정답은 B가 아닙니다.", "答案并非B", "答案可能是A，也可能是B", "Cevap A veya B",
        "Svaret är A eller B",
        "Odpowiedź: A lub B", "Jawabannya A atau B", "Đáp án là A hoặc B", "La réponse est A ou B.",
        "정답은 A 또는 B입니다",
        "The answer is B. That is wrong.", "The answer is B. B is wrong.", "The answer is B. Option B is incorrect.",
        "The answer is B. Wait, it is A.", "The answer is not B, it's hard to say.", "答案不是B，也不是C",
        "答案不是A也不是B", "答案并非A，也不是B", "La risposta non è A, ma nemmeno B.",
        "정답은 A가 아니고 B도 아닙니다.",
    ],
)  # fmt: skip
def test_an_answer_that_is_denied_or_one_of_two_is_not_given(reply: str) -> None:
    assert not same_answer(reply, "B")
    assert not same_answer(reply, "B", COLORS)


INSTEAD = [
    "应该选B而不选A", "答案并非A，而是B", "所以答案是B，不是A。",
    "A选项错误，C选项错误，D选项错误，故B正确", "A不正确，因此B正确。", "Die Antwort ist nicht A, sondern B.",
    "La respuesta no es A sino que es B.",
    "A resposta não é A, mas sim B.", "La risposta non è A, ma B.", "Het antwoord is niet A, maar B.",
    "Odpowiedź to nie A, lecz B.", "Svaret är inte A, utan B.", "Ответ не A, а B.", "Правильный ответ — не A, а B.",
    "答えはAではなくBです。", "正解はAではなく、Bです。", "정답은 A가 아니라 B입니다.", "답은 A가 아니고, B입니다.",
    "Cevap A değil, B.", "Đáp án không phải là A mà là B.", "Jawabannya bukan A, melainkan B.",
    "The answer is not A, it's B.", "The answer is not A; it is (B).", "The answer is A, I mean B.",
    "The answer is A, I meant (B).", "The answer is not A but B.", "Die Antwort ist nicht Rot, sondern B.",
]  # fmt: skip


@each_case("reply", INSTEAD)
def test_what_stands_in_the_place_of_a_denied_answer_is_the_answer(reply: str) -> None:
    assert [same_answer(reply, letter, COLORS) for letter in "BAC"] == [True, False, False]
    assert not same_answer(reply, "A")


REMARKS = [
    "Note that the sky is dark.", "Please note that I cannot zoom.", "I hope that helps.", "I hope this was helpful!",
    "Hope this helps!", "Let me know if you have questions.", "This is clear from the legend.",
    "That is what is shown.",
    "The other options do not fit.", "The other options are wrong.", "All other options are wrong.",
    "C is false.",
    "Confidence: 95%", "I am 95% sure.", "Thanks!", "However, the picture is blurry.", "Red does not appear.",
    "The car is red.", "Green is the grass.", "See step 3.", "Remember that the sky is B.",
]  # fmt: skip


@each_case("remark", REMARKS)
def test_a_remark_after_an_answer_changes_nothing(remark: str) -> None:
    for between, reference in product((" ", "\n\n"), ("B", "27")):
        for reply in (f"The answer is {reference}.{between}{remark}", f"**Answer: {reference}**\n{remark}"):
            assert same_answer(reply, reference), reply
            assert reference != "B" or same_answer(reply, "B", COLORS), reply
    assert not same_answer(f"The answer is A. {remark}", "B", COLORS)


@each_case(
    ("reply", "reference", "same"),
    [
        *((f"The answer is 5{how}.", "5", True) for how in (
            " by counting", " by the Pythagorean theorem", " after adding 3 and 2", ", considering that 2 are hidden",
            ", counting the 2 in the back", ", given the 12 bars", " including the 2 hidden ones", ", i.e. 3 + 2",
            ", that is 3 plus 2", ", see row 3", ", as can be seen in row 3", " from the 3-4-5 triangle",
            ", as 12 - 7 = 5",
        )),
        ("Result: 5 (because 12 - 7 = 5)", "5", True), ("5. Note that two are hidden.", "5", True),
        ("The answer is 5 by 3", "5", False), ("The answer is 5, as well as 6", "5", False),
        ("The answer is 5 from 12", "5", False), ("5 by 3 feet", "5", False),
        ("The answer is 5 as much as 3", "5", False), ("The answer is 5 by day and 6 by night", "5", False),
        ("The answer is 5 from one side and 6 from the other", "5", False),
        ("The answer is 6 because 5 are shown", "5", False),
        ("The answer is nu.", "nu", True), ("The answer is the boat by the pier.", "the boat by the pier", True),
        ("Thank you", "Thank you", True), ("It says Hope Street.", "Hope Street", True), ("Cevap: mavi", "mavi", True),
        ("A, C", "C", False), ("C", "A, C", False),
        ("The answer is red car on the left", "red", False), ("The answer is AND, NOT and OR gates", "AND", False),
        ("by car, bus and train", "bus and train", False), ("well water", "water", False), ("OK sign", "sign", False),
        ("Well, water", "water", True), ("In the picture, red and green", "red and green", True),
        *((reply, "3; 4; 5", same) for same, replies in (
            (True, ("The answer is 3; 4; 5", "3; 4; 5", "The roots are 5; 4; 3.", "3, 4, 5")),
            (False, ("3", "5", "The answer is 3; 4", "The answer is 3")),
        ) for reply in replies),
        ("3; 4; 5", "5", False), ("The answer is 3; 4; 5", "3", False), ("They are cat; dog; bird", "bird", False),
        ("It is 4; no, 5", "5", True), ("2 + 3 = 5; so 5", "5", True), ("5; the rest is 6", "5", True),
        *((f"The answer is 5; {remark}.", "5", True) for remark in ("others fail", "done", "very clear")),
        ("정답은 한국인", "한국", False), ("答えはからだ", "から", False), ("答えは赤だ", "赤", True),
    ],
)  # fmt: skip
def test_how_a_number_was_found_is_not_a_part_of_it(reply: str, reference: str, same: bool) -> None:
    assert same_answer(reply, reference) is same


BOTH = [
    "A, C", "A,C", "C, A", "A and C", "C and A", "AC", "CA", "(A)(C)", "(A), (C)", "(C) and (A)", "A & C", "A + C",
    "A; C",
    r"\boxed{A, C}", r"\boxed{AC}", r"\boxed{A} and \boxed{C}", "$A, C$", r"\boxed{\text{A, C}}", "Options A and C",
    "Option A and option C", "both A and C", "A and C only", "The answers are A and C.",
    "The correct choices are C and A",
    "答案是A和C", "故选AC。", "正确答案是A、C。", "Las respuestas correctas son A y C.", "La réponse est A et C.",
    "Ответ: A и C", "答えはAとCです。", "정답은 A, C입니다.", "A와 C", "<answer>AC</answer>",
    "A, C. Note that B is close.",
    "The answer is A, C, since both fit.", "- A\n- C", "A\nC", "A: red, C: green", "A. red and C. green",
    "(A) red, (C) green",
    "a, c", '```json\n{"answer": "A, C"}\n```', 'B is far.\n```\n{"reason": "B", "final_answer": "A, C"}\n```',
]  # fmt: skip
OTHERS = [
    "A", "C", "AB", "A, B", "A, B, C", "ABC", "A or C", "A/B", "A, A", "A/C?", "not A, C",
    "neither A nor C", "A and C are wrong.",
    "A, B and C",
    "A but not C",
    "A. blue and C. green", "",
]  # fmt: skip


@each_case("reference", ["A, C", "AC", "A and C", "(C)(A)", "A C", "C; A", "green and red"])
def test_several_choices_are_read_in_any_order_and_form(reference: str) -> None:
    for choices in (COLORS, tuple(f"{letter}. {color}" for letter, color in zip("ABCD", COLORS, strict=True))):
        wrong = [reply for reply in BOTH if not same_answer(reply, reference, choices)]
        wrong += [reply for reply in OTHERS if same_answer(reply, reference, choices)]
        assert not wrong
    assert choices_named(reference, COLORS) == {0, 2}
    assert is_unread("A or C", Key(reference, COLORS))
    assert not is_unread("A and D", Key(reference, COLORS))


@each_case(
    "reply",
    [
        "['A','C']", '["A", "C"]', "{'A', 'C'}", "['A. red', 'C. green']", "[A, C]", "{A, C}",
        "The answer is ['A', 'C'].",
        "A/C", "Answer: A / C", "a|c", "red/green", "A, A, C", "A, C, A", "A;C", "A und C", "A as well as C",
        "A and also C",
        "“A” and “C”", "«A», «C»", "'A' and 'C'", "A red, C green", "(A) red (C) green", "A (red), C (green)",
        "A, and C are both correct.",
    ],
)  # fmt: skip
def test_letters_are_read_as_lists_of_programs_and_with_their_contents(reply: str) -> None:
    assert choices_named(reply, COLORS) == {0, 2}
    assert same_answer(reply, "C, A", COLORS)


LENGTHS = ("8 cm", "12 cm", "15 cm", "20 cm")


@each_case(
    ("reply", "letter"),
    [
        *((reply, "B") for reply in (
            "B (12)", "(B) 12", "B. 12 cm", "B 12 cm", "B: 12", "12 cm (B)", "['B']", "['B. 12 cm']", "“B”", "B, B",
            "Option B (12 cm)",
        )),
        *((reply, None) for reply in (
            "A 12", "B 13", "B (15)", "A cat", "I", "A/E", "A or C", "N/A", "A 12 cm", "B 15 cm and C 12 cm",
            "A/B ratio",
        )),
    ],
)  # fmt: skip
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


@each_case(
    ("choices", "reply", "letter"),
    [
        *((("red", "green", "red and green"), reply, "C") for reply in (
            "The answer is red and green", "red and green", "It is red and green.", "The answer is green and red",
            "Answer: **red and green**", "The answer is A and B.", "(C) red and green",
        )),
        *((("cat", "dog", "both A and B", "neither A nor B"), reply, "C") for reply in (
            "The answer is both A and B", "A and B", "Both A and B are correct.", "C. both A and B",
        )),
        *((("rain", "sun", "wind", "rain, sun and wind"), reply, "D") for reply in (
            "The answer is rain, sun and wind.", "rain, sun and wind", "Answer: sun, rain, and wind",
            "It shows rain, sun and wind.",
        )),
        (("rot", "grün", "rot und grün"), "Die Antwort ist rot und grün.", "C"),
        (("1", "2", "1, 2"), "It is 1, 2.", "C"),
        (("rouge", "vert", "rouge et vert"), "La bonne réponse est rouge et vert.", "C"),
        (("红", "绿", "红和绿"), "答案是红和绿。", "C"), (("赤", "緑", "赤と緑"), "答えは赤と緑です。", "C"),
        (("rojo", "verde", "rojo y verde"), "La respuesta es rojo y verde.", "C"),
        (("猫", "狗", "A和B"), "答案是A和B", "C"),
        (("I", "II", "I and II"), "The answer is I and II.", "C"), (("I", "II", "I and II"), "The answer is C.", "C"),
        (("x", "y", "x + y"), "The answer is x + y", "C"),
        (("red", "green", "red and green"), "The answer is red", "A"),
        (("cat", "dog", "both A and B", "neither A nor B"), "neither A nor B", "D"),
    ],
)  # fmt: skip
def test_a_choice_may_be_several_others(choices: tuple[str, ...], reply: str, letter: str) -> None:
    assert extract(reply, choices) == letter
    assert [same_answer(reply, each, choices) for each in "ABCD"] == [each == letter for each in "ABCD"]


@each_case(
    ("answer", "reference", "choices", "same"),
    [
        ("AC", "AC", ("AB", "AC", "BC"), True), ("CA", "AC", ("AB", "AC", "BC"), False),
        ("B", "AC", ("AB", "AC", "BC"), True),
        ("A and B", "D", ("red", "blue", "green", "A and B"), True),
        ("D", "A and B", ("red", "blue", "green", "A and B"), True),
        ("A;C", "C", COLORS, False), ("red and green", "green", COLORS, False), ("ACE", "A, C", COLORS, False),
        ("AB", "BA", (), False), ("CAB", "ACB", (), False), ("The answer is CAB", "ACB", (), False),
        ("BCD", "B, C, D", (), False),
        ("(A)(C)", "A and C", (), True), ("C & A", "A, C", (), True), ("options A, C", "C and A", (), True),
        ("A", "A, C", (), False), ("A, B", "A, C", (), False),
        # of choices that are not known, the order counts in brackets and between arrows alone
        *((reply, "A, B, C", (), True) for reply in (
            "C, B, A", "A, C, B", "B A C", "(A)(C)(B)", "Options B, A, C", r"\boxed{C, B, A}", "答案是B、A、C",
            "答えはC、B、Aです", "Die Antwort ist B, A und C.", "La réponse est C, B et A.", "La respuesta es C, B y A",
        )),
        ("(C, B, A)", "A, B, C", (), False), ("C -> B -> A", "A, B, C", (), False),
        *((reply, "C, A, B", (), True) for reply in (
            "C A B", "(C)(A)(B)", "C; A; B", "The answer is C, A, B.", "C, A and B", "答案是C、A、B",
            "答えはC、A、Bです", "Die Antwort ist C, A und B.", "La réponse est C, A et B.", "La respuesta es C, A y B",
            "1. C\n2. A\n3. B",
        )),
        ("(B, A)", "(A, B)", (), False), ("B, A", "(A, B)", (), False), ("C -> B -> A", "A -> B -> C", (), False),
        ("X, Y, Z", "Z, Y, X", (), True), ("K, As, Fe", "K", (), False), ("P, Q", "Q, P", (), True),
        ("C", "C -> B -> A", (), False), ("B and A", "A, B", (), True), ("{c, b, a}", "{a, b, c}", (), True),
    ],
)  # fmt: skip
def test_letters_that_are_names_of_things_are_no_list(
    answer: str, reference: str, choices: tuple[str, ...], same: bool
) -> None:
    assert same_answer(answer, reference, choices) is same
