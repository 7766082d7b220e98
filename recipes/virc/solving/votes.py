"""Votes on answers: those that scoring finds to say the same are one vote, such as 1/2 and 0.5."""

from collections.abc import Iterable, Sequence


class Tally:
    """Counts answers as they come.

    Args:
        choices: contents of the choices of the question, if there are some: then `B` is a vote for the second.
    """

    def __init__(self, choices: Sequence[str] = ()) -> None:
        self._choices = choices or None
        self._counts: dict[str, int] = {}  # by the first answer that said so, the earlier first
        self._known: dict[str, str] = {}  # an answer -> the first that said the same
        self._without = 0

    def add(self, answer: str | None) -> None:
        if answer is None:
            self._without += 1
            return
        if answer not in self._known:
            self._known[answer] = next((each for each in self._counts if self._is_same(answer, each)), answer)
        first = self._known[answer]
        self._counts[first] = self._counts.get(first, 0) + 1

    def _is_same(self, answer: str, other: str) -> bool:
        from virc.scoring.answers import same_answer  # its patterns take 50 ms, which a single answer does not need

        return same_answer(answer, other, self._choices)

    @property
    def votes(self) -> list[tuple[str | None, int]]:
        found: list[tuple[str | None, int]] = sorted(self._counts.items(), key=lambda vote: -vote[1])
        return [*found, (None, self._without)] if self._without else found

    def is_decided(self, left: int) -> bool:
        if not self._counts:
            return left == 0
        counts = [*self._counts.values(), 0]  # the last is an answer that nobody has given yet
        count = max(counts)
        leader = counts.index(count)  # the earliest of those that have as many
        return all(
            votes + left < count or (votes + left == count and leader < place)
            for place, votes in enumerate(counts)
            if place != leader
        )


def tally(answers: Iterable[str | None], choices: Sequence[str] = ()) -> Tally:
    counted = Tally(choices)
    for answer in answers:
        counted.add(answer)
    return counted
