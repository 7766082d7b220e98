"""The reward of a whole rollout, of the rewards of its replies (`virc.rewards.rollouts`), and what a rollout wrote."""

from collections.abc import Sequence
from typing import Any

from virc.data.rows.record import Message
from virc.rewards.sample import Sample


def of_last_reply(units: Sequence[float], t: Any) -> float:
    """Return that of its last reply, which is its only one, or in which all of it counts."""
    return units[-1]


def before_reply(sample: Sample) -> Sequence[Message]:
    """Return what the model wrote and was shown behind the question, up to its last reply."""
    messages = sample.prompt.record.messages
    start = next((at for at, message in enumerate(messages) if message.role == "assistant"), len(messages))
    return messages[start:]
