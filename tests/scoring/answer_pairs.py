"""The labelled pairs of answers of `pairs.jsonl`, and how well readings of them do, by category."""

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from virc.scoring.answers import score
from virc.scoring.score import Key

FILE = Path(__file__).with_name("pairs.jsonl")
KITS = Path(__file__).with_name("kits.json")
"""What virc and other kits say of the pairs: `compare_kits.py` writes it."""
NAMES = ("virc", "math-verify", "VLMEvalKit", "lmms-eval")


class Pair(msgspec.Struct, frozen=True):
    """Two answers to one question, and whether a person finds them to say the same.

    Args:
        draft: 1 was written before the code, each other one after the code had been fitted to the drafts before.
    """

    category: str
    answer: str
    reference: str
    same: bool
    draft: int
    choices: tuple[str, ...] = ()


Reading = Callable[[Pair], bool]
"""Whether a kit finds a pair the same."""


class Tally(msgspec.Struct):
    """Wrong verdicts and pairs of each kind."""

    false_positives: int = 0
    negatives: int = 0
    false_negatives: int = 0
    positives: int = 0


class Kit(msgspec.Struct):
    """A kit's verdicts: the pairs (`key`) that it finds the same."""

    version: str
    function: str
    same: list[str]


def pairs() -> list[Pair]:
    """All pairs."""
    return [msgspec.json.decode(line, type=Pair) for line in FILE.read_bytes().splitlines()]


def key(pair: Pair) -> str:
    """What names a pair in the file of verdicts."""
    return "\t".join((pair.answer, pair.reference, *pair.choices))


def of_virc(pair: Pair, symbolic: Callable[[str, str], bool] | None = None) -> bool:
    """What `virc eval` says of a pair."""
    return score(pair.answer, Key(pair.reference, pair.choices), symbolic).right


def tallied(said: Iterable[Pair], reading: Reading) -> dict[str, Tally]:
    """The tally of each category, and of all as `all`."""
    found: dict[str, Tally] = {"all": Tally()}
    for pair in said:
        is_same = reading(pair)
        for tally in (found["all"], found.setdefault(pair.category, Tally())):
            if pair.same:
                tally.positives += 1
                tally.false_negatives += not is_same
            else:
                tally.negatives += 1
                tally.false_positives += is_same
    return found


def kits() -> dict[str, Kit]:
    """The recorded verdicts."""
    return msgspec.json.decode(KITS.read_bytes(), type=dict[str, Kit])


def of_kit(kit: Kit) -> Reading:
    """The reading of a kit, from its recorded verdicts."""
    same = frozenset(kit.same)
    return lambda pair: key(pair) in same


def shares(tally: Tally) -> tuple[float, float]:
    """The shares of false positives and of false negatives, in percent."""
    return (
        100 * tally.false_positives / max(tally.negatives, 1),
        100 * tally.false_negatives / max(tally.positives, 1),
    )


def table() -> str:
    """False positives and false negatives of the recorded verdicts in percent, by category, in Markdown."""
    found = kits()
    said = pairs()
    tallies = [tallied(said, of_kit(found[name])) for name in NAMES]
    lines = [f"| category | pairs | {' | '.join(NAMES)} |", "|---|---|" + "---|" * len(NAMES)]
    for category, of in sorted(tallies[0].items(), key=lambda each: (each[0] == "all", each[0])):
        cells = (" / ".join(f"{share:.1f}".removesuffix(".0") for share in shares(each[category])) for each in tallies)
        lines.append(f"| {category} | {of.negatives} + {of.positives} | {' | '.join(cells)} |")
    return "".join(f"{line}\n" for line in lines)
