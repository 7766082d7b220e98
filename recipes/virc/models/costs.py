"""What replies cost, by the prices of a file or as their server says, and what the rows of a call may cost.

Amounts are in the currency of the prices; `usage.cost` of OpenRouter is in US dollars.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from virc.config import yaml
from virc.core.errors import ConfigError, LimitError, errors_as
from virc.core.files import expanded
from virc.core.text import did_you_mean

if TYPE_CHECKING:
    from virc.reasoning.session import Reply

_TOKENS = 1_000_000
_EXAMPLE = "MODEL: {input: 0.15, output: 0.60}  # for a million tokens"
Amount = Annotated[float, Meta(ge=0, le=1e9)]


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a million tokens cost that a model reads and draws; those that its server has in a cache cost as much."""

    input: Amount
    output: Amount

    def of(self, reply: "Reply") -> float | None:
        """What a reply costs; None if its server does not count its tokens."""
        if reply.prompt_tokens is None or reply.completion_tokens is None:
            return None
        return (reply.prompt_tokens * self.input + reply.completion_tokens * self.output) / _TOKENS


class Prices(msgspec.Struct, frozen=True):
    """Prices by the names of models, and the file that has them."""

    file: str
    models: Mapping[str, Price]

    def of(self, model: str) -> Price:
        """The price of a model. Raises ConfigError: the file has none."""
        if model not in self.models:
            raise ConfigError(f"{self.file} has no price of {model}", did_you_mean(model, self.models, _EXAMPLE))
        return self.models[model]


def read_prices(file: str) -> Prices:
    """The prices of a file. Raises ConfigError: it cannot be read, or is no mapping of models to prices."""
    content = yaml.read_mapping(expanded(file), _EXAMPLE)
    with errors_as(ConfigError, f"{file} has no prices of models", _EXAMPLE, msgspec.ValidationError):
        return Prices(file, msgspec.convert(content, dict[str, Price]))


def total_cost(parts: Iterable[tuple[int, float | None]]) -> float | None:
    """The sum of costs, each of a number of replies; None without replies, or if one cost is not known."""
    costs = [cost for replies, cost in parts if replies]
    known = [cost for cost in costs if cost is not None]
    return round(sum(known), 12) if costs and len(known) == len(costs) else None


class Budget:
    """What the rows of one call cost, and may cost: no row begins once they have cost that much.

    Rows in work are finished and counted, so that the limit is passed by at most what these cost.

    Attributes:
        limit: None: there is none.
        cost: of all rows so far; None once it is not known of one.
        is_cut: whether a row was left to another call.
    """

    def __init__(self, limit: float | None = None) -> None:
        self.limit, self.is_cut = limit, False
        self.cost: float | None = None
        self._rows = 0

    def add(self, fields: Mapping[str, Any]) -> None:
        """Count a row by its fields. Raises ConfigError: there is a limit, and its cost is not known."""
        if not fields.get("replies"):
            return
        cost: float | None = fields.get("cost")
        if cost is None and self.limit is not None:
            sentence = "«--max-cost»: what a reply costs is not known, as no usage.cost is reported"
            raise ConfigError(sentence, "«--prices FILE» has the prices of models")
        self.cost = total_cost([(self._rows, self.cost), (1, cost)])
        self._rows += 1

    @property
    def is_spent(self) -> bool:
        return self.limit is not None and not (self.cost or 0) < self.limit  # nor is anything less than NaN

    def may_begin(self) -> bool:
        self.is_cut |= self.is_spent
        return not self.is_cut

    def error(self, done: str, hint: str = "run the same command to resume, for as much again") -> LimitError | None:
        """The error of a call that left a row to another one; `done` says how many it has not."""
        if not self.is_cut:
            return None
        sentence = f"stopped at «--max-cost {self.limit:g}»: this call cost {amount(self.cost or 0)}; {done}"
        return LimitError(sentence, hint)


def amount(cost: float | None) -> str:
    return "not known" if cost is None else f"{cost:.4g}"
