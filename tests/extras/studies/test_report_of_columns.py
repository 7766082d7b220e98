"""The sections of columns on a report: what others write stays text there, too."""

import msgspec
from support.evaluations import RIGHT, outcomes, summary_of
from support.parsed import HOSTILE, Page

from virc.evaluation.pages.report import render
from virc.evaluation.summary import score
from virc_extras.studies.against import Against, Reported
from virc_extras.studies.boxes import Boxes, BoxScores
from virc_extras.studies.contamination import Contamination, SharedPicture, Trained
from virc_extras.studies.environment_rewards import EnvironmentReward, RewardGap, RewardMean
from virc_extras.studies.environments import Rewards
from virc_extras.studies.looking import Looking
from virc_extras.studies.looks import ArmResult, Looks

COLUMNS = (Against(True), Trained(None), Boxes(), Rewards(None), Looking(False))


def page(words: str) -> str:
    """An evaluation in which these words stand wherever others write."""
    results = outcomes("rw", "wr")
    rewarded = msgspec.structs.replace(RIGHT, columns={"reward": EnvironmentReward(1.0, {f"t {words}": 1.0})})
    results[0] = msgspec.structs.replace(results[0], answers={**results[0].answers, "one": rewarded})
    summary = summary_of(results, "one", "other")
    figures = {"reward": {f"t {words}": RewardMean(0.5, (0.0, 1.0), 2)}, "boxes": BoxScores(2, 0.5, 0.5, 0.5)}
    models = [msgspec.structs.replace(each, columns=figures) for each in summary.models]
    gaps = {"reward": {f"t {words}": RewardGap(0.5, (0.0, 1.0), 2)}}
    pairs = [msgspec.structs.replace(each, columns=gaps) for each in summary.pairs]
    arms = {"no tools": ArmResult(1, 2, 0.5, (0.0, 1.0), 0.5)}
    columns = {
        "against": [Reported(words, words, words, 0.5, score([True, None]), {f"s {words}": (words, [words])})],
        "contamination": Contamination(words, 4, 0, [SharedPicture(1, 1, True)], {words: score([True])}),
        "looks": [Looks(words, "not decided", f"s {words}", f"t {words}", 0.5, 0.5, (0.0, 1.0), 0.5, arms)],
    }
    return render(msgspec.structs.replace(summary, models=models, pairs=pairs, columns=columns), results, COLUMNS)


def shape(text: str) -> list[str]:
    return [tag for tag, _ in Page(text).skeleton if tag != "bdi"]


def test_hostile_text_stays_text_in_the_sections_of_columns() -> None:
    plain = page("harmless")
    for words in (HOSTILE[:36], "\u202e\"'><script>\u0007"):
        assert shape(page(words)) == shape(plain)
    headings = ["Does it look", "Accuracy", "Pictures of training", "Boxes", "Reward", "Model by model"]
    text = Page(plain).text
    assert "undecided which is higher" in text
    places = [text.index(each) for each in (*headings, "Published figures", "Settings")]
    assert places == sorted(places)
