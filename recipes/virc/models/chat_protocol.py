"""Which chat protocol a model is prompted with: what it was trained with, wherever that is, else our own.

`of_weights` is for a model on this machine, `of_endpoint` for a served one. `_spoken` has the order of precedence.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from virc.core import plugins
from virc.core.errors import UNREADABLE, ConfigError, UsageError, errors_as
from virc.core.files import MODELS, contents, expanded, is_file
from virc.models.registry import Weights, download_of, find, known, run_of
from virc.reasoning.protocol import FILE_NAME, Protocol, as_fields, with_tools
from virc.systems import speech, texts
from virc.systems.registry import DEFAULT as DEFAULT_SYSTEM
from virc.systems.registry import Model, System
from virc.tools import registry as tools

_MAX_BYTES = 16 * 2**20

DEFAULT = "default"
"""What `--protocol` says to insist on our own chat protocol."""


def of_weights(weights: Weights, option: str | None = None) -> Protocol:
    """The chat protocol of a model on this machine: that next to its weights, or of the run that made them.

    Raises:
        ConfigError: the file is wrong; or the model belongs to a known system, so that it was never trained with
            our chat protocol, and its own is not next to it.
    """
    speech.load_tools(weights.system)
    uses_trained = not option and not _in_own_words(weights.system)
    trained = _inside(weights) if uses_trained else None
    file = trained_with(weights) if uses_trained and not trained else None
    trained = read_protocol(file) if file else trained
    spoken = _spoken(option, trained, weights.system, weights.model)
    if spoken is None and weights.system:
        raise _absent(weights, weights.system)
    return spoken or _own(None, weights.model)


def _in_own_words(system: System | None) -> bool:
    """Whether the user asks a system in our own words, whatever its models were trained with."""
    return system is not None and texts.is_own_wording(system.file.parent)


class ServedModel(msgspec.Struct, frozen=True):
    """A model of an endpoint."""

    name: str
    root: str | None = None  # the folder or hub id of its weights, if the endpoint tells
    published: Protocol | None = None
    system: System | None = None
    model: Model | None = None


def of_endpoint(served: ServedModel, workspace: Path, option: str | None = None) -> tuple[Protocol | None, str]:
    """The chat protocol of a served model, and where it is from: `--protocol`, what the endpoint publishes, what
    `virc download` left on this machine, the words of its system; None for a model of no system.

    Raises:
        ConfigError: the file of `--protocol` is wrong; or the model was trained with a protocol that is not on this
            machine.
    """
    system, model = served.system, served.model
    speech.load_tools(system)
    uses_downloaded = not option and not served.published and not _in_own_words(system)
    downloaded, place = _downloaded(served, workspace) if uses_downloaded else (None, "")
    spoken = _spoken(option, served.published or downloaded, system, model)
    if option:
        place = "--protocol"
    elif served.published:
        place = "the endpoint publishes it"
    if spoken is None and system and system.protocol_source:
        raise _absent_here(served, system)
    if spoken is None and system:
        spoken = _own(system, model)
    return spoken, place or (f"the system {system.name}" if system else "")


def _downloaded(served: ServedModel, workspace: Path) -> tuple[Protocol | None, str]:
    """The chat protocol of a served model that is on this machine, as `virc download` leaves it; and its file."""
    root = Path(served.root) if served.root else None
    if root and root.is_absolute() and is_file(root / FILE_NAME):
        return read_protocol(root / FILE_NAME), str(root / FILE_NAME)
    if served.system is None or (served.system.worded and served.model is None):
        return None, ""  # what is none of its models is asked in its words
    shorts = _alike(served, served.system)
    files: list[Path | None] = [workspace / MODELS / short / FILE_NAME for short in shorts]
    for short in shorts:
        with suppress(ConfigError):
            files.append(trained_with(find(short, workspace, served.system)))
    found = {file: read_protocol(file) for file in dict.fromkeys(files) if file and is_file(file)}
    if not found:
        return None, ""
    first, protocol = next(iter(found.items()))
    if any(other != protocol for other in found.values()):
        message = f"{served.name} does not say which model of {served.system.name} it is"
        raise ConfigError(f"{message}, and their chat protocols differ", f"«--protocol {' | '.join(map(str, found))}»")
    return protocol, str(first)


def _alike(served: ServedModel, system: System) -> list[str]:
    """The models of a system with boxes of the same unit as a served one, itself first; all if it is unknown."""
    if served.model is None:
        return list(system.models)
    unit = served.model.coordinates or system.coordinates
    alike = [short for short, model in system.models.items() if (model.coordinates or system.coordinates) == unit]
    return sorted(alike, key=lambda short: system.models[short] != served.model)


def _absent_here(served: ServedModel, system: System) -> ConfigError:
    short = next((short for short, model in system.models.items() if served.model in (None, model)), None)
    if short is None:
        message = f"{system.file} names `protocol_source`, and no model that was trained with its chat protocol"
        return ConfigError(
            message, f"remove `protocol_source`, or «--protocol {DEFAULT}»: ours, with the system's tools"
        )
    option = f" --system {system.called}" if system.called != DEFAULT_SYSTEM else ""
    fetch = f"virc download {short} --include {FILE_NAME}{option}"
    message = f"{served.name} is a model of {system.name}, which was trained with its own chat protocol"
    return ConfigError(f"{message}: the endpoint publishes none, and there is none on this machine", fetch)


def of_system(system: System) -> Protocol:
    """Raises ConfigError: a tool of the system is missing, or its file is no tool."""
    return _of_system(system, None) or _own(system, None)


def of_stage(system: System, weights: Weights) -> Protocol:
    return _of_system(system, None) or of_weights(weights)


def needs_picture(protocol: Protocol) -> bool:
    """Whether a question has to come with a picture: none of the tools that the chat protocol offers finds any."""
    here = tools.known()
    return not any(getattr(here.get(name), "FINDS_PICTURES", False) for name in protocol.tools)


def read_protocol(path: Path, beside: Path | None = None) -> Protocol:
    """Read a chat protocol file; the user's own tools that it names are loaded from `VIRC_PATH` or `beside`.

    Raises:
        ConfigError: it is missing, over 16 MiB, no JSON, or not of the schema `virc.protocol/1`; or a tool's file
            cannot be used.
    """
    unread = errors_as(ConfigError, f"cannot read the chat protocol {path}")
    with unread, errors_as(ConfigError, f"{path} is no chat protocol file", caught=ValueError):
        # ValueError: msgspec's, and bytes of no UTF-8
        protocol = msgspec.json.decode(contents(path, _MAX_BYTES), type=Protocol)
    tools.load(protocol.tools, beside, of_chat_protocol=True)
    return protocol


def written(protocol: Protocol) -> bytes:
    """A chat protocol as its file; half a character, which UTF-8 cannot hold, becomes its JSON escape."""
    text = json.dumps(as_fields(protocol), ensure_ascii=False, indent=1)
    return f"{text}\n".encode("utf-8", "backslashreplace")


def added(names: Iterable[str]) -> tuple[str, ...]:
    """The tools that `--tools +NAME` asks for."""
    for name in names:
        if not name.startswith("+") or len(name) < 2:
            meant = name.lstrip("+")
            if not plugins.is_path(meant) and meant not in tools.known():
                meant = tools.near(meant) or "NAME"
            hint = f"«--tools +{meant}» adds a tool to those of the chat protocol; `virc tools ls` lists them"
            raise UsageError(f"«--tools {name}» is not +NAME", hint)
    return tuple(name[1:] for name in names)


def offering(protocol: Protocol, names: Iterable[str], beside: Path | None = None) -> Protocol:
    """A chat protocol that offers further tools, by their names or files; those it has stay as they are.

    Raises:
        ConfigError: there is no such tool, or the chat protocol lists none that it could stand with.
    """
    new = [name for name in tools.load(names, beside) if name not in protocol.tools]
    return with_tools(protocol, tools.schemas(new, protocol.coordinates)) if new else protocol


def speaks_as(spoken: Protocol, protocol: Protocol, beside: Path | None = None) -> bool:
    """Whether replies are written in one chat protocol as in another, but for tools that the first adds."""
    added = [name for name in spoken.tools if name not in {*protocol.tools, *tools.discover()}]
    with suppress(ConfigError):  # it may have no way to offer them
        protocol = offering(protocol, added, beside)
    return (spoken.system, spoken.grammar, spoken.coordinates) == (
        protocol.system, protocol.grammar, protocol.coordinates
    )  # fmt: skip


def own_tools(system: System) -> dict[str, str]:
    """The user's own tools of a system without words of its own, which what is spoken may lack: name -> as in YAML."""
    own = [] if system.worded else [name for name in system.offered if not tools.known_here(name)]
    return dict(zip(tools.load(own, system.file.parent), own, strict=True))


def lacking_tools(system: System, spoken: Protocol) -> dict[str, str]:
    """Those of `own_tools` that what is spoken does not offer."""
    return {name: source for name, source in own_tools(system).items() if name not in spoken.tools}


def _absent(weights: Weights, system: System) -> ConfigError:
    hint = (
        f"put {FILE_NAME} into {weights.adapter or weights.folder}, or use this project's own: «--protocol {DEFAULT}»"
    )
    named = known(weights.name, system)[1]  # what a run made of it is no such model
    if named and named.hub and system.protocol_source:
        hint = f"`{download_of(named.hub, system)}` brings it, {hint}"
    return ConfigError(f"no chat protocol for {weights.name}: there is none next to its weights", hint)


def _inside(weights: Weights) -> Protocol | None:
    """The chat protocol in a GGUF file that `virc merge --gguf` wrote."""
    if weights.gguf is None or weights.gguf.protocol is None:
        return None
    with errors_as(ConfigError, f"{weights.gguf.file} holds an unreadable chat protocol", caught=UNREADABLE):
        protocol = msgspec.json.decode(weights.gguf.protocol, type=Protocol)
    tools.load(protocol.tools, weights.folder, of_chat_protocol=True)
    return protocol


def trained_with(weights: Weights) -> Path | None:
    """The chat protocol file of a model here, if it has one: its adapter's before its base's, a checkpoint's before its
    run's.
    """
    for folder in (weights.adapter, weights.folder):
        run = run_of(folder) if folder else None
        for place in (folder, run and run.folder):
            if place and is_file(place / FILE_NAME):
                return place / FILE_NAME
    return None


def _spoken(
    option: str | None, trained: Protocol | None, system: System | None, model: Model | None
) -> Protocol | None:
    """The first of: what `--protocol` says, what the model was trained with, the words of its system."""
    if option == DEFAULT:
        return _own(system, model)
    given = read_protocol(expanded(option)) if option else trained
    if given is None:
        return _of_system(system, model)
    kind = given.name if given.name in ("stock", speech.OWN_WORDS) else "trained"
    return speech.drawn(msgspec.structs.replace(given, name=kind), system)


def _of_system(system: System | None, model: Model | None) -> Protocol | None:
    return speech.worded_by(system, model.coordinates if model else None)


def _own(system: System | None, model: Model | None) -> Protocol:
    return speech.ours(system, model.coordinates if model else None)
