"""The beginning of a run of RL: what its rows and its reward need, found out before anything starts."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec

from virc.core.errors import ConfigError, DataError, VircError
from virc.core.files import expanded, write_json
from virc.core.parallel import cores
from virc.data.formats import rl
from virc.data.formats.registry import Source, get
from virc.data.rows.record import Record
from virc.models import chat_protocol
from virc.models import registry as models
from virc.reasoning.protocol import FILE_NAME
from virc.rewards import kept
from virc.rewards import registry as rewards
from virc.rewards import sources as rl_sources
from virc.rewards.means import JUDGE_KEY
from virc.rewards.needs import asks_judge, without_judge
from virc.rewards.sample import Strict
from virc.rewards.sources import Speaker, speakers
from virc.rewards.verl import Settings
from virc.runs.run import Run
from virc.scoring.judge import Judge
from virc.stages.resolve import Resolved
from virc.systems.registry import Reward
from virc.tools import registry as tools
from virc.training import inputs as training
from virc.training.estimate.fits import JUDGES
from virc.training.inputs import Base
from virc.training.preflight.types import Result, RlRequest
from virc_cli.console import output

_LOOKED_AT = 200  # rows, to say how many of them rules can score


def check_judge(resolved: Resolved, source: Source | None, here: bool) -> None:
    """Refuse a reward that asks a judge of whom nobody knows, or who does not answer.

    Args:
        source: its rows, if they are there.
        here: the run starts now, on this machine: elsewhere the judge may come up with it.

    Raises:
        ConfigError: none is named; the hint has the ways to one, and the share of rows that rules can score.
        NetworkError: it does not answer.
    """
    config = resolved.config
    judge = config.reward.judge
    total = _asking(resolved)
    if total is None:
        return
    if judge.endpoint is None:
        sentence = f"the reward {total.name} asks a judge, and none is named"
        raise ConfigError(sentence, JUDGES + (_share(source) if source else ""))
    if here:
        key = os.environ.get(JUDGE_KEY)
        with Judge(judge.endpoint, judge.model, key, max_retries=0) as found:
            output.note(f"the judge is {found.model}, at {judge.endpoint}")


def _asking(resolved: Resolved) -> rewards.Total | None:
    """The first total of the stage and its sources that asks a judge."""
    config = resolved.config
    named: list[tuple[Reward, Path | None]] = [(config.reward, resolved.system.file.parent)]
    named += [(each.reward, each.beside) for each in speakers(config).values()]
    totals = (rewards.of(reward, beside) for reward, beside in named)
    return next((total for total in totals if asks_judge(total)), None)


def _share(source: Source) -> str:
    """How many rows rules can score, as a clause; nothing where that cannot be told here."""
    try:
        found = without_judge(islice(_records(source), _LOOKED_AT), rewards.find("rules"), "pixel")
    except VircError:
        return ""
    return f" ({found.share:.0%} of the first {found.rows} rows can be scored so)" if found.rows else ""


def _records(source: Source) -> Iterator[Record]:
    for row in get(source.format).read(source):
        if row.record:
            yield from rl.split(row.record) if row.record.messages else iter([row.record])


def request(
    resolved: Resolved,
    base: Base,
    source: Source,
    places: tuple[Path, Path],
    probe: int,
    protocol: Path | None,
    asked: tuple[str, ...],
    loads: tuple[str, ...],
) -> RlRequest:
    """What to look at in the rows.

    Args:
        places: folder for the rows that verl reads, and where it will lie.
        probe: roll out this many of the longest only; 0: all.
        protocol: file with the chat protocol of the rows.
        asked: tools to be offered beside the chat protocol's; `loads` are files of those that it may name.

    Raises:
        ConfigError: a tool is not there, or the base's chat protocol cannot be read.
    """
    config = resolved.config
    weights = models.Weights(base.name, base.folder, adapter=base.adapter)
    return RlRequest(
        source=source,
        validation=training.validation(resolved, Path.cwd()),
        base=base.folder,
        name=base.name,
        rollout=config.rollout,
        prompt_length=config.prompt_length,
        batch=config.train_batch_size,
        max_pixels=config.max_pixels,
        filter_overlong=config.filter_overlong,
        probe=probe,
        folder=places[0].absolute(),
        home=places[1].absolute(),
        protocol=protocol and expanded(protocol).absolute(),
        chat_protocol=chat_protocol.of_stage(resolved.system, weights).protocol,
        tools=asked,
        loads=loads,
        reward=config.reward,
        beside=resolved.system.file.parent,
        sources=speakers(config),
        workers=cores(),
    )


def tools_of(resolved: Resolved, asked: tuple[str, ...]) -> tuple[str, ...]:
    """The tools that `--tools +NAME` asks for: files of the user's own, names of this package's.

    Raises:
        UsageError: it is not +NAME.
        ConfigError: one is not there.
    """
    beside = resolved.system.file.parent
    names = chat_protocol.added(asked)
    tools.load(names, beside)
    return tuple(str(tools.file_of(name, beside) or name) for name in names)


def check(result: Result, reward: Reward) -> None:
    """Refuse rows that the reward cannot be had of.

    Raises:
        DataError: there are some.
    """
    if result.lacking:
        most = max(result.lacking.values())
        hint = "leave such rows out, or choose another total: virc rewards ls"
        raise DataError(f"{most} rows cannot be rewarded by {reward.total}: {result.lacks}", hint)


def write(run: Run, partial: Path, resolved: Resolved, base: Base, result: Result) -> dict[str, str]:
    """Write `reward.json` and the copies of the user's own files; returns the SHA-256 of each by its name."""
    reward, beside = resolved.config.reward, resolved.system.file.parent
    code = kept.copy(kept.own_files(reward, beside, result.protocol.tools), partial / kept.CODE)
    home = run.folder.absolute()
    strict = strict_of(reward, resolved, result)
    settings = Settings(
        reward=msgspec.structs.replace(kept.moved(reward, beside, home / kept.CODE), strict=strict),
        folder=str(result.media),
        beside=str(home / kept.CODE),
        coordinates=result.protocol.coordinates,
        kept=str(home / kept.JUDGED),
        rollout=resolved.config.rollout,
        protocol=str(home / FILE_NAME),
        base=str(base.folder),
        max_turns=resolved.config.max_turns,
        max_pixels=resolved.config.max_pixels,
    )
    others = speakers(resolved.config)
    for name, speaker in others.items():
        code |= _write_source(home, partial, name, speaker, settings)
    files = {name: str(rl_sources.settings_of(home, name)) for name in others}
    write_json(partial / training.REWARD, msgspec.structs.replace(settings, sources=files))
    return code


def _write_source(home: Path, partial: Path, name: str, speaker: Speaker, own: Settings) -> dict[str, str]:
    """Write the folder of another system whose rows are learnt from; returns the SHA-256 of its own files."""
    folder = rl_sources.settings_of(partial, name).parent
    folder.mkdir(parents=True)
    files = kept.own_files(speaker.reward, speaker.beside, speaker.protocol.tools)
    code = kept.copy(files, folder / kept.CODE)
    write_json(rl_sources.chat_protocol_of(partial, name), speaker.protocol)
    write_json(rl_sources.settings_of(partial, name), source_settings(home, name, speaker, own))
    return {f"{rl_sources.FOLDER}/{name}/{file}": digest for file, digest in code.items()}


def source_settings(home: Path, name: str, speaker: Speaker, own: Settings) -> Settings:
    """What a run's workers are told of the rows of another system.

    Args:
        home: folder of the run.
        own: what they are told of the stage's own rows.
    """
    code = rl_sources.settings_of(home, name).parent / kept.CODE
    return msgspec.structs.replace(
        own,
        reward=kept.moved(speaker.reward, speaker.beside, code),
        beside=str(code),
        coordinates=speaker.protocol.coordinates,
        protocol=str(rl_sources.chat_protocol_of(home, name)),
        max_turns=speaker.max_turns,
    )


def strict_of(reward: Reward, resolved: Resolved, result: Result) -> Strict:
    """Whose checks decide: the published ones hold boxes against files, which must then be as they are shown."""
    if reward.strict == "own" or resolved.config.rollout == "multi_turn":
        return "own"
    if result.off_grid and result.protocol.coordinates == "pixel":
        output.warn(
            f"{result.off_grid} of the images looked at closely are shown at another size than their files have: "
            "reward.strict is own, as the published checks would hold boxes against the files"
        )
        return "own"
    return "published"
