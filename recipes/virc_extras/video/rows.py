"""Rows that name clips or documents, with their frames and pages as pictures: what `virc data convert` reads instead.

`names_media` says whether a file has such rows, and `as_pictures` writes it again. Each row keeps its other
columns; `images` has the names of its pictures, written once beside the rows, and `image_places` where each comes from.
A text has a mark for each picture where it had one for the clip; in turns with a reply its line is before it.
"""

import re
import shlex
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec

from virc.core import plugins
from virc.core.errors import DataError, SetupError, VircError, errors_as
from virc.core.json_stream import one_line
from virc.core.text import counted, plain
from virc.data.convert.convert import ConvertConfig, Report
from virc.data.formats.registry import read_info
from virc.data.formats.sft import write_info
from virc.data.rows import raw
from virc.data.rows.pictures import PictureStore
from virc.data.rows.record import MARK, Picture
from virc.data.rows.verl import plain_fields
from virc.models.chat_protocol import of_system
from virc.reasoning.media import FILES, PLACES, USUAL_MEDIA, MediaChoice, MediaPlace, lines_of, parts_of_files
from virc.solving.image_source import Source, Unfolded
from virc.systems import registry as systems
from virc_extras.video.choosing import choice_between, choice_in_row, choice_of
from virc_extras.video.columns import OF_CLIP, PATH, PICTURES, TALKS, columns_of_media, may_name_media, media_of, spread
from virc_extras.video.parts import Medium, StoredMedium
from virc_extras.video.reader import check_choice, medium_in, unfolded

_TEXTS = ("content", "value")
_REPLIES = ("assistant", "gpt")
_MARKS = re.compile(rf"<video>|{MARK}")
_TABLES = (".parquet", ".arrow", ".feather", ".csv", ".tsv")
"""Files whose rows all have the columns of the first."""


class _Medium(NamedTuple):
    """What a row shows at one mark: a clip or document, a list of pictures, or one picture; `mark` stands for it."""

    mark: str
    files: Sequence[Picture]
    choice: MediaChoice = USUAL_MEDIA


class _Made(NamedTuple):
    """The stored pictures of a row with their places, how many of them each of its media has, and their files."""

    names: list[str]
    places: list[MediaPlace | None]
    counts: list[int]
    files: list[StoredMedium | None]


def names_media(file: Path) -> bool:
    """Whether any row of a file names a clip or document; one may have many rows of pictures before them."""
    if file.suffix.lower() not in raw.ENDINGS or not file.is_file():
        return False
    rows = (row for _, row in raw.rows(file) if isinstance(row, dict))
    try:
        first = next(rows, {})
        in_turns = any("video" in str(first.get(name)) for name in TALKS)
        if file.suffix.lower() in _TABLES and not in_turns and not any(map(may_name_media, first)):
            return False
        return any(map(media_of, chain([first], rows)))
    except (DataError, SetupError):  # which is said when the rows are converted
        return False


def check_pictures_alone(row: Mapping[str, Any], file: Path) -> None:
    """Raise DataError if a row of a file names clips or documents."""
    if column := next(iter(media_of(row)), None):
        convert = f"virc data convert {shlex.quote(str(file))} --to DIR --format batch"
        sentence = f"{file} names clips or documents in its column {column}, which no engine opens"
        raise DataError(sentence, f"{convert}, sft or prompts, writes their frames and pages as images")


class AsPictures:
    """Files of rows that were written again, `files`, and what is to be said of them."""

    def __init__(self) -> None:
        self.files: list[Path] = []
        self.media = set[Medium]()  # the kinds of what is named
        self._given: list[Path] = []
        self._said: list[str] = []
        self._faults: dict[str, str] = {}  # by the place of a row in the file that was written

    def add(self, file: Path, rewriting: "_Rewriting | None" = None) -> None:
        self._given.append(file)
        self.files.append(rewriting.write() if rewriting else file)
        if rewriting:
            self.media |= rewriting.media
            self._said.append(rewriting.said())
            for first, *others in rewriting.losses.values():
                self._said.append(first + f", and so of {counted(len(others), 'other')}" * bool(others))
            self._faults |= {f"{self.files[-1]}, row {at}": text for at, text in rewriting.faults.items()}

    def tell(self, report: Report) -> None:
        """Say in the report of a conversion what was made, and of the files that the user named."""
        report.reasons[:0] = self._said
        report.faults = [self._faults.get(fault.partition(": ")[0], self.named(fault)) for fault in report.faults]

    def named(self, message: str) -> str:
        for made, given in zip(self.files, self._given, strict=False):
            message = message.replace(str(made), str(given))
        return message


@contextmanager
def as_pictures(folder: Path, config: ConvertConfig, files: Collection[Path]) -> Iterator[AsPictures]:
    """Give the files of `config` with pictures in place of clips and documents, which some of the `files` name.

    They are in `folder` until the block ends, so that what is made of them there can link their pictures.

    The frames of a clip are those of `config.media`, if the user chose some; else those its row asks for, or the usual.
    With `config.skip_faulty` a row that cannot be read stays, with what it names as a picture that is missing.

    Raises:
        DataError: a row cannot be read, and is not to be skipped.
    """
    scratch, made = folder / ".clips", AsPictures()
    try:
        for number, file in enumerate(config.sources):
            made.add(file, _Rewriting(file, scratch / str(number), config) if file in files else None)
        check_choice(config.media, made.media)
        yield made
    except VircError as error:
        hint = error.unspelled_hint and made.named(error.unspelled_hint)
        raise type(error)(made.named(str(error.args[0])), hint) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Rewriting:
    """Writes a file of rows again."""

    def __init__(self, file: Path, to: Path, config: ConvertConfig) -> None:
        self._file, self._to, self._choice = file, to, config.media
        self._skips, self._confined = config.skip_faulty, not config.trust_rows
        self._store = PictureStore(to)
        system = systems.get(config.target.system) if config.target.system else None
        rewriting = system and system.rewriting()
        self._prepared = getattr(plugins.loaded(rewriting), "with_clips", None) if rewriting else None
        self._protocol = of_system(system) if system and system.worded else None
        self._made: dict[object, _Made] = {}  # a clip has several questions
        self.losses: dict[str, list[str]] = {}  # sentences on clips, by what they say without their names
        self.media = set[Medium]()
        self.faults: dict[int, str] = {}

    def write(self) -> Path:
        is_list = self._file.suffix.lower() == ".json"
        name = self._file.name if is_list else f"{self._file.stem}.jsonl"
        self._to.mkdir(parents=True)
        rows = (one_line(row) for row in self._rows())
        with (self._to / name).open("w", encoding="utf-8") as out:
            if is_list:
                out.write("[\n" + ",\n".join(rows) + "\n]\n")
            else:
                out.writelines(f"{row}\n" for row in rows)
        self._write_info(name)
        return self._to / name

    def said(self) -> str:
        made = [each for each in self._made.values() if any(each.places)]
        count = sum(sum(place is not None for place in each.places) for each in made)
        usual = ": one a second, 4 to 32 of a clip, unless its row says otherwise" * (self._choice == USUAL_MEDIA)
        return f"{self._file.name} shows {counted(count, 'frame')} or pages{usual}"

    def _write_info(self, name: str) -> None:
        """The entry in `dataset_info.json`, with the column of pictures in place of that of clips."""
        for key, entry in read_info(self._file.parent).items():
            if entry.get("file_name") == self._file.name:
                columns = {**entry.get("columns", {}), "images": "images"}
                columns.pop("videos", None)
                write_info(self._to, {key: {**entry, "file_name": name, "columns": columns}})

    def _rows(self) -> Iterator[dict[str, Any]]:
        for number, row in raw.rows(self._file):
            try:
                if isinstance(row, DataError):
                    raise row
                yield self._row(self._prepared(row, self._file.parent) if self._prepared else row)
            except DataError as error:
                sentence = f"row {number} of {self._file}: {error.message}"
                if not self._skips:
                    raise DataError(sentence, error.hint) from None
                self.faults[number] = sentence
                kept = {} if isinstance(row, DataError) else spread(row)
                named = {name: plain(str(kept[name]), 80) for name in columns_of_media(kept)}
                left = {key: value for key, value in kept.items() if key not in named}
                yield {**plain_fields(left), "images": [*named.values()]}

    def _row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        row = spread(row)
        columns = [*columns_of_media(row)]
        pictures = next((name for name in (*PICTURES, PATH) if name not in columns and row.get(name)), None)
        clips = [each for name in columns for each in _listed(row[name])]
        shown = [_Medium("<video>", self._files(each), self._choice_of(row, each)) for each in clips]
        beside = [_Medium(MARK, self._files(each)) for each in _listed(row[pictures])] if pictures else []
        left = {key: value for key, value in row.items() if key not in (*columns, pictures)}
        texts, is_solved = _texts_of(left)
        _say_video(texts, len(shown), bool(beside))
        media = _in_order(shown, beside, [each for text in texts for each in _MARKS.findall(text.text)])
        made = self._pictures(media)
        asked = _without_marks(texts[0].text) if is_solved and texts else None
        _put_marks(texts, made, self._lines(made.places) if is_solved else None)
        fields = {**_of_verl(plain_fields(left)), "images": made.names}
        if not any(made.places):
            return fields
        known = {"question": asked} if asked and "question" not in fields else {}
        places = made.places[: texts[0].text.count(MARK)] if is_solved and texts else made.places
        files = made.files[: len(parts_of_files(places))]
        return fields | known | {PLACES: msgspec.to_builtins(places), FILES: msgspec.to_builtins(files)}

    def _lines(self, places: Sequence[MediaPlace | None]) -> list[str]:
        """What is before each picture in turns with a reply."""
        if self._protocol:
            return lines_of(places, self._protocol)
        return [place.line if place else "" for place in places]

    def _files(self, value: Any) -> list[Picture]:
        """The files of an element of a column: one, or the frames of a clip that somebody else took out of it."""
        called = ""
        while isinstance(value, Mapping):
            called = str(value.get("path") or "")
            value = next((value[key] for key in OF_CLIP if value.get(key)), None)
        several = value if isinstance(value, list) else [value]
        if not all(isinstance(each, str | bytes) and each for each in several):
            raise DataError(f"it names no file of a clip: {plain(value, 60)}")
        folder, confined = self._file.parent, self._confined
        return [
            Picture(called, data=each) if isinstance(each, bytes) else Picture(each, folder, confined=confined)
            for each in several
        ]

    def _choice_of(self, row: Mapping[str, Any], clip: Any) -> MediaChoice:
        """The frames of a clip: at times in its row, else those that the user chose, or as qwen-vl-utils names them."""
        asked = clip if isinstance(clip, Mapping) else {}
        if asked.get("at"):
            return choice_of(at=asked["at"])
        settings = {} if self._choice.fps or self._choice.frames else asked
        fps, frames = settings.get("fps", self._choice.fps), settings.get("nframes", self._choice.frames)
        start, end = asked.get("video_start"), asked.get("video_end")
        chosen = choice_of(self._choice.pages or None, fps=None if frames else fps, frames=frames)
        if start is None and end is None:
            return choice_in_row(chosen, row)
        return choice_between(chosen, start or 0, end)

    def _pictures(self, media: Sequence[_Medium]) -> _Made:
        key = tuple((each.choice, *(file.data or file.name for file in each.files)) for each in media)
        if key not in self._made:
            made = _Made([], [], [0] * len(media), [])
            choices = {each.choice for each in media if each.mark != MARK}
            alike = [range(len(media))] if len(choices) < 2 else [range(at, at + 1) for at in range(len(media))]
            for numbers in alike:  # which are numbered among themselves
                self._add(made, media, numbers)
            self._made[key] = made
        return self._made[key]

    def _add(self, made: _Made, media: Sequence[_Medium], numbers: range) -> None:
        """Store the pictures of these media, whose clips have one choice."""
        files = [(file, number) for number in numbers for file in media[number].files]
        sources = [self._source(file, media[number].mark) for file, number in files]
        choice = next((media[at].choice for at in numbers if media[at].mark != MARK), USUAL_MEDIA)
        at = -1
        names = [name for _, name in sources]
        of_clips = [name for name, (_, number) in zip(names, files, strict=True) if media[number].mark != MARK]
        for part in unfolded(sources, names, choice, None, lambda: None, strict=False, row={"videos": of_clips}):
            if part.place is None or part.place.index == 1:
                at += 1
                made.files.append(part.medium and part.medium.stored(self._to.resolve()))
                for sentence, _ in part.said:
                    self.losses.setdefault(sentence.replace(files[at][0].name, "", 1), []).append(sentence)
            made.names.append(self._store.add(_stored(part, files[at][0].name)))
            made.places.append(
                part.medium.numbered(part.place) if part.place and part.place.page is None else part.place
            )
            made.counts[files[at][1]] += 1

    def _source(self, file: Picture, mark: str) -> Source:
        """The path of a clip, or the bytes of a picture."""
        if file.on_network:
            raise DataError(f"{plain(file.name, 80)} is on the network", "download it, and name the file")
        with errors_as(DataError, f"{plain(file.name, 80)} cannot be read"):
            source = file.data or file.path(), file.name or "a clip within the row"
            if medium := medium_in(source, as_clip=mark != MARK):
                self.media.add(medium)
                return source
            return file.read(), file.name


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _stored(part: Unfolded, name: str) -> Picture:
    """A frame or page named by its clip and its time or number, or a picture by its own name."""
    content, place = part.file[0], part.place
    if place is None:
        return Picture(name, data=content)
    number = f"{place.page:04}" if place.page else f"{place.seconds or 0:08.2f}"
    ending = ".png" if content.startswith(b"\x89PNG") else ".jpg"
    return Picture(str(PurePosixPath("frames", PurePosixPath(name).stem or "clip", number + ending)), data=content)


class _Text(NamedTuple):
    """A text of a row that may have marks, and where it is."""

    within: dict[str, Any]
    key: str

    @property
    def text(self) -> str:
        return str(self.within[self.key])


def _texts_of(row: dict[str, Any]) -> tuple[list[_Text], bool]:
    """The texts of a row that may have marks, copied so that they can be changed; and whether a reply is among them."""
    for name in TALKS:
        turns = row.get(name)
        if isinstance(turns, list) and turns and all(isinstance(each, Mapping) for each in turns):
            row[name] = turns = [dict(each) for each in turns]
            asked = [each for each in turns if _role(each) not in ("system", *_REPLIES)]
            texts = [_Text(each, key) for each in asked for key in _TEXTS if isinstance(each.get(key), str)]
            return texts, any(_role(each) in _REPLIES for each in turns)
    return [_Text(row, key) for key, value in row.items() if isinstance(value, str) and _MARKS.search(value)], False


def _say_video(texts: Sequence[_Text], clips: int, has_pictures: bool) -> None:
    """Have the marks of pictures stand for clips where there are no others, as in LLaVA-Video's rows."""
    marks = [mark for each in texts for mark in _MARKS.findall(each.text)]
    if not has_pictures and marks == [MARK] * clips:
        for each in texts:
            each.within[each.key] = each.text.replace(MARK, "<video>")


def _without_marks(text: str) -> str:
    return _MARKS.sub("", text).strip()


def _of_verl(row: dict[str, Any]) -> dict[str, Any]:
    """A row of verl with one question as a problem: the texts of its prompt, and the right answer of its reward."""
    turns, reward = row.get("prompt"), row.get("reward_model")
    if not isinstance(turns, list) or not isinstance(reward, Mapping) or "ground_truth" not in reward:
        return row
    texts = {_role(each): each.get("content") for each in turns if isinstance(each, Mapping)}
    asked = texts.get("user")
    if len(texts) != len(turns) or not texts.keys() <= {"system", "user"} or not isinstance(asked, str):
        return row
    system = {"system": texts["system"]} if texts.get("system") else {}
    left = {key: value for key, value in row.items() if key not in ("prompt", "reward_model")}
    return left | system | {"question": _without_marks(asked), "answer": reward["ground_truth"]}


def _role(turn: Mapping[str, Any]) -> object:
    return turn.get("role", turn.get("from"))


def _in_order(clips: Sequence[_Medium], pictures: Sequence[_Medium], marks: Sequence[str]) -> list[_Medium]:
    """The media of a row in the order of the marks in its texts; those without a mark come first."""
    queues = {"<video>": [*clips], MARK: [*pictures]}
    counts = {mark: marks.count(mark) for mark in queues}
    for mark, queue in queues.items():
        if counts[mark] not in (0, len(queue)):
            raise DataError(f"its texts have {counts[mark]} {mark} marks, and it has {len(queue)} files for them")
    unmarked = [each for mark, queue in queues.items() if not counts[mark] for each in queue]
    return [*unmarked, *(queues[mark].pop(0) for mark in marks)]


def _put_marks(texts: Sequence[_Text], made: _Made, lines: Sequence[str] | None) -> None:
    """Put a mark for each picture where one for its clip was, and a line before it; None: the row has no replies.

    Pictures of such a row that have no mark stand before its first text, as a chat protocol puts them.
    """
    has_lines, before = any(lines or ()), iter(lines or [""] * len(made.places))
    blocks = [("\n" * has_lines).join(f"{next(before)}{MARK}" for _ in range(count)) for count in made.counts]
    unmarked = len(blocks) - sum(len(_MARKS.findall(each.text)) for each in texts)
    waiting = iter(blocks[unmarked:])

    def block(mark: re.Match[str]) -> str:
        goes_on = has_lines and mark[0] != MARK and mark.string[mark.end() :][:1].strip(" ") not in ("", "\n")
        return next(waiting) + "\n" * goes_on  # a chat protocol begins a line behind the pictures

    for each in texts:
        each.within[each.key] = _MARKS.sub(block, each.text)
    if lines is not None and texts and unmarked:
        texts[0].within[texts[0].key] = "\n".join([*blocks[:unmarked], texts[0].text])
