"""Opens a model: on this machine or at an endpoint, with its chat protocol.

`open_model` returns an `Opened`, by `_endpoint` or `_weights`. Both first find a `PromptSetup`, what is known of the
model: the chat protocol that it was trained with, or as a stock model that of its family (`_prompt_setup_at`,
`prompt_setup_here`). The backend is made or set up by that once. A stock model that may count boxes in any unit is
asked at its first box (`Calibration`); `with_resolved_setup` is the model after that.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Self, Unpack

import msgspec
from msgspec import Meta

from virc.backends.checkpoint import folder_grid, model_type
from virc.backends.gguf import model as gguf
from virc.backends.gguf.model import GGUF
from virc.backends.interface import Backend, PictureSetup
from virc.config.declared import with_options
from virc.config.options import LoadOptions
from virc.config.taken import Left
from virc.config.user import NO_ENDPOINT, Switch
from virc.config.validation import check_arguments
from virc.core.errors import ConfigError, SetupError, UsageError
from virc.core.extras import install
from virc.families import registry as families
from virc.families.registry import Family
from virc.models import chat_protocol, provenance
from virc.models import registry as models
from virc.models.calibration import Calibration
from virc.probing.result import Probed, kept_probe, shortcomings
from virc.reasoning.protocol import Coordinates, Protocol
from virc.reasoning.resize import QWEN2, Grid
from virc.systems.registry import Model, System
from virc.systems.speech import OWN_WORDS, worded_by
from virc.systems.texts import AbsentTextError, own_words
from virc.tools import registry as tools

if TYPE_CHECKING:
    from virc.backends.chat.backend import OpenAIBackend
    from virc.backends.llamacpp import LlamaCppBackend
    from virc.backends.local import LocalBackend
    from virc.probing.identity import Identity

DEMONSTRATION = "no model was chosen: tiny, in the package, only shows how it works and is often wrong"
REPLY_SECONDS = 120.0
"""Longest wait for one reply of an endpoint."""

CAUTIOUS_PIXELS, CAUTIOUS_SIDE = 1280 * 28 * 28, 1024
"""Pixels that a picture, and its longest side, may have without most servers scaling it down."""


class Choice(msgspec.Struct, frozen=True):
    """Which model to open, and how.

    Args: as of `load` (`LoadOptions`), and
        model: what `models.find` takes; with an endpoint, the name it serves.
        timeout: seconds after which a reply of the endpoint is given up.
        headers: further ones for that endpoint, as lines `NAME: VALUE`.
        num_ctx: tokens of context to ask Ollama for.
        ignore: names of files beside a model's weights, and of an adapter's settings, that are left out.
        exact_words: refuse a model of a system whose authors' texts are not on this machine, as with `system`.
    """

    model: str | None = None
    endpoint: str | None = None
    api_key: str | None = None
    system: str | None = None
    protocol: str | None = None
    device: str | None = None
    max_pixels: Annotated[int, Meta(ge=1)] | None = None
    timeout: Annotated[float, Meta(gt=0)] = REPLY_SECONDS
    tools: tuple[str, ...] = ()
    family: str | None = None
    headers: str | None = None
    num_ctx: int | None = None
    extra_body: str | None = None
    thinking: Switch | None = None
    ignore: tuple[str, ...] = ()
    exact_words: bool = False


class PromptSetup(msgspec.Struct, frozen=True):
    """What is known of a model: how it is prompted, and shown pictures.

    Args:
        why: where the chat protocol is from, one clause.
        kind: the family of models that it is of.
        is_stock: whether it is asked as that family.
        unknown: of a model that has to be asked how it counts boxes: what is known so far.
        pictures: how a server is sent them; None: the model runs in this process.
    """

    chat_protocol: Protocol
    why: str
    kind: Family = families.UNKNOWN
    is_stock: bool = False
    warnings: tuple[str, ...] = ()
    context: int | None = None
    unknown: Probed | None = None
    pictures: PictureSetup | None = None

    @property
    def family(self) -> str | None:
        """Of a stock model."""
        return self.kind.name if self.is_stock else None


class Loaded(msgspec.Struct, frozen=True):
    """What a model on this machine was loaded from."""

    folder: str  # its weights
    adapter: str | None = None  # folder of an adapter on them
    run: str | None = None  # `RUN@STEP` of a checkpoint
    merged_from: str | None = None  # what a merged model was made from: `RUN@STEP`, or a folder's name


class Opened(msgspec.Struct, frozen=True):
    """An open model.

    Args:
        name: what it is called in output.
        device: where it runs; None on an endpoint.
        warnings: what the user should know, one line each.
        embedded: whether it is a model inside the package.
        estimate: on a CPU, seconds to read that many image tokens and seconds a token drawn.
        at_once: problems at a time, if no number is chosen.
        concurrent: whether it draws several replies at a time; most models in this process draw one after the other.
        answers: asks whether the endpoint can be reached now; None in this process.
        context: longest conversation in tokens, if an endpoint tells it.
        why: where the chat protocol is from, one clause.
        family: of a stock model.
        loaded: what it was loaded from; None on an endpoint.
        calibration: asks how boxes are counted, and has the answer; None: that is known.
        resolve: makes the model that is prompted by that answer; None where there is nothing to ask.
        left: what is not read of its files, on this machine.
    """

    name: str
    backend: Backend
    chat_protocol: Protocol
    device: str | None = None
    warnings: tuple[str, ...] = ()
    embedded: bool = False
    estimate: Callable[[int], tuple[float, float]] | None = None
    at_once: int = 1
    concurrent: bool = True
    answers: Callable[[], bool] | None = None
    context: int | None = None
    why: str = ""
    family: str | None = None
    loaded: Loaded | None = None
    calibration: Calibration | None = None
    resolve: "Callable[[Probed], Opened] | None" = None
    left: Left = msgspec.field(default_factory=Left)

    @property
    def coordinates(self) -> Coordinates | None:
        """What its boxes are counted in; None where it has not been asked yet."""
        if self.calibration:
            return self.calibration.found.coordinates if self.calibration.found else None
        return self.chat_protocol.coordinates

    def reading(self) -> Protocol:
        """Its chat protocol with boxes as it counts them; it is asked where that is not known.

        Raises:
            ConfigError: it does not tell.
            NetworkError: it cannot be asked now.
        """
        protocol = self.chat_protocol
        return self.calibration(protocol) if self.calibration else protocol

    def with_resolved_setup(self) -> "Opened":
        """The model as it is prompted once it is known how it counts boxes; errors as of `reading`."""
        if not (self.calibration and self.resolve):
            return self
        return self.resolve(self.calibration.resolved(bool(self.chat_protocol.schemas)))

    def __repr__(self) -> str:
        """Name and device: the other fields are pages of texts."""
        return f"{type(self).__name__}({self.name!r}, device={self.device!r})"

    def __reduce__(self) -> NoReturn:
        """Raise UsageError: its threads and connections belong to this process."""
        raise UsageError(f"the open model {self.name} cannot be copied or sent to another process", "load it there")

    def close(self) -> None:
        """Close the connection to an endpoint."""
        self.backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@with_options
def load(model: str | Path | None = None, **options: Unpack[LoadOptions]) -> Opened:
    """Load a model, or reach the server that has it, to solve several problems with it.

        with virc.load("tiny") as model:
            print(virc.solve("picture.png", "How large is angle A?", model).answer)

    Args:
        model: folder, short name, hub id, run or `RUN@STEP`, None for `tiny`; with an endpoint, the name it serves, or
            None for its only one.
        {options}

    What is raised: see `open_model`.
    """
    return open_model(choice_of(model, **options))


def choice_of(model: str | Path | None, tools: Iterable[str] = (), ignore: Iterable[str] = (), **given: Any) -> Choice:
    """The choice of a Python caller, by the names of its fields; None, and the endpoint `none`: as it is by default.

    Raises:
        UsageError: a value is not of its type, `protocol` and `family` both choose the chat protocol, or there is no
            endpoint whose requests `extra_body` or `thinking` could change.
    """
    values = {name: value for name, value in given.items() if value is not None}
    if values.get("endpoint") == NO_ENDPOINT:
        del values["endpoint"]
    if {"protocol", "family"} <= values.keys():
        raise UsageError("protocol= and family= both choose the chat protocol", "leave one out")
    values |= {name: str(values[name]) for name in ("system", "protocol") if name in values}
    values |= request_fields(values.get("extra_body"), values.get("thinking"), values.get("endpoint"))
    choice = Choice(
        None if model is None else str(model),
        tools=(tools,) if isinstance(tools, str) else tuple(tools),
        ignore=tuple(ignore),
        **values,
    )
    check_arguments(choice)
    return choice


def request_fields(
    extra_body: Mapping[str, Any] | str | None, thinking: str | None, endpoint: object
) -> dict[str, str | None]:
    """Those of a Python caller, for `Choice`. Raises UsageError: there is no endpoint."""
    text = extra_body if extra_body is None or isinstance(extra_body, str) else json.dumps(extra_body)
    fields = {"extra_body": text, "thinking": thinking}
    if not endpoint and (name := next((name for name, value in fields.items() if value is not None), None)):
        raise UsageError(f"{name}= is of requests to an endpoint", "name one: endpoint=URL")
    return fields


def open_model(choice: Choice, workspace: Path = Path()) -> Opened:
    """Reach the endpoint, or load the model from this machine.

    Raises:
        ConfigError: no such model, system or chat protocol; the endpoint refuses, or runs the loop itself.
        SetupError: an extra is missing, or device or memory do not do.
        NetworkError: the endpoint is down.
    """
    if choice.family:
        families.get(choice.family)  # an unknown one is refused before anything is loaded
    return _endpoint(choice, choice.endpoint, workspace) if choice.endpoint else _weights(choice, workspace)


class _NotLoaded(msgspec.Struct):
    """Stands where the backend of a model will, which has not been loaded."""

    grid: Grid


def described(choice: Choice, workspace: Path = Path()) -> Opened:
    """A model on this machine as it is opened, but for its weights, which are not loaded; errors as of `open_model`."""
    weights = models.find(choice.model, workspace, choice.system, with_gguf=True)
    setup = prompt_setup_here(weights, choice)
    backend: Any = _NotLoaded(grid_here(weights, setup).limited(choice.max_pixels))
    return Opened(weights.name, backend, setup.chat_protocol, why=setup.why, family=setup.family)


def unlisted_here(choice: Choice, workspace: Path = Path()) -> Choice | None:
    """The choice of the same model in this process, where the endpoint does not list it and it is on this machine."""
    from virc.backends.chat.backend import OpenAIBackend

    if not _is_here(choice, workspace):
        return None
    with closing(
        OpenAIBackend(str(choice.endpoint), choice.model, choice.api_key, choice.timeout, headers=choice.headers)
    ) as backend:
        is_listed = backend.is_listed
    if is_listed:
        return None
    of_requests = {"endpoint", "api_key", "headers", "num_ctx", "extra_body", "thinking"}
    return msgspec.structs.replace(choice, **dict.fromkeys(of_requests))


def _is_here(choice: Choice, workspace: Path = Path()) -> bool:
    try:
        return models.find(choice.model or "", workspace, choice.system, with_gguf=True) is not None
    except ConfigError:
        return False


def _is_embedded(weights: models.Weights) -> bool:
    return models.is_embedded(weights.folder) and weights.adapter is None


def _endpoint(choice: Choice, endpoint: str, workspace: Path) -> Opened:
    from virc.backends.chat.backend import OpenAIBackend

    grid = QWEN2.limited(choice.max_pixels)
    backend = OpenAIBackend(
        endpoint, choice.model, choice.api_key, choice.timeout, grid, headers=choice.headers, num_ctx=choice.num_ctx,
        extra_body=choice.extra_body, thinking=choice.thinking,
    )  # fmt: skip
    if backend.agent:
        backend.close()
        raise ConfigError(
            f"{endpoint} runs the loop itself (virc serve --agent): ask it with any other OpenAI client",
            "or give «--endpoint» the server behind it",
        )
    return _opened_at(backend, choice, _prompt_setup_at(backend, choice, workspace))


def _opened_at(backend: "OpenAIBackend", choice: Choice, setup: PromptSetup) -> Opened:
    assert setup.pictures
    backend.use_setup(setup.pictures)
    use_answer = partial(_use_answer, backend, setup.pictures)
    calibration = Calibration(backend, setup.kind, setup.unknown, use_answer) if setup.unknown else None
    backend.calibrate = calibration or backend.calibrate  # also for conversations that began with the former one
    warnings = setup.warnings
    if not backend.is_listed:
        here = "; it is on this machine: «--endpoint none»" if _is_here(choice) else ""
        warnings = (f"{backend.endpoint} does not list {backend.model}: it serves {backend.listed}{here}", *warnings)
    if backend.server.is_blind:
        warnings = (f"by its list {backend.endpoint} serves {backend.model} without sight of pictures", *warnings)
    return Opened(
        backend.model,
        backend,
        setup.chat_protocol,
        warnings=(*warnings, *backend.left.sentences()),
        at_once=backend.at_once,
        answers=backend.link.answers,
        context=backend.context or setup.context,
        why=setup.why,
        family=setup.family,
        calibration=calibration,
        resolve=partial(_resolved_at, backend, choice) if calibration else None,
    )


def _resolved_at(backend: "OpenAIBackend", choice: Choice, answer: Probed) -> Opened:
    from virc.probing.identity import identify

    return _opened_at(backend, choice, _stock_setup_at(backend, choice, identify(backend), answer, resolved=True))


def _use_answer(backend: "OpenAIBackend", before: PictureSetup, answer: Probed) -> None:
    grid, needs_sizes = _limited_to_unchanged(before.grid, answer), answer.coordinates == "pixel"
    backend.use_setup(msgspec.structs.replace(before, grid=grid, needs_sizes=needs_sizes))


def _prompt_setup_at(backend: "OpenAIBackend", choice: Choice, workspace: Path) -> PromptSetup:
    """How the model of an endpoint is prompted: as it was trained, as its system is, or as its family is."""
    system, protocol, why = protocol_of(backend, workspace, choice)
    if protocol is None:
        from virc.probing.identity import identify

        identity = identify(backend)
        earlier_probe = kept_probe(backend.endpoint, backend.model, backend.kind, identity.digest)
        return _stock_setup_at(backend, choice, identity, earlier_probe)
    also: tuple[str, ...] = ()
    if system and not choice.protocol and (added := chat_protocol.lacking_tools(system, protocol)):
        protocol = chat_protocol.offering(protocol, added.values(), system.file.parent)
        also = (f"{backend.model} is offered the tools of {system.name} too: {', '.join(added)}",)
    protocol = _with_tools(protocol, system, choice)
    kind = _family_of(choice, system, backend.server.weights_name, backend.model)
    grid = kind.grid.limited(choice.max_pixels) if backend.server.virc_grid is None else backend.grid
    warnings = (*_untrained(protocol, backend.model, system, choice), *also)
    return PromptSetup(protocol, why, kind, warnings=warnings, pictures=PictureSetup(grid))


def _stock_setup_at(
    backend: "OpenAIBackend", choice: Choice, identity: "Identity", earlier: Probed | None, resolved: bool = False
) -> PromptSetup:
    """How the stock model of an endpoint is prompted.

    Args:
        earlier: what was found out about it earlier: by a probe, or about its boxes alone (`boxes_alone`).
        resolved: what was found about its boxes alone changes what it is sent. Otherwise that is not used, so that a
            batch continues as it began, before its first crop.
    """
    family, why, is_known = _family_at(choice.family, backend, identity)
    row = _row_of(*identity.names, backend.model)
    probed = earlier if earlier and (resolved or not earlier.boxes_alone) else None
    if probed and probed.coordinates:
        way_to_count = (probed.coordinates, probed.box or family.box)
        if not is_known and family.coordinates and way_to_count != (family.coordinates, family.box):
            family, why = families.UNKNOWN, f"called {backend.model}, but its boxes are not those of {family.name}"
        why += ", boxes by the probe of the endpoint"
        is_known = True
    grid, limits = _grid_at(backend, family, probed, choice)
    needs_sizes, unknown = _box_unit(family, probed) == "pixel", None
    if not is_known:
        new = Probed(endpoint=backend.endpoint, model=backend.model, server=backend.kind, boxes_alone=True)
        unknown = msgspec.structs.replace(earlier or new, weights=identity.digest)
        if needs_sizes and not choice.max_pixels:
            from virc.probing.pictures import LARGE

            grid = grid.limited(math.prod(LARGE))  # the question about boxes tells nothing of larger ones
        grid = _limited_to_unchanged(grid, unknown)
    is_whole = probed is not None and probed.scaling == "none"
    return PromptSetup(
        _stock_protocol(family, probed, choice),
        why + row,
        family,
        is_stock=True,
        warnings=(*(shortcomings(probed) if probed else ()), *family.notes, *limits),
        context=probed.context if probed else None,
        unknown=unknown,
        pictures=PictureSetup(grid, needs_sizes, is_whole, probed.left_out if probed else ()),
    )


def _limited_to_unchanged(grid: Grid, probed: Probed) -> Grid:
    """A grid with no larger pictures than are known to be shown unchanged to a model that counts boxes in pixels."""
    if probed.coordinates != "pixel":
        return grid
    most = max(grid.min_pixels, min(grid.max_pixels, probed.max_pixels or grid.max_pixels))
    longest = min(each for each in (grid.longest, probed.longest, 2**31) if each)
    return msgspec.structs.replace(grid, max_pixels=most, longest=longest if longest < 2**31 else None)


def protocol_of(
    backend: "OpenAIBackend", workspace: Path, choice: Choice
) -> tuple[System | None, Protocol | None, str]:
    """The system of an endpoint's model, its own chat protocol, and where that is from; a stock model has neither."""
    root = backend.server.weights_name
    system, model = models.asked_as(*models.served(backend.model, root, choice.system), choice.system)
    served = chat_protocol.ServedModel(backend.model, root, backend.published_protocol(), system, model)
    try:
        return system, *chat_protocol.of_endpoint(served, workspace, choice.protocol)
    except AbsentTextError:
        return system, _in_own_words(system, model, choice), f"the system {system and system.name}"


def _stock_protocol(family: Family, probed: Probed | None, choice: Choice) -> Protocol:
    ways = (probed.coordinates, probed.box, probed.calls == "native") if probed else ()
    return chat_protocol.offering(families.protocol(family, *ways), choice.tools)


def _family_at(option: str | None, backend: "OpenAIBackend", identity: "Identity") -> tuple[Family, str, bool]:
    """The family of an endpoint's stock model, what says so, and whether that tells how it counts boxes.

    The name by which the endpoint serves it does not: users choose it, and it may be that of a former model.
    """
    if option:
        chosen = families.get(option)
        return chosen, "as chosen", chosen.coordinates is not None
    for name in identity.names:
        for part in reversed(name.replace("\\", "/").split("/")):
            if family := families.by_name(part):
                what = f"by the name {name}" if name == backend.model else f"its server says {name}"
                return family, what, family.coordinates is not None
    return *_family_by_name(backend.model, *identity.names), False


def _family_of(choice: Choice, system: System | None, *names: str | None) -> Family:
    """The family of a model that is not asked as it, but sees pictures on its grid."""
    if choice.family:
        return families.get(choice.family)
    found = next((family for name in names if name and (family := families.by_name(name))), None)
    return found or (families.of_system(system) if system else families.UNKNOWN)


def _family_by_name(*names: str) -> tuple[Family, str]:
    """The family that a name tells, or that of the base from which a published model of the name was trained."""
    for name in names:
        if family := families.by_name(name):
            return family, f"by the name {name}"
    for name in names:
        system, model = models.served(name)
        if system and (of_base := families.of_system(system, model)) != families.UNKNOWN:
            return of_base, f"by the name {name}, a model of the system {system.name}"
    return families.UNKNOWN, "its name tells nothing"


def _row_of(*names: str) -> str:
    """What is said of a model that is asked as its family: the published system that it is of, if it is of one."""
    found = (system for system, model in map(models.served, names) if system and model)
    return next((f"; the system {system.name} asks it as its authors do" for system in found), "")


def _box_unit(family: Family, probed: Probed | None) -> Coordinates:
    return (probed and probed.coordinates) or family.coordinates or "pixel"


def _grid_at(
    backend: "OpenAIBackend", family: Family, probed: Probed | None, choice: Choice
) -> tuple[Grid, tuple[str, ...]]:
    """The patch grid of a stock model behind a server, and warnings about its limits.

    If a server scales a picture down, boxes in pixels mean another place. So a model that counts in pixels gets no
    larger pictures than its server is known to show unchanged, and small ones until that is known.
    """
    from virc.backends.chat.providers import provider

    grid, counted = family.grid.limited(choice.max_pixels), _box_unit(family, probed)
    if probed and probed.scaling == "fixed" and counted == "pixel":
        raise ConfigError(
            f"{backend.endpoint} shows every picture at one size, so that boxes in pixels mean nothing",
            "another server, or a model that counts otherwise: «--family NAME»",
        )
    trusted = counted != "pixel" or provider(backend.kind).shows_whole
    if probed and (probed.longest or (probed.max_pixels and not trusted)):
        most = max(min(grid.max_pixels, probed.max_pixels or grid.max_pixels), grid.min_pixels)
        enlarged = probed.min_pixels or 0 if counted == "pixel" else 0  # it matters to boxes in pixels alone
        least = min(max(grid.min_pixels, enlarged), most)
        return msgspec.structs.replace(grid, longest=probed.longest, min_pixels=least, max_pixels=most), ()
    if trusted:
        return grid, ()
    finds = f"`virc doctor {backend.named}` finds out"
    if choice.max_pixels:
        return grid, (f"boxes are wrong where this server scales pictures down: {finds}",)
    sentence = f"pictures are sent with at most {CAUTIOUS_SIDE} pixels a side, in case this server scales them down"
    small = msgspec.structs.replace(grid.limited(CAUTIOUS_PIXELS), longest=CAUTIOUS_SIDE)
    return small, (f"{sentence}: {finds}",)


def _weights(choice: Choice, workspace: Path) -> Opened:
    try:
        weights = models.find(choice.model, workspace, choice.system, with_gguf=True)
    except ConfigError as error:
        error.hint = (
            f"{models.NAMES}; of a server's model: «--endpoint URL»"
            if error.unspelled_hint == models.NAMES
            else error.unspelled_hint
        )
        raise
    setup = prompt_setup_here(weights, choice)  # before the weights: it fails in no time
    backend = (_by_llamacpp if _runs_by_llamacpp(weights, choice) else _by_transformers)(weights, setup, choice)
    return _opened_here(backend, weights, choice, setup)


def _opened_here(
    backend: "LlamaCppBackend | LocalBackend", weights: models.Weights, choice: Choice, setup: PromptSetup
) -> Opened:
    calibration = Calibration(backend, setup.kind, setup.unknown, lambda _: None) if setup.unknown else None
    backend.calibrate = calibration or backend.calibrate
    embedded = _is_embedded(weights)
    return Opened(
        weights.name,
        backend,
        setup.chat_protocol,
        backend.device,
        (*backend.warnings, *setup.warnings, *([DEMONSTRATION] if embedded and choice.model is None else [])),
        embedded=embedded,
        estimate=None if backend.device.startswith(("cuda", "mps")) else backend.estimate,
        concurrent=backend.at_once > 1,
        why=setup.why,
        family=setup.family,
        loaded=loaded_from(weights),
        calibration=calibration,
        resolve=partial(_resolved_here, backend, weights, choice, setup) if calibration else None,
        left=backend.left,
    )


def _resolved_here(
    backend: "LlamaCppBackend | LocalBackend",
    weights: models.Weights,
    choice: Choice,
    setup: PromptSetup,
    answer: Probed,
) -> Opened:
    protocol = _stock_protocol(setup.kind, answer, choice)
    setup = msgspec.structs.replace(setup, chat_protocol=protocol, unknown=None)
    return _opened_here(backend, weights, choice, setup)


def loaded_from(weights: models.Weights) -> Loaded:
    place = weights.adapter or weights.folder
    run, merged = models.run_of(place), provenance.read_provenance(place)
    return Loaded(
        str(weights.gguf.file if weights.gguf else weights.folder),
        str(weights.adapter) if weights.adapter else None,
        None if run is None else weights.name if weights.name.startswith(f"{run.name}@") else run.name,
        merged.source if merged else None,
    )


def _runs_by_llamacpp(weights: models.Weights, choice: Choice) -> bool:
    """Whether llama.cpp runs a model: a GGUF file always, a model of the package where no device was chosen for it."""
    if weights.gguf:
        return True
    wanted = models.is_embedded(weights.folder) and not weights.adapter
    if choice.device:  # that of torch, where it is here
        wanted &= choice.device == "cpu" and find_spec("torch") is None
    return wanted and find_spec("xllamacpp") is not None and gguf.in_folder(weights.folder) is not None


def _by_llamacpp(weights: models.Weights, setup: PromptSetup, choice: Choice) -> "LlamaCppBackend":
    from virc.backends import llamacpp

    device = choice.device if weights.gguf else "cpu"
    return llamacpp.load(gguf_of(weights), device, grid_here(weights, setup), choice.max_pixels)


def gguf_of(weights: models.Weights) -> GGUF:
    """Raises ConfigError: there is none, or several are; or an adapter would have to be added to it."""
    if weights.adapter:
        raise ConfigError(
            f"{weights.name} is an adapter, which llama.cpp gets as a merged model", f"virc merge {weights.name} --gguf"
        )
    if weights.gguf:
        return weights.gguf
    file = gguf.in_folder(weights.folder)
    if file:
        return gguf.read_gguf(file)
    raise ConfigError(
        f"{weights.folder} holds no GGUF file, or several", f"virc merge {weights.name} --gguf writes one"
    )


def grid_here(weights: models.Weights, setup: PromptSetup) -> Grid:
    """The patch grid of a model on this machine: its own, or its family's where no file is read that says it."""
    if weights.gguf:
        return weights.gguf.grid or setup.kind.grid
    kind = model_type(weights.folder)
    family = families.by_model_type(kind)
    return family.grid if family and kind not in family.here else folder_grid(weights.folder)


def _by_transformers(weights: models.Weights, setup: PromptSetup, choice: Choice) -> "LocalBackend":
    from virc.backends.local import load

    if models.is_embedded(weights.folder) and not choice.device and not weights.adapter and find_spec("torch") is None:
        raise SetupError(
            f"nothing is installed that runs {weights.name}", f"{install('llamacpp')}, or «--endpoint URL» of a server"
        )
    stock = setup.chat_protocol.reading == "lenient"
    return load(
        weights.folder, choice.device, None, choice.max_pixels, weights.adapter, stock=stock, ignore=choice.ignore
    )


def prompt_setup_here(weights: models.Weights, choice: Choice) -> PromptSetup:
    """How a model on this machine is prompted; one of no system, and without a protocol of its own, as its family."""
    try:
        protocol = chat_protocol.of_weights(weights, choice.protocol)
    except AbsentTextError:
        protocol = _in_own_words(weights.system, weights.model, choice)
    protocol = _with_tools(protocol, weights.system, choice)
    if choice.protocol or protocol.name != "own":
        why = "--protocol" if choice.protocol else f"{protocol.name}: next to the weights, or of their system"
        place = weights.adapter or weights.folder
        warnings = _untrained(protocol, weights.name, weights.system, choice, place)
        named = weights.system if choice.system and protocol.name == "trained" else None
        if named and not choice.protocol and set(named.offered) != set(protocol.tools):
            why_not = f"the tools and words of {named.name} are not used"
            warnings += (f"{weights.name} is asked in the chat protocol that it was trained with: {why_not}",)
        names = (weights.gguf.name if weights.gguf else None, weights.name)
        return PromptSetup(protocol, why, _family_of(choice, weights.system, *names), warnings=warnings)
    family, why = _family_here(weights, choice.family)
    why += _row_of(weights.name)
    protocol = _stock_protocol(family, None, choice)
    unknown = None if family.coordinates else _weights_to_ask(weights)
    return PromptSetup(protocol, why, family, is_stock=True, warnings=family.notes, unknown=unknown)


def _in_own_words(system: System | None, model: Model | None, choice: Choice) -> Protocol:
    """Our words for those of a system's authors, which are not here; raises that where these are asked for."""
    if choice.system or choice.exact_words:
        raise  # noqa: PLE0704 (called where that is handled)
    protocol = worded_by(system, model.coordinates if model else None, own_words=True)
    assert protocol
    return protocol


def _family_here(weights: models.Weights, option: str | None) -> tuple[Family, str]:
    if option:
        return families.get(option), "as chosen"
    kind = weights.gguf.model_type if weights.gguf else model_type(weights.folder)
    if found := families.by_model_type(kind):
        return found, f"by its vision tower: {found.name}" if weights.gguf else f"by config.json: {kind}"
    return _family_by_name(*([weights.gguf.name] if weights.gguf else []), weights.name)


def _weights_to_ask(weights: models.Weights) -> Probed:
    """A model on this machine as one of which nothing is known yet; another file or time of change is another model."""
    file = weights.gguf.file if weights.gguf else weights.folder
    state = file.stat()
    return Probed(endpoint=str(file.absolute()), model=weights.name, weights=f"{state.st_size} {state.st_mtime_ns}")


def _with_tools(protocol: Protocol, system: System | None, choice: Choice) -> Protocol:
    beside = system.file.parent if system else None
    return chat_protocol.offering(protocol, choice.tools, beside)


def _untrained(
    protocol: Protocol, name: str, system: System | None, choice: Choice, folder: Path | None = None
) -> tuple[str, ...]:
    """Warn of a chat protocol that a model was not trained with. Raises ConfigError: a tool of it is missing."""
    run = models.run_of(folder) if folder else None
    tools.check_loaded(protocol.tools, f"the chat protocol of {name}", run.folder if run else folder)
    if protocol.name == "trained" and choice.tools and not choice.protocol:
        return (f"«--tools» changes the prompt that {name} was trained with: it may write worse, or call none of them",)
    if protocol.name == OWN_WORDS:
        brings = f": `virc download texts --system {system.name}` brings those" if system and not own_words() else ""
        return (f"{name} is asked in our own words, which it was not trained with{brings}",)
    if protocol.name != "own" or choice.protocol:
        return ()
    return (f"{name} gets this project's own chat protocol, not the one it was trained with",)
