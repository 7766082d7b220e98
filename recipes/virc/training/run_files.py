"""Writes the files of a run that is prepared: `run.json`, its settings, and the code and settings of its processes."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from virc.cluster import jobs
from virc.cluster.site import Site
from virc.core.files import DATA, write_json, write_whole
from virc.data.formats import sft as sft_format
from virc.reasoning.protocol import FILE_NAME
from virc.rewards import sources, user_code
from virc.rewards.sources import Speaker, speakers
from virc.rewards.verl import Settings
from virc.runs.run import Info
from virc.tools import registry as tools
from virc.training import inputs, packages, rl_setup
from virc.training.preflight.pairs import entry_of
from virc.training.preflight.rl import TRAIN, VALIDATION
from virc.training.prepared import Prepared


def write_run(prepared: Prepared) -> Info:
    """Write what a run is into its folder to be, and what its processes read."""
    info, resolved = info_of(prepared, write_code(prepared)), prepared.resolved
    write_json(prepared.folder / "run.json", info)
    head = f"# {resolved.name}; virc train {resolved.system.called} --stage {resolved.stage} --config THIS\n"
    write_whole(prepared.folder / "settings.yaml", (head + inputs.settings_text(info)).encode())
    installed = packages.installed(prepared.environment, prepared.python)
    lines = [f"{name}=={version}\n" for name, version in sorted(installed.items())]
    write_whole(prepared.folder / "environment.txt", "".join(lines).encode())
    return info


def info_of(prepared: Prepared, code: Mapping[str, str]) -> Info:
    """What the run is; `code` are the digests of copies of user code."""
    resolved, base, environment = prepared.resolved, prepared.base, prepared.environment
    target = prepared.target
    return Info(
        name=prepared.run.name, system=resolved.system.name, stage=resolved.stage,
        kind=resolved.kind, overlays=resolved.overlays,
        created=datetime.now(UTC).isoformat(timespec="seconds"), base=str(base.folder),
        adapter=str(base.adapter) if base.adapter else None, root=base.root,
        ignore=prepared.request.ignore, trust_rows=prepared.request.trust_rows,
        settings=msgspec.to_builtins(resolved.config), origins=dict(resolved.origins),
        environment=environment.name, device=environment.device, python=str(prepared.python),
        recipes=str(prepared.recipes), code=dict(code),
        launcher="local" if target is None else "slurm" if isinstance(target, Site) else "ray",
        site=msgspec.to_builtins(target) if target else {},
        site_file=jobs.site_file(prepared.request.site) if isinstance(target, Site) else None,
        **rows_fields(prepared),
    )  # fmt: skip


def rows_fields(prepared: Prepared) -> dict[str, Any]:
    """The fields of `Info` about the rows; of rows that were not checked, where and what they would be."""
    result, source, home = prepared.checked, prepared.source, prepared.run.folder

    def moved(path: Path) -> str:
        """Where a path will be once the run begins."""
        return str(home / path.relative_to(prepared.folder) if path.is_relative_to(prepared.folder) else path)

    if result:
        return {
            "data": moved(result.file), "media": moved(result.media), "dataset": result.dataset, "entry": result.entry,
            "rows": result.rows, "longest": result.longest,
            "validation": moved(result.validation) if result.validation else None,
        }  # fmt: skip
    place: dict[str, Any] = {"media": str(source.media.absolute()), "rows": 0, "longest": 0}
    config, name = prepared.resolved.config, source.file.name
    if prepared.resolved.kind == "rl":
        validation = str(home / DATA / VALIDATION) if config.validation else None
        return {**place, "data": str(home / DATA / TRAIN), "dataset": "", "validation": validation}
    pairs = prepared.resolved.kind == "dpo"
    entry = source.info or (entry_of(config.loss == "kto", name) if pairs else sft_format.info(name))
    return {**place, "data": str(source.file.absolute()), "dataset": source.name, "entry": entry}


def write_code(prepared: Prepared) -> dict[str, str]:
    """Write the files that the run's processes read, except rows; returns name -> SHA-256 of copies of user code.

    Of rows that were not checked, the chat protocol and the settings of the stage's own reward are not known.
    """
    resolved, result, folder = prepared.resolved, prepared.checked, prepared.folder
    config, beside, home = resolved.config, resolved.system.file.parent, prepared.run.folder.absolute()
    names: Sequence[str] = result.protocol.tools if result else ()
    if result:
        write_json(folder / FILE_NAME, result.protocol)
    else:
        names = tools.load((*resolved.system.offered, *prepared.added_tools), beside)
    if resolved.kind != "rl":
        return user_code.copy(user_code.own_tools(beside, names), folder / user_code.CODE)
    media = result.media if result else prepared.source.media.absolute()
    common = Settings(
        reward=config.reward, folder=str(media), kept=str(home / user_code.JUDGED), rollout=config.rollout,
        base=str(prepared.base.folder), max_pixels=config.max_pixels,
    )  # fmt: skip
    files, code = dict[str, str](), dict[str, str]()
    for name, speaker in speakers(config).items():
        part, future = (sources.settings_of(each, name).parent for each in (folder, home))
        part.mkdir(parents=True)
        copied, settings = _rewarding(speaker, part, future, common)
        code |= {f"{sources.FOLDER}/{name}/{file}": digest for file, digest in copied.items()}
        files[name] = str(future / sources.REWARD)
        write_json(part / FILE_NAME, speaker.protocol)
        write_json(part / sources.REWARD, settings)
    if result is None:
        return user_code.copy(user_code.own_files(config.reward, beside, names), folder / user_code.CODE) | code
    reward = msgspec.structs.replace(config.reward, strict=rl_setup.strict_of(config.reward, resolved, result))
    own, settings = _rewarding(Speaker(result.protocol, reward, config.max_turns, beside), folder, home, common)
    write_json(folder / sources.REWARD, msgspec.structs.replace(settings, sources=files))
    return own | code


def _rewarding(speaker: Speaker, folder: Path, home: Path, common: Settings) -> tuple[dict[str, str], Settings]:
    """Copy a system's own files to `folder`, which will be `home`; returns digests and the settings of its reward."""
    asking = rl_setup.asking_terms_of(speaker.reward, speaker.beside)
    files = user_code.own_files(speaker.reward, speaker.beside, speaker.protocol.tools)
    settings = msgspec.structs.replace(
        common,
        reward=user_code.moved(speaker.reward, speaker.beside, home / user_code.CODE),
        beside=str(home / user_code.CODE),
        coordinates=speaker.protocol.coordinates,
        protocol=str(home / FILE_NAME),
        max_turns=speaker.max_turns,
        said={each.name: each.said() for each in rl_setup.published_questions(asking)},
    )
    return user_code.copy(files, folder / user_code.CODE), settings
