"""Benchmarks are found by name, folder or file, and their problems are those that were published."""

import json
import math
import subprocess
import sys
from contextlib import nullcontext
from functools import partial
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from evaluation.published import choice, figure, mathvista, mathvista_json, picture, search, vstar, vstar_parquet
from PIL import Image, ImageChops
from support.called import virc
from support.solving import open_source
from support.stand_ins import stand_in

from virc.core.errors import ConfigError, DataError, SetupError, UsageError, VircError
from virc.core.extras import install
from virc.data.synth.families import polygons as drawn
from virc.download.benchmarks import HUB_IDS
from virc.evaluation.benchmarks import diagrams, out_of_distribution
from virc.evaluation.benchmarks import registry as benchmarks
from virc.evaluation.benchmarks.registry import Benchmark, LocalBenchmark, category_of, find
from virc.evaluation.problems import problems_of
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.images import open_image
from virc.scoring.score import key_of, score
from virc.solving.rows import Row

MODULES: list[Benchmark] = [benchmarks.known()[name] for name in benchmarks.names()]
HEAVY = {"PIL", "matplotlib", "numpy", "pyarrow", "torch", "openai", "yaml"}


def good(found: LocalBenchmark) -> list[Row]:
    """The rows of a benchmark, each of which can be asked, shown and put into a table; read twice alike."""
    rows = list(found.rows())
    assert [row.fault for row in rows if row.fault] == []
    assert len({str(row.id) for row in rows}) == len(rows)
    assert [row.line for row in rows] == list(range(1, len(rows) + 1))
    for row in rows:
        assert all(open_source(image, found.base).mode == "RGB" for image in row.images)
        assert category_of(row.passed)
        assert row.passed["answer"]
    assert [(row.id, row.digest) for row in found.rows()] == [(row.id, row.digest) for row in rows]
    return rows


def shades(found: LocalBenchmark) -> list[int]:
    """The grey of the one image of each row."""
    pixels = [open_source(row.images[0], found.base).getpixel((5, 5)) for row in found.rows()]
    return [pixel[0] for pixel in pixels if isinstance(pixel, tuple)]


def test_a_benchmark_is_called_as_its_file() -> None:
    assert [module.NAME for module in MODULES] == benchmarks.names() == list(HUB_IDS) == [*benchmarks.known()]
    assert all(benchmarks.known()[module.NAME] is module for module in MODULES)


def test_nothing_heavy_is_imported_to_find_one() -> None:
    probe = (
        "import sys; from pathlib import Path; from virc.evaluation.benchmarks import registry as b; "
        "b.find('diagrams', Path());"
        f"print(*sorted({HEAVY} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [], "")


def test_diagrams_are_those_the_embedded_model_was_measured_on(tmp_path: Path) -> None:
    card = json.loads((EMBEDDED_FOLDER / "measured.json").read_text())
    assert (card["seed"], card["tools"]["of"]) == (diagrams.SEED, diagrams.COUNT)
    known = islice(diagrams.heldout(), 8)
    found = find("diagrams", tmp_path)
    for row, diagram in zip(found.rows(), known, strict=False):
        assert diagram.split() == "heldout"
        assert (row.fault, row.passed["question"], row.passed["answer"]) == (
            None,
            diagram.question,
            str(diagram.answer),
        )
        image = open_source(row.images[0], found.base)
        assert ImageChops.difference(image, drawn.draw(diagram)).getbbox() is None
        assert row.passed["category"]["sides"] == f"{len(diagram.corners)} sides"
        assert (row.passed["category"]["angle"] == "printed") == (
            diagram.corners[diagram.asked].printed == row.passed["answer"]
        )
    first = list(islice(found.rows(), 8))
    assert [row.id for row in first][::7] == ["diagram-001", "diagram-008"]
    assert first == list(islice(found.rows(), 8))


def test_there_are_500_diagrams_drawn_when_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert diagrams.COUNT == 500
    made: list[drawn.Diagram] = []
    draw = drawn.draw

    def counted(diagram: drawn.Diagram) -> Image.Image:
        made.append(diagram)
        return draw(diagram)

    monkeypatch.setattr(drawn, "draw", counted)
    monkeypatch.setattr(diagrams, "COUNT", 50)  # all of them would take seconds
    rows = find("diagrams", Path()).rows()
    assert made == []
    next(rows)
    assert len(made) == 1
    ids = {row.id for row in rows}
    assert len(ids) == 49
    assert len(made) == 50


@pytest.mark.integration
def test_out_of_distribution_pictures_are_drawn_alike_of_every_kind_and_to_be_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(out_of_distribution, "COUNT", 12)  # all of them would take seconds
    rows = good(find("out-of-distribution", Path()))
    assert len(rows) == 12
    assert {row.passed["category"]["kind"] for row in rows} == {"chart", "page", "texture", "static"}
    assert all(key_of(row.passed).is_refusal for row in rows)


def test_pictures_of_noise_are_to_be_refused_and_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, {"matplotlib.figure": {}})  # which draws the other kinds
    kinds = {name: each for name, each in out_of_distribution._KINDS.items() if name in ("static", "texture")}
    monkeypatch.setattr(out_of_distribution, "_KINDS", kinds)
    monkeypatch.setattr(out_of_distribution, "COUNT", 4)
    rows, again = (good(find("out-of-distribution", Path())) for _ in range(2))
    assert [row.images for row in rows] == [row.images for row in again]
    assert len({row.id for row in rows}) == len({str(row.images) for row in rows}) == 4
    assert {row.passed["category"]["kind"] for row in rows} == set(kinds)
    assert all(key_of(row.passed).is_refusal for row in rows)
    assert {row.question for row in rows} <= set(out_of_distribution.QUESTIONS)


def test_out_of_distribution_pictures_without_matplotlib_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SetupError, match="need the extra plot") as caught:
        find("out-of-distribution", Path()).rows()
    assert caught.value.hint == install("plot")


@pytest.mark.parametrize("name", ["mathvista", "MathVista", "AI4Math/MathVista"])
@pytest.mark.parametrize("folder", ["mathvista", "MathVista", "MATH-Vista"])
def test_a_benchmark_is_found_in_the_data_of_the_workspace(tmp_path: Path, name: str, folder: str) -> None:
    mathvista(tmp_path / "data" / folder, [figure("1")])
    (tmp_path / "data" / "MATH VISTA").touch()
    found = find(name, tmp_path)
    assert (found.name, found.base) == ("mathvista", tmp_path / "data" / folder)
    assert [row.id for row in good(found)] == ["1"]


def test_a_folder_with_the_name_of_a_benchmark_may_lie_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mathvista(tmp_path / "MathVista", [figure("1")])
    vstar(tmp_path / "vstar_bench", [search(0)])
    assert find(str(tmp_path / "MathVista"), Path()).name == "mathvista"
    assert find(str(tmp_path / "vstar_bench"), Path()).name == "vstar"
    monkeypatch.chdir(tmp_path / "MathVista")
    assert find(".", Path()).name == "mathvista"


@pytest.mark.parametrize(
    ("name", "split", "kind", "message", "hint"),
    [
        ("mathvista", None, ConfigError, "not on this machine",
         "virc download eval mathvista"),
        ("vstar", None, ConfigError, "not on this machine",
         "virc download eval vstar"),
        ("mathvist", None, ConfigError, "there is no benchmark mathvist", "did you mean 'mathvista'?"),
        ("xyz", None, ConfigError, "there is no benchmark xyz",
         f"benchmarks are {', '.join(benchmarks.names())}; or name a JSONL file"),
        ("\x1b[2J", None, ConfigError, "there is no benchmark [2J", "benchmarks are"),
        ("some/where", None, DataError, "there is no file some/where", "benchmarks are"),
        ("mine.jsonl", None, DataError, "there is no file mine.jsonl", "benchmarks are"),
        ("a\0.jsonl", None, DataError, "there is no file a .jsonl", "benchmarks are"),
        ("-", None, UsageError, "read more than once", "name a file"),
        ("diagrams", "test", UsageError, "diagrams has no splits", "leave --split out"),
    ],
)  # fmt: skip
def test_what_is_not_there_says_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    split: str | None,
    kind: type[VircError],
    message: str,
    hint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=message.replace("[", r"\[")) as caught:
        find(name, tmp_path, split)
    assert hint in (caught.value.hint or "")


def test_a_split_that_is_none_names_the_nearest(tmp_path: Path) -> None:
    mathvista(tmp_path / "data" / "mathvista", [figure("1")])
    with pytest.raises(UsageError, match="mathvista has no split testmin") as caught:
        find("mathvista", tmp_path, "testmin")
    assert caught.value.hint == "did you mean 'testmini'?"


def test_a_file_of_ones_own_is_a_benchmark(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(7, "PNG"))
    row = {"id": 1, "image": "a.png", "question": "What?", "answer": 5, "category": "easy", "tolerance": 0.1}
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps(row) + "\n\n" + json.dumps(row | {"id": 2, "image": "../x.png"}) + "\n")
    found = find(str(file), tmp_path / "elsewhere")
    first, second = found.rows()
    assert (found.name, found.base, first.id, first.images) == ("mine", tmp_path, 1, ("a.png",))
    assert (first.passed["tolerance"], category_of(first.passed)) == (0.1, {"category": ("easy",)})
    assert (second.fault, second.line) == (None, 3)  # in a file of their own people name what they like
    with pytest.raises(UsageError, match="a file has no splits"):
        find(str(file), tmp_path, "test")
    for name in ("mine-heldout", "a"):
        (tmp_path / f"{name}.jsonl").write_text(file.read_text())
    with pytest.raises(DataError) as caught:
        find(str(tmp_path), tmp_path)
    assert caught.value.message.endswith("is no benchmark: it holds no problems.jsonl, and 3 other JSONL files")
    assert caught.value.hint == f"name one of them: {tmp_path / 'mine-heldout.jsonl'}"


def test_a_file_of_ones_own_is_read_no_further_than_it_is_asked(tmp_path: Path) -> None:
    row = {"image": "a.png", "question": "What?", "answer": 5, "padding": "x" * 1000}
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps(row | {"id": number}) + "\n" for number in range(2000)))
    rows = find(str(file), tmp_path).rows()
    next(rows)
    with file.open("a") as more:
        more.write(json.dumps(row | {"id": "late"}) + "\n")
    assert [row.id for row in rows][-1] == "late"


def test_a_folder_of_synthetic_problems_is_a_benchmark(tmp_path: Path) -> None:
    assert virc("data", "synth", "--to", tmp_path / "polygons", "--count", 3, "--split", "heldout").code == 0
    found = find(str(tmp_path / "polygons"), Path())
    assert (found.name, found.base) == ("polygons", tmp_path / "polygons")
    assert [row.fault for row in found.rows()] == [None] * 3
    for name in ("trajectories.json", "dataset_info.json"):
        with pytest.raises(DataError, match=r"trajectories\.json holds no problems|of no known format"):
            find(str(tmp_path / "polygons" / name), Path())
    with pytest.raises(DataError, match=r"is no benchmark: it holds no problems\.jsonl"):
        find(str(tmp_path / "polygons" / "images"), Path())


def test_mathvista_and_vstar_are_asked_with_the_published_prompts(tmp_path: Path) -> None:
    mathvista(tmp_path / "mathvista", [figure("1"), choice("2")])
    vstar(tmp_path / "vstar", [search(0), search(1), search(2, text="What is it?", label="wool")])
    asked = [row.question for name in ("mathvista", "vstar") for row in good(find(str(tmp_path / name), Path()))]
    texts = [search(0)["text"], search(1)["text"], "What is it?"]
    assert asked == [figure("1")["query"], choice("2")["query"], *texts]


@pytest.mark.parametrize(("said", "right"), [("B", True), ("(B)", True), ("cotton", True), ("A", False), ("D", False)])
def test_letters_of_vstar_are_scored(said: str, right: bool, tmp_path: Path) -> None:
    vstar(tmp_path / "vstar", [search(0)])
    (problem,) = problems_of(find(str(tmp_path / "vstar"), Path()), None, pytest.fail).values()
    assert problem.key
    assert score(said, problem.key).right is right


def test_mathvista_without_prompts_is_asked_with_its_unit_and_decimals(tmp_path: Path) -> None:
    folder = tmp_path / "mathvista"
    bare, chosen = partial(figure, query=None), partial(choice, query=None)
    rows = [
        bare("1"),
        chosen("2"),
        bare("3", answer_type="integer", precision=None, unit=None, answer="7"),
        bare("4", precision=None, unit=None, answer_type="list", answer="[1, 2]"),
        bare("5", precision=0.0, unit="$", metadata=None),
        bare("7", precision=math.nan, unit=None),
    ]
    for part in (1, 0, 2):
        mathvista(folder, rows[2 * part :][:2], f"testmini-0000{part}-of-00003-aa")
    mathvista(folder, [bare("6")], "test-00000-of-00001-cc")
    found = find(str(folder), Path())
    asked = good(found)
    assert [row.question for row in asked] == [
        "How long is AB in figure 1? (unit: cm) Round the answer to 1 decimal place.",
        "Which is it? Choices: (A) 4 cm; (B) 5 cm",
        "How long is AB in figure 3?",
        "How long is AB in figure 4?",
        "How long is AB in figure 5? (unit: $) Round the answer to 0 decimal places.",
        "How long is AB in figure 7?",
    ]
    assert [(row.id, row.passed["answer"], row.passed.get("decimals")) for row in asked] == [
        ("1", "1.2", 1), ("2", "(B) 5 cm", None), ("3", "7", None), ("4", "[1, 2]", None), ("5", "1.2", 0),
        ("7", "1.2", None),
    ]  # fmt: skip
    assert asked[1].passed["choices"] == ["(A) 4 cm", "(B) 5 cm"]
    assert category_of(asked[0].passed) == {
        "task": ("geometry problem solving",), "skills": ("geometry reasoning", "algebraic reasoning"),
        "context": ("geometry diagram",), "grade": ("high school",), "source": ("Geometry3K",),
        "question": ("free_form",),
    }  # fmt: skip
    assert category_of(asked[4].passed) == {"question": ("free_form",)}
    assert shades(found) == [0, 1, 0, 1, 0, 1]


def test_both_forms_of_mathvista_are_the_same_problems(tmp_path: Path) -> None:
    rows = [figure("1"), choice("2"), figure("10", unit=None)]
    mathvista(tmp_path / "a" / "mathvista", rows)
    mathvista_json(tmp_path / "b" / "mathvista", rows)
    one, other = (find(str(tmp_path / name / "mathvista"), Path()) for name in "ab")
    assert [(row.id, row.question, row.passed) for row in good(one)] == [
        (row.id, row.question, row.passed) for row in good(other)
    ]
    assert shades(one) == shades(other) == [0, 1, 2]
    assert [row.images for row in other.rows()] == [("images/1.jpg",), ("images/2.jpg",), ("images/10.jpg",)]


def test_vstar_is_asked_with_its_choices(tmp_path: Path) -> None:
    folder = tmp_path / "vstar"
    vstar(folder, [search(0), search(1), search(2, text="What is it made of?", label="wool")])
    asked = good(find(str(folder), Path()))
    assert [row.passed["question"] for row in asked] == [
        "What is the material of glove 0?",
        "What is the material of glove 1?",
        "What is it made of?",
    ]
    assert [(row.id, row.passed["answer"]) for row in asked] == [(0, "cotton"), (1, "right of it"), (2, "wool")]
    assert [row.passed.get("choices") for row in asked] == [
        ["rubber", "cotton", "kevlar (woven)", "leather"],
        ["left of it", "right of it"],
        None,
    ]
    assert [category_of(row.passed)["type"] for row in asked][:2] == [("direct attributes",), ("relative position",)]
    assert [row.passed["boxes"] for row in asked] == [[[10, 20, 15, 26], [1.5, 2, 4.5, 6]]] * 3
    assert shades(find(str(folder), Path())) == [0, 1, 2]


def test_vstar_may_hold_its_images(tmp_path: Path) -> None:
    vstar_parquet(tmp_path / "data" / "vstar-bench", 3)
    found = find("vstar", tmp_path)
    asked = good(found)
    assert [(row.id, row.passed["answer"]) for row in asked] == [("0", "cotton"), ("1", "right of it"), ("2", "cotton")]
    assert shades(found) == [0, 1, 2]


@pytest.mark.parametrize(
    "content", [None, "", "[]", "{}", '{"bbox": [[1, 2, 3]]}', '{"bbox": [[1, 2, 3, "x"]]}', '{"x": ' + "[" * 10**5]
)
def test_vstar_without_boxes_is_asked_all_the_same(tmp_path: Path, content: str | None) -> None:
    folder = tmp_path / "vstar"
    vstar(folder, [search(0)])
    targets = folder / "direct_attributes" / "sa_0.json"
    targets.unlink() if content is None else targets.write_text(content)
    (row,) = good(find(str(folder), Path()))
    assert "boxes" not in row.passed


CATEGORIES: list[tuple[Any, dict[str, tuple[str, ...]] | None]] = [
    (None, {}),
    ("easy", {"category": ("easy",)}),
    (3, {"category": ("3",)}),
    ({}, {}),
    ({"task": "geometry", "skills": ["a", "b", "a"], "level": 2, "grade": None, "more": []},
     {"task": ("geometry",), "skills": ("a", "b"), "level": ("2",)}),
    ("", None),
    (" \n", None),
    (True, None),
    (1.5, None),
    (["a", "b"], {"category": ("a", "b")}),
    ("x" * 101, None),
    ({"": "a"}, None),
    ({"a": ""}, None),
    ({"a": ["b", None]}, None),
    ({"a": ["b", ["c"]]}, None),
    ({"a": {"b": "c"}}, None),
    ({"a": True}, None),
]  # fmt: skip


@pytest.mark.parametrize("at", range(len(CATEGORIES)))
def test_categories_are_read_as_the_schema_says(at: int) -> None:
    value, expected = CATEGORIES[at]
    row = {"id": 1, "image": "a", "question": "?", "category": value}
    schema = json.loads(files("virc").joinpath("core", "schemas", "batch.json").read_text())
    assert jsonschema.Draft202012Validator(schema).is_valid(row) == (expected is not None)
    if expected is not None:
        assert category_of(row) == expected
        return
    with pytest.raises(DataError, match=r"category holds .*, which is no name"):
        category_of(row)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", "half \ud800"])
def test_a_category_that_cannot_be_printed_is_refused(name: str) -> None:
    for value in (name, {name: "a"}, {"a": [name]}):
        with pytest.raises(DataError, match="which is no name"):
            category_of({"category": value})


@pytest.mark.parametrize(
    ("field", "value", "right"),
    [
        ("decimals", 0, True), ("decimals", None, True), ("decimals", -1, False), ("decimals", 1.5, False),
        ("decimals", "1", False), ("tolerance", 0.05, True), ("tolerance", 0, True), ("tolerance", 1, True),
        ("tolerance", 1.1, False), ("tolerance", -0.1, False), ("tolerance", "5%", False), ("decimals", 101, False),
    ],
)  # fmt: skip
def test_the_schema_says_how_an_answer_may_count(field: str, value: Any, right: bool) -> None:
    schema = json.loads(files("virc").joinpath("core", "schemas", "batch.json").read_text())
    row = {"id": 1, "image": "a", "question": "?", "answer": "1", field: value}
    assert jsonschema.Draft202012Validator(schema).is_valid(row) == right
    with nullcontext() if right else pytest.raises(DataError, match=field):
        assert getattr(key_of(row), field) == value


def test_an_image_that_a_row_holds_is_opened_whatever_its_format() -> None:
    for form in ("PNG", "JPEG", "WEBP"):
        url = benchmarks.data_url(picture(9, form))
        assert open_source(url).size == open_image(picture(9, form), "it").size == (64, 48)


def test_a_file_whose_columns_would_be_lost_is_no_benchmark(tmp_path: Path) -> None:
    row = {"id": 1, "image": "a.png", "question": "Which?", "answer": "red", "segmentation": [[1, 2]]}
    (tmp_path / "mine.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=r"nothing reads its segmentation \(masks\)"):
        find(str(tmp_path / "mine.jsonl"), tmp_path)
