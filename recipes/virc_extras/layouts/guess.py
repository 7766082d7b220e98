"""The layout that rows show by themselves: which of their columns is what, with a reason for each.

Read `propose`. `_Guess` looks at names and values of columns: first for lists of questions, which become rows of their
own (`split_questions`), then for each field of a layout (`fields`). Each method of a field returns a part of the
arguments of `Layout`, empty if there is no such column; `_take` makes it and notes the reason. If a column can be read
in two ways, one is taken, and `unsure` says so. At last `_try_layout` reads the rows by the layout.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, islice, product
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from virc.core.errors import DataError
from virc.core.files import is_file
from virc.core.text import plain
from virc.data.formats.published import Proposal
from virc.data.rows.laid_out import OF_OBJECTS, choices_of_row, image_of, record_of, short
from virc.data.rows.record import MARK, not_offered
from virc.data.rows.unread import PASSED, unread
from virc.scoring.answers import choices_named
from virc.solving.sources.columns import CONTEXTS, SEVERAL, key_of, lettered
from virc.solving.sources.meanings import ANSWERS, BOXES, CHOICES, MASKS, holds_pictures, meaning
from virc.solving.sources.picture_files import ENDINGS
from virc.systems.layouts.layout import Column, ColumnPart, Layout, elements_of, listed, value_of

_CONVERSATIONS = ("messages", "conversations", "conversation")
_ALPACA = ("instruction", "output")
"""Columns of alpaca's rows: the question, and the reply that is learnt."""
_QUESTIONS = (
    ("question", "question_text", "question_string"),
    ("query", "problem", "prompt"),
    ("instruction", "input", "text", "sentence", "expression"),
)
"""Names of the column of the question; names of a later group count if no column has a name of an earlier one."""
_CAULDRON_QUESTION = "user"
"""Key of a question in a list of those, as in The Cauldron."""
_OF_CONVERSATIONS = re.compile(r"conversation|dialog|multi[- ]?turn", re.IGNORECASE)
_TEXT_NAMES = ("prompt", *_QUESTIONS[-1])
"""Names of questions that are as often those of a text about the picture."""
_REPLIES = ("response", "reply", "assistant", "output", "completion", "suffix", "number", "count", "value")
"""Names of columns that may be the answer if no column has the name of one."""
_CAPTIONS = re.compile(r".*caption(?!s?_?ids?$).*", re.IGNORECASE)
_OTHER_IMAGE_MARK = re.compile(r"<\|?(?:image|img|picture)[\w ]{0,12}\|?>|\[(?:image|img)\]", re.IGNORECASE)
"""Marks other than ours for an image in a text, such as `<|image_1|>` or `[img]`."""
_IDS = ("id", "question_id", "questionid", "qid", "pid", "uid", "uuid", "sample_id", "sample_index", "index", "key")
_IMAGES = re.compile(
    r"_?(?:images?|img|pictures?|photo|figure|file)_?(?:id|index|name|path|file|file_?name|local_name|url)?s?|file_?name"
)
_NUMBERED_COLUMN = re.compile(r"(.*?)_?(\d{1,2}|[a-h])", re.IGNORECASE)
_ENDS_AS_QUESTION = re.compile(r"[?？؟]\s*$")
_FIRST_CHOICE = re.compile(r"^\s*\(?A[).:]|\(A\)|[?:]\s+A[).:]\s[^?]*\sB[).:]\s[^?]*\Z", re.MULTILINE)
"""The first of some choices in a question."""
_YES_NO_QUESTION = re.compile(
    r"\W*(?:is|are|was|were|do|does|did|can|could|has|have|will|would|should)\b", re.IGNORECASE
)
"""The beginning of a question that is answered by yes or no."""
_PROPOSED_QUESTION = "Describe the picture."
"""The question that is proposed for rows that have none, such as captions."""
_COCO = ("COCO_train2014_", "COCO_val2014_", "COCO_test2015_", "")
_ENDINGS = (".jpg", ".png", ".jpeg", ".webp")
_FILE_NAME_FORMS = (
    "{{{}}}",
    *(f"{{{{{{}}}}}}{ending}" for ending in _ENDINGS),
    *(f"{begin}{{{{{{}}:012}}}}.jpg" for begin in _COCO),
)
"""File names that a column may be a part of: `{id}`, `{id}.jpg`, `COCO_val2014_{id:012}.jpg`."""
_MAX_FOLDERS = 64
_MAX_ENTRIES = 2**18
_MAX_ANSWER = 20  # words
_PEOPLE = 10  # who answered a question of VQA
_Rows = Sequence[Mapping[str, Any]]


def propose(rows: _Rows, folder: Path) -> Proposal:
    if not rows:
        return Proposal(None, unsure=("there are no rows to look at",))
    if any({"chosen", "rejected"} <= row.keys() for row in rows):
        return Proposal(None, unsure=("no layout is proposed for pairs of a chosen and a rejected reply",))
    guess = _Guess(rows, folder)
    fields = guess.split_questions() | guess.fields()
    if not {"question", "messages"} & fields.keys():
        columns = ", ".join(plain(name, 40) for name in guess.names[:12])
        guess.unsure.insert(0, f"no column is known as the question: the columns are {columns}")
        fields["question"] = {"text": _PROPOSED_QUESTION}
    layout = msgspec.convert(fields, Layout)
    lost, faults = _try_layout(guess.rows, layout, folder)
    return Proposal(layout, tuple(guess.reasons), (*guess.unsure, *faults), lost)


def _try_layout(rows: _Rows, layout: Layout, folder: Path) -> tuple[Mapping[str, str], list[str]]:
    """Columns that the layout does not read and that hold a part of the problem, and a fault that most rows have."""
    lost, faults = dict[str, str](), list[str]()
    named = PASSED | layout.read()
    layout = msgspec.structs.replace(layout, objects=None)  # a wrong box is a fault of its row, not of the layout
    for number, row in enumerate(rows, 1):
        try:
            record = record_of(row, layout, folder, None)
        except DataError as error:
            faults.append(f"row {number} does not fit: {error.message}")
            continue
        lost |= unread(row, named, record, folder)
        if sentence := not_offered(record):
            faults.append(f"row {number} does not fit: {sentence}")
    return lost, faults[:1] if 2 * len(faults) >= len(rows) else []


def unclear(row: Mapping[str, Any], layout: Layout, folder: Path) -> str | None:
    """Another meaning that a row with several questions may have than the layout gives it, in a sentence; else None."""
    questions = elements_of(row.get(layout.explode[0])) if layout.explode else None
    if not isinstance(questions, list) or len(questions) < 2:
        return None
    others = {name: elements_of(value) for name, value in row.items() if name not in layout.explode}
    if any(_OF_CONVERSATIONS.search(each) for each in others.values() if isinstance(each, str) and len(each) < 40):
        return f"{layout.explode[0]} may follow on each other, as turns of a conversation"
    keys = [item for one in questions if isinstance(one, dict) for item in one.items()]
    answered = any(meaning(str(key), each, folder) == ANSWERS for key, each in keys)
    for name, each in others.items():
        if isinstance(each, list) and len(each) == len(questions):
            return f"each of {name} may belong to one of {layout.explode[0]}, or all of them to each"
        if not answered and meaning(name, each, folder) == ANSWERS:
            return f"{name} is one answer of several {layout.explode[0]}"
    return None


class _Guess:
    """Finds the fields of a layout, each as a part of the keyword arguments of `Layout`, empty if there is none.

    Args:
        rows: the first rows of a file.
        folder: of the file; paths of pictures count from there.
    """

    def __init__(self, rows: _Rows, folder: Path) -> None:
        self.rows, self.unsplit_rows, self.folder = rows, rows, folder
        self.names = list(dict.fromkeys(name for row in rows for name in row))
        self.reasons: list[str] = []
        self.unsure: list[str] = []
        self.question_key = ""  # the column of the question, where lists of questions became rows

    def split_questions(self) -> dict[str, Any]:
        """Lists of questions, of which each becomes a row of its own; `rows` are those from then on."""
        values = {name: [elements_of(value) for value in self._values(name)] for name in self.names}
        lists = {name: column for name, column in values.items() if column and all(map(_is_list, column))}
        asking = [name for name in lists if SEVERAL.fullmatch(key_of(name)) and all(map(_are_questions, lists[name]))]
        others = [name.lower() for name in self.names if name not in lists and self._values(name)]
        has_question = any(name in tier for name in others for tier in _QUESTIONS[:2])
        if has_question or len(asking) != 1 or not any(map(len, lists[asking[0]])):
            return {}
        questions = [question for row in lists[asking[0]] for question in row]
        are_texts = all(isinstance(question, str) for question in questions)
        if are_texts and asking[0].lower() == "texts" and not all(map(_ENDS_AS_QUESTION.search, questions)):
            return {}
        explode = [*asking, *(name for name in lists if are_texts and self._belongs_to_questions(name, lists[name]))]
        layout = Layout(about="-", question=asking[0] if are_texts else "-", explode=tuple(explode))
        try:
            rows = [each for row in self.rows for each in layout.exploded(row)]
        except ValueError as error:
            self.unsure.append(str(error))
            return {}
        self.unsure += dict.fromkeys(filter(None, (unclear(row, layout, self.folder) for row in self.rows)))
        self.rows, self.names = rows, list(dict.fromkeys(name for row in rows for name in row))
        self.question_key = asking[0] if asking[0] in self.names else _CAULDRON_QUESTION
        return self._take("explode", explode, "each question is an element")

    def _belongs_to_questions(self, name: str, lists: Sequence[list[Any]]) -> bool:
        """Whether each element of a list is the answer, or the choices, of one of several questions."""
        means = meaning(name, lists[0], self.folder)
        return means == ANSWERS or (means == CHOICES and all(_is_list(one) for each in lists for one in each))

    def fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"about": "rows of a file, by their columns", **self._question_or_conversation()}
        conversations = self._parsed_values(fields["messages"]) if "messages" in fields else []
        contents = [turn.get("content", turn.get("value")) for turns in conversations for turn in turns]
        parts = [part for content in contents if isinstance(content, list) for part in content]
        if not any(map(image_of, parts)):  # else messages hold their pictures themselves
            fields |= self._pictures("replied" in fields)
        if "messages" in fields or "replied" in fields:
            fields |= self._fields_of_conversations(fields, conversations)
        else:
            fields |= self._choices()
            fields |= self._answer(fields.get("choices"))
            if "boxes" not in fields:
                fields |= self._boxes()
            if not {"answer", "answers", "boxes"} & fields.keys():
                fields |= self._possible_answer(fields)
        return fields | self._id()

    def _fields_of_conversations(self, found: Mapping[str, Any], conversations: Sequence[Any]) -> dict[str, Any]:
        taken: dict[str, Any] = {}
        last_roles = [turns[-1].get("role") or turns[-1].get("from") for turns in conversations]
        if last_roles and not any(role in ("assistant", "gpt") for role in last_roles):
            taken |= self._answer(None)  # a column of its own may have it
        if "images" in found:
            self._doubt_image_marks(found.get("messages", "instruction"))
        if any(row.get("objects") and OF_OBJECTS.search(str(row)) for row in self.rows):
            taken |= self._take("objects", "objects", "it has what <ref-object> and <bbox> stand for")
        return taken

    def _id(self) -> dict[str, Any]:
        names = [name for name in self.names if name.lower() in _IDS]
        for name in sorted(names, key=lambda name: _IDS.index(name.lower())):
            rows = self.unsplit_rows if name in self.unsplit_rows[0] else self.rows
            values = [row.get(name) for row in rows]
            if all(type(each) in (str, int) and each != "" for each in values) and len(set(values)) == len(values):
                return self._take("id", name, "no two rows have the same")
        return {}

    def _take(self, field: str, column: Any, why: str) -> dict[str, Any]:
        self.reasons.append(f"{field}: {_description(column)}, as {why}")
        return {field: column}

    def _values(self, column: Column) -> list[Any]:
        found = (value_of(row, column) for row in self.rows)
        return [value for value in found if value not in (None, "", [], msgspec.UNSET)]

    def _parsed_values(self, column: str) -> list[Any]:
        return [listed(each) if isinstance(each, str) else each for each in self._values(column)]

    def _columns_that_mean(self, means: str) -> list[str]:
        return [
            name
            for name in self.names
            if name not in PASSED and any(meaning(name, value, self.folder) == means for value in self._values(name))
        ]

    def _question_or_conversation(self) -> dict[str, Any]:
        """The column of conversations, else of a question and what it is learnt with in alpaca, else of a question."""
        for name in _CONVERSATIONS:
            if (values := self._parsed_values(name)) and all(map(_is_conversation, values)):
                if column := self._question_in_conversations(name, values):
                    return self._take("question", column, "it is the only message of each conversation")
                taken = self._take("messages", name, "it holds turns of user and assistant") | {"images_first": True}
                return taken | ({"system": "system"} if self._values("system") else {})
        if self._is_alpaca():
            question = {"text": "{instruction}\n{input}"} if "input" in self.names else "instruction"
            taken = self._take("question", question, "an output follows it, as in rows of alpaca")
            taken |= {"replied": "output", "images_first": True}
            return taken | {name: name for name in ("system", "history") if self._values(name)}
        for tier in ((self.question_key.lower(),), *_QUESTIONS):
            names = [name for name in self.names if name.lower() in tier]
            names = [name for name in names if _is_text_of_all(self._values(name), self.rows)]
            if len(names) > 1:
                self.unsure.append(f"the question may be {' or '.join(names)}")
            if names:
                return self._question_with_context(names[0])
        return self._ends_with_mark()

    def _is_alpaca(self) -> bool:
        asked, replied = (self._values(name) for name in _ALPACA)
        if not _is_text_of_all(asked, self.rows) or not replied:
            return False
        return all(isinstance(row.get(_ALPACA[1]), str | None) for row in self.rows)

    def _question_with_context(self, question: str) -> dict[str, Any]:
        """The question, with the texts of columns such as `context` or `hint` before it."""
        contexts = [name for name in self.names if name.lower().removesuffix("s") in CONTEXTS]
        texts = {name: self._values(name) for name in contexts}
        contexts = [name for name, each in texts.items() if each and all(isinstance(text, str) for text in each)]
        if not contexts:
            return self._take("question", question, "it has that name, and holds text")
        text = "\n".join(f"{{{name}}}" for name in (*contexts, question))
        belong = "belongs" if len(contexts) == 1 else "belong"
        return self._take("question", {"text": text}, f"{' and '.join(contexts)} {belong} before it")

    def _ends_with_mark(self) -> dict[str, Any]:
        """The column whose texts end with a question mark; its name may be of another language."""
        for name in self.names:
            values = self._values(name)
            are_texts = _is_text_of_all(values, self.rows)
            if are_texts and 2 * sum(bool(_ENDS_AS_QUESTION.search(text)) for text in values) > len(values):
                self.unsure.append(f"the question may be {name}")
                return self._take("question", name, "it ends with a question mark")
        return {}

    def _question_in_conversations(self, name: str, talks: Sequence[Any]) -> str | None:
        """The column of the question, if each conversation is one question and the answer has a column of its own."""
        key = "content" if "content" in talks[0][0] else "value"
        are_questions = all(len(talk) == 1 and isinstance(talk[0].get(key), str) for talk in talks)
        if not are_questions or not self._columns_that_mean(ANSWERS):
            return None
        self._doubt_image_marks(name)
        return f"{name}.0.{key}"

    def _pictures(self, of_alpaca: bool) -> dict[str, Any]:
        """The column of pictures: one that holds them, numbered ones, or one that names files."""
        holding = [name for name in self.names if self._holds_pictures(name)]
        holding = [name for name in holding if meaning(name, self._values(name)[0], self.folder) != MASKS]
        groups: dict[str, list[str]] = {match[1]: [] for name in holding if (match := _NUMBERED_COLUMN.fullmatch(name))}
        for name in self.names:
            if (match := _NUMBERED_COLUMN.fullmatch(name)) and match[1] in groups and match[2].isdigit():
                groups[match[1]].append(name)
        grouped = [names for names in groups.values() if len(names) > 1]
        if grouped and set(holding) <= set(grouped[0]):
            names = sorted(grouped[0], key=lambda name: int(_NUMBERED_COLUMN.fullmatch(name)[2]))  # type: ignore[index]
            return self._take("images", {"columns": names}, "they hold pictures, in the order of their numbers")
        if holding:
            return self._held_pictures(
                next((name for name in holding if name.lower() in ("images", "image")), holding[0])
            )
        naming = [name for name in self.names if self._may_name_pictures(name)]
        if "key" in self.names:  # the key of a row in a JSON object may name its picture
            naming.append("key")
        naming.sort(key=lambda name: "." not in str(self._values(name)[0])[-5:])  # names with an ending first
        for whole, name in product((True, False), naming):
            if fields := self._pictures_by_path(name, whole):
                return fields
        if naming:
            self._note_missing(naming[0])
        elif not of_alpaca:
            videos = [
                f", and {name} names videos, which are not read" for name in self._columns_that_mean("videos")[:1]
            ]
            self.unsure.append("no column holds pictures, or names files that are there" + "".join(videos))
        return {}

    def _held_pictures(self, name: str) -> dict[str, Any]:
        """The column that holds pictures: as files, or as pairs of a path and that path with a box."""
        values = self._values(name)
        are_pairs = all(isinstance(each, list) and len(each) == 2 for each in values)
        if are_pairs and all(str(second).startswith(f"{first}###") for first, second in values):
            self.unsure.append(
                f"the second path of {name} may hold the box of the answer, left, top, right, bottom: "
                f'`images: {name}.0` and `boxes: {{column: {name}.1, after: "###"}}` read it so'
            )
            taken = self._take("images", f"{name}.0", "a box stands behind its second path")
            return taken | {"boxes": {"column": f"{name}.1", "after": "###"}}
        return self._take("images", name, "it holds pictures")

    def _may_name_pictures(self, name: str) -> bool:
        """Whether a column has the name of one of pictures, or names some that are there."""
        values = self._values(name)
        if not values:
            return False
        if _IMAGES.fullmatch(_snake(name)):
            return True
        return self._names_pictures(values) and meaning(name, values[0], self.folder) != MASKS

    def _note_missing(self, name: str) -> None:
        values = (each[0] if isinstance(each, list) and each else each for each in self._parsed_values(name))
        names = [*dict.fromkeys(map(str, values))]
        missing = [each for each in names if not holds_pictures(each, self.folder)] or names[:1]
        self.unsure.append(
            f"the picture {plain(missing[0], 60)} that {name} names is not in {self.folder} or a folder in it"
            f" ({len(missing)} of the first {len(names)} are missing)"
        )

    def _holds_pictures(self, name: str) -> bool:
        """Whether a column holds pictures; of lists and objects of files some may be missing."""
        values = self._values(name)
        if isinstance(next(iter(values), None), list | dict) and self._names_pictures(values):
            return True
        return bool(values) and all(holds_pictures(each, self.folder) for each in values)

    def _names_pictures(self, values: Sequence[Any]) -> bool:
        return all(map(_is_picture_name, values)) and any(holds_pictures(each, self.folder) for each in values)

    def _pictures_by_path(self, name: str, whole: bool) -> dict[str, Any]:
        """Pictures that a column names, as a whole path or as a part of one.

        Args:
            whole: the pictures of all rows must be there; else of some row.
        """
        values = [str(each) for each in self._values(name) if isinstance(each, str | int)]
        if not values or any("\0" in each or len(each) > 512 for each in values):
            return {}
        enough = all if whole else any
        parts = PurePosixPath(values[0]).parts
        for length in range(1, len(parts)):
            prefix = "/".join(parts[:length]).replace("//", "/")
            is_shared = all(each.startswith(f"{prefix}/") for each in values)
            if is_shared and enough(_is_there(each[len(prefix) + 1 :], self.folder) for each in values):
                self._take("folder", prefix, "the files are there without it")
                return self._take("images", name, "it names files that are there") | {"folder": prefix}
        # texts with the column in braces, as `images/{id}.jpg`; of each the files that are there, by their row
        templates = [place + form.format(name) for place, form in product(_folders(self.folder), _FILE_NAME_FORMS)]
        if "key" in self.names:
            templates += [f"{place}{{key}}/{{{name}}}" for place in _folders(self.folder)]
        fits: dict[str, dict[int, Path]] = {}
        for template in templates:
            files = [self.folder / str(each) for each in self._values(ColumnPart(text=template))]
            there = {row: file for row, file in enumerate(files) if is_file(file)}
            if there and (len(there) == len(files) or not whole):
                fits[template] = there
        return self._best_template(name, whole, fits)

    def _best_template(self, name: str, whole: bool, fits: Mapping[str, Mapping[int, Path]]) -> dict[str, Any]:
        """The template with the most pictures; another that leads to other pictures is a doubt."""
        if not fits:
            return {}
        counts = {template: len(set(files.values())) for template, files in fits.items()}
        most = max(counts.values())
        best = next(template for template in fits if counts[template] == most)
        if best == f"{{{name}}}":
            return self._take("images", name, "it names files that are there")
        if most == 1 < len(self.rows):
            self.unsure.append(f"{best} would be the picture of all rows")
        for template, files in fits.items():
            if whole and counts[template] < most:
                continue
            # paths may be links to the same file, as in datasets that virc converted
            if any(row not in fits[best] or not file.samefile(fits[best][row]) for row, file in files.items()):
                self.unsure.append(f"the pictures of {name} may be {best} or {template}")
        return self._take("images", {"text": best}, "these files are there")

    def _choices(self) -> dict[str, Any]:
        letters = lettered(self.names)
        if all(map(self._values, letters[:2])) and letters:
            return self._take("choices", {"columns": letters}, "they are named by the letters of choices")
        found = self._columns_that_mean(CHOICES)
        stems = {match[1].lower() for name in found if (match := _NUMBERED_COLUMN.fullmatch(name))}
        if len(found) > 1 and len(stems) == 1 and all(map(_NUMBERED_COLUMN.fullmatch, found)):
            return self._take("choices", {"columns": found}, "they are choices in the order of the columns")
        if len(found) > 1:
            self.unsure.append(f"the choices may be {' or '.join(found)}")
        for name in found[:1]:
            values = self._parsed_values(name)
            if any(str(one).lower().endswith(_ENDINGS) for each in values if isinstance(each, list) for one in each):
                self.unsure.append(f"the choices in {name} are pictures")
            inner = f"{name}.text" if all(isinstance(each, dict) and "text" in each for each in values) else name
            return self._take("choices", inner, "it has that name")
        return {}

    def _answer(self, choices: Any) -> dict[str, Any]:
        names = self._columns_that_mean(ANSWERS)
        names = [name for name in names if name.lower() not in ("solution", "target", "targets")] or names
        several = [name for name in names if any(isinstance(each, list) for each in self._parsed_values(name))]
        single = [name for name in names if name not in several]
        single.sort(key=lambda name: name.lower() != "answer")
        found: dict[str, Any] = {}
        lists = [each for name in several for each in self._parsed_values(name)]
        if any(isinstance(each, list) and len(each) > 1 for each in lists):
            if choices is not None and not single:
                self.unsure.append(f"of {several[0]} each may be right, or all of them together")
            elif not several[0].lower().endswith("s"):
                self.unsure.append(f"of {several[0]} each may be right (`answers`), or it may be one answer in parts")
        if len(several) > 1:
            self.unsure.append(f"the answers may be {' or '.join(several)}")
        alone = all(isinstance(each, list) and len(each) == 1 and isinstance(each[0], str) for each in lists)
        if several and not single and alone and not several[0].lower().endswith("s"):
            found |= self._take("answer", several[0], "its lists have one element")
        elif len(several) == 1:
            found |= self._take("answers", several[0], "it is a list of answers, of which each is right")
            if all(isinstance(each, list) and len(each) >= _PEOPLE for each in lists):
                found |= self._take("metric", "vqa_accuracy", "ten people answered each question")
        if single:
            name = single[0]
            found |= self._take("answer", name, "it has that name")
            values = self._values(name)
            if not all(type(each) in (str, int, float) for each in values):
                self.unsure.append(f"{name} is not always a text or a number")
            if (
                name.lower() in ("label", "labels", "gt", "target")
                and choices is None
                and not isinstance(values[0], str)
            ):
                self.unsure.append(f"{name} may be the number of a class, not an answer")
            self._doubt_answers(name, [str(each) for each in values], choices)
            if choices is not None and all(re.fullmatch(r"\d{1,2}", str(each)) for each in values):
                found |= self._number_of_choice(name, msgspec.convert(choices, Column))
        return found

    def _possible_answer(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """The column that may be the answer, if none has the name of one; else doubt whether the question is one."""
        question = found.get("question")
        names = [name for name in self.names if name.lower() in _REPLIES and self._values(name)]
        if question is None:
            names += [name for name in self.names if _CAPTIONS.fullmatch(name) and _are_all_texts(self._values(name))]
        if not names and f"the question may be {question}" in self.unsure:  # nor is any called a question
            read = {*map(str, found.values()), *_IDS}
            names = [name for name in self.names if not {name, name.lower()} & read and self._values(name)]
        if names:
            self.unsure.append(f"the answer may be {' or '.join(names)}")
            several = any(isinstance(each, list) for each in self._values(names[0]))
            return self._take("answers" if several else "answer", names[0], "it may be the reply")
        if isinstance(question, str) and question.lower() in _TEXT_NAMES:
            self.unsure.append(f"{question} may be a text about the picture, as no column holds answers")
        return {}

    def _doubt_image_marks(self, column: str) -> None:
        """Note that conversations have other marks for images than ours."""
        text = str(self._values(column)[:3])
        if MARK not in text and (found := _OTHER_IMAGE_MARK.search(text)):
            self.unsure.append(f"{found[0]} in {column} may stand for an image, which has the mark {MARK} here")

    def _doubt_answers(self, name: str, answers: Sequence[str], choices: Any) -> None:
        if name.lower() == "solution" and any(len(short(each).split()) > _MAX_ANSWER for each in answers):
            self.unsure.append(f"{name} may be the way to an answer that it does not mark")
        if any(re.search(r"<(?:AND|OR)>", each) for each in answers):
            self.unsure.append(f"{name} holds several answers, joined by <AND> or <OR>")
        asked = [str(text) for names in _QUESTIONS for each in names for text in self._values(each)]
        if choices is None and (
            {*answers} == {"0", "1"} or ({*answers} <= {"0", "1"} and all(map(_YES_NO_QUESTION.match, asked)))
        ):
            self.unsure.append(f"{name} is 0 or 1, which may stand for no and yes")
        if choices is None and all(each.isdigit() for each in answers) and any(map(_FIRST_CHOICE.search, asked)):
            self.unsure.append(f"{name} may be the number of a choice that stands in the question")

    def _number_of_choice(self, name: str, choices: Column) -> dict[str, Any]:
        """Whether the answer, the number of a choice, counts from 0 or from 1."""
        numbers: list[tuple[int, list[str]]] = []  # of each row, with its choices
        for row in self.rows:
            with suppress(DataError):  # it is a fault of that row
                texts = choices_of_row(row, choices)
                if row.get(name) not in (None, "") and texts:
                    numbers.append((int(row[name]), texts))
        if any(choices_named(str(number), texts) for number, texts in numbers):
            self.unsure.append(
                f"{name} may be a choice, or the number of one: `index_from: 0` or `1` says that it is that"
            )
            return {}
        fits = [first for first in (0, 1) if all(0 <= number - first < len(texts) for number, texts in numbers)]
        if len(fits) < 2:
            return self._take("index_from", fits[0], f"{name} is the number of a choice") if fits else {}
        self.unsure.append(
            f"{name} is the number of a choice, and may count from 0 or 1: `index_from: 0` or `1` says which"
        )
        return {"index_from": 0}

    def _boxes(self) -> dict[str, Any]:
        names = self._columns_that_mean(BOXES)
        if len(names) != 1:
            return {}
        name = names[0]
        boxes = [box for each in self._values(name) for box in _boxes_in(each)]
        found, written = self._take("boxes", name, "it has that name"), name.lower()
        if boxes and all(0 <= side <= 1 for box in boxes for side in box):
            found |= self._take("coordinates", "unit", "no number is over 1")
        if "xywh" in written or any(box[2] <= box[0] or box[3] <= box[1] for box in boxes):
            return found | self._take("box", "size", "they are left, top, width, height")
        if "xyxy" not in written:
            self.unsure.append(
                f"{name} may be left, top, right, bottom, or with width and height: `box: corners` or `size`"
            )
        return found


def _description(column: Any) -> str:
    if isinstance(column, dict):
        return " ".join(
            f"{key} {', '.join(value) if isinstance(value, list) else value!r}" for key, value in column.items()
        )
    return ", ".join(column) if isinstance(column, list) else str(column)


def _snake(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())


def _is_text_of_all(values: Sequence[Any], rows: _Rows) -> bool:
    return len(values) == len(rows) and all(isinstance(each, str) for each in values)


def _are_all_texts(values: Sequence[Any]) -> bool:
    return bool(values) and all(
        isinstance(one, str) for each in values for one in (each if isinstance(each, list) else [each])
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _are_questions(values: Sequence[Any]) -> bool:
    names = {_CAULDRON_QUESTION, *(name for tier in _QUESTIONS[:2] for name in tier)}
    return all(
        isinstance(each, str) or (isinstance(each, dict) and not names.isdisjoint(str(key).lower() for key in each))
        for each in values
    ) and len({*map(type, values)}) < 2  # fmt: skip


def _is_conversation(value: Any) -> bool:
    keys = ({"role", "content"}, {"from", "value"}, {"role", "tool_calls"})
    return isinstance(value, list) and bool(value) and all(
        isinstance(turn, dict) and any(each <= turn.keys() for each in keys) for turn in value
    )  # fmt: skip


def _is_picture_name(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_picture_name, value))
    name = value.get("path") if isinstance(value, dict) else value
    return isinstance(name, str) and PurePosixPath(name).suffix.lower() in ENDINGS


def _is_there(name: str, folder: Path) -> bool:
    return len(name) < 1024 and is_file(folder / name)


def _folders(folder: Path) -> Iterator[str]:
    """The folders in a folder, and those in them, as the beginnings of paths; first itself."""
    yield ""
    inner = _folders_in(folder)
    yield from (
        f"{path.relative_to(folder).as_posix()}/"
        for path in (*inner, *islice(chain(*map(_folders_in, inner)), _MAX_FOLDERS))
    )


def _folders_in(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in islice(entries, _MAX_ENTRIES) if entry.is_dir())[:_MAX_FOLDERS]
    except OSError:
        return []


def _boxes_in(value: Any) -> Iterator[Sequence[float]]:
    value = listed(value) if isinstance(value, str) else value
    if isinstance(value, list) and len(value) == 4 and all(type(each) in (int, float) for each in value):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _boxes_in(each)
