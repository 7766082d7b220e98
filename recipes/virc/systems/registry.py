"""Systems, one YAML each: the models that belong together, their chat protocol, and the stages that train them.

A system is found by being a file here, in an installed package (`core.plugins`) or in a folder of `VIRC_PATH`, there
also as `system.yaml` in a folder of its own; a file may also be named by its path. There is no second list. In its
settings, a text that begins with `./` or `../` is a path, counted from the folder of the file.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from virc.config import dotted, validation
from virc.config import yaml as plain_yaml
from virc.config.user import Seconds, Text, Url
from virc.core import entry_points, plugins
from virc.core.errors import ConfigError
from virc.core.files import expanded, is_file, is_folder
from virc.core.text import did_you_mean
from virc.reasoning.grammar import Grammar
from virc.reasoning.protocol import (
    USUAL,
    Bounds,
    CodeSettings,
    Coordinates,
    Crops,
    Drawing,
    Edges,
    LeastSide,
    ShortBoxes,
    Words,
    check_bounds,
)
from virc.systems.kinds import Kind
from virc.systems.layouts.layout import Layout
from virc.systems.names import NAMED, Commit, HubId, Name
from virc.tools import registry as tools

"""The variable that names further folders of systems, separated as in PATH."""

DEFAULT = "virc"
"""The system that is meant where a command names none."""

PACKAGE = Path(__file__).parent
_LISTED = "tools"
SUFFIXES = (".yaml", ".yml")
IN_FOLDER = "system.yaml"
"""The file of a system that has a folder of its own."""
_TEXTS = "texts.yaml"
REWRITING = "rows.py"
"""The module in the folder of a published system that rewrites its rows before a layout reads them."""


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model of a system.

    Args:
        hub: its hub id; None when its weights travel in this package.
        folder: folder of its weights; in the file, relative to that file.
        coordinates: what its boxes mean where that differs from its system's.
        gib: GiB of its weights, to tell whether it fits a machine before it is downloaded.
    """

    hub: str | None = None
    folder: str | None = None
    coordinates: Coordinates | None = None
    gib: Annotated[float, Meta(gt=0)] | None = None


class Dataset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows that stages learn from, which `virc download` brings.

    Args:
        hub: its hub id; or `github`, one of both.
        github: its repository there, OWNER/NAME.
        revision: the commit of it that is meant.
        files: paths of its files in that repository; each keeps its path in the dataset's folder.
    """

    hub: HubId | None = None
    github: HubId | None = None
    revision: Commit | None = None
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.hub is None) == (self.github is None):
            raise ValueError("a dataset names one repository: hub, or github")
        if self.github and not (self.revision and self.files):
            raise ValueError("a repository of GitHub needs revision, a commit, and files")
        if self.hub and (self.revision or self.files):
            raise ValueError("revision and files belong to github alone")


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One stage of training.

    Args:
        kind: the recipe module that plans it, whose `Config` says which settings there are.
        settings: what differs from the defaults of that `Config`.
        notes: what one should know of it, such as where the published texts contradict themselves.
        published: every value of the published script, by the engine's names; empty where there is none.
        published_defaults: what the program it was written for does by default, where the engine here does not.
        differs: settings of the published script that are other ones here, each with the reason.
    """

    kind: Kind
    settings: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    published: dict[str, Any] = {}
    published_defaults: dict[str, Any] = {}
    differs: tuple[Text, ...] = ()


class Overlay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings that go together and are chosen by name, `--with NAME`.

    Args:
        about: what it is for, one line.
        settings: for every stage whose kind has them.
        stages: for some stages, by their names.
        verified: stage -> where it has run, and what it took there.
    """

    about: str
    settings: dict[str, Any] = {}
    stages: dict[str, dict[str, Any]] = {}
    verified: dict[str, str] = {}


class Figures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Published figures of a system's models.

    Args:
        source: the publication.
        settings: settings of the evaluation, by the names of `virc.solve/1`.
        figures: model -> benchmark -> right answers in percent.
        notes: what one should know of them.
    """

    source: str
    settings: dict[str, Any] = {}
    figures: Mapping[Name, Mapping[str, Annotated[float, Meta(ge=0, le=100)]]] = {}
    notes: tuple[str, ...] = ()


class Judging(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The judge of a reward, and how requests are sent.

    Args:
        endpoint: its address, up to and with /v1; None: there is none, and rules give what they can.
        model: its name there; None: the only one that is served.
        at_once: questions in work at a time, in each process.
        timeout: seconds after which one reply is given up and drawn again.
        patience: seconds that a judge may be away before the run stops.
        questions: a YAML file with questions in place of our own, as `virc rewards show SYSTEM` prints them.
    """

    endpoint: Url | None = None
    model: Text | None = None
    at_once: Annotated[int, Meta(ge=1, le=1024)] = 32
    timeout: Seconds = 120.0
    patience: Seconds = 600.0
    questions: Text | None = None


class Reward(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What replies are rewarded for in RL.

    Args:
        total: name of a total, as `virc rewards ls` lists them, or a custom file; None: it is not public.
        strict: whose checks decide what is well-formed: our own, or the published ones with their quirks.
        judge: who gives the scores that no rule gives.
        judges: further ones by their names, which questions in a reward file name.
        supply: what is not public of it; a stage starts when a total replaces it.
        weights: of the total `weighted`: term -> what its value is multiplied by.
        gate: of the total `weighted`: the term without which there is no reward.
        group: how rewards of all replies to a prompt are rewritten before they are compared: rule -> its weight; empty:
            as the total says.
    """

    total: Text | None = "virc"
    strict: Literal["own", "published"] = "own"
    judge: Judging = Judging()
    judges: Mapping[Name, Judging] = {}
    supply: Text | None = None
    weights: Mapping[Name, float] = {}
    gate: Name | None = None
    group: Mapping[Name, float] = {}


class Assumption(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What its authors did not publish of a setting, and what stands there in its place.

    Args:
        key: the setting, as `--set` names it.
        value: what stands there; left out of a longer one, such as a prompt.
        why: why that.
        others: what else is plausible.
        stage: whose setting it is; None: of each stage that has it.
    """

    key: Text
    why: Text
    others: Text
    value: Any = None
    stage: Name | None = None

    def __str__(self) -> str:
        return self.said({})

    @property
    def of(self) -> str:
        return f"{self.key} of {self.stage}" if self.stage else self.key

    def said(self, settings: Mapping[str, Any]) -> str:
        """The assumption, and the value that it has in the settings of its stage where that is another one."""
        first, *path = self.key.split(".")
        used = settings.get(first, self.value)
        for key in path if first in settings else ():  # `lora: null` has no rank
            used = used and used.get(key)
        value = "" if self.value is None else f" {json.dumps(self.value, ensure_ascii=False)}"
        here = f", here {json.dumps(used, ensure_ascii=False)}" if value and used != self.value else ""
        return f"assumed: {self.of}{value}{here}: {self.why}; as plausible: {self.others}"


class Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A system's YAML.

    Args:
        about: what it is, one line.
        support: how far a published system is supported, as tests in `tests/zoo` show; None: not stated.
        models: by short name.
        judges: models that say whether an answer is right, by short name; they get plain chat messages.
        datasets: by short name, which names their folder under `data/` and begins the `data` of stages.
        rows: layouts of the rows that its authors published, by name; the first that rows fit is taken.
        rows_of: the published system whose module rewrites the rows before a layout reads them; None: its own, if any.
        protocol_source: what boxes mean -> rows that show the chat protocol of the models whose boxes mean that: a
            dataset of `datasets`, a slash, and a name of its `dataset_info.json`.
        coordinates, images, crops, input_pixels, crop_pixels, edges, least_side, short_boxes: as in `Protocol`, but
            that crops are cut from the file unless it says `shown`.
        tools: names of the tools that its chat protocol offers, or custom files next to it; empty: those of ViRC;
            `none`: it calls no tools.
        chat_protocol: where it is not that of ViRC.
        sampling: default sampling of its models.
        stages: by name, in the order they are run.
        everywhere: settings of every stage whose kind has them; what a stage itself sets wins over them.
        overlays: by name.
        reward: what replies are rewarded for in RL.
        reported: what `virc eval --against paper` compares our figures with.
        pipeline: the Python file of `virc solve --pipeline NAME`.
        rounds: the steps of a round of `virc train --rounds N`, in order, as the extra reads them; empty: it has none.
        assumed: what its authors left out.
        notes: what one should know of it, such as what differs from what was published; those of a stage stand there.
        needs: the extras, by folder, that its tools and its reward are built on; without them it cannot be used.
        replace: take over the name of a system of this package.
    """

    name: Name
    about: str = ""
    support: Literal["works", "reconstructed", "ran", "partly"] | None = None
    models: Mapping[Name, Model] = {}
    judges: Mapping[Name, Model] = {}
    datasets: Mapping[Name, Dataset] = {}
    rows: Mapping[Name, Layout] = {}
    rows_of: Name | None = None
    protocol_source: Mapping[Coordinates, Text] = {}
    coordinates: Coordinates = "pixel"
    images: Literal["smart", "square_1000"] = "smart"
    crops: Crops = "file"
    input_pixels: Bounds | None = None
    crop_pixels: Bounds | None = None
    edges: Edges = "round"
    least_side: LeastSide = 0
    short_boxes: ShortBoxes = "grow"
    tools: tuple[Text, ...] | Literal["none"] = ()
    chat_protocol: Words = Words()
    sampling: Drawing = USUAL
    stages: Mapping[Name, Stage] = {}
    everywhere: dict[str, Any] = {}
    overlays: Mapping[Name, Overlay] = {}
    reward: Reward | None = None
    reported: Figures | None = None
    pipeline: Text | None = None
    rounds: tuple[Any, ...] = ()
    assumed: tuple[Assumption, ...] = ()
    notes: tuple[Text, ...] = ()
    needs: tuple[Name, ...] = ()
    replace: bool = False

    def __post_init__(self) -> None:
        check_bounds(self)


_PLACES: Mapping[dotted.Path, type[msgspec.Struct]] = {
    (): Written,
    ("chat_protocol",): Words,
    ("chat_protocol", "grammar"): Grammar,
    ("chat_protocol", "code"): CodeSettings,
}
"""Where keys stand that are often written elsewhere."""


class System(Written, frozen=True, forbid_unknown_fields=True):
    file: Path = Path()

    @property
    def offered(self) -> tuple[str, ...]:
        return () if self.tools == "none" else self.tools or tools.DEFAULT

    @property
    def worded(self) -> bool:
        return self.chat_protocol != Words()

    def takes(self, model: Model) -> bool:
        """Whether a name alone has a model of it asked as it: not where it has no tools, which a family has."""
        return self.tools != "none" or model.hub is None

    @property
    def is_own(self) -> bool:
        return self.file.parent != PACKAGE and not plugins.is_of_a_system(self.file)

    def rewriting(self) -> Path | None:
        """The module of a published system that rewrites its rows; ConfigError: that of `rows_of` has none."""
        file = (get(self.rows_of) if self.rows_of else self).file.with_name(REWRITING)
        if plugins.is_of_a_system(file) and is_file(file):
            return file
        if self.rows_of:
            raise ConfigError(f"rows_of: the system {self.rows_of} has no {REWRITING}", "remove it")
        return None

    @property
    def called(self) -> str:
        """What names it on a command line: its name where it is found by that, else its file."""
        with suppress(ConfigError):
            found = discover().get(self.name)
            if found and found.file == self.file:
                return self.name
        return str(self.file)


def discover() -> "_Systems":
    """Every system by name: those of this package, of installed packages, and of the folders in `VIRC_PATH`.

    Raises:
        ConfigError: a file of a package is wrong, or takes a name that is taken without `replace: true`.
    """
    return _discovered(*plugins.folders(None))


def mentioning(text: str) -> Iterator[System]:
    """The systems in whose files a text is, in order; only these can have a model of that name. Raises as `discover`.

    YAML is parsed a hundred times as slowly as it is searched.
    """
    yield from _whose_files(lambda content: text in content)


def with_keys(keys: Iterable[str]) -> Iterator[System]:
    """The systems whose files may have one of these keys, in any case, as of the models; as `mentioning`."""
    either = "|".join(re.escape(key.casefold()) for key in keys)
    pattern = re.compile(rf"(?<![\w.-])(?:{either})['\"]?\s*:")
    yield from _whose_files(lambda content: bool(pattern.search(content.casefold())))


def _whose_files(may: Callable[[str], bool]) -> Iterator[System]:
    for name, file in discover().files.items():
        if may(plain_yaml.read_text(file)):
            yield discover()[name]


def get(name: str) -> System:
    """Return a system by its name, or by the path of its file.

    Raises:
        ConfigError: there is none, and the hint names the nearest; it has no YAML here; the file is wrong; or an extra
            that the system needs is not installed.
    """
    if not is_path(name):
        if error := discover().unreadable.get(name):
            raise error
        if name not in discover():
            raise _absent(name)
    system = load(expanded(name)) if is_path(name) else discover()[name]
    absent = [extra for extra in system.needs if extra not in entry_points.extras()]
    if absent:
        raise entry_points.not_installed(f"{absent[0]}, which the system {system.name} needs,")
    return system


def _absent(name: str) -> ConfigError:
    from virc.systems import published as listed

    if len(name.split()) > 2:
        sentence = f"«--system» names the system that a model belongs to, and is no system message: {name[:60]!r}"
        return ConfigError(sentence, "`virc systems ls` lists systems; instructions go into the question")
    here = next((file for suffix in SUFFIXES if is_file(file := Path(f"{name}{suffix}"))), None)
    if here:
        return ConfigError(f"there is no system {name!r}", f"a file is named by its path: ./{here}")
    absent = [folder for folder in plugins.folders(None) if not is_folder(folder)]
    hint = f"{plugins.SEARCH_PATH} names {absent[0]}, which is no folder" if absent else "virc systems ls"
    near = did_you_mean(name, {*discover(), *listed.rows()}, hint)
    return listed.refusal(name) or ConfigError(f"there is no system {name!r}", near)


def is_path(name: str) -> bool:
    return name.endswith(SUFFIXES) or "/" in name


def read_file(path: Path) -> tuple[str, dict[str, Any]]:
    """The text of a system's file, and its content. Raises ConfigError: it is not there, or no YAML."""
    if not is_file(path):
        raise ConfigError(f"there is no file {path}", "virc systems ls")
    text = plain_yaml.read_text(path)
    return text, plain_yaml.parse(text, str(path))


def load(path: Path) -> System:
    """Raises ConfigError: it is not there, no YAML, or a key in it is unknown, missing or of the wrong type."""
    text, content = read_file(path)
    for fault in misfits(content):
        line = line_of(fault.path, plain_yaml.lines(text))
        raise ConfigError(f"{path}:{line}: {fault.message}", fault.hint)
    return built(content, path)


def misfits(content: Mapping[str, Any]) -> Iterator[validation.Fault]:
    for _, given, kind in (("", content, Written), *_read_by_extras(content)):
        try:
            msgspec.convert(given, kind, strict=False)
        except msgspec.ValidationError:
            yield from map(_placed, validation.faults(given, kind))
            return
    if validation.endless(content):
        yield from validation.faults(content, Written)


def _read_by_extras(content: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], type[msgspec.Struct]]]:
    """Each key that an extra reads, what the extra looks at, and the Struct `Keys` that it makes of it."""
    for key in content:
        if reader := entry_points.hook(f"system_keys.{key}"):
            kind: type[msgspec.Struct] = reader.Keys
            yield key, {name: content[name] for name in kind.__struct_encode_fields__ if name in content}, kind


def _placed(fault: validation.Fault) -> validation.Fault:
    """A fault, with the place of a key that stands at another one."""
    *above, key = fault.path or ("",)
    if not isinstance(fault, validation.Unknown) or tuple(above) not in _PLACES:
        return fault
    place = next((place for place, kind in _PLACES.items() if key in kind.__struct_fields__), None)
    if place is None:
        return fault
    where = f"below `{'.'.join(place)}`" if place else "at the top level, with no space before it"
    return msgspec.structs.replace(fault, hint=f"`{key}` belongs {where}")


def built(content: Mapping[str, Any], path: Path) -> System:
    changed = dotted.without(content, set())
    for keys, text in relative_paths(content):
        if keys[0] != _LISTED:
            dotted.put(changed, keys, _beside(text, path))
    written = msgspec.convert(changed, Written, strict=False)
    if written.tools != "none":
        found = tuple(_beside(tool, path) if _is_relative_file(tool) else tool for tool in written.tools)
        written = msgspec.structs.replace(written, tools=found)
    fields = msgspec.structs.asdict(written)
    for key, given, kind in _read_by_extras(changed):
        fields[key] = getattr(msgspec.convert(given, kind, strict=False), key)
    return System(**fields, file=path.absolute())


def _beside(file: str, path: Path) -> str:
    return str(path.absolute().parent / expanded(file))


def _is_relative_file(text: str) -> bool:
    return plugins.is_file_name(text) and not expanded(text).is_absolute()


def relative_paths(content: Mapping[str, Any]) -> Iterator[tuple[dotted.Path, str]]:
    """Every text in a system's YAML that is a path counted from the folder of the file, and its keys.

    In a list, its index is the key.
    """
    listed = content.get(_LISTED)
    for number, tool in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(tool, str) and _is_relative_file(tool):
            yield (_LISTED, str(number)), tool
    for keys, value in dotted.leaves(content):
        match keys:
            case ("models" | "judges", _, "folder") | ("reward", "judge", "questions"):
                relative = isinstance(value, str) and not expanded(value).is_absolute()
            case ("reward", "total") | ("pipeline",):
                relative = isinstance(value, str) and _is_relative_file(value)
            case ("everywhere", *_) | ("stages", _, "settings", *_) | ("overlays", _, "settings" | "stages", *_):
                relative = isinstance(value, str) and value.startswith(("./", "../"))
            case _:
                relative = False
        if relative:
            yield keys, value


def line_of(path: dotted.Path, lines: Mapping[dotted.Path, int]) -> int:
    """The line of a key, or of the nearest one around it that is there; a dotted key may be nested there."""
    parts = tuple(part for key in path for part in key.split("."))
    return max(_line_of(path, lines), _line_of(parts, lines))


def _line_of(path: dotted.Path, lines: Mapping[dotted.Path, int]) -> int:
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


class _Systems(Mapping[str, System]):
    """Systems by name; a file whose name, or that of its system, is known without parsing it is read when asked for.

    Attributes:
        unreadable: what is wrong with files of `VIRC_PATH`, which are left out, by the likely names of their systems.
    """

    def __init__(self, *folders: Path) -> None:
        self.files = {file.stem: file for file in sorted(PACKAGE.glob("*.yaml"))}
        self.unreadable: dict[str, ConfigError] = {}
        self._read: dict[str, System] = {}
        for file in chain.from_iterable(map(_files, plugins.system_packages())):
            named = NAMED.search(plain_yaml.read_text(file)) if file.name == IN_FOLDER else None
            if named and named[1] not in self.files:
                self.files[named[1]] = file
            elif named or not _is_tool(file):
                self._add(load(file))
        for file in chain.from_iterable(map(_files, folders)):
            try:
                if not _is_tool(file):
                    self._add(load(file))
            except ConfigError as error:
                self.unreadable[_likely_name(file)] = error

    def _add(self, system: System) -> None:
        if (name := system.name) in self.files and not system.replace:
            raise ConfigError(
                f"{system.file} names its system {name!r}, as {self.files[name]} does",
                "choose another name, or say `replace: true` in it",
            )
        self.files[name], self._read[name] = system.file, system

    def __getitem__(self, name: str) -> System:
        if name not in self._read:
            self._read[name] = load(self.files[name])
        return self._read[name]

    def __contains__(self, name: object) -> bool:  # Mapping's own reads the file
        return name in self.files

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


_discovered = cache(_Systems)


def _likely_name(file: Path) -> str:
    """The name that the system of an unreadable file has, as far as can be told."""
    with suppress(ConfigError):
        if named := NAMED.search(plain_yaml.read_text(file)):
            return named[1]
    return file.parent.name if file.name == IN_FOLDER else file.stem


def _files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in (*folder.glob("*"), *folder.glob(f"*/{IN_FOLDER}"))
        if path.suffix in SUFFIXES and path.name != _TEXTS and not path.is_fifo()  # would be waited for
    )


def _is_tool(file: Path) -> bool:
    """Whether a file describes a tool behind a server, which may be in the same folder."""
    content = plain_yaml.parse(plain_yaml.read_text(file), str(file))
    return "parameters" in content and bool({"http", "mcp"} & content.keys())
