"""The ids of a rollout: appended and never encoded again, so that they are those that `virc solve` feeds.

Learnt is from sampled ids alone. Masked are tool results, and an end of turn that the model did not write itself.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from virc.backends import checkpoint
from virc.backends.chatml import render
from virc.core.errors import EngineError
from virc.reasoning.images import Shown
from virc.reasoning.resize import Grid, smart_resize
from virc.reasoning.session import Ask, Reply

_END = "<|im_end|>"


class Speech(msgspec.Struct, frozen=True):
    """How a model's conversations become ids.

    Args:
        tokenizer: built from `tokenizer.json` as it is, as `virc solve` does.
        grid: the patch grid images are shown on.
        end: id of the end of a turn.
        ends: ids that a turn can end with.
        never: ids that no reply holds.
    """

    tokenizer: Any
    grid: Grid
    end: int
    ends: frozenset[int]
    never: tuple[int, ...]

    def encode(self, ask: Ask) -> list[int]:
        """Ids of a conversation up to the header of the reply to come."""
        counts = [_tokens(shown, self.grid) for shown in ask.images]
        return render(ask.messages, counts, self.tokenizer, generate=True).ids


@cache
def speech(folder: str, max_pixels: int | None = None) -> Speech:
    """How the model in a folder speaks.

    Args:
        max_pixels: lowers the model's own limit on an image, in pixels.

    Raises:
        ConfigError: the folder is incomplete.
    """
    import transformers

    from virc.backends.local import never_said

    place = Path(folder)
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(place, local_files_only=True)
    config = transformers.AutoConfig.from_pretrained(place, local_files_only=True)
    end = tokenizer.convert_tokens_to_ids(_END)
    named = transformers.GenerationConfig.from_pretrained(place, local_files_only=True).eos_token_id
    return Speech(
        tokenizer,
        checkpoint.image_grid(checkpoint.image_settings(place), max_pixels),
        end,
        frozenset({end, *(named if isinstance(named, list) else [named])}),
        tuple(never_said(tokenizer, config.get_text_config().vocab_size).tolist()),
    )


class Ids:
    """The ids of a rollout: its prompt, and what came after it.

    Args:
        prompt: up to the header of the first reply.
        speech: of the model.
        room: how many ids may come after the prompt.

    Attributes:
        response: ids after the prompt.
        mask: for each of them 1 where it was sampled, else 0.
        chances: for each of them its log-probability, 0 where it was not sampled.
    """

    def __init__(self, prompt: Sequence[int], speech: Speech, room: int) -> None:
        self.prompt = list(prompt)
        self.response: list[int] = []
        self.mask: list[int] = []
        self.chances: list[float] = []
        self._speech, self._room = speech, room

    @property
    def all(self) -> list[int]:
        """Prompt and response."""
        return self.prompt + self.response

    @property
    def room(self) -> int:
        """How many more ids there may be."""
        return self._room - len(self.response)

    def reply(self, ids: Sequence[int], chances: Sequence[float] | None = None) -> Reply:
        """Append a reply as it was sampled, with its end of turn where it has one.

        Args:
            chances: the log-probability of each id, where they are known.
        """
        before = len(self.all)
        self._append(ids, 1, chances)
        ended = bool(ids) and ids[-1] in self._speech.ends
        kept = tuple(ids[:-1] if ended else ids)
        text = self._speech.tokenizer.decode(kept, skip_special_tokens=True)
        return Reply(text, kept, "stop" if ended else "length", before, len(ids))

    def go_on(self, conversation: Sequence[int]) -> bool:
        """Append what is between the last reply and the next; False where it leaves no room for one.

        Args:
            conversation: its ids up to the header of the next reply.

        Raises:
            EngineError: it does not begin with the ids that were sampled.
        """
        if len(conversation) - len(self.prompt) >= self._room:
            return False
        if self.response[-1] in self._speech.ends - {self._speech.end}:
            # Another end than the one that is fed on: no choice of the model's any more.
            self.response[-1], self.mask[-1], self.chances[-1] = self._speech.end, 0, 0.0
        held = self.all
        if list(conversation[: len(held)]) != held:
            raise EngineError("the ids of a rollout are not those of its conversation")
        self._append(conversation[len(held) :], 0)
        return True

    def _append(self, ids: Sequence[int], mask: int, chances: Sequence[float] | None = None) -> None:
        self.response += ids
        self.mask += [mask] * len(ids)
        self.chances += chances or [0.0] * len(ids)


def _tokens(shown: Shown, grid: Grid) -> int:
    """How many ids an image takes; one off the grid (1000 x 1000) is brought onto it by the model's processor."""
    width, height = shown.size
    if width % grid.factor or height % grid.factor:
        width, height = smart_resize(width, height, grid)
    return width * height // grid.factor**2
