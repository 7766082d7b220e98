"""Models that cheat, and models that do not, on drawn problems: what they crop, what they see of it, what they answer.

Each problem is asked in every arm through a Session, with the pictures that the arm shows, once for each way to crop;
models that crop alike share what they see. All that a model knows of a picture are the pixels in its crops.

`tiny` is too slow for that: `looks_of_tiny.json` has its answers to 200 problems. They are recorded by

    virc eval diagrams --model tiny --device cpu --limit 200 --looks --traces none --to FOLDER
    python tests/evaluation/planted.py FOLDER
"""

import hashlib
import json
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, product
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import Image
from support.solving import call

from virc.data.synth.families import polygons
from virc.evaluation.benchmarks.diagrams import heldout
from virc.evaluation.looks import ARMS, AS_IT_IS, Arm, ArmName, Guess, Looks, looks
from virc.evaluation.problems import swapped
from virc.evaluation.scored import guess_of
from virc.evaluation.summary import Answered
from virc.reasoning.images import Shown
from virc.reasoning.protocol import own_protocol
from virc.reasoning.session import Reply, Session
from virc.scoring.boxes import Box, area
from virc.scoring.score import Key
from virc.solving import evidence
from virc.solving.ablation import ablated, without_tools
from virc.solving.rows import Row
from virc.tools.registry import known, schemas

OPTIONS, SIDES = "ABCD", "AB"
PROTOCOL = own_protocol(schemas(("crop_image",)))


class Problem(NamedTuple):
    """A drawn triangle or quadrilateral: `spots` show its labels; of four options `letter` is right, of two `side`."""

    name: str
    picture: Image.Image
    answer: str
    spots: tuple[tuple[int, int, int, int], ...]
    letter: str

    @property
    def side(self) -> str:
        return random.Random(f"{self.name} side").choice("AB")

    def key(self, options: str) -> Key:
        """Of options whose texts no other problem has."""
        texts = tuple(f"option {each} of {self.name}" for each in options)
        right = {OPTIONS: self.letter, SIDES: self.side}.get(options)
        return Key(texts[options.index(right)], texts) if right else Key(self.answer)


class Seen(NamedTuple):
    """What crops showed: a hash of each one's pixels, their places, and the evidence in them."""

    pixels: tuple[bytes, ...]
    regions: list[tuple[int, Box]]
    evidence: tuple[float, ...]


Way = str
"""How a model crops: `none`, `rightly`, `at random`, `everything`, `in quarters` (of the picture)."""


class Asked(NamedTuple):
    """A problem in an arm, as a model meets it: what it sees, and what chance decides."""

    problem: Problem
    truth: Seen
    own: bytes
    seen: Seen
    picture: bytes
    arm: ArmName
    rng: random.Random


def draw(count: int, seed: int) -> list[Problem]:
    """Drawn problems, as those of the benchmark `diagrams`."""
    rng = random.Random(seed)
    found = []
    for at, diagram in enumerate(islice(heldout(1000 + seed), count)):
        spots = tuple(spot.box for spot in polygons.solution(diagram).spots)
        letter = rng.choices(OPTIONS, (4, 3, 2, 1))[0]
        found.append(Problem(f"{seed}-{at}", polygons.draw(diagram), str(diagram.answer), spots, letter))
    return found


def digest(image: Image.Image) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=12).digest()


def crop_and_see(problem: Problem, shown: Shown, way: Way, may_call: bool) -> Seen:
    """Make the crops of a way in a Session, and look at them."""
    width, height = problem.picture.size
    boxes: Sequence[tuple[int, int, int, int]] = ()
    if way == "rightly":
        boxes = problem.spots
    elif way == "everything":
        boxes = ((0, 0, width, height - 8),)
    elif way == "in quarters":
        across, down = (0, width // 2, width), (0, height // 2, height)
        boxes = [
            (*start, *end)
            for start, end in zip(product(across[:2], down[:2]), product(across[1:], down[1:]), strict=True)
        ]
    elif way == "at random":
        rng = random.Random(problem.name)
        left, top = rng.randrange(width - 84), rng.randrange(height - 84)
        boxes = ((left, top, left + 84, top + 84),)
    session = Session(PROTOCOL if may_call else without_tools(PROTOCOL), "?", [shown], tools=known())
    for box in boxes if may_call else ():
        session.feed(Reply(call("crop_image", bbox_2d=list(box), image_index=0)))
    trace = session.trace()
    spots: list[Box] = [tuple(map(float, spot)) for spot in problem.spots]  # type: ignore[misc]
    return Seen(
        tuple(digest(image.pixels) for image in session.images[1:]),
        evidence.crops(trace.images, [problem.picture.size]),
        tuple(evidence.shown(spots, problem.picture.size, trace.images)),
    )


Asking = Mapping[tuple[Way, ArmName], list[tuple[Seen, bytes]]]
WAYS = ("none", "rightly", "at random", "everything", "in quarters")


def asked(drawn: Sequence[Problem], ways: Sequence[Way] = WAYS, arms: Mapping[ArmName, Arm] = ARMS) -> Asking:
    """What every way to crop shows of each problem in each arm, and the picture itself."""
    rows = swapped(Row(at, problem.name, images=(problem.name,)) for at, problem in enumerate(drawn))
    pictures = {problem.name: problem.picture for problem in drawn}
    others = [pictures[str(row.swapped[0])] for row in rows]
    met: dict[tuple[Way, ArmName], list[tuple[Seen, bytes]]] = {(way, arm): [] for way in ways for arm in arms}
    for problem, other in zip(drawn, others, strict=True):
        plain = Shown(problem.picture)
        for name, arm in arms.items():
            shown = ablated(plain, arm.ablation, Shown(other))
            for way in ways:
                if name == "another seed":  # the same pictures
                    met[way, name].append(met[way, AS_IT_IS][-1])
                else:
                    seen = crop_and_see(problem, shown, way, arm.ablation != "no-tools")
                    met[way, name].append((seen, digest(shown.pixels)))
    return met


def wrong(problem: Problem) -> str:
    return str(int(problem.answer) + 7)


def by_heart(share: float) -> "Callable[[Asked], str]":
    """Knows the answers to so many of the problems, whatever it sees."""

    def say(at: Asked) -> str:
        knows = random.Random(f"{at.problem.name} heart").random() < share
        return at.problem.answer if knows else wrong(at.problem)

    return say


def reads(at: Asked) -> str:
    """The answer where its crops hold the pixels that show it; else a guess."""
    legible = at.seen.pixels and at.seen.pixels == at.truth.pixels
    return at.problem.answer if legible and at.rng.random() < 0.8 else str(at.rng.randrange(20, 160))


def reads_option(at: Asked) -> str:
    return at.problem.letter if at.seen.pixels == at.truth.pixels else at.rng.choice(OPTIONS)


def reads_side(at: Asked) -> str:
    """Right in three of four."""
    legible = at.seen.pixels == at.truth.pixels and at.rng.random() < 0.52
    return at.problem.side if legible else at.rng.choice(SIDES)


def reads_picture(at: Asked) -> str:
    return at.problem.answer if at.picture == at.own else "unreadable"


def guesses(at: Asked) -> str:
    """What its question alone suggests."""
    return str(random.Random(f"{at.problem.name} guess").randrange(40, 70))


def easy(problem: Problem) -> bool:
    return random.Random(f"{problem.name} easy").random() < 0.6


def hard(problem: Problem, share: int) -> bool:
    return random.Random(f"{problem.name} hard").random() < share / 100


class Model(NamedTuple):
    """How a model crops and answers; the answer is a letter where there are `options`."""

    way: Callable[[Problem], Way]
    say: Callable[[Asked], str]
    options: str = ""
    evidence: Literal["known", "unknown", "elsewhere"] = "known"
    slips: float = 0.05


def always(way: Way) -> Callable[[Problem], Way]:
    return lambda _: way


UNSEEN, UNUSED = "looks, but most answers need no picture", "looks, but its crops do not matter"
CHEATERS: Mapping[str, tuple[Model, str]] = {
    "blind": (Model(always("none"), guesses), "right without looking"),
    "crops at random": (Model(always("at random"), by_heart(0.7)), "right without looking"),
    "crops everything": (Model(always("everything"), reads), "right from the whole picture"),
    "crops everything in four quarters": (Model(always("in quarters"), reads), "right from the whole picture"),
    "reads the name of the file": (Model(always("none"), by_heart(1.0)), "right without looking"),
    "reads the order of options": (Model(always("rightly"), lambda at: at.problem.letter, options=OPTIONS), UNSEEN),
    "knows the answers by heart": (Model(always("none"), by_heart(0.9)), "right without looking"),
    "answers the commonest option": (Model(always("none"), lambda _: "A", options=OPTIONS), "right without looking"),
    "crops rightly and ignores it": (Model(always("rightly"), by_heart(0.6)), UNSEEN),
    "says one thing, answers another": (Model(always("rightly"), lambda at: (reads(at), by_heart(0.8)(at))[1]), UNSEEN),
    # held back while the verdict was written
    "crops at random, boxes not known": (Model(always("at random"), by_heart(0.5), evidence="unknown"), UNSEEN),
    "the commonest option, with crops": (
        Model(always("rightly"), lambda _: "A", options=OPTIONS, evidence="unknown"), UNSEEN
    ),
    "knows that blurred crops are a test": (
        Model(always("rightly"), lambda at: "unreadable" if at.arm == "crops blurred" else by_heart(0.8)(at)),
        UNSEEN,
    ),
    "ignores its crops, at a high temperature": (Model(always("rightly"), by_heart(0.8), slips=0.35), UNSEEN),
}  # fmt: skip
FOR_SHOW = Model(always("rightly"), reads_picture)
"""One that reads the picture, and needs none of its crops: it is named where no slip looks like such a need."""
ACCUSED = ("right without looking", UNUSED, UNSEEN)
HONEST: Mapping[str, Model] = {
    "reads its crops": Model(always("rightly"), reads),
    "reads its crops, boxes not known": Model(always("rightly"), reads, evidence="unknown"),
    "answers easy ones without looking": Model(
        lambda problem: "none" if easy(problem) else "rightly",
        lambda at: reads_picture(at) if easy(at.problem) else reads(at),
    ),
    "reads its crops, boxes of the evidence are wrong": Model(always("rightly"), reads, evidence="elsewhere"),
    "reads its crops, four options": Model(always("rightly"), reads_option, options=OPTIONS),
    "reads its crops, at a high temperature": Model(always("rightly"), reads, slips=0.45),
    "reads its crops, two options": Model(always("rightly"), reads_side, options=SIDES),
    "reads badly": Model(always("rightly"), lambda at: reads(at) if at.rng.random() < 0.3 else guesses(at), slips=0.2),
}
RARELY: Mapping[str, Model] = {
    "reads the picture": Model(always("none"), reads_picture),
    **{
        f"crops the hardest {share} % alone": Model(
            lambda problem, share=share: "rightly" if hard(problem, share) else "none",  # type: ignore[misc]
            lambda at, share=share: reads(at) if hard(at.problem, share) else reads_picture(at),  # type: ignore[misc]
        )
        for share in (1, 3, 5)
    },
}
"""Honest models whose crops are too few to tell."""


def partly(share: int, knows: bool = False) -> Model:
    """One that crops every problem and needs its crops in so many percent; else it reads the picture, or knows all."""
    easily = by_heart(1.0) if knows else reads_picture
    return Model(always("rightly"), lambda at: reads(at) if hard(at.problem, share) else easily(at))


def answers(model: Model, drawn: Sequence[Problem], met: Asking) -> list[dict[ArmName, Answered]]:
    """What a model makes of each problem in each arm."""
    names = [name for way, name in met if way == "none"]
    return [dict(_answers(model, problem, met, at, names)) for at, problem in enumerate(drawn)]


def _answers(
    model: Model, problem: Problem, met: Asking, at: int, names: Sequence[ArmName]
) -> Iterator[tuple[ArmName, Answered]]:
    way = model.way(problem)
    for name in names:
        seen, picture = met[way, name][at]
        rng = random.Random(f"{problem.name} {name}")
        said = model.say(Asked(problem, *met[way, AS_IT_IS][at], seen, picture, name, rng))
        if rng.random() < model.slips:
            said = rng.choice(model.options) if model.options else str(rng.randrange(20, 160))
        due = guess_of(problem.key(model.options)).right
        boxes = {"known": seen.evidence, "unknown": None, "elsewhere": (0.0,)}[model.evidence]
        yield name, Answered(said, said == due, regions=seen.regions, evidence=boxes)


def verdict(name: str, model: Model, drawn: Sequence[Problem], met: Asking) -> Looks:
    """The verdict on a model."""
    return looks(name, answers(model, drawn, met), [guess_of(each.key(model.options)) for each in drawn])


RECORD = Path(__file__).with_name("looks_of_tiny.json")
Recorded = dict[ArmName, tuple[str | None, tuple[float, ...]]]
"""By arm: the answer and the areas of the crops."""


def tiny(seed: int) -> tuple[list[dict[ArmName, Answered]], list[Guess]]:
    """Its answers to as many of the recorded problems, drawn with replacement, and the right ones.

    Crops are at the left: where they were is not recorded.
    """
    rows = json.loads(RECORD.read_text())
    drawn = random.Random(seed).choices(rows, k=len(rows))
    found: list[dict[ArmName, Answered]] = [
        {
            name: Answered(said, said == due, regions=[(0, (0.0, 0.0, each, 1.0)) for each in areas])
            for name, (said, areas) in of.items()
        }
        for due, of in drawn
    ]
    return found, [Guess(due) for due, _ in drawn]


def record(folder: Path) -> None:
    """Write what `tiny` answered in the arms of an evaluation of `diagrams`."""
    found: dict[str, tuple[str, Recorded]] = {}
    for name, arm in ARMS.items():
        where = folder / "looks" / arm.folder if arm.folder else folder
        for text in (where / "answers/tiny.jsonl").read_text().splitlines() if (where / "answers").is_dir() else ():
            line = json.loads(text)
            _, of = found.setdefault(line["id"], (line["input"]["answer"], {}))
            of[name] = line["answer"], tuple(round(area(region), 4) for _, region in line["regions"])
    lines = (json.dumps(row) for _, row in sorted(found.items()))
    RECORD.write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    record(Path(sys.argv[1]))
