"""A folder of synthetic problems: pictures, questions with exact boxes, and worked trajectories, in any format.

`write` begins here. `_draw_all` draws the problems in worker processes (`_draw`), saves their images, and adds their
records to a temporary file, the spool. Then each format is written from the records of the spool (`_records_of`).
"""

import random
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image

from virc.core import entry_points
from virc.core.errors import UsageError
from virc.core.files import fresh_folder, is_file
from virc.core.tables import parquet as parquet_rows
from virc.core.work.parallel import cores, in_order
from virc.data.formats import registry as formats
from virc.data.formats.registry import Writing
from virc.data.rows.pictures import FOLDER, PictureStore
from virc.data.rows.record import FILE_SIZES, Message, Picture, Record, content_of, file_sizes_field
from virc.data.synth import worked
from virc.data.synth.families import polygons
from virc.data.synth.families import registry as families
from virc.data.synth.families.registry import Family
from virc.data.synth.problem import Difficulty, Drawing, Label, Split
from virc.data.synth.worked import Pattern
from virc.models.chat_protocol import of_system, written
from virc.reasoning.images import Shown
from virc.reasoning.protocol import FILE_NAME, PICTURES, Protocol
from virc.reasoning.resize import Grid, smart_resize
from virc.reasoning.session import Reply, Session
from virc.scoring.score import UNREADABLE
from virc.systems import registry as systems
from virc.tools.registry import known

DEFAULT_FORMATS = ("batch", "sft")
SIDES = (3, 3, 4)
_NAMES = {"batch": "problems", "sft": "trajectories", "trajectories": "lines"}  # of datasets; else as the format
_PARQUET = {"rl", "prompts"}
_OF_PROBLEMS = {"batch", "prompts"}  # formats with one row for each problem, however many paths solve it
_CHUNK = 25  # problems that a worker gets together
_MIN_SHARE = 4 * _CHUNK  # problems for which another worker is worth its start
_IN_A_FOLDER = 1000  # problems

Drawn = tuple[bytes, dict[str, bytes]]
"""A record as JSON, and its images by name."""

_SHARES = {"stranger": 0.5, "small": 0.25, "absent": 0.25}  # of the refusals, by reason; the names are in rows
_SHARES_BEFORE = {"stranger": 0.5, "question": 0.25, "absent": 0.25}  # in `drawing` 1
_MAX_UNREADABLE = 2  # px: so high are the largest digits of a figure that is too small to read
_PRINTED: Mapping[Drawing, bool | None] = {1: None, 2: False}
"""Drawing -> whether the angle that is asked for is printed in a polygon; None: in some."""


class Counterfactual(msgspec.Struct, frozen=True):
    """The same figure and question with other values, so that the answer is another one."""

    picture: Image.Image
    answer: str


class Task(msgspec.Struct, frozen=True):
    """A problem and its solutions.

    Args:
        answer: `unreadable` where it has none.
        paths: assistant turns by the name of their pattern; the first is the problem's own.
        about: further fields of its row; those of a family have a `category` and the exact boxes of all labels, px.
        counterfactual: None where none is wanted, and of a problem that has no answer.
    """

    question: str
    picture: Image.Image
    answer: str
    paths: Mapping[str, Sequence[str]]
    about: Mapping[str, Any]
    counterfactual: Counterfactual | None = None


def polygon(rng: random.Random, split: Split, sides: Sequence[int], drawing: Drawing = 2) -> Task:
    diagram = polygons.generate(rng, split, sides=sides, printed=_PRINTED[drawing])
    corners = [
        {
            "letter": corner.letter,
            "printed": corner.printed,
            "letter_box": corner.letter_box,
            "value_box": corner.value_box,
            "crop": polygons.crop_of(corner, diagram.width, diagram.height),
        }
        for corner in diagram.reading_order()
    ]
    replies = worked.replies(polygons.solution(diagram))
    return Task(diagram.question, polygons.draw(diagram), str(diagram.answer), {"look": replies}, {"corners": corners})


def task(
    rng: random.Random,
    split: Split,
    family: Family,
    difficulty: Difficulty | None = None,
    paths: int = 1,
    *,
    pattern: Pattern | None = None,
    counterfactual_rng: random.Random | None = None,
    drawing: Drawing = 2,
) -> Task:
    """A problem of a family, solved in `paths` different paths, of one `pattern` or at most one per pattern."""
    problem = _problem(rng, split, family, difficulty, drawing)
    solution = family.solution(problem)
    patterns = [pattern] if pattern else rng.sample(worked.PATTERNS, paths)
    other = family.counterfactual(problem, counterfactual_rng) if counterfactual_rng else None
    return Task(
        problem.question,
        family.draw(problem),
        solution.answer,
        {name: worked.replies(solution, name, rng) for name in patterns},
        _about(family, problem, [spot.box for spot in solution.spots]),
        Counterfactual(family.draw(other), family.solution(other).answer) if other else None,
    )


def refusal(
    rng: random.Random,
    split: Split,
    family: Family,
    difficulty: Difficulty | None = None,
    *,
    direct: bool = False,
    drawing: Drawing = 2,
) -> Task:
    """A problem without an answer, for one of these reasons: the picture is not of the family, it is too small to read,
    or the question is about a thing that the picture does not show.
    """
    unfamiliar = entry_points.of_option("data synth", "refusals")
    problem = _problem(rng, split, family, difficulty, drawing)
    shares = _SHARES if drawing == 2 else _SHARES_BEFORE
    wrong = rng.choices(list(shares), list(shares.values()))[0]
    about = _about(family, problem, [])
    about["category"]["refusal"] = wrong
    if wrong == "absent":
        question, search = family.absent(problem, rng)
        replies = worked.replies(search, "direct" if direct else "look")
        about["looks"] = [spot.box for spot in search.spots]
        return Task(question, family.draw(problem), UNREADABLE, {"search": replies}, about)
    refused = {"refuse": [worked.REFUSAL]}
    if wrong == "question":
        return Task(unfamiliar.question(rng), family.draw(problem), UNREADABLE, refused, about)
    picture: Image.Image = (
        _unreadable(family.draw(problem), problem.labels) if wrong == "small" else unfamiliar.picture(rng)
    )
    size = smart_resize(*picture.size, Grid(max_pixels=family.MAX_PIXELS))
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    question = problem.question if drawing == 2 or rng.random() < 0.6 else unfamiliar.question(rng)
    return Task(question, picture, UNREADABLE, refused, {"category": about["category"]})


def _problem(rng: random.Random, split: Split, family: Family, difficulty: Difficulty | None, drawing: Drawing) -> Any:
    if family.NAME == polygons.NAME:
        return polygons.generate(rng, split, difficulty, printed=_PRINTED[drawing])
    return family.generate(rng, split, difficulty)


def _unreadable(picture: Image.Image, labels: Sequence[Label]) -> Image.Image:
    scale = _MAX_UNREADABLE / max(label.box[3] - label.box[1] for label in labels)
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BOX)


def _about(family: Family, problem: Any, looks: Sequence[Sequence[int]]) -> dict[str, Any]:
    return {
        "category": {"family": family.NAME, "difficulty": problem.difficulty},
        "labels": [{"text": label.text, "box": label.box} for label in problem.labels],
        "looks": looks,
    }


class SynthConfig(msgspec.Struct, frozen=True):
    """What to draw.

    Args:
        to: folder to make; it must not exist, or be empty.
        count: problems; the first of them are the same for every count.
        seed: same seed, split and sides: same folder, byte for byte.
        split: `train` or `heldout`; they share no figure.
        sides: numbers of sides to choose from, 3 or 4; a number given twice is drawn twice as often. Only of polygons
            drawn without the options of families.
        formats: names of formats to write.
        embed: parquet files contain the images, as the published ones do, instead of file names.
        workers: processes that draw; None is one per core. The folder does not depend on it.
        families: to choose from with equal probability; None are polygons.
        difficulty: of all problems; None mixes them.
        paths: solutions of each problem, in different patterns; rows of problems have the first only.
        refusals: share of problems, 0 to 1, whose picture or question is none of the family's; their answer is
            `unreadable`.
        pattern: of every solution; None chooses at random.
        protocol: chat protocol of the trajectories, our own words and grammar; its pictures say how pages are shown and
            what crops are cut from.
        drawing: 1 are the problems that `tiny` is made and measured with; the second asks for no angle that is printed,
            and refuses figures that are too small to read in place of questions without sense.
        counterfactuals: every problem also gets the same figure with other values, and the answer there; only rows of
            problems hold them.
    """

    to: Path
    count: int = 100
    seed: int = 0
    split: Split = "train"
    sides: tuple[int, ...] = SIDES
    formats: tuple[str, ...] = DEFAULT_FORMATS
    embed: bool = False
    workers: int | None = None
    families: tuple[str, ...] | None = None
    difficulty: Difficulty | None = None
    paths: int = 1
    refusals: float = 0.0
    pattern: Pattern | None = None
    counterfactuals: bool = False
    drawing: Drawing = 2
    protocol: Protocol = worked.PROTOCOL

    @property
    def is_plain(self) -> bool:
        """Whether rows are polygons in one path each, in the form that they had before there were other families."""
        of_polygons = self.families is None and self.difficulty is None
        in_one_path = self.paths == 1 and self.pattern is None
        return of_polygons and in_one_path and not self.refusals and not self.counterfactuals


def protocol_of(name: str | None) -> Protocol:
    own = worked.PROTOCOL
    if name is None:
        return own
    spoken = of_system(systems.get(name))
    ours = msgspec.structs.replace(own, **{field: getattr(spoken, field) for field in PICTURES})
    # what else a system may say of itself changes no trajectory; the order in which tools are listed is ours
    free = {field: getattr(ours, field) for field in ("name", "sampling", "repeat_limit", "system", "tools")}
    if msgspec.structs.replace(spoken, **free) != ours or set(spoken.tools) != set(own.tools):
        raise UsageError(
            f"problems are drawn in our own words, tools and boxes, and the system {name} has others",
            f"without «--system», then virc data convert --system {name}",
        )
    return ours


Progress = Callable[[str, int], None]
"""Called with what is done (`drawn`, `written as sft`) and with how many problems."""


def write(config: SynthConfig, on_progress: Progress = lambda what, count: None) -> Path:
    """Make the folder, completely or not at all; what was drawn before Ctrl-C or a kill is kept for the same call.

    It has `problems.jsonl` (batch, with boxes), `trajectories.json` with `dataset_info.json` (sft), `rl.parquet`,
    `prompts.parquet` or `lines.jsonl` (trajectories), by `formats`; `virc_protocol.json`, the chat protocol of the
    trajectories; and `images/` where files are named.

    Raises:
        UsageError: the folder is in use, a figure of that many sides is not drawn, or there is no such format.
        ConfigError: another run is making the folder.
        SetupError: pyarrow is not installed, or a worker was killed.
    """
    if write_files := families.own_writer(config.families or ()):
        return write_files(config, on_progress)
    _check(config)
    with fresh_folder(config.to) as folder:
        with _kept_drawings(config) as kept:
            _draw_all(kept, config, partial(on_progress, "drawn"))
            for each in (kept / FOLDER, _spool(kept)):
                each.rename(folder / each.name)
        writing = Writing(_InPlace(folder), config.embed)
        for name in config.formats:
            records = _records_of(folder, name, partial(on_progress, f"written as {name}"))
            formats.writer(name).write(folder, _NAMES.get(name, name), records, writing)
        _spool(folder).unlink()
        if config.embed and _PARQUET.issuperset(config.formats):
            shutil.rmtree(folder / FOLDER)
        (folder / FILE_NAME).write_bytes(written(config.protocol))
    return config.to


@contextmanager
def _kept_drawings(config: SynthConfig) -> Iterator[Path]:
    """A hidden folder to draw into, with what an interrupted call of the same settings drew; kept if interrupted."""
    whole = config.to.resolve()
    folder = whole.with_name(f".{whole.name}.drawn")
    asked = [version("virc"), msgspec.structs.replace(config, to=Path(), workers=None)]
    settings, mine = folder / "settings.json", msgspec.json.encode(asked, enc_hook=str)
    try:
        if not is_file(settings) or settings.read_bytes() != mine:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            settings.write_bytes(mine)
        yield folder
    except Exception:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder)


def _drawn_before(spool: Path) -> int:
    """How many problems a spool has; the last of them, which may lack paths or images, is cut off."""
    at, begins = 0, list[int]()
    with spool.open("a+b") as file:
        file.seek(0)
        for line in file:
            if line.endswith(b"\n") and "." not in str(_decoded(line).id):  # ids of further paths end in a number
                begins.append(at)
            at += len(line)
        file.truncate(begins[-1] if begins else 0)
    return max(0, len(begins) - 1)


class _InPlace(PictureStore):
    """A store whose images are in their folder already, so that adding one only returns its name."""

    def add(self, picture: Picture) -> str:
        return picture.name


def _check(config: SynthConfig) -> None:
    for name in config.families or ():
        families.get(name)
    sides = ", ".join(map(str, sorted(set(config.sides) - set(SIDES)))) or "no"
    unknown = ", ".join(name for name in config.formats if name not in formats.names()) or "to write"
    most, parquet = len(worked.PATTERNS), not _PARQUET.isdisjoint(config.formats)
    in_range = 1 <= config.paths <= most and 0 <= config.refusals <= 1 and config.families != ()
    faults = (
        (not config.is_plain and config.sides != SIDES,
         "sides are chosen of polygons alone", "«--family polygons» «--difficulty easy»: triangles"),
        (not in_range,
         f"a problem has 1 to {most} paths, one family or more, and a share of refusals from 0 to 1", None),
        (config.pattern and config.paths > 1,
         "paths of a problem have different patterns", "«--pattern» or «--paths», not both"),
        (config.counterfactuals and config.refusals,
         "a problem that is refused has no counterfactual", "«--counterfactuals» or «--refusals», not both"),
        (config.counterfactuals and "batch" not in config.formats,
         "counterfactuals are written in the format batch alone", "«--formats batch»"),
        (not set(config.sides) <= set(SIDES) or not config.sides,
         f"no figure has {sides} sides", "«--sides 3,4»"),
        (not set(config.formats) <= set(formats.names()) or not config.formats,
         f"there is no format {unknown}", f"«--formats {','.join(formats.names())}»"),
        (config.embed and not parquet, "only parquet files can contain images", "«--formats rl» «--embed»"),
    )  # fmt: skip
    for wrong, message, hint in faults:
        if wrong:
            raise UsageError(message, hint)
    if config.refusals:
        entry_points.of_option("data synth", "refusals")  # an extra that is missing is named before anything is drawn
    if parquet:
        parquet_rows.load()


def _draw_all(folder: Path, config: SynthConfig, on_progress: Callable[[int], None]) -> None:
    before = _drawn_before(_spool(folder))
    chunks = (range(at, min(at + _CHUNK, config.count)) for at in range(before, config.count, _CHUNK))
    workers = min(config.workers or cores(), -(-config.count // _MIN_SHARE))
    drawn = chain.from_iterable(in_order(partial(_draw_some, config), chunks, workers))
    with _spool(folder).open("ab") as spool:
        for number, paths in enumerate(drawn, before):
            (folder / _place(number)).mkdir(parents=True, exist_ok=True)
            for record, images in paths:
                for name, data in images.items():
                    (folder / name).write_bytes(data)
                spool.write(record + b"\n")
            on_progress(number + 1)


def _draw_some(config: SynthConfig, numbers: Sequence[int]) -> list[list[Drawn]]:
    return [_draw(config, number) for number in numbers]


def _draw(config: SynthConfig, number: int) -> list[Drawn]:
    """Draw the problem of that number, which depends on no other, and solve it in a Session, path by path."""
    task = _task(config, number)
    name = f"{config.split}-{config.seed}-{number:06d}"
    counterfactual = f"{_place(number)}/{name}-counterfactual.png"
    drawn = []
    for path, (pattern, replies) in enumerate(task.paths.items()):
        session = Session(config.protocol, task.question, [task.picture], tools=known())
        for text in replies:
            session.feed(Reply(worked.as_shown(text, session.images, task.picture.size)))
        path_name = f"{name}.{path}" if path else name  # all paths share the first image
        names = [f"{_place(number)}/{name if at == 0 else path_name}-{at}.png" for at in range(len(session.images))]
        record = _record(task, session, path_name, pattern, names, counterfactual)
        images = {file: shown.png for file, shown in _shown(config, task, session, names)}
        if task.counterfactual:
            images[counterfactual] = Shown(task.counterfactual.picture).png
        drawn.append((_encoded(record), images))
    return drawn


def _task(config: SynthConfig, number: int) -> Task:
    key = f"{config.seed} {config.split} {number}"
    rng = random.Random(key)
    if config.is_plain:
        return polygon(rng, config.split, config.sides, config.drawing)
    family = families.get(rng.choice(config.families or (polygons.NAME,)))
    if rng.random() < config.refusals:
        return refusal(
            rng, config.split, family, config.difficulty, direct=config.pattern == "direct", drawing=config.drawing
        )
    counterfactual_rng = random.Random(f"{key} twin") if config.counterfactuals else None
    return task(
        rng, config.split, family, config.difficulty, config.paths,
        pattern=config.pattern, counterfactual_rng=counterfactual_rng, drawing=config.drawing,
    )  # fmt: skip


def _shown(config: SynthConfig, task: Task, session: Session, names: Sequence[str]) -> Iterator[tuple[str, Shown]]:
    """The images that the rows name: those of trajectories as they were shown, those of problems at their own size."""
    if not _OF_PROBLEMS.issuperset(config.formats):
        yield from zip(names, session.images, strict=True)
    if _OF_PROBLEMS.isdisjoint(config.formats):
        return
    if session.images[0].size == task.picture.size:
        yield names[0], session.images[0]
    else:
        yield _file_of(names[0]), Shown(task.picture.convert("L"))  # pages of families are grey


def _record(
    task: Task, session: Session, name: str, pattern: str, images: Iterable[str], counterfactual: str
) -> Record:
    """The problem with one of its trajectories; boxes are left, top, right, bottom in px."""
    extra = {**task.about, **file_sizes_field(session.images, session.protocol)}
    if task.counterfactual:
        extra["counterfactual"] = {"image": counterfactual, "answer": task.counterfactual.answer}
    if "category" in extra:
        extra["category"] = extra["category"] | {"pattern": pattern}
    return Record(
        tuple(Message(each.role, content_of(each)) for each in session.trace().messages),
        tuple(map(Picture, images)),
        name,
        task.question,
        task.answer,
        extra,
    )


def _file_of(name: str) -> str:
    """Name of the file with a problem's picture at its own size; `name` is that of the smaller image."""
    return name.removesuffix("-0.png") + ".png"


def _place(number: int) -> str:
    return f"{FOLDER}/{number // _IN_A_FOLDER:03d}"


def _spool(folder: Path) -> Path:
    return folder / ".drawn"


_encoded = msgspec.json.Encoder(enc_hook=str).encode
_decoded = msgspec.json.Decoder(Record, dec_hook=lambda kind, text: kind(text)).decode


def _records_of(folder: Path, format_name: str, on_progress: Callable[[int], None]) -> Iterator[Record]:
    """The records for a format: rows of problems have the first path only, other rows no counterfactual."""
    count = 0
    with _spool(folder).open("rb") as spool:
        for line in spool:
            record = _decoded(line)
            if format_name in _OF_PROBLEMS and "." in str(record.id):  # ids of further paths end in a number
                continue
            left_out = set() if format_name == "batch" else {"counterfactual"}
            left_out |= {FILE_SIZES} if format_name in _OF_PROBLEMS else set()
            names = [image.name for image in record.images]
            if format_name in _OF_PROBLEMS and (folder / _file_of(names[0])).exists():
                names[0] = _file_of(names[0])
            extra = {key: value for key, value in record.extra.items() if key not in left_out}
            images = tuple(Picture(name, folder) for name in names)
            yield msgspec.structs.replace(record, images=images, extra=extra)
            count += 1
            on_progress(count)
