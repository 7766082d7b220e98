"""One stage's settings, and where each comes from: the system's YAML, overlays, the user's file, `--set`.

`resolve` collects these as layers, lays them over one another (`merged`), checks the result and makes the `Config`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc.config import dotted, validation
from virc.config import yaml as plain_yaml
from virc.core.errors import ConfigError, UsageError
from virc.core.text import counted, did_you_mean, plain
from virc.stages import dpo, rl, sft
from virc.stages.sft import StageConfig
from virc.systems.registry import Reward, Stage, System

ENGINE = "engine"
"""The setting whose keys are the engine's own; they are checked against the pinned engine's list."""

_LEARNING_SETTINGS = (
    "train_batch_size", "epochs", "learning_rate", "warmup_ratio", "n", "temperature", "clip_low", "clip_high",
    "loss_agg_mode", "kl_loss_coef",
)  # fmt: skip

Layer = tuple[str, Mapping[str, Any]]
"""Where settings come from, in the words of messages (`overlay 3b`, `--set`), and the settings."""


class Resolved(msgspec.Struct, frozen=True):
    """The settings of one stage.

    Args:
        config: of the type that `CONFIGS` has for the stage's kind.
        origins: setting -> where its value comes from; a nested one has a dotted name. Defaults are not in it.
        overlays: names given with `--with`.
    """

    system: System
    stage: str
    config: Any
    origins: Mapping[str, str]
    overlays: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return self.system.stages[self.stage].kind

    @property
    def published(self) -> Mapping[str, Any]:
        """The values of the published script, and of its program's defaults, by the engine's names."""
        stage = self.system.stages[self.stage]
        return {**stage.published_defaults, **stage.published}

    @property
    def notes(self) -> tuple[str, ...]:
        """What users should know of the system and the stage; what is assumed, and what differs, comes first."""
        settings = msgspec.to_builtins(self.config)
        assumed = [each.said(settings) for each in self.system.assumed if each.stage in (None, self.stage)]
        if assumed:
            assumed.insert(0, f"{counted(len(assumed), 'assumption')}, where nothing was published")
        assumed += assumed_defaults(self.system, self.stage, settings, self.origins)
        of_stage = self.system.stages[self.stage]
        return (*assumed, *of_stage.differs, *self.system.notes, *of_stage.notes, *self._objective())

    def _objective(self) -> Iterator[str]:
        """How the loss weighs rows of SFT: LLaMA-Factory turns off transformers' mean over the tokens of a batch."""
        count = self.config.train_batch_size // self.config.micro_batch_size_per_device
        if self.kind == "sft" and count > 1:
            yield (
                f"the loss of a step is the mean of {count} micro-batches, of each the mean over its tokens: the fewer "
                "rows micro_batch_size_per_device has, the more weigh the tokens of short rows"
            )

    @property
    def name(self) -> str:
        return f"{self.system.name}-{self.stage}"


def assumed_defaults(
    system: System, stage: str, settings: Mapping[str, Any], origins: Mapping[str, str]
) -> Iterator[str]:
    """A note on settings of a reconstructed system that neither its authors nor its YAML give: they are defaults."""
    content = system.stages.get(stage)
    unset = [name for name in _LEARNING_SETTINGS if name in settings and name not in origins]
    if system.assumed and content and not (content.published or content.published_defaults) and unset:
        yield f"assumed too, as this package's defaults: {', '.join(f'{name} {settings[name]}' for name in unset)}"


CONFIGS: Mapping[str, type[StageConfig]] = {"sft": sft.Config, "dpo": dpo.Config, "rl": rl.Config}
"""Kind of a stage -> its settings."""


def config_type(kind: str) -> type[StageConfig]:
    """The settings of stages of that kind; `ConfigError` where this version has none, as for a newer run."""
    if kind not in CONFIGS:
        raise ConfigError(f"stages of kind {plain(kind, 40)!r} are not of this version of virc")
    return CONFIGS[kind]


def stage(system: System, name: str) -> Stage:
    if name in system.stages:
        return system.stages[name]
    if not system.stages:
        raise UsageError(f"the system {system.name} has no stages to train")
    raise UsageError(f"{system.name} has no stage {name!r}", _stage_meant(system, name))


def resolve(
    system: System,
    stage_name: str,
    overlays: Iterable[str] = (),
    file: Path | None = None,
    assignments: Iterable[str] = (),
    given: Mapping[str, Any] | None = None,
) -> Resolved:
    """Find the settings of a stage.

    Args:
        file: a YAML of settings, which come after those of the overlays.
        assignments: `KEY=VALUE` texts, which come after those of the file; a dotted key reaches into a setting.
        given: settings that options of their own stand for (`data`), which come last.

    Raises:
        UsageError: there is no such stage or overlay, or an assignment has no `=`.
        ConfigError: a setting is unknown or has a value of the wrong kind, or two overlays exclude one another.
    """
    names = tuple(overlays)
    kind = CONFIGS[stage(system, stage_name).kind]
    layers = [*of_system(system, stage_name, names)]
    if file:
        layers.append((str(file), plain_yaml.read_mapping(file)))
    layers += [("--set", assigned(assignment, kind)) for assignment in assignments]
    layers += [("option", given or {})]
    values, origins = merged(layers)
    if values.get("precision") == "bfloat16":  # as torch calls it
        values["precision"] = "bf16"
    for fault in validation.faults(values, kind, noun="setting"):
        name = ".".join(fault.path)
        if isinstance(fault, validation.Missing):
            lacks = f"{system.name}-{stage_name} lacks the setting {name}"
            raise ConfigError(lacks, f"for example «--set {name}=VALUE»")
        origin = next((origins[each] for each in origins if f"{each}.".startswith(f"{name}.")), None)
        raise ConfigError(f"{fault.message} ({origin})" if origin else fault.message, hint_for(fault))
    return Resolved(system, stage_name, msgspec.convert(values, kind, strict=False), origins, names)


def root_of(resolved: Resolved) -> str:
    """Name of the model that the chain of stages before this one begins with, under the same overlays."""
    config, seen = resolved.config, {resolved.stage}
    while config.base is None:
        if config.after is None or config.after in seen:
            raise ConfigError(f"the stages before {resolved.name} begin with no model")
        seen.add(config.after)
        config = resolve(resolved.system, config.after, resolved.overlays).config
    return str(config.base)


def of_system(system: System, stage_name: str, overlays: Iterable[str] = ()) -> list[Layer]:
    """The settings in a system's YAML for a stage, with these overlays; errors as of `resolve`."""
    own = stage(system, stage_name).settings
    everywhere = of_kind(system, stage_name, system.everywhere)
    reward: dict[str, Any] = {}  # what of the system's reward differs from the defaults
    if "reward" in CONFIGS[stage(system, stage_name).kind].__struct_fields__:
        reward["reward"] = {}
        defaults = dict(dotted.leaves(msgspec.to_builtins(Reward())))
        for path, value in dotted.leaves(msgspec.to_builtins(system.reward or Reward())):
            if value != defaults.get(path, {}):  # an empty mapping is a leaf, and a filled one has other leaves
                dotted.put(reward, ("reward", *path), value)
    # Rows that are too long are left out if the published script does so.
    filters = stage(system, stage_name).published.get("data.filter_overlong_prompts") is True
    overlong = {"filter_overlong": True} if filters else {}
    layers: list[Layer] = [(system.name, each) for each in (overlong, reward, everywhere, own)]
    return layers + _of_overlays(system, stage_name, overlays)


def of_kind(system: System, stage_name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings for all stages, without those that only stages of another kind have; unknown names stay, as faults."""
    others = {name for each in system.stages.values() for name in CONFIGS[each.kind].__struct_fields__}
    own = CONFIGS[stage(system, stage_name).kind].__struct_fields__
    return {name: value for name, value in settings.items() if name in own or name not in others}


def merged(layers: Iterable[Layer]) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings of all layers, later ones over earlier ones, mappings key by key; and dotted name -> origin.

    An empty mapping replaces what earlier layers have, as a number does: `lora: {}` is LoRA with its defaults.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, settings in layers:
        for path, value in dotted.leaves(settings):
            replaced = dotted.put(values, path, value)
            name = ".".join(path)
            for length in range(1, len(path)):
                origins.pop(".".join(path[:length]), None)
            if replaced:
                origins = {each: origins[each] for each in origins if not each.startswith(f"{name}.")}
            origins[name] = origin
    return values, origins


def rows(resolved: Resolved) -> list[tuple[str, Any, str]]:
    """Each setting with its dotted name, value and origin."""
    found = []
    for path, value in dotted.leaves(msgspec.to_builtins(resolved.config)):
        names = [".".join(path[:length]) for length in range(len(path), 0, -1)]
        origin = next((resolved.origins[name] for name in names if name in resolved.origins), "default")
        found.append((names[0], value, origin))
    return found


def assigned(text: str, kind: Any) -> dict[str, Any]:
    """The settings that `KEY=VALUE` stands for: the value is YAML, or plain text if the setting takes text only."""
    key, equals, value = text.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise UsageError(f"«--set {plain(text, 60)}» is not KEY=VALUE", "for example «--set learning_rate=1e-5»")
    expected = validation.kind_at(kind, path)
    try:
        content = plain_yaml.value(value, "the value")
    except ConfigError as error:
        if not validation.takes_text(expected):
            raise UsageError(f"«--set {plain(text, 60)}»: {error.args[0]}", error.unspelled_hint) from error
        content = value.strip()
    if validation.takes_text(expected) and content is not None and not isinstance(content, str):
        content = value.strip()
    result: dict[str, Any] = {}
    dotted.put(result, path, content)
    return result


def hint_for(fault: validation.Fault) -> str | None:
    if not isinstance(fault, validation.Unknown) or len(fault.path) > 1:
        return fault.hint
    name = fault.path[0]
    return did_you_mean(name, fault.known, f"an engine's own key is set as {ENGINE}.{name}")


def _of_overlays(system: System, stage_name: str, names: Iterable[str]) -> list[Layer]:
    layers: list[Layer] = []
    for name in names:
        overlay = system.overlays.get(name)
        if overlay is None:
            hint = did_you_mean(name, system.overlays) if system.overlays else None
            raise UsageError(f"{system.name} has no overlay {name!r}", hint)
        general = of_kind(system, stage_name, overlay.settings)
        settings, _ = merged([("", general), ("", overlay.stages.get(stage_name, {}))])
        for other, before in layers:
            _refuse_conflict(other, before, f"overlay {name}", settings)
        layers.append((f"overlay {name}", settings))
    return layers


def _refuse_conflict(name: str, settings: Mapping[str, Any], other: str, other_settings: Mapping[str, Any]) -> None:
    """Raises ConfigError: two overlays set a name to different values, or one sets a part of the other's value."""
    leaves, other_leaves = dict(dotted.leaves(settings)), dict(dotted.leaves(other_settings))
    for path in (*leaves, *other_leaves):
        for length in range(1, len(path) + 1):
            part = path[:length]
            differ = part in leaves and part in other_leaves and leaves[part] != other_leaves[part]
            is_inside = length < len(path) and (part in leaves or part in other_leaves)
            if differ or is_inside:
                values = [validation.shown(dotted.at(each, part)) for each in (settings, other_settings)]
                raise ConfigError(
                    f"{name} sets {'.'.join(part)} to {values[0]}, and {other} to {values[1]}",
                    "choose one of them, and set the rest with «--set»",
                )


def _stage_meant(system: System, name: str) -> str:
    """The hint for an unknown stage: its number, a kind of stage, or a similar name."""
    names = list(system.stages)
    number = re.search(r"[0-9]+", name[:50])
    if number and 1 <= int(number[0]) <= len(names):
        return f"did you mean {names[int(number[0]) - 1]!r}?"
    same_kind = [each for each, stage in system.stages.items() if stage.kind == name]
    if same_kind:
        return f"did you mean {' or '.join(map(repr, same_kind))}?"
    return did_you_mean(name, names, f"stages are {', '.join(names)}")
