"""Finds out that a conversation goes in circles: at temperature 0 the model does again what led nowhere before."""

from collections.abc import Sequence

import msgspec

from virc.reasoning.images import Shown
from virc.reasoning.session import Rejected, Session, Unit
from virc.reasoning.trace import CallResult
from virc.solving.traces.page import in_words

REPEATED = "at temperature 0 the model gave"
"""What the sentence of a hopeless conversation begins with."""
TIMES = 3
"""How often the same greedy call with the same result, or the same unusable greedy reply, ends a solution."""

_OF_A_CALL = ("tool", "deviation", "unit")
"""Faults whose reason says all about a call; of others the whole reply is compared."""


class Repeated:
    """Counts what greedy replies of one conversation came to."""

    def __init__(self) -> None:
        self._seen: dict[bytes, list[Sequence[Shown]]] = {}

    def sentence(self, verdict: Unit | Rejected, session: Session) -> str | None:
        """Why the conversation is hopeless after this greedy reply; None: it is not.

        A unit is hopeless where each of its calls was made `TIMES` times, on the same picture and with the same result.
        Two pictures are the same where their pixels are: a picture that is shown again has another index.
        """
        if isinstance(verdict, Rejected):
            said = verdict.reason if verdict.kind in _OF_A_CALL else verdict.text
            again = self._count(msgspec.json.encode([verdict.kind, said]), ()) >= TIMES
            what = f"the same reply, which could not be used: {verdict.reason}"
        else:
            if verdict.answer is not None:
                return None
            results = {_key(each): each for each in verdict.results}  # a call that stands twice in a unit counts once
            again = min((self._times(key, each, session) for key, each in results.items()), default=0) >= TIMES
            what = " and ".join(_in_words(each) for each in results.values())
        return f"{REPEATED} {TIMES} times {what}" if again else None

    def _times(self, key: bytes, result: CallResult, session: Session) -> int:
        """How often a call has had this result."""
        source = () if result.call is None or result.call.index is None else (result.call.index,)
        return self._count(key, [session.images[index] for index in (*source, *result.images)])

    def _count(self, key: bytes, images: Sequence[Shown]) -> int:
        before = self._seen.setdefault(key, [])
        before.append(images)
        return sum(len(each) == len(images) and all(map(_same, each, images)) for each in before)


def _key(result: CallResult) -> bytes:
    """A call and what it said, whatever the number of its image, and the parts of a pixel in its box."""
    call = result.call and msgspec.structs.replace(result.call, index=None, region=None)
    return msgspec.json.encode([call, result.text, result.error, result.reason])


def _same(one: Shown, other: Shown) -> bool:
    return one is other or (one.size == other.size and one.pixels.tobytes() == other.pixels.tobytes())


def _in_words(result: CallResult) -> str:
    if result.call is None:
        return f"a call that could not be used: {result.reason or result.error}"
    return f"the same call with the same result: {in_words(result.call)}"
