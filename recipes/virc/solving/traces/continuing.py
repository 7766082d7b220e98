"""An answered question to ask on from: what `virc solve --continue` reads, and what is kept of the last answer.

A session is made again from its record: the pictures are opened anew, the replies are fed, and tools are called again.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from virc.config.taken import Left, is_refused, left
from virc.config.user import cache_folder
from virc.core.errors import DataError, NetworkError, NoAnswerError, UsageError, VircError
from virc.core.files import contents, is_file, is_folder, write_whole
from virc.core.json_stream import once
from virc.core.text import clause, counted, plain
from virc.core.timeouts import Deadline
from virc.models.load import Opened
from virc.models.registry import EMBEDDED
from virc.reasoning.media import USUAL_MEDIA, MediaChoice, Page
from virc.reasoning.trace import Trace
from virc.solving.image_source import STREAM, Picture, Source, sources_of
from virc.solving.traces.files import SCHEMA, document

_MAX_BYTES = 256 * 2**20
_ANOTHER_MODEL = "virc solve IMAGE 'QUESTION' --model NAME asks another model, from the first question on"
_GIVE_URL = "virc solve --continue TRACE 'QUESTION' --image URL fetches it"
_GIVE = "virc solve --continue TRACE 'QUESTION' --image FILE"


class TracedPicture(msgspec.Struct, frozen=True):
    """The file of a picture of a conversation.

    Args:
        source: a URL, or its path from the folder of the record; None: it was in memory, or a secret may be in its URL.
        page: the page that is shown; None: the first.
        media: which parts are shown of a clip or document.
    """

    source: str | None
    sha256: str
    page: Page | None = None
    media: MediaChoice | None = None


class Sampled(msgspec.Struct, frozen=True):
    chat_protocol: str | None = None


class _Meta(msgspec.Struct, frozen=True):
    """What a record says beside its trace."""

    model: str | None = None
    sampling: Sampled = Sampled()
    pictures: tuple[TracedPicture, ...] | None = None


class Conversation(msgspec.Struct, frozen=True):
    """A question with its answer, whose pictures are known.

    Args:
        chat_protocol: the hash that `settings` has.
        trusted: whether the user named its pictures, now or for the last answer; else no URL is fetched, as others
            may have made the file that has it.
    """

    trace: Trace
    model: str | None
    chat_protocol: str | None
    pictures: tuple[TracedPicture, ...]
    trusted: bool = True
    unused: tuple[str, ...] = ()

    @property
    def media(self) -> MediaChoice:
        first = next(iter(self.pictures), None)
        page = MediaChoice(pages=(first.page,)) if first and first.page else USUAL_MEDIA
        return first.media if first and first.media else page

    def check(self, opened: Opened, known: Mapping[str, Any]) -> NoAnswerError | None:
        """Return the error of a model that answers first questions alone.

        Raises:
            UsageError: another model or chat protocol is asked now.
        """
        if self.model != opened.name:
            sentence = f"the conversation is with the model {self.model}, not {opened.name}"
            as_before = "name the model as before: «--model NAME», and «--endpoint URL» of its server"
            raise UsageError(sentence, _ANOTHER_MODEL if self.model == EMBEDDED else as_before)
        if self.chat_protocol != known["settings"]["chat_protocol"]:
            sentence = f"the conversation with {self.model} was had by another chat protocol"
            raise UsageError(sentence, "give «--system», «--protocol», «--family» and «--tools» as before")
        if opened.embedded:  # it would say something all the same
            return NoAnswerError(f"{opened.name} answers first questions alone", _ANOTHER_MODEL)
        return None

    def sources_of(self, sources: Sequence[Picture], offline: bool, deadline: Deadline) -> list[Source]:
        """The files of its pictures. Raises as `image_source.sources_of`, and DataError: they are others."""
        if self.trusted:
            files = sources_of(sources, offline, deadline, pipes=True)
        else:
            files = [file for each in sources for file in self._files_of_others(each, offline, deadline)]
        self._check_pictures(files)
        return files

    @staticmethod
    def _files_of_others(source: Picture, offline: bool, deadline: Deadline) -> list[Source]:
        """The file of a picture that the trace names: none at a URL, as nobody knows yet what that is asked for."""
        if "://" in str(source):
            raise DataError(f"the trace names a picture that is not fetched: {plain(source, 200)}", _GIVE_URL)
        try:
            return sources_of([source], offline, deadline)
        except (DataError, NetworkError) as error:
            error.hint = _GIVE
            raise

    def _check_pictures(self, files: Sequence[Source]) -> None:
        """Raise DataError if the files are not those of the conversation."""
        if len(files) != len(self.pictures):
            was = counted(len(self.pictures), "picture")
            raise UsageError(f"the conversation is about {was}, and {len(files)} are given", _GIVE)
        for (content, name), former in zip(files, self.pictures, strict=True):
            if _digest(content) != former.sha256:
                hint = f"name the file as it was: {_GIVE}"
                raise DataError(f"{name} is another picture than the conversation is about", hint)


def traced_pictures(
    sources: Sequence[Picture], files: Sequence[Source], choice: MediaChoice
) -> tuple[TracedPicture, ...]:
    """The pictures of a problem, with absolute paths."""

    def source_of(picture: Picture) -> str | None:
        if not isinstance(picture, str | os.PathLike) or (text := os.fspath(picture)) == STREAM:
            return None
        if "://" in text or text[:5].lower() == "data:":
            return None if text[:4].lower() != "http" or "?" in text or "@" in text else text
        return str(Path(text).expanduser().absolute())

    is_page = choice == MediaChoice(pages=choice.pages[:1])
    page, chosen = (next(iter(choice.pages), None), None) if is_page else (None, choice)
    named = zip(sources, files, strict=True)
    return tuple(TracedPicture(source_of(each), _digest(content), page, chosen) for each, (content, _) in named)


def _digest(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seen_from(folder: Path, pictures: Iterable[TracedPicture]) -> list[TracedPicture]:
    """The same with paths that start from a folder: a project may be moved, and a trace names no home folder."""
    return [_at(each, lambda source: os.path.relpath(source, folder.resolve())) for each in pictures]


def _at(picture: TracedPicture, place: Callable[[str], str]) -> TracedPicture:
    if picture.source is None or "://" in picture.source:
        return picture
    return msgspec.structs.replace(picture, source=place(picture.source))


def read_conversation(name: str | None, trusted: bool = True) -> Conversation:
    """The conversation of a trace, its folder or its `trace.json`; None: that of the last answer.

    Raises:
        DataError: it cannot be read, or has no answer.
    """
    path = _last() if name is None else Path(name)
    path = path / "trace.json" if is_folder(str(path)) else path
    hint = "virc solve IMAGE 'QUESTION' --trace DIR writes one"
    try:
        raw = contents(path, _MAX_BYTES)
        trace, meta = msgspec.json.decode(raw, type=Trace), msgspec.json.decode(raw, type=_Meta)
        unused = _unused(json.loads(raw, object_pairs_hook=once))
    except FileNotFoundError:
        sentence = "there is no answer to ask on from" if name is None else f"there is no trace {path}"
        raise DataError(sentence, "virc solve IMAGE 'QUESTION' comes first" if name is None else hint) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is no trace of virc solve: {clause(error)}", hint) from error
    if trace.answer is None:
        reason = f": {trace.failure.message}" if trace.failure else ""
        raise DataError(f"{path} has no answer to ask on from{reason}", "virc solve IMAGE 'QUESTION' asks again")
    if meta.pictures is None:
        sentence = f"{path} does not say which files its pictures are: only traces of virc solve do"
        raise DataError(sentence, "virc solve IMAGE 'QUESTION' --trace DIR asks again")
    folder = path.parent.resolve()
    found = tuple(_at(each, lambda source: os.path.normpath(folder / source)) for each in meta.pictures)
    return Conversation(trace, meta.model, meta.sampling.chat_protocol, found, trusted, unused)


def _unused(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Sentences on fields of a record that are not used. Raises ValueError: it cannot be understood without them."""
    if record.get("schema", SCHEMA) != SCHEMA:
        raise ValueError(f"it is of the form {plain(record['schema'], 40)}, and this version reads {SCHEMA}")
    names = left("record", record, Trace.__struct_fields__)
    for each in record.get("pictures") or ():
        names += left("record", each, TracedPicture.__struct_fields__)
    if refused := [name for name in names if is_refused("record", name)]:
        raise ValueError(f"its {refused[0]} is not read")
    unused = Left()
    unused.add("record", names)
    return tuple(unused.sentences())


def names_of(conversation: Conversation, given: Sequence[str]) -> list[str]:
    """Where the pictures of a conversation are: as given, else where they were.

    Raises:
        DataError: one is gone, or nothing says where it was.
    """
    if given:
        return [*given]
    found = []
    for number, each in enumerate(conversation.pictures, 1):
        if each.source is None:
            raise DataError(f"picture {number} of the conversation was no file: it has to be given again", _GIVE)
        if "://" not in each.source and not is_file(each.source):
            raise DataError(f"the picture of the conversation is gone: {each.source}", _GIVE)
        found.append(each.source)
    return found


def in_words(conversation: Conversation) -> str:
    question, answer = (plain(text, 80) for text in (conversation.trace.question, conversation.trace.answer))
    return "; ".join((f"going on after {question!r}, answered {answer!r}", *conversation.unused))


def keep_last(conversation: Conversation) -> None:
    """Keep a conversation as the last one, without its pictures; a disk that is full costs no answer."""
    with suppress(OSError, VircError):
        path = _last()
        meta = {
            "model": conversation.model,
            "sampling": {"chat_protocol": conversation.chat_protocol},
            "pictures": seen_from(path.parent, conversation.pictures),
        }
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(path, json.dumps(document(conversation.trace, meta)).encode())


def _last() -> Path:
    return cache_folder(os.environ) / "last-answer" / "trace.json"
