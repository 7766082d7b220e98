"""Benchmarks that are damaged or made to do harm: a fault says what is wrong, and the sound rows are read."""

from pathlib import Path

import pytest
from extras.benchmarks.published import Fields, choice, figure, mathvista, mathvista_json, picture, search, vstar

from virc.core.errors import DataError
from virc.evaluation.benchmarks.registry import find
from virc.solving.rows import ProblemRow


def rows(folder: Path) -> list[ProblemRow]:
    return list(find(str(folder), Path()).rows())


def fault(folder: Path) -> str:
    """The one fault there is; the row behind it is sound."""
    wrong, right = rows(folder)
    assert right.fault is None
    assert (wrong.line, right.line) == (1, 2)
    assert wrong.fault
    return wrong.fault.message


FIGURES: list[tuple[Fields, str]] = [
    ({"answer": ""}, "its answer, column answer, is empty"),
    ({"question": " "}, "the question is empty"),
    ({"precision": -1.0}, "its precision -1 is no number of decimals from 0 to 15"),
    ({"precision": 1e300}, "its precision 1e+300 is no number of decimals"),
    ({"image": None, "decoded_image": None}, "it has no image"),
    ({"image": "images/none.jpg", "decoded_image": None}, "the image images/none.jpg cannot be read: no such file"),
    ({"image": "/etc/passwd", "decoded_image": None}, "it is outside the dataset's folder"),
    ({"image": None, "decoded_image": {"path": "../../etc/passwd"}}, "it is outside the dataset's folder"),
]  # fmt: skip


@pytest.mark.parametrize("at", range(len(FIGURES)))
def test_a_wrong_row_of_mathvista_says_what_is_wrong(tmp_path: Path, at: int) -> None:
    changed, sentence = FIGURES[at]
    mathvista(tmp_path / "mathvista", [figure("1", **changed), choice("2")])
    said = fault(tmp_path / "mathvista")
    assert said.startswith("testmini-00000-of-00001-7256.parquet, row 1: ")
    assert sentence in said
    assert "line 1" not in said


@pytest.mark.parametrize("content", ["", '{"1": ', "[" * 10**6])
def test_a_broken_file_of_mathvista_says_so(tmp_path: Path, content: str) -> None:
    mathvista_json(tmp_path / "mathvista", [figure("1")]).write_text(content)
    (row,) = rows(tmp_path / "mathvista")
    assert row.fault
    assert row.fault.message.startswith("annot_testmini.json, row 1: ")


def test_a_folder_without_its_files_says_what_to_type(tmp_path: Path) -> None:
    for name, message in (("mathvista", "holds no data/testmini-"), ("vstar", "holds no test_questions")):
        (tmp_path / name).mkdir()
        with pytest.raises(DataError, match=message) as caught:
            rows(tmp_path / name)
        assert (caught.value.hint or "").startswith("virc download eval ")
        assert f"--to {tmp_path / name}" in (caught.value.hint or "")


def test_rows_that_the_hub_lacks_have_their_address_in_the_hint(tmp_path: Path) -> None:
    (tmp_path / "vtc-bench").mkdir()
    with pytest.raises(DataError, match=r"holds no VTC-Bench\.tsv") as caught:
        rows(tmp_path / "vtc-bench")
    assert caught.value.hint == "get it from https://github.com/zhuzil/VTC-Bench/tree/main/data"


SEARCHES: list[tuple[Fields, str]] = [
    ({"label": "C", "text": "Which?\n(A) x\n(B) y"}, "its label 'C' is none of its 2 choices"),
    ({"label": ""}, "its answer, column label, is empty"),
    ({"text": 5}, "its columns are not those of vstar"),
    ({"image": "../x.jpg"}, "image ../x.jpg cannot be read: it is outside the dataset's folder"),
    ({"image": "link.jpg"}, "image link.jpg cannot be read: it is outside the dataset's folder"),
    ({"image": "direct_attributes/none.jpg"}, "cannot be read: no such file"),
    ({"image": "~/x.jpg"}, "the image ~/x.jpg has a name that begins with ~"),
]  # fmt: skip


@pytest.mark.parametrize("at", range(len(SEARCHES)))
def test_a_wrong_row_of_vstar_says_what_is_wrong(tmp_path: Path, at: int) -> None:
    changed, sentence = SEARCHES[at]
    folder = tmp_path / "vstar"
    vstar(folder, [search(0, **changed), search(1)])
    (tmp_path / "x.jpg").write_bytes(picture(1))
    (folder / "link.jpg").symlink_to(tmp_path / "x.jpg")
    (folder / "~").mkdir()
    (folder / "~" / "x.jpg").write_bytes(picture(1))
    said = fault(folder)
    assert said.startswith("test_questions.jsonl, row 1: ")
    assert sentence in said
    assert "line 1" not in said
