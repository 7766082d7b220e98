"""`virc eval --looks`: the verdict on models that cheat and models that do not, and the run that leads to it."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from support.called import Done, virc
from support.servers import Server, image_bytes, images_of, serve
from support.solving import CROP, answer

from virc.evaluation.answered import Answered
from virc.reasoning.images import open_image
from virc_extras.studies.looks import ARMS, LEVEL, ArmName, Guess, looks

SMALL = [(0, (0.1, 0.1, 0.4, 0.4))]
YES, NO, OTHER = Answered("A", True, regions=SMALL), Answered("B", False, regions=SMALL), Answered("C", False)
BARE = Answered("A", True)


def apart(count: int) -> list[Guess]:
    return [Guess(str(at)) for at in range(count)]


def arms(plain: Answered, /, **others: Answered) -> dict[ArmName, Answered]:
    named = {name.replace("_", " "): each for name, each in others.items()}
    return {name: named.get(name, plain) for name in ARMS}


LOST = arms(YES, crops_swapped=NO, crops_blurred=NO, blank_picture=NO)
NEEDED = arms(YES, crops_swapped=NO, no_tools=NO, blank_picture=NO)


@pytest.mark.parametrize(
    ("rows", "decision", "sentence"),
    [
        ([arms(YES, crops_swapped=NO, crops_blurred=NO, blank_picture=NO)] * 20, "its crops matter", "+100.0 points"),
        # most of its answers do not depend on its crops
        ([LOST] * 10 + [arms(YES)] * 90, "its crops matter", "+10.0 points (95 %: 4.2 to 17.4), though 90.0 % of its"),
        # one that knows a blurred crop as a test
        ([arms(YES, crops_blurred=NO)] * 20, "looks, but most answers need no picture", "100.0 % of its answers stay"),
        # a blank picture costs its answers, and of the crops few problems say nothing
        ([arms(YES, blank_picture=NO)] * 113, "not decided", "0.0 % of its answers need their crops"),
        ([arms(YES, blank_picture=NO)] * 114, "looks, but its crops do not matter", "0.0 % of its answers need"),
        ([NEEDED] * 2 + [arms(YES, blank_picture=NO)] * 198, "looks, but its crops do not matter", "1.0 %"),
        # what is lost in one of two arms, or comes once and is not right, may be luck
        ([arms(YES, blank_picture=NO, no_tools=NO)] * 114, "looks, but its crops do not matter", "0.0 %"),
        ([arms(NO, blank_picture=YES, another_seed=OTHER)] * 114, "not decided", ""),
        # without a crop, what changes is luck
        ([arms(BARE, crops_swapped=OTHER, crops_blurred=OTHER)] * 20, "right without looking", "100.0 % of its right"),
        ([arms(OTHER)] * 20, "right without looking", "100.0 % of its answers stay with a blank picture"),
        # an answer that is written in another way is the same
        (
            [arms(Answered("0.5", False), blank_picture=Answered("1/2", False))] * 20,
            "right without looking", "100.0 % of its answers stay with a blank picture",
        ),
        # the evidence is known, and was not looked at
        (
            [arms(msgspec.structs.replace(YES, evidence=[0.1]))] * 20,
            "right without looking", "100.0 % of its right answers had no look",
        ),
        # its few looks matter as far as they go
        ([LOST] * 5 + [arms(BARE, blank_picture=OTHER)] * 20, "not decided", ""),
        ([LOST] * 2 + [arms(BARE, blank_picture=OTHER)] * 20, "right from the whole picture", "90.9 % of its right"),
        # its crops show all of the picture, and it needs them
        (
            [arms(BARE, blank_picture=OTHER, no_tools=OTHER)] * 20, "right from the whole picture",
            "100.0 % of its right answers had no look (95 %: 83.9 to 100.0); without tools it loses +100.0 points",
        ),
        # neither does a blank picture cost enough, nor do enough answers stay
        ([arms(BARE)] * 18 + [arms(BARE, blank_picture=OTHER)] * 2, "right without looking", "100.0 % of its right"),
        # seventeen of twenty are enough, though a blank picture leaves all answers
        ([arms(BARE)] * 17 + [arms(YES)] * 3, "right without looking", "85.0 % of its right answers had no look"),
        ([arms(NO, crops_swapped=YES, crops_blurred=YES, blank_picture=OTHER)] * 20, "not decided", ""),
        ([], "not decided", ""),
    ],
)  # fmt: skip
def test_the_verdict_of_answers_by_arm(rows: list[dict[ArmName, Answered]], decision: str, sentence: str) -> None:
    found = looks("m", rows, apart(len(rows)))
    assert found.decision == decision
    assert found.sentence.startswith(f"{decision}: {sentence}")
    assert (found.p < LEVEL) == (decision != "not decided")


def test_chance_is_that_of_the_problems_with_a_crop() -> None:
    """Of two options half of the answers stay, however many problems besides have none and need no crop."""
    rows = [arms(YES, blank_picture=OTHER)] * 60 + [arms(YES, blank_picture=OTHER, crops_swapped=NO)] * 20
    bare = [arms(Answered("C", False), blank_picture=Answered("D", False))] * 160
    for two, found in (([Guess("A", 2), Guess("B", 2)] * 40, False), (apart(80), True)):
        sentence = looks("m", rows + bare, [*two, *apart(160)]).sentence
        assert sentence.startswith("its crops matter: ")
        assert ("though 75.0 % of its answers stay" in sentence) == found


GREYS = tuple(range(40, 160, 10))


def reads_crop(body: dict[str, Any]) -> str:
    """Look once where tools are offered, then answer what grey the crop has."""
    if "crop_image" not in body["messages"][0]["content"]:
        return answer("0")
    if len(body["messages"]) == 2:
        return CROP
    picture = open_image(image_bytes(images_of(body)[-1]), "crop").getpixel((5, 5))
    assert isinstance(picture, tuple)
    return answer(str(picture[0]))


def knows(body: dict[str, Any]) -> str:
    """Look once, then answer what the question gives away."""
    found = re.search(r"grey (\d+)", json.dumps(body["messages"][1]))
    assert found
    return CROP if reads_crop(body) == CROP else answer(found[1])


def test_an_arm_counts_the_right_answers_of_its_file() -> None:
    """An answer without a crop has none to replace: it is in no lost points, and its arm may differ."""
    found = looks("m", [LOST] * 4 + [arms(BARE, crops_swapped=OTHER)] * 3, apart(7)).arms["crops swapped"]
    assert (found.right, found.of, found.uncropped, round(7 * found.gain)) == (0, 7, 3, 4)


@pytest.fixture
def rows(here: Path) -> Path:
    lines = []
    for grey in GREYS:
        Image.new("RGB", (112, 84), (grey,) * 3).save(here / f"{grey}.png")
        fields = {"id": len(lines), "image": f"{grey}.png", "question": f"grey {grey} ?", "answer": str(grey)}
        lines.append(json.dumps(fields))
    (here / "greys.jsonl").write_text("\n".join(lines))
    return here / "greys.jsonl"


@pytest.fixture
def server() -> Iterator[Server]:
    says = {"cheater": knows, "honest": reads_crop}
    with serve(lambda body: says[body["model"]](body), models=tuple(says)) as running:
        yield running


def run_eval(server: Server, rows: Path, *words: object, model: str = "cheater") -> Done:
    at = ("--endpoint", server.url, "--protocol", "default", "--concurrency", 4)
    return virc("eval", rows, "--model", model, *at, "--looks", *words)


@pytest.mark.integration
def test_the_report_opens_with_the_verdict(server: Server, rows: Path, here: Path) -> None:
    done = run_eval(server, rows)
    assert done.code == 0, done.err
    said = "cheater: looks, but most answers need no picture: 100.0 % of its answers stay with a blank picture"
    assert done.out.startswith(said)
    page = (here / "evals/greys/report.html").read_text()
    assert page.index("most answers need no picture") < page.index("Accuracy")
    assert "cheater, crops swapped: 12 of 12 problems" in done.err
    assert re.search(
        r"12 problems in 6 arms, 67 answers to go: about \d+ s and [\d,]+ tokens, by the first 5", done.err
    )
    done = run_eval(server, rows, "--json", model="honest")
    assert done.code == 0, done.err
    found, former = done.json["looks"]
    assert former["model"] == "cheater"
    assert (found["model"], found["decision"]) == ("honest", "its crops matter")
    assert found["sentence"] == "its crops matter: +100.0 points (95 %: 65.7 to 100.0), and blurred ones serve as well"
    assert {name: arm["right"] for name, arm in found["arms"].items()} == {
        "no tools": 0, "blank picture": 0, "crops swapped": 0, "crops blurred": 12, "another seed": 12
    }  # fmt: skip


@pytest.mark.integration
def test_a_stopped_run_goes_on_in_its_arms(server: Server, rows: Path, here: Path) -> None:
    assert run_eval(server, rows, "--to", "a").code == 0
    asked, arm = len(server.chats()), here / "a/looks/crops-swapped/answers/cheater.jsonl"
    kept = arm.read_text().splitlines(keepends=True)
    arm.write_text("".join(kept[:-2]))
    shutil.rmtree(here / "a/looks/another-seed")
    before = json.loads((here / "a/summary.json").read_text())["looks"]
    assert run_eval(server, rows, "--to", "a").code == 0
    assert len(server.chats()) == asked + 2 * 2 + 2 * len(GREYS)
    assert json.loads((here / "a/summary.json").read_text())["looks"] == before


@pytest.mark.integration
def test_the_verdict_is_verified_by_the_files_of_the_arms(server: Server, rows: Path, here: Path) -> None:
    assert run_eval(server, rows, "--to", "a").code == 0
    file, arm = here / "a/results/cheater.jsonl", here / "a/results/cheater.looks/crops-swapped.jsonl"
    said = "looks, but most answers need no picture: 100.0 % of its answers stay with a blank picture"
    done = virc("eval", "verify", file)
    assert (done.code, f"on looking: {said}" in done.out) == (0, True), done.err
    assert said in virc("eval", "card", file).out
    whole = arm.read_text()
    answers = here / "a/looks/crops-swapped/answers/cheater.jsonl"
    kept = answers.read_text()
    answers.write_text(re.sub(r'"answer":"\d+"', '"answer":"0"', kept))
    arm.write_text(re.sub(r'"answer":"\d+"', '"answer":"0"', whole))
    edited = virc("eval", "verify", file)
    assert (edited.code, "crops-swapped.jsonl: " in edited.err) == (6, True)
    assert run_eval(server, rows, "--to", "a").code == 0  # which takes the forged answers
    forged = virc("eval", "verify", file)
    assert (forged.code, "crops-swapped.jsonl: " in forged.err) == (6, True), forged.err
    arm.unlink()
    alone = virc("eval", "verify", file)
    assert alone.code == 0
    assert "the verdict on looking is taken as it is written: cheater.looks/crops-swapped.jsonl" in alone.err
