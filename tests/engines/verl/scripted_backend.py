"""A local backend that says what it is told to."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from virc.backends.chatml import Rendered
from virc.backends.interface import Sampling
from virc.backends.local import LocalBackend, load
from virc.backends.sampling import Text
from virc.reasoning.images import Shown


class Scripted(LocalBackend):
    """Says what it is told to, and keeps what it was asked."""

    def script(self, replies: Iterable[Sequence[int]]) -> None:
        self.fed: list[list[int]] = []
        self.shown: list[list[Image.Image]] = []
        self.replies = list(replies)

    @property
    def sizes(self) -> list[list[tuple[int, int]]]:
        """Of the images of each turn."""
        return [[image.size for image in images] for images in self.shown]

    def _draw(
        self, conversation: Rendered, images: Sequence[Shown], sampling: Sampling, text: Text
    ) -> tuple[list[int], bool, None]:
        self.fed.append(conversation.ids)
        self.shown.append([shown.pixels for shown in images])
        ids = list(self.replies[len(self.fed) - 1])
        for token in ids:
            text.add(token)
        return ids, not text.stopped, None


def scripted(model: Path) -> Scripted:
    """A model that says what it is told to."""
    made = load(model, "cpu")
    made.__class__ = Scripted
    assert isinstance(made, Scripted)
    return made


def spelt(backend: Scripted, text: str) -> list[int]:
    """Ids of a text letter by letter: what is sampled need not be what encoding gives."""
    return [token for letter in text for token in backend._tokenizer.encode(letter, add_special_tokens=False)]
