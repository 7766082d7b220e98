"""What LLaMA-Factory 0.9.5 stops at, or drops with no more than a warning; cheap enough for every row."""

from collections.abc import Iterator

from virc.core.files import is_file
from virc.core.text import plain
from virc.data.check import conversation, dataset_info
from virc.data.check.row import unread
from virc.data.check.verdict import Fault
from virc.data.formats import sft
from virc.data.formats.registry import Row, Source
from virc.data.rows.record import Picture, Record

PADS = ("<|image_pad|>", "<|video_pad|>")
"""What the engine itself writes where pixels go; in a row's text they make it look for pixels that are not there."""

_BOM = b"\xef\xbb\xbf"


def check_source(source: Source) -> Iterator[Fault]:
    """What is wrong for all rows of a file."""
    yield from dataset_info.check(source)
    with sft.opened(source.file) as file:
        if source.format == sft.NAME and file.read(3) == _BOM:
            yield Fault("mark_of_order", "the file begins with a byte order mark: LLaMA-Factory stops at it")


def check(row: Row) -> Iterator[Fault]:
    """What is wrong with one row, as far as that shows without opening its images."""
    if row.record is None:
        yield unread(row)
        return
    yield from (Fault("row", plain(flaw)) for flaw in row.flaws)
    yield from conversation.check(row.record, "solutions")
    yield from _pads(row.record)
    for picture in row.record.images:
        if not is_file(file_of(picture)):
            yield Fault("image_missing", f"there is no file {plain(picture.name, 120)}")
            return


def file_of(picture: Picture) -> str:
    """The file that LLaMA-Factory opens for an image, whose name may be absolute or lead out of the folder."""
    return str(picture.folder / picture.name)


def _pads(record: Record) -> Iterator[Fault]:
    for number, message in enumerate(record.messages, 1):
        for pad in PADS:
            if pad in message.content:
                yield Fault(
                    "mark_foreign", f"message {number} holds {pad}: training stops where it looks for pixels"
                )
                return
