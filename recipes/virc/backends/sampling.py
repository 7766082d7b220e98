"""From logits to an id, and from ids to text as they come."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from virc.backends.interface import OnText, Sampling

if TYPE_CHECKING:
    import torch


def seeded(seed: int | None) -> "torch.Generator":
    import torch

    generator = torch.Generator()
    generator.manual_seed(generator.seed() if seed is None else seed)
    return generator


def pick(logits: "torch.Tensor", sampling: Sampling, generator: "torch.Generator") -> int:
    """Draw one id from logits of shape (vocabulary,).

    Greedy at temperature 0. Else from softmax(logits / temperature), cut to the `top_k` likeliest (0 and None: all)
    and of those to the fewest whose share reaches `top_p`, at least one, and to those of at least `min_p` times the
    first share; on the CPU, so that a seed means the same on every device.
    """
    import torch

    if sampling.temperature == 0:
        return int(logits.argmax())
    likeliest, ids = logits.float().cpu().topk(min(sampling.top_k or len(logits), len(logits)))
    # at most 0 before it is divided, and in float64: no temperature overflows to a share that is no number
    shares = ((likeliest - likeliest[0]).double() / sampling.temperature).softmax(0)
    shares[1:] *= shares.cumsum(0)[:-1] < sampling.top_p
    shares *= shares >= (sampling.min_p or 0) * shares[0]
    return int(ids[torch.multinomial(shares, 1, generator=generator)])


def penalised(logits: "torch.Tensor", ids: Sequence[int], penalty: float) -> "torch.Tensor":
    """Logits of shape (vocabulary,) with those of ids that were seen made less likely, each once.

    A logit is divided by the penalty if it is positive and multiplied by it if it is negative, as CTRL
    (arXiv:1909.05858) and transformers' RepetitionPenaltyLogitsProcessor have it; 1 changes nothing.
    """
    import torch

    if penalty == 1:
        return logits
    seen = torch.tensor(sorted(set(ids)), device=logits.device)
    found = logits[seen]
    return logits.index_copy(0, seen, torch.where(found < 0, found * penalty, found / penalty))


class Stopping:
    """Passes pieces of a reply on, and notices a text that ends it, however it comes in pieces: `stopped`."""

    def __init__(self, stop: Sequence[str] = (), on_text: OnText | None = None) -> None:
        self._stop, self._on_text, self._tail, self.stopped = stop, on_text, "", False

    def add(self, piece: str) -> None:
        if self._stop:
            self._tail += piece
            self.stopped = self.stopped or any(stop in self._tail for stop in self._stop)
            self._tail = self._tail[-max(map(len, self._stop)) :]
        if piece and self._on_text:
            self._on_text(piece)


class Text:
    """Ids to text as they come; bytes of a character that is not whole yet are held back.

    `stopped` says whether a text that ends a reply has come.
    """

    def __init__(self, tokenizer: Any, on_text: OnText | None = None, stop: Sequence[str] = ()) -> None:
        self._tokenizer, self._passed = tokenizer, Stopping(stop, on_text)
        self._pending: list[int] = []
        self._pieces: list[str] = []

    @property
    def stopped(self) -> bool:
        return self._passed.stopped

    def add(self, token: int) -> None:
        self._pending.append(token)
        piece = self._tokenizer.decode(self._pending, skip_special_tokens=True)
        if not piece.endswith("\ufffd"):
            self._pass_on(piece)

    def finish(self) -> str:
        """The whole text; what was held back is passed on as it is."""
        self._pass_on(self._tokenizer.decode(self._pending, skip_special_tokens=True))
        return "".join(self._pieces)

    def _pass_on(self, piece: str) -> None:
        self._pending.clear()
        self._pieces.append(piece)
        self._passed.add(piece)
