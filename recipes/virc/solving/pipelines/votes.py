"""Votes among texts."""

from collections.abc import Iterable

from virc.solving.pipelines.steps import Ran, here
from virc.solving.votes import tally


def vote(texts: Iterable[str], step: str = "vote") -> str:
    """Return the most frequent text, the first of those where several are; texts that scoring finds equal are one.

    Empty where there is no text.
    """
    votes = tally(text.strip() for text in texts).votes
    chosen = next((text for text, _ in votes if text is not None), "")
    branch = here()
    branch.run.add(branch.next(), Ran(name=step, kind="vote", output=(chosen,)))
    return chosen
