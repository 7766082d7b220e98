"""What a stage starts from: the weights, the rows, and the folder of the run; nothing here starts a process.

Before a run exists: `base` and `check_weights` find the weights, `rows` and `named_rows` the rows of a stage. Of a run
that exists: `still_there` checks that nothing has changed, `place_of` says what an attempt works on.
"""

import shlex
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec

from virc.backends import checkpoint, lora_config
from virc.backends import lora as lora_weights
from virc.core.errors import ConfigError, DataError, EngineError, SetupError, VircError
from virc.core.files import DATA, MODELS, expanded, is_file, is_folder
from virc.core.text import clause, did_you_mean, plain
from virc.data.formats.registry import PUBLISHED, RowsFile, only_source, read_info, solving
from virc.data.rows.llamafactory import INFO
from virc.data.rows.numbered import ParsedRow
from virc.download.data_files import data_files
from virc.families.parts import part_of
from virc.models import registry as models
from virc.models import sizes
from virc.reasoning.protocol import FILE_NAME
from virc.rewards import sources
from virc.runs import run as runs
from virc.runs.checkpoints import checkpoints
from virc.runs.metrics import metrics
from virc.runs.run import Info, Run
from virc.stages import resolve as stages
from virc.stages.context import Place
from virc.stages.resolve import Resolved
from virc.systems import registry as systems
from virc.systems.kinds import runs_in
from virc.training import changes

_CHANGE_THE_COUNT = ("additional_target", "freeze_", "mixture_of_depths", "use_llama_pro")
"""Beginnings of LLaMA-Factory's keys that make it train other weights than virc's settings say."""
_USUAL = "qwen2_vl"  # the type of a base that is not here, and whose sizes are not known, in a dry run


class Base(msgspec.Struct, frozen=True):
    """The weights a stage starts from.

    Args:
        name: as the user or the stage named it: a hub id, a folder or a run.
        adapter: folder of a LoRA adapter on them that training continues.
        root: name of the model at the beginning of the chain of stages.
    """

    name: str
    folder: Path
    root: str
    adapter: Path | None = None


def base(resolved: Resolved, workspace: Path, missing: list[VircError] | None = None) -> Base:
    """The weights that the stage starts from.

    Args:
        missing: of a dry run: gets the error about weights that are not here, and where they would be is returned.

    Raises:
        ConfigError: they are not on this machine, no run of the stage before has finished, or that run made an adapter
            and this stage trains whole weights.
    """
    try:
        return _base(resolved, workspace)
    except VircError as error:
        if missing is None:
            raise
        missing.append(error)
        name = resolved.config.base or f"RUN-OF-{resolved.config.after}"
        return Base(name=name, folder=workspace / MODELS / Path(name).name, root=name)


def _base(resolved: Resolved, workspace: Path) -> Base:
    name, after = resolved.config.base, resolved.config.after
    if name is None and after is None:
        raise ConfigError(f"{resolved.name} names neither `base` nor `after`", "«--from MODEL»")
    if name is None:
        root = stages.root_of(resolved)
        run = runs.newest_finished(workspace, resolved.system.name, after, root)
        if run is None:
            chosen = f" --with {','.join(resolved.overlays)}" if resolved.overlays else ""
            raise ConfigError(
                f"no run of the stage {after} that began with {root} has finished in {workspace / runs.FOLDER}",
                f"virc train {resolved.system.called} --stage {after}{chosen}, or name what to start from: «--from»",
            )
        name = run.name
    # A base is in the workspace under the last part of its hub id, however it was downloaded.
    looks_like_hub_id = name.count("/") == 1 and name[0] not in "./~" and not name.startswith(f"{MODELS}/")
    is_hub_id = looks_like_hub_id and not is_folder(expanded(name))
    fetched = models.folder_of(name, workspace, by_hand=True) if is_hub_id else None
    is_complete = fetched is not None and is_file(fetched / "config.json")
    weights = models.find(str(fetched) if is_complete else name, workspace, resolved.system)
    if weights.adapter and resolved.config.lora is None:
        sentence = f"{name} is a LoRA adapter, and {resolved.name} trains whole weights"
        or_lora = "; or go on with the adapter: «--with lora»" if "lora" in resolved.system.overlays else ""
        raise ConfigError(sentence, f"virc merge {name}, then «--from» the folder that it prints{or_lora}")
    return Base(
        name=name,
        folder=weights.folder.absolute(),
        root=models.root_of(weights.adapter or weights.folder, name),
        adapter=weights.adapter and weights.adapter.absolute(),
    )


def with_adapter(resolved: Resolved, base: Base, ignore: Collection[str] = ()) -> Resolved:
    """A stage with the rank and alpha of the adapter that it continues; the engine ignores other values.

    Raises:
        ConfigError: other values were set, `virc merge` would refuse the result, or a target is no trained layer.
    """
    lora, origins = resolved.config.lora, dict(resolved.origins)
    if lora and base.adapter:
        lora_weights.check_adapter(base.adapter, ignore=ignore)
        trained = lora_config.read_lora_config(base.adapter)
        merge = f"virc merge {shlex.quote(base.name)}, then «--from» the folder that it prints"
        if trained.rslora and resolved.kind == "rl":
            wrong = f"the adapter {base.name} is of use_rslora, whose scale verl's shards do not hold"
            raise ConfigError(wrong, merge)
        frozen = resolved.config.frozen if resolved.kind == "rl" else ()  # LLaMA-Factory trains all of an adapter
        kind, weights = checkpoint.model_type(base.folder), checkpoint.tensors(base.adapter / lora_config.WEIGHTS)
        adapted = {part_of(name, kind) for name in weights}
        if also := adapted.intersection(frozen):
            wrong = f"the adapter {base.name} is on parts that are frozen: {', '.join(sorted(also))} (frozen_modules)"
            left = [part for part in frozen if part not in also]
            raise ConfigError(wrong, f"«--set 'frozen_modules=[{', '.join(left)}]'», or {merge}")
        for name, value in (("rank", trained.rank), ("alpha", trained.alpha)):
            setting = f"lora.{name}"
            if getattr(lora, name) != value and origins.get(setting, "").startswith("--"):
                wrong = f"the adapter {base.name} has {name} {value:g}, which training it further cannot change"
                raise ConfigError(f"{wrong} ({setting}, {origins[setting]})", f"«--set {setting}={value:g}»")
            origins[setting] = f"the adapter {base.name}"
        lora = msgspec.structs.replace(lora, rank=trained.rank, alpha=trained.alpha)
        config = msgspec.structs.replace(resolved.config, lora=lora)
        return msgspec.structs.replace(resolved, config=config, origins=origins)
    if lora and is_file(base.folder / "config.json"):
        for target, names in sizes.of_folder(base.folder).without_layer(lora, resolved.config.frozen).items():
            wrong = f"no layer of {base.name} that is trained ends with {plain(target, 40)} (lora.targets)"
            raise ConfigError(wrong, did_you_mean(target, names, f"known are {', '.join(names)}"))
    return resolved


def check_weights(base: Base) -> None:
    """Raises ConfigError: files are missing or damaged, or weights that no engine trains: pickled or quantized."""
    folder, hint = base.folder, "fetch or copy it again, or name another base: «--from MODEL»"
    try:
        checkpoint.file_bytes(folder)
        method = checkpoint.quantization(folder)
    except ConfigError as error:
        raise ConfigError(error.message, hint) from error
    if method:
        hint = (
            "«--from» the model before that; «--with lora» «--set engine.quantization_bit=4» quantizes it as it is read"
        )
        raise ConfigError(f"{base.name} is quantized ({method}), which cannot be trained", hint)


def rows(resolved: Resolved, workspace: Path, missing: list[VircError] | None = None) -> RowsFile:
    """The rows that the stage learns from.

    Args:
        missing: of a dry run: gets the error about rows that are not here, and where they would be is returned.

    Raises:
        ConfigError: `data` has a {…} that `variant` does not fill.
        DataError: there is no such file or dataset, or its format holds no solutions.
    """
    try:
        return named_rows(resolved.config.data_name(), resolved, workspace)
    except VircError as error:
        named = Path(resolved.config.data_name())
        suffix = named.suffix or {"rl": ".parquet", "dpo": ".jsonl"}.get(resolved.kind, ".json")
        file = workspace / DATA / named.parent / f"{named.name.removesuffix(named.suffix)}{suffix}"
        if missing is None or is_file(file) or expanded(named).exists():  # it is here, and cannot be trained on
            raise
        missing.append(error)
        return RowsFile(file, "pairs" if resolved.kind == "dpo" else resolved.kind, named.name)


def named_rows(named: str, resolved: Resolved, workspace: Path) -> RowsFile:
    """The rows that `data` or `validation` names: a file, a folder, a file in `data/`, or a dataset `FOLDER/NAME`.

    Raises:
        DataError: they are not here, or the stage learns from other rows.
    """
    file = expanded(named)
    is_path = file.is_absolute() or is_file(file) or is_folder(file)
    fetched = (workspace / DATA / f"{named}{ending}" for ending in ("", ".parquet", ".jsonl"))
    path = file if is_path else next(filter(is_file, fetched), None)
    if path is None:
        source = _of_dataset(named, resolved, workspace)
    else:  # in one of our formats if its first row fits, else in the layout of the stage's system
        try:
            source = only_source(path)
            first: ParsedRow | None = next(source.rows(), None)
            is_ours = source.format != PUBLISHED and (source.info or first is None or first.record)
        except DataError:
            is_ours = False
        source = source if is_ours else only_source(path, resolved.system)
    _check_format(source, resolved)
    return source


def _check_format(source: RowsFile, resolved: Resolved) -> None:
    """Raises DataError: the stage learns from other rows; the hint is how to make those of these rows."""
    has_units = source.format == "rl"
    if resolved.kind == "dpo":
        fits, fault, target = source.holds == "pairs", "is not that of pairs of replies", "pairs"
    elif resolved.kind != "rl":
        fits, fault, target = source.holds == "solutions", "LLaMA-Factory does not read", "sft"
    elif resolved.config.rollout == "per_cru":
        fits = has_units or source.holds == "solutions"
        fault, target = "has no single turns, which rollout: per_cru needs", "rl"
    else:
        fits = not has_units and source.holds != "pairs"
        content = "pairs of replies" if source.holds == "pairs" else "single units"
        fault, target = f"has {content}, not whole problems (rollout: multi_turn)", "prompts"
    if fits:
        return
    rows = shlex.quote(str(source.file))
    hint = f"virc data convert {rows} --to DIR --format {target}"
    if resolved.kind == "rl" and source.format == "pairs":
        hint = f"virc data convert {rows} --to DIR --format batch writes their problems, which need an `answer` each"
    elif resolved.kind == "dpo":
        hint = f"pairs of a model's own solutions: {solving(source, '--pairs right')}"
    elif source.holds in ("problems", "prompts") and not has_units:  # they must be solved first
        hint = f"solve them: {solving(source)}"
        if resolved.kind == "rl":
            option = "«--with multi-turn»" if "multi-turn" in resolved.system.overlays else "«--set rollout=multi_turn»"
            hint = f"{option} rolls out whole problems; or {hint}"
        else:
            fault = "has problems without solutions"
            if source.holds == "problems":
                model = f" --model {shlex.quote(resolved.config.base)}" if resolved.config.base else ""
                convert = f"virc data convert {rows} --to DIR --format sft --answers{model} makes rows of their answers"
                hint = f"{convert}; or {hint}"
    raise DataError(f"{source.file} is of the format {source.format}, which {fault}", hint)


def settings_text(info: Info) -> str:
    """The settings of a run as YAML that `--config` takes, each with where it comes from."""
    import yaml

    lines = []
    for key, value in info.settings.items():
        text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
        text = f"{key}: {text.strip().removesuffix('...').strip()}"
        origins = sorted({origin for name, origin in info.origins.items() if name.split(".")[0] == key})
        lines.append(text + (f"  # {', '.join(origins)}\n" if origins else "\n"))
    return "".join(lines)


def _of_dataset(named: str, resolved: Resolved, workspace: Path) -> RowsFile:
    """The rows that `data/FOLDER/dataset_info.json` describes as NAME, if `named` is FOLDER/NAME."""
    folder, _, name = named.rpartition("/")
    place = workspace / DATA / folder
    info, hint = place / INFO, _data_hint(named, resolved)
    file_alone = place / f"{name}.json"
    if not is_file(info) and is_file(file_alone):
        return only_source(file_alone)
    if not folder or not is_file(info):
        raise DataError(f"there is no file {named}, and no {DATA}/{folder or named}/{INFO} either", hint)
    entries = read_info(place)
    can_be_fetched = folder in resolved.system.datasets
    if name not in entries:
        near = did_you_mean(name, entries) if entries else None
        is_parquet = name.endswith(".parquet")  # such files are fetched by their own names, and in no entry
        raise DataError(f"{info} has no dataset {name!r}", hint if can_be_fetched and is_parquet else near)
    file = place / str(entries[name].get("file_name"))
    if not is_file(file):
        check = f"virc data check {shlex.quote(str(place))}"
        raise DataError(f"{info} names {file.name} for {name}, which is not there", hint if can_be_fetched else check)
    return only_source(file)


def _data_hint(named: str, resolved: Resolved) -> str:
    """The command that makes or fetches the rows of that name."""
    folder = named.partition("/")[0]
    if folder == "polygons":
        drawn = "virc data synth --to data/polygons --count 2000 --seed 1 --formats"
        if resolved.kind == "dpo":
            sample = "virc data sample data/polygons/problems.jsonl --pairs right --to data/polygons/pairs.jsonl"
            return f"{drawn} batch, then {sample}"
        return f"{drawn} sft,rl,prompts"
    system = resolved.system
    if folder in system.datasets:
        of_system = f" --system {system.called}" if system.called != systems.DEFAULT else ""
        chosen = f" --with {','.join(resolved.overlays)}" if resolved.overlays else ""
        needed = data_files(system, resolved.overlays).get(folder, ())
        if named.partition("/")[2] in needed:  # the whole dataset has rows of every stage
            return f"virc download dataset{of_system}{chosen}"
        return f"virc download {folder}{of_system}"
    return "rows of your own: «--data FILE»; to validate with: «--set validation=FILE»"


def config_of(info: Info) -> Any:
    """The settings that a run was begun with; the system's file may have others now."""
    kind = stages.config_type(info.kind)
    # An earlier version may have had settings that this run left out.
    given = {
        name: value for name, value in info.settings.items() if value is not None or name in kind.__struct_fields__
    }
    try:
        return msgspec.convert(given, kind, strict=False)
    except (ImportError, AttributeError, msgspec.ValidationError) as error:
        wrong = f"the settings in the run.json of {info.name} are not of this version of virc: {clause(error)}"
        raise ConfigError(wrong) from error


def begun_with(run: Run, system: str) -> Resolved:
    """The settings that a run was begun with, from the weights that it was begun with."""
    info = runs.info(run)
    config = msgspec.structs.replace(config_of(info), base=info.adapter or info.base, after=None)
    return Resolved(systems.get(system), info.stage, config, info.origins, info.overlays)


def check_trained(info: Info, found: int | None) -> None:
    """Refuse an engine that trains another number of parameters than a dry run lists; `found` is that in its log."""
    if found is None or any(key.startswith(_CHANGE_THE_COUNT) for key in info.settings["engine"]):
        return
    config = config_of(info)
    if info.adapter:
        expected = checkpoint.count(Path(info.adapter) / lora_config.WEIGHTS)
    else:
        shape = sizes.of_folder(Path(info.base))
        expected = sum(shape.trained(config.lora, config.frozen, config.never_adapted).values())
    if found != expected:
        raise EngineError(
            f"the engine trains {found:,} parameters, and the settings say {expected:,}",
            "virc train --dry-run lists them by part; a key under `engine` may change them",
        )


def still_there(run: Run, info: Info) -> None:
    """Check that what a run was begun with is as it was.

    Raises:
        ConfigError: weights or rows are gone, or files have changed.
        DataError: a file of rows cannot be read any more.
        SetupError: the interpreter is gone.
    """
    weights = Path(info.base) / "config.json"
    adapter = [Path(info.adapter) / "adapter_config.json"] if info.adapter else []
    rows = [Path(file) for file in (info.data, info.validation) if file]
    for path in (weights, *adapter, *rows):
        if not is_file(path):
            raise ConfigError(f"{run.name} was begun with {path}, which is gone", "put it back where it was")
    changes.check_unchanged(run)
    if not is_file(info.python):
        raise SetupError(
            f"{run.name} was begun with the environment of {info.python}, which is gone",
            f"virc env create {runs_in(info.kind).environment} --device {info.device}",
        )


def place_of(info: Info, run: Run, attempt: int, written: Path | None = None) -> Place:
    """What an attempt of a run works on; it resumes from the newest checkpoint that can be resumed, if there is one.

    Args:
        written: of a dry run, which resumes nothing and may have no base yet: the folder of its files.
    """
    resumable = (each for each in reversed([] if written else checkpoints(run)) if each.resumable)
    home, newest, base = run.folder.absolute(), next(resumable, None), Path(info.base)
    if written is None or is_file(base / "config.json"):
        model_type = str(checkpoint.model_type(base))
    else:
        model_type = known.family if (known := sizes.published(info.root)) else _USUAL
    return Place(
        base=base,
        model_type=model_type,
        adapter=Path(info.adapter) if info.adapter else None,
        data=Path(info.data),
        dataset=info.dataset,
        entry=info.entry,
        media=Path(info.media or Path(info.data).parent),
        output=home / run.checkpoints.name,
        files=run.attempt(attempt).absolute(),
        resume=newest.folder.absolute() if newest else None,
        untried=newest is None or _is_untried(run, info, newest.step),
        validation=Path(info.validation) if info.validation else None,
        protocol=home / FILE_NAME,
        reward=home / sources.REWARD,
        sources={name: sources.settings_of(home, name) for name in sources.folders(written or home)},
        python=Path(info.python),
        recipes=Path(info.recipes),
    )


def _is_untried(run: Run, info: Info, step: int) -> bool:
    """Whether a step should have been validated and was not: verl saves first, and may end before it validates."""
    every: int = info.settings.get("test_freq") or 0
    tried = (each.step == step and each.validation is not None for each in metrics(run))
    return every > 0 and step % every == 0 and not any(tried)
