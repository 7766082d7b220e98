"""The report: that it says what was counted, leads to the traces, and lets nothing foreign act."""

import base64
import hashlib
import re
import unicodedata
from collections.abc import Mapping
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import get_args
from urllib.parse import unquote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from reported import NONE, RIGHT, UNSAID, WRONG, outcomes, result, summary_of
from support.parsed import HOSTILE, Page

from virc.evaluation.pages import figures
from virc.evaluation.pages.figures import in_words
from virc.evaluation.pages.report import render
from virc.evaluation.rewarded import Gap, Mean, Rewarded
from virc.evaluation.statistics import wilson
from virc.evaluation.summary import Answered, Reported, Result, Summary, share
from virc.reasoning.protocol import own_protocol
from virc.reasoning.session import Reply, Session
from virc.solving.ablation import CropAblation
from virc.solving.rows import file_name
from virc.solving.traces.files import write_trace
from virc.tools import registry as tools


class Tables(HTMLParser):
    """Every table: its caption and its rows, each with its attributes and cells of (tag, class, text, link)."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, list[tuple[dict[str, str | None], list[list[str]]]]]] = []
        self.inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if tag == "table":
            self.found.append(("", []))
        elif tag == "caption":
            self.inside = tag
        elif tag == "tr":
            self.found[-1][1].append((known, []))
        elif tag in ("td", "th"):
            self.inside = tag
            self.found[-1][1][-1][1].append([tag, known.get("class") or "", "", ""])
        elif tag == "a" and self.inside in ("td", "th"):
            self.found[-1][1][-1][1][-1][3] = known["href"] or ""
        elif tag == "svg" and self.inside == "td":
            self.found[-1][1][-1][1][-1][2] += f"[{known['aria-label']}]"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "caption"):
            self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "caption":
            caption, rows = self.found[-1]
            self.found[-1] = (caption + data, rows)
        elif self.inside:
            self.found[-1][1][-1][1][-1][2] += data

    def rows(self, caption: str) -> list[list[str]]:
        """The texts of a table's rows."""
        rows = next(rows for name, rows in self.found if name.startswith(caption))
        return [[cell[2] for cell in cells] for _, cells in rows]

    @property
    def problems(self) -> list[tuple[dict[str, str | None], list[list[str]]]]:
        """The rows of the list of problems."""
        return self.found[[name for name, _ in self.found].index("Every answer with a trace is a link to it.")][1][1:]


def page_of(*lines: str, names: tuple[str, ...] = ("one", "other")) -> str:
    results = outcomes(*lines, names=names)
    return render(summary_of(results, *names), results)


def test_each_model_stands_with_its_share_interval_counts_deciders_and_means() -> None:
    tables = Tables(page_of("rr", "rw", "rn", "ru", "rf", "wr"))
    assert tables.rows("Share of right answers") == [
        ["Model", "050100%", "Right", "Undecided", "Unread", "Problems"],
        ["one", "[83.3%, 95 % interval 43.6% to 97.0%]", "83.3%43.6% to 97.0%", "0", "0", "5 of 6"],
        ["other", "[40.0% to 60.0%, 95 % interval 11.8% to 88.2%]", "40.0% to 60.0%11.8% to 88.2%, 1 undecided",
         "1", "0", "2 of 5"],
    ]  # fmt: skip
    assert tables.rows("What became of the problems")[2:] == [
        ["one", "0", "0", "5", "0", "1", "2.7", "1.7", "3.0", "1.3", "900", "107"],
        ["other", "1", "1", "2", "0", "1", "2.6", "1.6", "3.0", "1.4", "900", "93"],
    ]


def test_figures_are_short_and_axes_hold_all_of_them() -> None:
    assert figures.short("x" * 48) == "x" * 48
    assert figures.short("a" + "b" * 48) == "…" + "b" * 47
    assert [figures.points(each) for each in (-0.0004, -0.125, 0.3)] == ["0.0", "−12.5", "+30.0"]
    gaps = (Gap(None, None, 0), Gap(-0.5, None, 2), Gap(0.25, (-0.125, 0.5), 9))
    assert [figures.signed(each) for each in gaps] == ["-", "-0.500", "+0.250 (-0.125 to +0.500)"]
    means = [Mean(1.5, (1.25, 1.75), 3, 0, 0), Mean(None, None, 0, 1, 0), Mean(-0.5, None, 1, 0, 0)]
    assert (figures.axis_of(means), figures.axis_of([])) == ((-0.5, 1.75), (0, 1))
    assert figures.on_axis(0.5, (-1, 1)) == 75
    (pair,) = summary_of(outcomes("rw"), "one", "other").pairs
    ends = [(-0.12, 0.03), (0.0, 0.55), (-1.0, 0.2), (0.0, 0.0)]
    reached = [figures.reach([msgspec.structs.replace(pair, interval=each)]) for each in ends]
    assert [*reached, figures.reach([])] == pytest.approx([0.15, 0.55, 1.0, 0.05, 0.05])
    bounds = ((0.5, 0.5), (-0.25, 0.5))
    gained = [figures.gained(msgspec.structs.replace(pair, bounds=each)) for each in bounds]
    assert gained == ["+50.0", "−25.0 to +50.0"]
    assert [figures.unread(share(each)) for each in ([True, False, False, False], [False])] == ["1 (25.0%)", "0"]
    assert [figures.chance(each) for each in (0.0009, 0.001, 0.25)] == ["< 0.001", "0.001", "0.250"]
    assert (share([]).share, share([True, False, False]).interval) == (0, wilson(1, 3))


def test_a_page_has_the_filters_and_widths_of_its_models() -> None:
    one, several = page_of("r", "w", names=("one",)), page_of("rrwr", "wwww", names=tuple("abcd"))
    assert ("wrong by any" in one, "wrong by any" in several) == (False, True)
    assert ("--short: 15.000%" in one, "--short: 10.000%" in several) == (True, True)
    results = outcomes("r", names=("one",))
    summary = summary_of(results, "one")
    model = msgspec.structs.replace(summary.models[0], settings={"max_turns": None, "samples": 77})
    text = Page(render(msgspec.structs.replace(summary, models=[model]), results)).text.lower().replace("_", " ")
    assert ("77" in text, "max turns" in text) == (True, False)


def test_undecided_answers_are_pale_behind_the_right_ones() -> None:
    text = page_of("r", "u", "w", "w", names=("one",))
    assert '<rect class="share" width="25.00" height="8"/><rect class="maybe" x="25.00" width="25.00"' in text


def test_metrics_of_a_benchmark_have_a_row_for_each_model() -> None:
    answers = {name: msgspec.structs.replace(RIGHT, measured=share) for name, share in (("one", 0.25), ("other", 0.75))}
    plain = result("a", {"one": RIGHT, "other": WRONG})
    results = [plain, msgspec.structs.replace(result("b", answers), metric="anls")]
    tables = Tables(render(summary_of(results, "one", "other"), results))
    assert tables.rows("Answers as the benchmark measures them") == [
        ["Metric", "Model", "Mean", "Problems"], ["anls", "one", "25.0%", "1"], ["anls", "other", "75.0%", "1"],
    ]  # fmt: skip
    assert "as the benchmark measures" not in render(summary_of([plain], "one", "other"), [plain])


@pytest.mark.parametrize("ablation", [each for each in get_args(CropAblation) if each != "none"])
def test_every_crop_ablation_is_said_in_words(ablation: CropAblation) -> None:
    results = outcomes("rw")
    pages = [
        render(msgspec.structs.replace(summary_of(results, "one"), crop_ablation=each), results)
        for each in (ablation, "none")
    ]
    before, after = (page.partition('class="byline">')[2].partition("</p>")[0] for page in pages)
    assert before.startswith(f"{after} · ")


def test_what_nobody_knows_is_said_so() -> None:
    unknown = msgspec.structs.replace(RIGHT, tokens=None)
    results = [result("a", {"one": unknown})]
    assert Tables(render(summary_of(results, "one"), results)).rows("What became")[-1][-1] == "not known"
    failed = Tables(page_of("f", "f", names=("one",)))
    assert failed.rows("Share of right answers")[1] == ["one", "", "not known", "0", "0", "0 of 0"]


@pytest.mark.parametrize(
    ("interval", "difference", "p", "shown"),
    [
        ((0.034, 0.1349), 0.085, 0.0019, ["+8.5+3.4 to +13.5", "0.002", "0 is outside"]),
        ((-0.545, 0.545), 0.0, 1.0, ["0.0−54.5 to +54.5", "1.000", "0 is inside"]),
        ((-0.86, -0.00004), -0.75, 0.0002, ["−75.0−86.0 to 0.0", "< 0.001", "0 is outside"]),
        ((0.0, 0.2), 0.1, 0.06, ["+10.00.0 to +20.0", "0.060", "0 is inside"]),
    ],
)
def test_pair_stands_with_difference_interval_and_whether_it_includes_none(
    interval: tuple[float, float], difference: float, p: float, shown: list[str]
) -> None:
    results = outcomes("rw", "rr")
    summary = summary_of(results, "one", "other")
    pair = msgspec.structs.replace(summary.pairs[0], interval=interval, bounds=(difference, difference), p=p)
    text = render(msgspec.structs.replace(summary, pairs=[pair]), results)
    row = Tables(text).rows("Share of the first less")[1]
    assert row[:2] == ["one", "other"]
    assert [*row[3:5], row[2].partition(": ")[2][:-1]] == shown
    assert row[5:] == ["18", "0", "2", "120 against 80", "1.5 against 1.0"]
    assert ('class="gap open"' in text) == (shown[2] == "0 is inside")


def test_shares_and_differences_are_drawn_where_they_lie() -> None:
    results = outcomes(*["rw"] * 8, "rr", "rr")
    summary = summary_of(results, "one", "other")
    pair = msgspec.structs.replace(summary.pairs[0], interval=(0.3, 0.91), bounds=(0.8, 0.8))
    text = render(msgspec.structs.replace(summary, pairs=[pair]), results)
    assert '<rect class="share" width="20.00" height="8"/>' in text  # of the other
    shares = re.findall(r'class="span" d="M([\d.]+) 4H([\d.]+)', text)
    assert shares[1] == ("5.67", "50.98")
    assert "<span>−95</span><span>0</span><span>+95</span>" in text
    assert [float(end) for end in shares[2]] == pytest.approx([50 + 50 * at / 0.95 for at in (0.3, 0.91)], abs=0.01)
    place = f"{50 + 50 * 0.8 / 0.95:.2f}"
    assert f'class="point" d="M{place} 4H{place}"' in text


def test_problems_that_one_alone_solves_lead_to_their_rows() -> None:
    text = page_of("rw", "wr", "rn", "rr", "ru", "ww")
    lists = re.findall(r"<details><summary>(.*?)</summary><p>(.*?)</p></details>", text)
    assert [Page(summary).text for summary, _ in lists] == [
        "one is right and other is not: 2 problems",
        "other is right and one is not: 1 problem",
    ]
    rows = {row[0]["id"]: row[1][0][2] for row in Tables(text).problems}
    links = [re.findall(r'<a href="#(p\d+)">(\d+)</a>', ids) for _, ids in lists]
    assert [[shown for _, shown in each] for each in links] == [["1", "3"], ["2"]]
    assert all(rows[place] == shown for each in links for place, shown in each)


def test_parts_of_every_division_stand_with_each_models_share() -> None:
    wide: Mapping[str, tuple[str, ...]] = {"task": ("geometry",), "skills": ("algebra", "reading")}
    results = [
        result(1, {"one": RIGHT, "other": WRONG}, categories=wide),
        result(2, {"one": WRONG}, categories={"task": ("charts",)}),
    ]
    others = [*results, result(3, {"other": RIGHT}, categories={"task": ("maps",)})]
    parts = Tables(render(summary_of(others, "one", "other"), others)).rows("task")
    assert [row[0] for row in parts] == ["Part", "charts", "geometry", "maps"]  # the last is of the second model alone
    tables = Tables(render(summary_of(results, "one", "other"), results))
    assert tables.rows("task") == [
        ["Part", "one", "other"],
        ["charts", "[0.0%, 95 % interval 0.0% to 79.3%]0.0%0 of 1", "not known"],
        ["geometry", "[100.0%, 95 % interval 20.7% to 100.0%]100.0%1 of 1",
         "[0.0%, 95 % interval 0.0% to 79.3%]0.0%0 of 1"],
    ]  # fmt: skip
    assert [row[0] for row in tables.rows("skills")] == ["Part", "algebra", "reading"]


def test_published_figures_and_settings_stand_beside_ours() -> None:
    results = outcomes("rr", "rw")
    summary = summary_of(results, "one", "other")
    ours = summary.models[0].score
    against = [
        Reported("one", "7b", "their table 1", 0.745, ours, {"max_pixels": (4014080, None)}),
        Reported("one", "3b", "their table 1", None, ours, {}),
    ]
    text = render(msgspec.structs.replace(summary, against=against), results)
    rows = Tables(text).rows("Our share")
    assert [row[3:] for row in rows[1:]] == [
        ["74.5%", "7btheir table 1", "max pixels: 4014080, not known"],
        ["not known", "3btheir table 1", ""],
    ]
    assert text.count('<path class="theirs" d="M74.50 0V8"/>') == 1
    settings = Tables(text).rows("What each model was asked with")
    assert ["chat protocol", "own", "own"] in settings
    assert ["sampling", "temperature 0", "temperature 0"] in settings


def test_sections_without_anything_to_show_are_left_out() -> None:
    page = Page(page_of("r", "w", names=("one",)))
    assert [data for tag, data in page.texts if tag == "h2" and data.strip()] == [
        "Accuracy", "Categories", "Problems", "Settings",
    ]  # fmt: skip
    empty = Page(render(summary_of([]), []))
    assert "0 problems · 0 models" in empty.text


def test_list_says_of_every_model_what_it_made_of_every_problem() -> None:
    results = [
        result("a", {"one": RIGHT, "other": WRONG}, question=r"What is $\angle B$ in $\frac{1}{2}$?"),
        result("b", {"one": NONE, "other": UNSAID}),
        result("c", {"one": msgspec.structs.replace(NONE, reason=None)}),
    ]
    rows = [
        [(cell[1], cell[2]) for cell in cells]
        for _, cells in Tables(render(summary_of(results, "one", "other"), results)).problems
    ]
    assert rows == [
        [("", "a"), ("", r"What is $\angle B$ in $\frac{1}{2}$?"), ("", "4"),
         ("r", "right: 4"), ("w", "wrong: 5 judge")],
        [("", "b"), ("", "How many?"), ("", "4"),
         ("n", "no answer: turn 4 got no usable reply in 4 tries"), ("u", "undecided: four")],
        [("", "c"), ("", "How many?"), ("", "4"), ("n", "no answer: no answer"), ("f", "missing")],
    ]  # fmt: skip


HOLDS = {
    "all": lambda kinds: True,
    "wrong": lambda kinds: bool({"w", "n"} & set(kinds)),
    "hard": lambda kinds: set(kinds) <= {"w", "n"},
    "only0": lambda kinds: kinds[0] == "r" and set(kinds[1:]) <= {"w", "n"},
    "only1": lambda kinds: kinds[1] == "r" and set(kinds[0] + kinds[2:]) <= {"w", "n"},
    "only2": lambda kinds: kinds[2] == "r" and set(kinds[:2]) <= {"w", "n"},
    "open": lambda kinds: bool({"u", "f"} & set(kinds)),
}


def test_filters_choose_and_count_the_problems_they_name() -> None:
    lines = ["".join(kinds) for kinds in product("rwnuf", repeat=3)]
    text = page_of(*lines, names=("one", "other", "third"))
    shown = dict(re.findall(r'<label for="(\w+)" dir="auto">[^<]*<span>(\d+)</span>', text))
    rows = Tables(text).problems
    for key, holds in HOLDS.items():
        expected = [holds(kinds) for kinds in lines]
        assert shown[key] == str(sum(expected))
        if key != "all":
            assert [key in (row["class"] or "").split() if "class" in row else False for row, _ in rows] == expected
            assert f"body:has(#{key}:checked) .list tbody tr:not(.{key}, :target) {{ display: none; }}" in text
    assert shown.keys() == HOLDS.keys()
    assert re.findall(r'id="(\w+)"[^>]* checked', text) == ["wrong"]


def test_one_model_has_no_filters_between_models_and_all_is_shown_where_none_is_wrong() -> None:
    assert re.findall(r'<label for="(\w+)"', page_of("r", "w", names=("one",))) == ["all", "wrong"]
    text = page_of("rr", "rr")
    assert re.findall(r'id="(\w+)"[^>]* checked', text) == ["all"]
    assert re.findall(r'<label for="(\w+)"', text) == ["all"]


def _trace(folder: Path) -> None:
    protocol = own_protocol(tools.schemas(["crop_image"]))
    running = Session(protocol, "How many?", [Image.new("RGB", (56, 56))], tools=tools.known())
    running.feed(Reply("<think>I count.</think><answer>5</answer>"))
    write_trace(folder, running.trace(), running.images, {})


def test_every_wrong_answer_opens_as_its_trace_whatever_it_is_called(tmp_path: Path) -> None:
    names = ("org/model@100%", "https://host/a b?c#d", "plain")
    results = []
    for id in ("1", "../up", "a b#c?d&e%2F", "ä∠\u202e", 7):
        answers = {}
        for name in names:
            trace = f"traces/{file_name(name)}/{file_name(str(id))}"
            _trace(tmp_path / trace)
            answers[name] = msgspec.structs.replace(WRONG, trace=trace)
        results.append(result(id, answers))
    (tmp_path / "report.html").write_text(render(summary_of(results, *names), results), "utf-8")
    rows = Tables((tmp_path / "report.html").read_text("utf-8")).problems
    links = [cell[3] for _, cells in rows for cell in cells[3:]]
    pages = {(tmp_path / unquote(link)).resolve(strict=True) for link in links}
    assert len(links) == len(pages) == 15
    assert all(page.is_file() and page.is_relative_to(tmp_path / "traces") for page in pages)
    assert all(link.startswith("./traces/") and not set("?# ") & set(link) for link in links)


@pytest.mark.parametrize("trace", ["javascript:alert(1)", "//host/x", "\\\\host\\x", 'a"b', "\ud800", "a?b#c"])
def test_link_leads_nowhere_but_below_the_page(trace: str) -> None:
    results = [result(1, {"one": msgspec.structs.replace(WRONG, trace=trace)})]
    link = Tables(render(summary_of(results, "one"), results)).problems[0][1][3][3]
    assert re.fullmatch(r"\./[\w/%.-]+/index\.html", link)
    assert unquote(link, errors="surrogatepass") == f"./{trace}/index.html"


def test_page_runs_and_loads_nothing_and_forbids_it() -> None:
    page = Page(page_of("rw", "wr", "nr"))
    policy = next(
        found["content"] or "" for found in page.all("meta") if "Content-Security" in (found.get("http-equiv") or "")
    )
    style = next(data for tag, data in page.texts if tag == "style")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.split("; ") == [
        "default-src 'none'", f"style-src 'sha256-{digest}'", "base-uri 'none'", "form-action 'none'",
    ]  # fmt: skip
    assert not {"script", "link", "iframe", "object", "form", "img"} & {tag for tag, _ in page.elements}
    attributes = [(name, value or "") for _, found in page.elements for name, value in found.items()]
    assert not [name for name, _ in attributes if name.startswith("on") or name in ("style", "src")]
    assert all(re.match(r"#p\d+$|\./traces/|problems\.html$", value) for name, value in attributes if name == "href")
    assert "url(" not in style
    assert "@import" not in style
    assert "//" not in style


def test_tables_are_named_and_their_heads_say_what_they_are_of() -> None:
    text = page_of("rw", "wr", "nu", "rf")
    page = Page(text)
    assert all(name for name, _ in Tables(text).found)
    assert len(page.all("caption")) == len(page.all("table")) == 7
    assert {found.get("scope") for found in page.all("th")} == {"col", "row", "colgroup"}
    drawn = [found for tag, found in page.elements if tag == "svg"]
    assert all(found["role"] == "img" and "interval" in (found["aria-label"] or "") for found in drawn)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert levels == [1, 2, 2, 2, 2, 2]
    ids = [found["id"] for _, found in page.elements if "id" in found]
    assert len(ids) == len(set(ids))
    used = [found[key] for _, found in page.elements for key in ("for", "aria-labelledby") if key in found]
    assert set(used) <= set(ids)


def _everywhere(words: str) -> tuple[Summary, list[Result]]:
    """An evaluation in which these words stand wherever others write."""
    answered = Answered(words, False, "rule", trace="t", rewarded=Rewarded(1.0, {f"t {words}": 1.0}))
    names = (f"one {words}", f"other {words}")
    categories: Mapping[str, tuple[str, ...]] = {f"d {words}": (f"p {words}",)}
    results = [
        Result(f"a {words}", words, f"k {words}", categories, {names[0]: RIGHT, names[1]: answered}),
        Result(f"b {words}", words, f"k {words}", {}, {names[1]: Answered(None, False, reason=f"r {words}")}),
    ]
    summary = summary_of(results, *names, benchmark=f"b {words}")
    settings = {"k": words, "deep": {"k": [words]}}
    reported = Reported(words, words, words, 0.5, summary.models[0].score, {f"s {words}": (words, [words])})
    models = [msgspec.structs.replace(each, settings=settings, protocol=f"w {words}") for each in summary.models]
    return msgspec.structs.replace(summary, models=models, against=[reported]), results


def _skeleton(text: str) -> list[tuple[str, dict[str, str | None]]]:
    """The elements without what depends on the words: policies, labels, and the marks of another direction."""
    return [
        (tag, {name: value for name, value in found.items() if name not in ("aria-label", "content", "title")})
        for tag, found in Page(text).skeleton
        if tag != "bdi"
    ]


SKELETON = _skeleton(render(*_everywhere("harmless")))


def test_hostile_text_stays_text_wherever_it_stands() -> None:
    text = render(*_everywhere(HOSTILE[:36]))
    assert _skeleton(text) == SKELETON
    text = render(*_everywhere("\u202e\"'><script>\u0007"))
    assert _skeleton(text) == SKELETON
    assert "U+202E\"'><script>U+0007" in Page(text).text


@pytest.mark.integration
@given(st.text(st.characters(), max_size=30))
def test_any_text_keeps_the_page_in_shape_and_hides_nothing(words: str) -> None:
    text = render(*_everywhere(words))
    assert _skeleton(text) == SKELETON
    odd = {mark for mark in text if unicodedata.category(mark) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    assert odd <= set("\n\t\u200c\u200d")
    text.encode("utf-8")


def test_long_texts_are_cut_with_a_note_of_their_length() -> None:
    words = "9" * 100_000
    text = render(*_everywhere(words))
    assert len(text) < 60_000
    assert "99… cut: 100,000 characters" in Page(text).text
    assert max(map(len, re.findall("9+", text))) <= 400


@pytest.mark.integration
def test_ten_thousand_problems_stay_one_small_page() -> None:
    question = "In triangle ABC, AB = AC and the angle at A is 40 degrees. What is the measure of the angle at B?"
    names = ("one", "other")
    kinds = [(RIGHT, RIGHT), (RIGHT, WRONG), (WRONG, RIGHT), (NONE, WRONG)]
    results = [result(f"crux-{at:05}", dict(zip(names, kinds[at % 4], strict=True)), question) for at in range(10_000)]
    text = render(summary_of(results, *names), results)
    assert len(Tables(text).problems) == 10_000
    assert len(text) < 6e6


def test_words_of_another_direction_turn_nothing_around() -> None:
    answers = {"one": msgspec.structs.replace(WRONG, answer="زاوية 5"), "other": WRONG}
    text = render(summary_of([result("א1", answers)], "one", "other"), [result("א1", answers)])
    assert '<th scope="row"><bdi>א1</bdi></th>' in text
    assert '/index.html"><bdi>زاوية 5</bdi></a> <small>judge</small>' in text
    assert '/index.html">5</a> <small>judge</small>' in text


def test_a_term_that_could_not_be_had_is_told_from_one_that_does_not_apply() -> None:
    rewarded = Rewarded(1.4, {"right": 1.0, "near": None, "box": None}, {"box": "the row has none"})
    assert in_words(rewarded) == "1.400 (right 1.000, near -, box ?)"
    assert in_words(Rewarded(None, {}, {"total": "no judge"})) == "? ()"
