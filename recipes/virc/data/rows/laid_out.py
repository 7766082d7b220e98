"""The record of a published row, by the layout that says which of its columns is what.

`record_of` begins here. A row is one of three: a problem (question, images, answer, choices, boxes), a conversation
(`messages`, a question with the `replied` text of alpaca, or a pair, whose two replies follow the same turns), or a
problem with a `reply` in pieces, which becomes a conversation in a system's chat protocol. Texts, answers, choices,
images, conversations and boxes have a section each, in this order.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from virc.core.errors import DataError, errors_as
from virc.core.json_stream import KIND_NAMES, one_line
from virc.core.text import plain
from virc.data.rows import transcripts
from virc.data.rows.boxes import with_boxes_for
from virc.data.rows.record import MARK, Message, Picture, Record, Role, TextBox, check_marks
from virc.data.rows.results import joined
from virc.data.rows.sizes import Spoken, display_size
from virc.data.rows.transcripts import CALL, RESULT, first_of
from virc.data.rows.verl import plain_fields
from virc.reasoning import trace
from virc.reasoning.calls import Size, view_of
from virc.reasoning.coordinates import sides_of
from virc.reasoning.history import input_grid
from virc.reasoning.images import image_size
from virc.reasoning.media import lines_of, places_of
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import QWEN2, smart_resize
from virc.reasoning.trace import CallResult
from virc.reasoning.turns import SeenTurns, following, opening
from virc.scoring.boxes import MAX_BOXES, Box, flaw_of, has_boxes, read_boxes
from virc.scoring.score import final
from virc.solving.image_source import data_url_bytes
from virc.solving.rows import LETTERS, choices_in, split_choices
from virc.solving.sources.columns import base64_images, is_base64_image
from virc.systems.layouts.layout import EMPTY, Column, ColumnPart, Layout, listed, shown, value_of

_OWN_COLUMNS = (
    "messages", "conversations", "prompt", "image", "images", "question", "answer", "answers", "choices", "boxes",
    "box", "counterfactual", "file_sizes", "turn", "tool_info_gt",
)  # fmt: skip
"""Columns that formats of ours read in a sense of their own: they do not pass through, and a layout may name them."""
_ROLES: Mapping[str, Role] = {
    "system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant",
    CALL: CALL, RESULT: RESULT,
}  # fmt: skip
_MAX_IMAGES = 256
CONTENTS = ("content", "value", "text")  # keys under which a message has its text or its parts
_IMAGES = ("image", "image_url")
IMAGE_NAMES = (*_IMAGES, "path", "url")
"""Keys under which a part has its image."""
_CALLS = ("tool_calls", "function_call")
_DIGITS = r"\s{0,9}-?\d[\d.]{0,20}\s{0,9}"
_NUMBER_LIST = re.compile(rf"[\[(]{_DIGITS}(?:,{_DIGITS}){{1,9}}[\])]")
_CORNER_PAIR = re.compile(rf"\({_DIGITS},{_DIGITS}\)\s{{0,9}},\s{{0,9}}\({_DIGITS},{_DIGITS}\)")
_OUTER_MARKS = re.compile(rf"\A(?:\s*{MARK})+|(?:{MARK}\s*)+\Z")
_ANSWER_TAG = re.compile(r"<answer>\s*(.*?\S)\s*</answer>\s*\Z", re.DOTALL)
_ANSWER_MARK = re.compile(r"\\boxed\b|\A(?:the |final |correct )*answer\b", re.IGNORECASE)
_IMAGE_NUMBER = re.compile(r"<image[ _]?(\d{1,3})>")
OF_OBJECTS = re.compile("<(ref-object|bbox)>")
"""What `objects` of a layout holds the values of."""
_BOX_KEY = re.compile(r"""["'](?:Position|bbox_2d|bbox|box)["']\s{0,9}:""")


def record_of(row: Mapping[str, Any], layout: Layout, folder: Path, protocol: Protocol | None) -> Record:
    """The record of a row.

    Args:
        folder: of the file with the row; paths of images count from there.
        protocol: the chat protocol for a `reply` of the layout; None leaves the reply out.

    Raises:
        DataError: a column is missing, or holds what cannot be read.
    """
    pictures, extra = _pictures(row, layout.images, layout, folder), _other_columns(row, layout)
    record = Record(images=pictures, id=_id(row, layout.id), extra=extra)
    talk = _conversation_of(row, layout)
    if layout.replied is None:
        asked = msgspec.structs.replace(layout, question=None) if layout.chosen is not None else layout
        record = _with_problem(record, row, asked, protocol)
    if talk is not None:
        return _with_conversation(record, row, layout, talk, folder)
    if layout.reply is None or protocol is None:
        return record
    texts = _as_list(_value_as(row, layout.reply, str | list[str], "a text or a list of texts"))
    crops = _pictures(row, _optional(row, layout.reply_images), layout, folder)
    return _with_reply(record, texts, crops, protocol)


def _with_problem(record: Record, row: Mapping[str, Any], layout: Layout, protocol: Protocol | None) -> Record:
    """The record with its question, answer, choices and boxes; `extra` has those that a record has no field for."""
    question, extra = None, dict(record.extra)
    if layout.question is not None:
        question = _value_as(row, layout.question, str, "text")
        if MARK in question:
            question = without_marks(question, len(record.images))
        if not question.strip():
            raise DataError(f"its question, {_column_name(layout.question)}, is empty")
    if protocol is None and layout.answer is not None and _is_box(value_of(row, layout.answer)):
        hint = "`boxes` of a layout names a column of boxes, which are in pixels of the file"
        raise DataError(f"its answer, {_column_name(layout.answer)}, is a box", hint)
    accepted = _accepted_answers(row, layout.answers)
    if question and layout.choices == layout.question:
        question, choices = offered(question)
    else:
        choices = choices_of_row(row, layout.choices)
    answer = _only_answer(row, layout.answer) if layout.answer is not None or not accepted else accepted[0]
    if layout.index_from is not None and choices and answer is not None:
        answer = _choice_by_number(answer, choices, layout.index_from)
    others = [each for each in accepted if each != answer]
    if len(accepted) > 1 or (answer and others):
        extra["answers"] = [*[answer] * max(1, len(accepted) - len(others)), *others]  # the right one comes first
    if layout.metric:
        extra["metric"] = layout.metric
    if choices or (layout.choices is not None and value_of(row, layout.choices) is not None):
        extra["choices"] = choices
    _check_image_numbers([question or "", *choices], len(record.images))
    if layout.boxes is not None and (boxes := _column_boxes(row, layout.boxes, layout, record, protocol)) is not None:
        extra["boxes"] = boxes
    return msgspec.structs.replace(record, question=question, answer=answer, extra=extra)


def _column_name(column: Column | None) -> str:
    return f"column {plain(shown(column), 60)}" if column is not None else "no column"


def present(row: Mapping[str, Any], column: Column) -> Any:
    value = value_of(row, column)
    if value is UNSET:
        raise DataError(f"it has no {_column_name(column)}")
    return value


def _wrong_kind(value: object, column: Column, wanted: str) -> DataError:
    kind = KIND_NAMES.get(type(value), f"of the type {type(value).__name__}")
    return DataError(f"its {_column_name(column)} is {kind}, not {wanted}")


def _value_as(row: Mapping[str, Any], column: Column, kind: Any, wanted: str) -> Any:
    """The value of a column that has a type of Python's; `wanted` says in words which."""
    value = present(row, column)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        raise _wrong_kind(value, column, wanted) from None


def _optional(row: Mapping[str, Any], column: Column | None) -> Column | None:
    """The column, if the row has it."""
    return column if column is not None and value_of(row, column) is not UNSET else None


def _only_answer(row: Mapping[str, Any], column: Column | None) -> str | None:
    """The answer as text; of a list with one element that element, of other lists and objects their JSON."""
    if column is None:
        return None
    value = present(row, column)
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        hint = "`answers` names a column of answers of which each is right"
        raise DataError(f"its answer, {_column_name(column)}, is a list of {len(value)} texts", hint)
    try:
        answer = value if isinstance(value, str) else "" if value is None else one_line(value)
    except ValueError:
        raise _wrong_kind(value, column, "an answer") from None
    if not answer.strip():
        raise DataError(f"its answer, {_column_name(column)}, is empty")
    return short(answer.strip())


def short(answer: str) -> str:
    """The answer in a text that marks it with `<answer>`, `\\boxed` or `Answer:`; another text as it is."""
    if tagged := _ANSWER_TAG.search(answer):
        return tagged[1]
    return final(answer) or answer if _ANSWER_MARK.search(answer) else answer


def without_marks(question: str, images: int) -> str:
    """The question without the marks at its ends; where others are within it, they become numbers of the images."""
    if (marks := question.count(MARK)) > images:
        raise DataError(f"its question has {marks} {MARK} mark{'s' * (marks != 1)}, and it has {images} images")
    plain_text = _OUTER_MARKS.sub("", question).strip()
    if MARK not in plain_text:
        return plain_text
    numbers = count(1)
    return re.sub(MARK, lambda _: f"<image {next(numbers)}>", question).strip()


def _id(row: Mapping[str, Any], column: Column | None) -> str | int | None:
    value = None if column is None else present(row, column)
    return value if value is None or type(value) in (str, int) else str(value)


def _accepted_answers(row: Mapping[str, Any], column: Column | None) -> list[str]:
    """The answers of which each is accepted, as often as they were given, the most frequent first.

    Those in objects are under `answer`.
    """
    value = None if column is None else present(row, column)
    if column is None or value in (None, [], ""):
        return []
    value = _listed(value)
    several = [each.get("answer") if isinstance(each, dict) else each for each in _as_list(value)]
    if not all(type(each) in (str, int, float) for each in several):
        raise _wrong_kind(value, column, "a list of texts or numbers")
    counts = Counter(filter(None, (str(each).strip() for each in several)))
    return [each for each, count in counts.most_common() for _ in range(count)]


def offered(text: str) -> tuple[str, list[str]]:
    question, choices = split_choices(text)
    if not question or not choices or any("?" in each for each in choices):
        raise DataError(f"its question does not end with choices behind letters: {plain(text, 80)!r}")
    return question, choices


def choices_of_row(row: Mapping[str, Any], column: Column | None) -> list[str]:
    """The choices in a column: a list, an object of letters or of names, a text that has them, or several columns."""
    value = None if column is None else present(row, column)
    if column is None or value is None:
        return []
    value = _listed(value)
    if isinstance(value, str):
        try:
            value = choices_in(value)
        except DataError as error:
            raise DataError(f"{error.args[0]} ({_column_name(column)})", error.unspelled_hint) from None
    if isinstance(column, ColumnPart) and column.columns:
        value = [value_of(row, name) for name in column.columns]
    elif isinstance(value, dict):
        by_letter = LETTERS[0] in value
        if not by_letter and not all(isinstance(each, str) for each in value.values()):
            raise _wrong_kind(value, column, "an object with the text of a choice as each value")
        value = [value.get(name) for name in (LETTERS if by_letter else value)]
    if not isinstance(value, list):
        raise _wrong_kind(value, column, "a list of texts or numbers")
    choices = [each for each in value if each not in (*EMPTY, UNSET)]
    if value[: len(choices)] != choices:
        raise DataError(f"one of its {_column_name(column)} is empty, with choices after it")
    if not all(type(each) in (str, int, float) for each in choices):
        raise _wrong_kind(value, column, "a list of texts or numbers")
    return [str(each) for each in choices]


def _choice_by_number(answer: str, choices: Sequence[str], first: int) -> str:
    index = int(answer) - first if answer.isascii() and answer.isdigit() else -1
    if not 0 <= index < len(choices):
        raise DataError(f"its answer {plain(answer, 40)} is no number of its {len(choices)} choices, from {first}")
    return choices[index]


def _listed(value: Any) -> Any:
    """The list or object that a text contains; other texts and values as they are."""
    return listed(value) if isinstance(value, str) else value


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _check_image_numbers(texts: Sequence[str], images: int) -> None:
    for number in (int(found[1]) for text in texts for found in _IMAGE_NUMBER.finditer(text)):
        if number > images:
            raise DataError(f"it names <image {number}>, and has {images} image{'s' * (images != 1)}")


def _pictures(row: Mapping[str, Any], column: Column | None, layout: Layout, folder: Path) -> tuple[Picture, ...]:
    if layout.is_conversation and layout.chosen is None:  # which may be of text alone
        column = _optional(row, column)
    value = None if column is None else present(row, column)
    if column is None or value is None:
        return ()
    if isinstance(value, str) and value[:1] == "[":
        value = base64_images(value) or listed(value)
    several = _as_list(value)
    if len(several) > _MAX_IMAGES:
        raise DataError(f"its {_column_name(column)} has {len(several)} images, over {_MAX_IMAGES}")
    return tuple(_picture(each, column, layout, folder) for each in several)


def _picture(value: Any, column: Column, layout: Layout, folder: Path) -> Picture:
    """An image: a path or a data URL, base64, bytes, or an object with one of them, as `datasets` saves an image."""
    if isinstance(value, str) and is_base64_image(value):
        value = data_url_bytes(f"data:;base64,{value}")
    fields = value if isinstance(value, dict) else {"bytes": value} if isinstance(value, bytes) else {"path": value}
    name, data = fields.get("path") or fields.get("image") or "", fields.get("bytes")
    if isinstance(name, bytes):
        name, data = "", name
    if not name and data in (None, b"") and (value == "" or isinstance(value, dict | bytes)):
        raise DataError(f"its {_column_name(column)} is empty, and an image is due")
    if not isinstance(name, str) or not (name or data) or not isinstance(data, bytes | None):
        raise _wrong_kind(value, column, "an image: a path, bytes, or an object with one of them")
    if data is None and name[:5].lower() == "data:":
        return Picture("", folder, data_url_bytes(name))
    beginning = next((each for each in layout.folders if name.startswith(f"{each.rstrip('/')}/")), "")
    name = name.removeprefix(beginning).lstrip("/") if beginning else name
    return Picture(name, folder, data)


def _other_columns(row: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    named = layout.read()
    return plain_fields({key: value for key, value in row.items() if key not in named and key not in _OWN_COLUMNS})


class _Conversation(NamedTuple):
    """The turns of a row, the column that they are from, and of a pair its better and its worse reply to them."""

    turns: Any
    column: Column
    replies: tuple[str, str] | None = None


def _conversation_of(row: Mapping[str, Any], layout: Layout) -> _Conversation | None:
    if layout.chosen is not None and layout.rejected is not None:
        return _pair(row, layout, layout.chosen, layout.rejected)
    if layout.replied is not None and layout.question is not None:
        turns = _turns_of_alpaca(row, layout.question, layout.replied, _optional(row, layout.history))
        return _Conversation(turns, layout.replied)
    if layout.messages is not None:
        return _Conversation(_listed(present(row, layout.messages)), layout.messages)
    return None


def _turns_of_alpaca(row: Mapping[str, Any], question: Column, reply: Column, history: Column | None) -> list[Any]:
    """Pairs of earlier turns, then the question and its reply."""
    pairs: list[tuple[str, str]] = []
    if history is not None:
        pairs += _value_as(row, history, list[tuple[str, str]] | None, "a list of questions with their replies") or ()
    asked, replied = (_value_as(row, column, str, "text") for column in (question, reply))
    return [
        {"role": role, "content": text}
        for pair in (*pairs, (asked, replied))
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]


def _pair(row: Mapping[str, Any], layout: Layout, better: Column, worse: Column) -> _Conversation:
    """The turns that both replies follow, which may be repeated before the replies or stand there alone."""
    asks = layout.question if layout.messages is None else layout.messages
    (before, chosen), (before_other, rejected) = (_side(present(row, side), side) for side in (better, worse))
    turns = before if asks is None else _asked_turns(present(row, asks))
    if asks is None and not before:
        raise DataError("its replies have no turns before them, and no column has those")
    for said, side in ((before, better), (before_other, worse)):
        if (said or not (asks or isinstance(present(row, side), str))) and _messages_of(said) != _messages_of(turns):
            raise DataError("its two replies do not follow the same turns")
    return _Conversation(turns, asks or better, (chosen, rejected))


def _asked_turns(value: Any) -> Any:
    """The turns, also where they are one message, or the text of the user alone."""
    turns = _listed(value)
    if isinstance(value, str) and not isinstance(turns, list):
        return [{"role": "user", "content": value}]
    return [turns] if isinstance(turns, dict) else turns


def _side(value: Any, column: Column) -> tuple[list[Any], str]:
    """One side, which is a text, a message of the assistant, or a list: the turns before its last message, and that."""
    named = f"its {_column_name(column)}"
    if value == []:
        raise DataError(f"{named} is an empty list, and a reply is due")
    *before, reply = _as_list(value)
    if isinstance(reply, str):
        return before, reply
    if not isinstance(reply, dict):
        raise DataError(f"{named} is no reply: a text, a message, or a list that ends with one")
    message = message_of(reply, len(before) + 1)
    if message.role != "assistant":
        raise DataError(f"{named} ends with a message of {message.role}, and the assistant is due")
    return before, message.content


def _messages_of(turns: Any) -> list[Message] | None:
    """The messages that turns are; None of what is no list of objects."""
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        return None
    turns = transcripts.joined(turns, ("role", "from"), CONTENTS, _ROLES)
    return [message_of(turn, number) for number, turn in enumerate(turns, 1)]


def _with_objects(
    messages: Sequence[Message], value: Any, column: Column, images: Sequence[Picture], layout: Layout
) -> list[Message]:
    """Messages with the names and boxes of `objects` in place of their placeholders, as ms-swift has them."""
    value = _listed(value) or {}
    placeholders = [match[1] for message in messages for match in OF_OBJECTS.finditer(message.content)]
    if not isinstance(value, dict) and not placeholders:
        return [*messages]
    lists = [value.get(key) or [] for key in ("ref", "bbox", "image_id")] if isinstance(value, dict) else []
    if not lists or not all(isinstance(each, list) for each in lists):
        raise _wrong_kind(value, column, "an object whose `ref`, `bbox` and `image_id` are lists")
    names, boxes, image_indices = lists
    for kind, values in (("ref-object", names), ("bbox", boxes)):
        if (count_in_text := placeholders.count(kind)) != len(values):
            name = _column_name(column)
            raise DataError(f"its messages have {count_in_text} <{kind}>, and its {name} {len(values)}")
    indices = iter(image_indices or [0] * len(boxes))
    left: dict[str, Iterator[str | TextBox]] = {
        "ref-object": iter(map(str, names)),
        "bbox": (_text_box(box, next(indices, 0), value.get("bbox_type"), images, layout) for box in boxes),
    }
    sizes = [_file_size(picture) for picture in images] if boxes else []

    def filled(message: Message) -> Message:
        texts = enumerate(OF_OBJECTS.split(message.content))  # every second is the name of a placeholder
        parts = tuple(next(left[text]) if at % 2 else text for at, text in texts)
        return with_boxes_for(msgspec.structs.replace(message, parts=parts), sizes)

    return list(map(filled, messages))


def _text_box(box: Any, index: Any, unit: Any, images: Sequence[Picture], layout: Layout) -> TextBox:
    """A box or point of the image of an index; `unit`: `real` (pixels) or `norm1` (shares)."""
    if not (isinstance(box, list) and len(box) in (2, 4) and all(type(each) in (int, float) for each in box)):
        raise DataError(f"one of its boxes is neither 2 nor 4 numbers: {plain(str(box), 80)}")
    if not (type(index) is int and 0 <= index < len(images)):
        raise DataError(f"one of its boxes is of image {plain(str(index), 20)}, and it has {len(images)} images")
    if unit not in (None, "real", "norm1"):
        raise DataError(f"its bbox_type is {plain(str(unit), 20)}, neither real (pixels) nor norm1")
    if unit != "norm1" and max(box) <= 1 and (len(box) == 4 or any(each % 1 for each in box)):
        raise DataError(f"its box {plain(str(box), 80)} is in shares of the sides; write `bbox_type: norm1`")
    original = _file_size(images[index])
    if unit == "norm1":
        box = [share * original[axis % 2] for axis, share in enumerate(box)]
    if len(box) == 4:
        check_box(tuple(box), original, original)
    return TextBox(index, tuple(box), original, layout.coordinates or "original")


def _with_conversation(
    record: Record, row: Mapping[str, Any], layout: Layout, talk: _Conversation, folder: Path
) -> Record:
    """The record with the turns of its row; where no column has the images, they are those of its messages."""
    messages = _messages_of(talk.turns)
    if messages is None:
        raise _wrong_kind(talk.turns, talk.column, "a list of messages")
    has_system = _optional(row, layout.system)
    system = _value_as(row, has_system, str | None, "text") if has_system is not None else None
    images = record.images
    if layout.images is None:
        parts = [part for turn in talk.turns for part in _as_list(first_of(turn, CONTENTS))]
        values = [image_of(part) for part in parts if is_image(part)]
        sources = [value.get("url") if isinstance(value, dict) and "url" in value else value for value in values]
        images = tuple(_picture(source, talk.column, layout, folder) for source in sources)
    if system:
        messages.insert(0, Message("system", system))
    come_first = layout.images_first or talk.replies is not None  # of pairs as TRL shows them
    if come_first and images and messages and not any(MARK in message.content for message in messages):
        first = next((index for index, message in enumerate(messages) if message.role == "user"), 0)
        messages[first] = Message(messages[first].role, f"{MARK * len(images)}{messages[first].content}")
    if (objects := _optional(row, layout.objects)) is not None:
        messages = _with_objects(messages, present(row, objects), objects, images, layout)
    check_marks(messages, images)
    tools = transcripts.described(record.extra.get("tools"), messages[0].content if messages else "")
    extra = {key: value for key, value in record.extra.items() if key != "tools" or not tools}
    rejected = None
    if talk.replies is not None:
        chosen, rejected = talk.replies
        messages.append(Message("assistant", chosen))
    replaced: dict[str, Any] = {"messages": tuple(messages), "images": images, "rejected": rejected}
    return msgspec.structs.replace(record, **replaced, extra=extra, tools=tools)


def message_of(turn: Mapping[str, Any], number: int) -> Message:
    """The message that an object with a role and a text, or with parts, is; `number` is its place, for errors."""
    name, content = first_of(turn, ("role", "from")), first_of(turn, CONTENTS)
    role = _ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        raise DataError(f"message {number} has the role {plain(repr(name), 40)}, not one of {', '.join(_ROLES)}")
    if content is None or turn.get("tool_calls"):
        raise DataError(f"message {number} has no text{without_text(turn)}")
    # where a column holds texts and parts, datasets 5.2.0 makes 4 of the text "4"
    parts = [one_line(content)] if isinstance(content, int | float) else _as_list(content)
    for part in filter(is_image, parts):
        if image_of(part) is None and (others := [key for key in part if key not in ("type", "text") and part[key]]):
            raise DataError(f"message {number} has an image as {', '.join(map(plain, others))}, which nothing reads")
    texts: list[Any] = [
        MARK if is_image(part) else part.get("text") if isinstance(part, dict) else part for part in parts
    ]
    if not all(isinstance(text, str) for text in texts):
        raise DataError(f"message {number} is neither text nor a list of texts and images")
    return Message(role, "".join(texts))


def without_text(turn: Mapping[str, Any]) -> str:
    """Why a message has no text, as the end of a sentence that says so."""
    calls = next((name for name in _CALLS if turn.get(name)), None)
    return f", but {calls}, which nothing reads" if calls else ": it is null or missing"


def image_of(part: Any) -> Any:
    """The image of a part: a path, a URL, bytes or an object; None of a part that is no image, or names none."""
    return first_of(part, IMAGE_NAMES) if is_image(part) else None


def is_image(part: Any) -> bool:
    if not isinstance(part, dict):
        return False
    kind = part.get("type")
    return first_of(part, _IMAGES) is not None if kind is None else kind in _IMAGES


def _with_reply(record: Record, texts: Sequence[str], crops: Sequence[Picture], protocol: Protocol) -> Record:
    """The problem with its reply in a chat protocol: behind each of the first texts stands one of the crops."""
    if not texts:
        raise DataError("its reply is an empty list, and a text is due")
    if any(MARK in text for text in texts):
        raise DataError(f"its reply has {MARK} in its text, which stands for an image in training data")
    if len(crops) >= len(texts):
        raise DataError(f"its reply has {len(texts)} texts and {len(crops)} images, so that it ends with an image")
    *inner, last = texts[len(crops) :]  # no image is between these: they are one text
    joined_end = "".join(text if text.endswith("\n") else f"{text}\n" for text in inner) + last
    inputs, images, question = len(record.images), [*record.images, *crops], record.question or ""
    sizes = [display_size(_file_size(each), Spoken(protocol), at < inputs) for at, each in enumerate(images)]
    lines = lines_of(places_of(record.extra, inputs), protocol)
    messages = opening(protocol, question, sizes[:inputs], lines)
    for number, text in enumerate(texts[: len(crops)]):
        messages.append(trace.Message("assistant", text.rstrip("\n")))
        index = inputs + number  # of the crop among all images
        seen = SeenTurns(question, sizes[: index + 1], inputs, number + 1)
        messages += following(protocol, [(CallResult(images=(index,)), protocol.after_image)], seen)
    messages.append(trace.Message("assistant", joined_end))
    return msgspec.structs.replace(record, messages=tuple(joined(messages)), images=tuple(images))


def _file_size(picture: Picture) -> Size:
    name = picture.name or "an image"
    with errors_as(DataError, f"image {plain(name, 80)} cannot be read"):
        return image_size(picture.read(), plain(name, 80))


def _column_boxes(
    row: Mapping[str, Any], column: Column, layout: Layout, record: Record, protocol: Protocol | None
) -> list[Box] | None:
    value = present(row, column)
    if layout.box == "size" and value is not None:
        boxes = [value] if _is_box(value) else _as_list(value)
        if not all(map(_is_box, boxes)):
            raise _wrong_kind(value, column, "a box, or a list of some, of four numbers each")
        value = [[left, top, left + width, top + height] for left, top, width, height in boxes]
    if layout.coordinates is not None:
        protocol = Protocol("", "", "", "", "", coordinates=layout.coordinates)
    found = boxes_of(value, record, protocol)
    width, height = (None if name in layout.ignore else row.get(name) for name in ("width", "height"))
    is_stated = type(width) is type(height) is int and (protocol is None or protocol.coordinates == "original")
    if found and is_stated and len(record.images) == 1 and (size := _file_size(record.images[0])) != (width, height):
        sentence = f"its boxes count in {width} x {height} px, and its picture has {size[0]} x {size[1]}"
        hint = "count them in the upright picture, or a layout with `ignore: [width, height]` takes them as they are"
        raise DataError(sentence, hint)
    return found


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(type(each) in (int, float) for each in value)


def boxes_of(value: Any, record: Record, protocol: Protocol | None) -> list[Box] | None:
    """Boxes in pixels of the first image's file; as they are written they are in the units of the chat protocol.

    None where there are none: null, or a text that holds no box, such as a name.
    """
    if value is None:
        return None
    text = value if isinstance(value, str) else one_line(value)
    count_written = _count_boxes(text)
    if not has_boxes(text):
        if isinstance(value, str) and not count_written:
            return None
        raise DataError(f"its boxes cannot be read: {plain(text, 80)}")
    if not record.images:
        raise DataError("it has boxes, and no image")
    original = _file_size(record.images[0])
    if protocol is None:
        protocol = Protocol("", "", "", "", "", coordinates="original")
    shown = smart_resize(*original, input_grid(protocol, QWEN2))
    boxes = [each.box for each in read_boxes(text, view_of(protocol, [shown], [original]), original)]
    if len(boxes) < min(count_written, MAX_BOXES):
        raise DataError(f"one of its boxes has not four numbers: {plain(text, 80)}")
    units = sides_of(shown, protocol.coordinates, original)
    for box in boxes:
        check_box(box, original, units)
    return boxes


def _count_boxes(text: str) -> int:
    """How many boxes a text seems to hold, right or wrong: lists of numbers, or keys that name a box."""
    # two corners in brackets are two lists of numbers, and one box
    return max(len({*_NUMBER_LIST.findall(text)}) - len(_CORNER_PAIR.findall(text)), len(_BOX_KEY.findall(text)))


def check_box(box: Box, size: Size, units: Size) -> None:
    """Raise DataError where a box has its sides the wrong way round, or leaves its picture by more than rounding.

    Args:
        box: in pixels of the file.
        size: (width, height) of the file in pixels.
        units: the largest (x, y) in the coordinates that the box was written in: (1000, 1000), or (1, 1) for shares.
    """
    where = f"{', '.join(f'{each:g}' for each in box)} in pixels of the file, which has {size[0]} x {size[1]}"
    # a box that was rounded to whole units may be off by one of them; shares of a side are not rounded to 0 or 1
    across, down = (max(1.0, side / unit) if unit > 1 else 1.0 for side, unit in zip(size, units, strict=True))
    if flaw := flaw_of(box, size, (across, down)):
        raise DataError(f"one of its boxes {flaw}: {where}")
