"""Finds out how a model counts boxes, before the first crop of one of which nobody knows."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from virc.backends.interface import Backend
from virc.core.errors import ConfigError, NetworkError, VircError
from virc.core.text import clause
from virc.families import registry as families
from virc.families.registry import Family
from virc.probing import result
from virc.probing.result import Probed
from virc.reasoning import lenient
from virc.reasoning.bodies import BOX, POINT, POINTS, FormatError
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Reply
from virc.tools import registry as tools

_LOCKS: dict[tuple[str, str], threading.Lock] = {}
_MAX_CHARACTERS = 50_000


def asks_for_box(protocol: Protocol, reply: Reply) -> bool:
    """Whether a stock model's reply calls a tool of its chat protocol with a box or a point."""
    with suppress(FormatError):
        text, offered, cut = reply.text[:_MAX_CHARACTERS], tools.offered(protocol.tools), reply.finish == "length"
        read = lenient.read_leniently(
            text, protocol.grammar, offered, thought=reply.thought, calls=reply.calls, cut=cut
        )
        known = [call.arguments for call in read.turn.calls if call.name in protocol.tools]
        return any(isinstance(each.get(name), list) for each in known for name in (BOX, POINT, POINTS))
    return False


def _hint() -> str:
    known = ", ".join(families.discover())
    return (
        f"«--family NAME» says how, where you know the model: {known}; or the `coordinates` of a «--family FILE.yaml»"
    )


class Calibration:
    """How one model counts boxes: it is asked once, by who needs it first; others wait for that.

    Attributes:
        found: what was found; None: it was not asked yet, or does not tell.

    Args:
        before: of its endpoint or file, server and weights, with what is known of them otherwise; the result is kept
            with it.
        use_setup: shows pictures from then on as suits the result.
    """

    def __init__(
        self, backend: Backend, family: Family | None, before: Probed, use_setup: Callable[[Probed], None]
    ) -> None:
        self._backend, self._family, self._before, self._use_setup = backend, family, before, use_setup
        self._refused: str | None = None
        self.found = before if before.coordinates else None

    def __call__(
        self, protocol: Protocol, sizes: Sequence[tuple[int, int]] = (), seconds: float | None = None
    ) -> Protocol:
        """The chat protocol with boxes as the model counts them.

        Args:
            sizes: (width, height) in pixels of the images that it was shown.

        Raises:
            ConfigError: the model does not tell, or its server showed it those images smaller than they were sent.
            NetworkError: the server cannot be asked now.
        """
        found = self.resolved(bool(protocol.schemas), seconds)
        assert found.coordinates
        if found.coordinates == "pixel":
            self._check(found, sizes)
        return msgspec.structs.replace(protocol, coordinates=found.coordinates, box=found.box or "corners")

    def resolved(self, native: bool, seconds: float | None = None) -> Probed:
        with _LOCKS.setdefault((self._before.endpoint, self._before.model), threading.Lock()):
            if self._refused:
                raise ConfigError(self._refused, _hint())
            if self.found is None:
                self.found = self._kept() or self._asked(native, seconds)
                self._use_setup(self.found)
        return self.found

    def _kept(self) -> Probed | None:
        before = self._before
        kept = result.kept_probe(before.endpoint, before.model, before.server, before.weights)
        return kept if kept and kept.coordinates else None

    def _asked(self, native: bool, seconds: float | None) -> Probed:
        from virc.probing import probe

        before = self._before
        try:
            found = probe.unit(self._backend, before.endpoint, self._family, native, seconds)
        except NetworkError:
            raise
        except VircError as error:
            raise self._unknown(f": asked about a drawn picture, it failed: {clause(error)}") from error
        if found is None:
            raise self._unknown(", and it gave no box around a red rectangle that fits any way to count")
        whole = msgspec.structs.replace(
            before, coordinates=found.coordinates, box=found.box, longest=found.longest or before.longest,
            max_pixels=found.max_pixels, scaling=found.scaling or before.scaling, kept=0,
        )  # fmt: skip
        with suppress(OSError, ConfigError):  # it is asked again next time
            result.keep(whole)
        return whole

    def _unknown(self, why: str) -> ConfigError:
        self._refused = f"it is not known how {self._before.model} counts boxes{why}; no crop is cut in a guessed unit"
        return ConfigError(self._refused, _hint())

    def _check(self, found: Probed, sizes: Sequence[tuple[int, int]]) -> None:
        longest, most = found.longest or max((max(size) for size in sizes), default=0), found.max_pixels
        if any(max(size) > longest or (most and size[0] * size[1] > most) for size in sizes):
            raise ConfigError(
                f"{self._before.endpoint} may show {self._before.model} pictures smaller than they were sent, and it "
                "counts boxes in their pixels",
                "the same command again: pictures are sent smaller from now on",
            )
