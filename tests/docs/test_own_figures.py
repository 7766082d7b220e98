"""The commands of docs/own-figures.md, from drawing to the evaluation: models learn figures of another kind."""

from typing import Any

import pytest
from code_blocks import run_page
from support.called import virc
from support.engine_python import interpreter

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PAGE = "docs/own-figures.md"
COMMONEST = 17
"""Of the 60 charts that were held out, those with the commonest answer."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The models of the page, and `tiny` that they began as, by what they make of the charts that were held out."""
    interpreter("sft")
    folder = tmp_path_factory.mktemp("figures")
    run_page(PAGE, "tests/docs/test_own_figures.py", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("VIRC_CONFIG", str(folder / "config.yaml"))
        # and those that were asked before
        told = virc("eval", "charts/heldout-most.jsonl", "--json", "--model", "tiny")
    assert told.code == 0, told.err
    assert told.json["commonest"]["count"] == COMMONEST
    return {each["name"].partition("@")[0]: each for each in told.json["models"]}


def is_better(model: dict[str, Any]) -> bool:
    """Whether a model is right more often than the commonest answer alone would be, and not by chance."""
    return bool(model["score"]["right"] > COMMONEST and model["p_commonest"] < 0.01)


@pytest.mark.parametrize("name", ["most", "most-base"])
def test_a_model_answers_about_charts_that_it_has_not_seen(models: dict[str, dict[str, Any]], name: str) -> None:
    assert is_better(models[name]), models[name]["score"]


def test_tiny_itself_is_no_better_than_the_commonest_answer(models: dict[str, dict[str, Any]]) -> None:
    assert not is_better(models["tiny"])
