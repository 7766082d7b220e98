"""Whether a trainer sees the pictures that a rollout saw, by its log-probabilities."""

from collections.abc import Callable, Sequence

from PIL import Image

from virc.core.errors import ConfigError

Images = Sequence[Image.Image]
LogProbs = Callable[[Images], Sequence[float]]
TOLERANCE = 1e-3
"""Nats a token, as a mean, where one model gives both log-probabilities in one precision."""
_ROUNDING = 1e-6
_HINT = "it trains on texts without their pictures; use a version of it that passes pictures on"


def check_trainer(
    logprobs: LogProbs, images: Images, reference: Sequence[float] | None = None, tolerance: float = TOLERANCE
) -> None:
    """Check that a trainer sees each picture of a rollout and, where there is a reference, sees it as the rollout did.

    A picture that a trainer does not see changes nothing when another is in its place. One that it sees elsewhere, in
    another order or in another size, makes it differ from who drew the replies.

    Args:
        logprobs: gives the trainer's log-probabilities of the tokens of the replies, when the pictures of the rollout
            are these, through all that the trainer does with pictures.
        images: those that were shown before the last reply, in their order.
        reference: log-probabilities of the same tokens, of the sampler or of the model on exactly what the rollout saw.
        tolerance: what these may differ by from the trainer's, as a mean over tokens; .2 for a sampler in bfloat16 and
            a trainer in float32.

    Raises:
        ConfigError: the trainer does not see what the rollout saw.
    """
    own = logprobs(images)
    rounding = _ROUNDING + 2 * _largest(own, logprobs(images))
    for at, image in enumerate(images):
        swapped = logprobs([*images[:at], image.convert("RGB").point(_other), *images[at + 1 :]])
        if _largest(own, swapped) <= rounding:
            sentence = f"the trainer does not see picture {at + 1} of {len(images)} of a rollout"
            raise ConfigError(f"{sentence}: with another in its place, its log-probabilities are the same", _HINT)
    if reference is None:
        return
    if len(reference) != len(own):
        raise ConfigError(f"the trainer has {len(own)} log-probabilities for {len(reference)} tokens of replies", _HINT)
    apart = sum(abs(a - b) for a, b in zip(own, reference, strict=True)) / max(1, len(own))
    if not apart <= tolerance:
        sentence = f"the trainer does not see what the rollout saw: its log-probabilities differ by {apart:.3g} a token"
        raise ConfigError(sentence, "its pictures are at other places, in another order or in other sizes")


def _other(level: int) -> int:
    return (level + 128) % 256


def _largest(some: Sequence[float], others: Sequence[float]) -> float:
    if len(some) != len(others):
        return float("inf")
    return max((abs(a - b) for a, b in zip(some, others, strict=True)), default=0.0)
