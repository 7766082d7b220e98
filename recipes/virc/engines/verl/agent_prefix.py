"""A stored conversation, and the one reply that follows it: per-CRU reinforcement learning."""

from virc.data.rows.record import Record, images_of, inputs_of, message_of
from virc.reasoning.images import Shown, open_file, show
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import Grid
from virc.reasoning.session import Ask, Done, Message, Reply, show_input
from virc.reasoning.trace import ImageRecord, Trace


class Prefix:
    """One unit after a stored conversation, with the interface of `Session`; the reply is not read, only scored.

    Args:
        record: the conversation, with or without its reference reply, and the images shown before it.
        protocol: how its images are shown; its words are the record's own.
        grid: the patch grid images are shown on.

    Raises:
        DataError: an image cannot be opened.
        OSError: an image cannot be read.
        ValueError: an image cannot be shown.
    """

    def __init__(self, record: Record, protocol: Protocol, grid: Grid) -> None:
        self._record, self._protocol = record, protocol
        known = record.messages[-1].role == "assistant"  # the reference, which nobody may see
        before = zip(record.messages, images_of(record), strict=True)
        self._messages = [message_of(message, shown) for message, shown in before][: -1 if known else None]
        inputs = inputs_of(record)
        self._images = []
        for index, picture in enumerate(record.images):
            image = open_file(picture.read(), picture.name or "an image")
            self._images.append(show_input(image, protocol, grid) if index in inputs else show(image.pixels, grid))
        self._answered = False

    def next(self) -> Ask | Done:
        """What to ask, or the finished trace."""
        return Done(self.trace()) if self._answered else Ask(tuple(self._messages), tuple(self._images))

    def feed(self, reply: Reply) -> None:
        """Take the reply."""
        self._messages.append(Message("assistant", reply.text, token_ids=reply.token_ids))
        self._answered = True

    def trace(self) -> Trace:
        """The conversation with its reply; nothing in it is read."""
        return Trace(
            question=self._record.question or "",
            protocol=self._protocol,
            images=[_recorded(index, shown) for index, shown in enumerate(self._images)],
            messages=list(self._messages),
            units=[],
        )


def _recorded(index: int, shown: Shown) -> ImageRecord:
    return ImageRecord(index, shown.width, shown.height, f"image-{index}.png")
