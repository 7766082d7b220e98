"""Families of stock models, one file each: how a model speaks that was not trained by a chat protocol of its own.

`qwen3-vl.yaml` and the like say what boxes are counted in, which patch grid images are seen on and which tool a model
knows. Adding a family is adding a file. The protocol of a family is lenient: see `reasoning.lenient`.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from virc.config import validation
from virc.config import yaml as plain_yaml
from virc.core.errors import ConfigError, errors_as
from virc.core.files import expanded, is_file
from virc.core.text import did_you_mean, plain
from virc.families.chat_marks import CHATML, ChatMarks
from virc.families.sizing import ImageProcessor
from virc.reasoning.grammar import HERMES, Grammar
from virc.reasoning.protocol import TOOLS, BoxForm, Coordinates, Drawing, Protocol
from virc.reasoning.resize import QWEN2, Grid
from virc.stages.sft import Part
from virc.systems import registry as systems
from virc.systems import speech
from virc.systems.registry import Model, System
from virc.tools import registry as tools

_FOLDER = Path(__file__).parent
_OF_TYPES = {"names", "model_types", "notes", "joined", "here", "towers", "sft", "liger", "rl", "refused"}
_OF_PACKAGE = {*_OF_TYPES, *"marks images parts unstated is_packed is_renamed sft_keys is_unmarked".split()} - {"notes"}
"""Keys by which a family is found, or trained, or run in this process."""
_SPOKEN = {"coordinates", "box", "schemas", "tools", "arguments", "given"}
"""Keys that a family has no use for whose system says how its models are asked."""
_OFFERED = ("crop_image", "scale_image")
_ACCEPTED = ("crop_image", "scale_image", "display_image")
_SYSTEM = (
    "You answer questions about pictures, and you look closer before you trust what you see.\n\n"
    f"# Tools\n\nThese functions can be called:\n<tools>\n{TOOLS}\n</tools>\n\n"
    "To call one, write a JSON object with its name and its arguments inside <tool_call></tool_call>:\n"
    '<tool_call>\n{"name": NAME, "arguments": {...}}\n</tool_call>\n'
    "Call one function at a time; the image that it makes is shown to you next."
)
_NATIVE_SYSTEM = (
    "You answer questions about pictures, and you look closer before you trust what you see. Call one function at a "
    "time; the image that it makes is shown to you next."
)
_FIRST = (
    "{images}\nQuestion: {question}\n\nReason in small steps. Look closer with a function wherever that helps. When "
    "you are sure, finish with <answer>...</answer>, which holds the answer alone."
)
_LISTED = re.compile(r"<tools>\n(.*?)\n</tools>", re.DOTALL)
_HEAD = "# Tools"
"""What the chat templates of stock models write above their tools."""
_LINE = "Image {index}: {width} x {height}."
_GO_ON = " Go on; look again wherever that helps, or finish with <answer>...</answer>."


class Family(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One family of models.

    Args:
        name: as `--family` takes it.
        about: what it is, one line.
        like: another family, for what this one leaves out, but names, types and notes.
        sources: where these facts were read.
        model_types: `model_type` in the `config.json` of its models.
        names: a regular expression that is found in the names that servers give its models, in lower case.
        coordinates: what boxes are counted in; None: nobody says, so that only the probe can tell.
        box: the order of a box's numbers.
        grid: the patch grid that images are seen on.
        by_area: whether an image takes tokens by its area, one for each cell of the grid.
        system: the system that its stock models are prompted as, if their makers published how; what follows is of
            families without one.
        schemas: its own tools, where it was trained with any; empty: ours are offered.
        tools: name of a tool of its own -> ours, which carries it out.
        arguments: name of an argument of a tool of its own -> ours; null: it is read and not used.
        given: arguments that hold where the model leaves them out.
        max_tokens: longest reply in tokens; more for models that think before they answer.
        marks: the special tokens of its chat template.
        images: its image processor.
        is_renamed: whether transformers has other names for its weights than the published files, which vLLM reads.
        joined: model types whose files have one tensor for all experts of a layer, where transformers may write each.
        is_packed: whether rows may follow one another in a sequence of verl.
        unstated: sizes of the language model that a config.json may leave out, by their names there.
        parts: part of a model -> pieces of the names of its weights; all others are the language model.
        here: model types that run in this process.
        towers: model type that runs in this process as a GGUF file -> what llama.cpp calls its vision tower.
        sft: model type -> its template in LLaMA-Factory.
        sft_keys: further keys that LLaMA-Factory needs for them.
        is_unmarked: whether this template leaves out the marks of the beginning and of pictures.
        liger: those to which LLaMA-Factory applies liger's kernels on a GPU.
        rl: model types that verl trains.
        refused: model type that no engine trains, or whose rollouts vLLM does not draw -> what can be done.
        notes: what a user should know.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]{0,40}\Z")]
    about: str
    like: str | None = None
    sources: tuple[str, ...] = ()
    model_types: tuple[str, ...] = ()
    names: str | None = None
    coordinates: Coordinates | None = None
    box: BoxForm = "corners"
    grid: Grid = QWEN2
    by_area: bool = True
    system: str | None = None
    schemas: tuple[dict[str, Any], ...] = ()
    tools: Mapping[str, str] = {}
    arguments: Mapping[str, str | None] = {}
    given: Mapping[str, Any] = {}
    max_tokens: Annotated[int, Meta(ge=1, le=2**20)] = 2048
    marks: ChatMarks = CHATML
    images: ImageProcessor = ImageProcessor()
    is_renamed: bool = False
    joined: tuple[str, ...] = ()
    is_packed: bool = True
    unstated: Mapping[str, int] = {}
    parts: Mapping[Part, tuple[str, ...]] = {}
    here: tuple[str, ...] = ()
    towers: Mapping[str, str] = {}
    sft: Mapping[str, str] = {}
    sft_keys: Mapping[str, Any] = {}
    is_unmarked: bool = False
    liger: tuple[str, ...] = ()
    rl: tuple[str, ...] = ()
    refused: Mapping[str, str] = {}
    notes: tuple[str, ...] = ()


UNKNOWN = Family("unknown", "a model of no family that is known here", by_area=False, max_tokens=4096)
"""What is assumed of a model without a known name or model type."""


@cache
def discover() -> Mapping[str, Family]:
    """Every family by name."""
    return {family.name: family for family in map(_read, sorted(_FOLDER.glob("*.yaml")))}


def get(name: str) -> Family:
    """The family of that name, or that a file `name` holds.

    Raises:
        ConfigError: there is none, or its file is wrong.
    """
    if name.endswith((".yaml", ".yml")):
        return _read(expanded(name))
    if name.lower() not in discover():
        if is_file(here := Path(f"{name}.yaml")):
            raise ConfigError(f"there is no family {name[:80]!r}", f"a file is named by its path: ./{here}")
        raise ConfigError(f"there is no family {name[:80]!r}", did_you_mean(name, discover(), _all()))
    return discover()[name.lower()]


def by_model_type(model_type: object) -> Family | None:
    """The family of models with that `model_type` in their `config.json`."""
    return next((family for family in discover().values() if model_type in family.model_types), None)


def run_here() -> tuple[str, ...]:
    """The model types that run in this process."""
    return tuple(kind for family in discover().values() for kind in family.here)


def levels(family: Family, model_type: str) -> dict[str, bool]:
    """What models of a type can be used for; all are asked through a server."""
    known = {"here": family.here, "gguf": family.towers, "sft": family.sft, "rl": family.rl}
    return {"server": True} | {level: model_type in kinds for level, kinds in known.items()}


def of(model_type: object) -> Family:
    """As `by_model_type`; UNKNOWN for any other."""
    return by_model_type(model_type) or UNKNOWN


def image_processor(name: object) -> ImageProcessor:
    """What is known of an image processor by the name of its class: Qwen-VL's for any other."""
    known = (family.images for family in discover().values())
    return next((each for each in known if str(name).startswith(each.named)), ImageProcessor())


def template(model_type: str) -> str:
    """The template of LLaMA-Factory in which a base of that type is trained. Raises ConfigError: there is none."""
    return _trained(model_type).sft[model_type]


def sft_keys(model_type: str) -> Mapping[str, Any]:
    """Further keys that LLaMA-Factory needs for a base of that type."""
    return _trained(model_type).sft_keys


def check_rl(model_type: str, rollouts: str = "transformers") -> None:
    """Raises ConfigError: verl does not train models of that type, or vLLM does not draw their rollouts."""
    _trained(model_type, is_rl=True, is_vllm=rollouts == "vllm")


def _trained(model_type: str, is_rl: bool = False, is_vllm: bool = False) -> Family:
    family = by_model_type(model_type)
    if family and model_type in (family.rl if is_rl else family.sft) and not (is_vllm and model_type in family.refused):
        return family
    sentence = f"models of type {plain(model_type, 60)!r} are not trained here by {'RL' if is_rl else 'SFT or DPO'}"
    if family and model_type in family.refused:
        raise ConfigError(sentence, family.refused[model_type])
    known = (kind for each in discover().values() for kind in (each.rl if is_rl else each.sft))
    raise ConfigError(sentence, f"known are {', '.join(known)}")


def by_name(name: str) -> Family | None:
    """The family that a name means which a server, a hub or a folder gives a model."""
    text = name.lower()
    return next((family for family in discover().values() if family.names and re.search(family.names, text)), None)


def of_system(system: System, model: Model | None = None) -> Family:
    """The family of a published system's model: one that is asked as it, else by its name or that of a base."""
    stages = (stage.settings.get("base") for stage in system.stages.values())
    names = (model and model.hub, *stages, *(each.hub for each in system.models.values()))
    asked = (family for family in discover().values() if family.system == system.name)
    return next(filter(None, (*asked, *(by_name(str(name)) for name in names))), UNKNOWN)


def protocol(
    family: Family, coordinates: Coordinates | None = None, box: BoxForm | None = None, native: bool = False
) -> Protocol:
    """The chat protocol of a family's stock models.

    Args:
        coordinates, box: what was found out about a server's model, which counts more than what its family does.
        native: the tools are sent as `tools` of a request, and the server puts them into the model's own words.
    """
    if family.system:
        return _published(family, coordinates, box, native)
    unit = coordinates or family.coordinates or "pixel"
    schemas = family.schemas or tuple(dict(schema) for schema in tools.schemas(_OFFERED, unit))
    listed = "\n".join(map(json.dumps, schemas))
    call = msgspec.structs.replace(HERMES, names=family.tools, keys=family.arguments, default=family.given)
    return Protocol(
        system=_NATIVE_SYSTEM if native else _SYSTEM.replace(TOOLS, listed),
        first=_FIRST,
        image_line=_LINE,
        after_image=_LINE + _GO_ON,
        after_scale=_LINE + " The question was: {question}" + _GO_ON,
        tools=_ACCEPTED,
        coordinates=unit,
        box=box or family.box,
        crops="file",
        repeat_limit=0,
        grammar=Grammar(think=None, calls=(call,)),
        sampling=Drawing(max_tokens=family.max_tokens),
        reading="lenient",
        schemas=schemas if native else (),
        name="stock",
    )


def _published(family: Family, coordinates: Coordinates | None, box: BoxForm | None, native: bool) -> Protocol:
    """The chat protocol of stock models as their makers published it."""
    found = speech.worded_by(systems.get(family.system or ""), coordinates)
    assert found
    before, _, _ = found.system.partition(_HEAD)
    return msgspec.structs.replace(
        found,
        system=before.strip() if native else found.system,
        schemas=_listed(found.system) if native else (),
        box=box or found.box,
        sampling=Drawing(max_tokens=family.max_tokens),
        name="stock",
    )


def _listed(system: str) -> tuple[dict[str, Any], ...]:
    """The schemas of the tools that a system message lists."""
    found = _LISTED.search(system)
    return tuple(json.loads(line) for line in found[1].splitlines()) if found else ()


def taught(protocol: Protocol) -> Protocol:
    """The chat protocol that rows of a stock model teach: read strictly, its tools in the system message.

    Any other protocol stays as it is.
    """
    if protocol.reading == "strict":
        return protocol
    system = protocol.system
    if protocol.schemas:
        listed = "\n".join(map(json.dumps, protocol.schemas))
        system = _LISTED.sub(lambda _: f"<tools>\n{listed}\n</tools>", _words_for(protocol.schemas))
    return msgspec.structs.replace(protocol, system=system, reading="strict", schemas=(), name="trained")


def _words_for(schemas: Sequence[Mapping[str, Any]]) -> str:
    """The system message that lists tools of which the first are a published family's; ours for any other."""
    known = (protocol(family).system for family in discover().values() if family.system)
    return next((text for text in known if _listed(text) == tuple(schemas[: len(_listed(text))])), _SYSTEM)


def _all() -> str:
    return f"there are {', '.join(discover())}"


def _read(path: Path) -> Family:
    if not is_file(path):
        raise ConfigError(f"there is no file {path}", _all())
    content = own = plain_yaml.read_mapping(path)
    like = content.get("like")
    if isinstance(like, str):
        known = [file.stem for file in _FOLDER.glob("*.yaml")]
        if like not in known:
            raise ConfigError(f"{path}: there is no family {plain(like, 60)!r} to be `like`", did_you_mean(like, known))
        other = plain_yaml.read_mapping(_FOLDER / f"{like}.yaml")
        content = {**{key: value for key, value in other.items() if key not in _OF_TYPES}, **content}
    for fault in validation.faults(content, Family):
        raise ConfigError(f"{path} is no family of models: {fault.message}", fault.hint)
    family = msgspec.convert(content, Family, strict=False)
    grid = family.grid
    if not (grid.factor > 0 < grid.min_pixels <= grid.max_pixels and (grid.longest or 1) > 0):
        sizes = f"cells of {grid.factor} px, and pictures of {grid.min_pixels} to {grid.max_pixels} pixels"
        raise ConfigError(f"{path} is no family of models: its grid has {sizes}")
    with errors_as(ConfigError, f"{path} is no family of models: names", caught=re.error):
        re.compile(family.names or "")
    for field, name, among in _named(family, path):
        if name not in among:
            kind = "argument" if field.startswith("arguments") else "tool"
            sentence = f"{path}: {field} names {plain(name, 60)!r}, and there is no such {kind}"
            raise ConfigError(sentence, did_you_mean(name, among))
    if path.parent != _FOLDER:
        _check_effects(family, own, path)
    return family


def _check_effects(family: Family, own: Mapping[str, Any], path: Path) -> None:
    """Raise ConfigError: a key of a user's file has no effect."""
    spoken = protocol(family)
    for key in own:
        plainly = msgspec.structs.replace(family, **{key: getattr(UNKNOWN, key)})
        if key in _SPOKEN and family.system and protocol(plainly) == spoken and getattr(spoken, key, ()) != own[key]:
            wins = f"the system {family.system}" + f" of `like: {family.like}`" * ("system" not in own)
            raise ConfigError(f"{path}: {key} has no effect, since {wins} says how the model is asked", "leave one out")
        if key in _OF_PACKAGE:
            sentence = f"{path}: {key} has no effect: only families of the package are found by it"
            raise ConfigError(sentence, "leave it out; «--family FILE» says how a server's model is asked")


def _named(family: Family, path: Path) -> Iterator[tuple[str, str, Collection[str]]]:
    """Each name of a tool or argument that a family with tools of its own has, with those that it may be.

    Without the check, a slip in one shows as replies of the model that cannot be used.
    """
    if not family.schemas:
        return
    own = dict(_signature(each, path) for each in family.schemas)
    ours = dict(_signature(each, path) for each in tools.schemas(_ACCEPTED))
    for name, target in family.tools.items():
        yield "tools", name, own
        yield f"tools.{name}", target, ours
    for name in own:
        yield "schemas", family.tools.get(name, name), ours
    for name, argument in family.arguments.items():
        yield "arguments", name, {each for names in own.values() for each in names}
        if argument is not None:
            yield f"arguments.{name}", argument, {each for names in ours.values() for each in names}


def _signature(schema: Any, path: Path) -> tuple[str, Collection[str]]:
    """The name of a function and those of its arguments. Raises ConfigError: they are not there."""
    try:
        function = schema["function"]
        return str(function["name"]), {*function["parameters"]["properties"]}
    except (KeyError, TypeError):
        sentence = f"{path} is no family of models: schemas: {plain(schema, 60)} is no function with named arguments"
        raise ConfigError(sentence, "write {function: {name: ..., parameters: {properties: ...}}}") from None
