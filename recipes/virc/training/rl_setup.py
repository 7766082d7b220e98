"""What the rows and the reward of a stage of RL need, checked before anything starts.

`prepare` calls in this order: `with_job_judge`, `tools_of`, `check_job_judge`, `check_judge`, and, once rows were
checked, `check_reward`.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec

from virc.cluster.jobs import Target
from virc.cluster.site import IN_JOB, Site
from virc.core.errors import ConfigError, DataError, VircError
from virc.core.events import Reporter
from virc.core.text import did_you_mean, plain
from virc.data.convert.change import SOURCE
from virc.data.formats import rl
from virc.data.formats.registry import RowsFile
from virc.models import chat_protocol
from virc.models import registry as models
from virc.remote import described
from virc.rewards import registry as rewards
from virc.rewards.means import JUDGE, key_of
from virc.rewards.needs import without_judge
from virc.rewards.question import Asks, Question
from virc.rewards.sample import Strict
from virc.rewards.sources import speakers
from virc.scoring.judge import Judge
from virc.stages.resolve import Resolved
from virc.systems.registry import Judging, Reward
from virc.tools import registry as tools
from virc.training.estimate.fits import judges
from virc.training.preflight.types import Result
from virc.training.request import TrainRequest

_SAMPLE = 200  # rows; the hint for a missing judge says which share of them rules can score


def check_judge(resolved: Resolved, source: RowsFile | None, here: bool, report: Reporter) -> None:
    """Refuse a reward whose judge is not named, or does not answer.

    Args:
        here: the run starts now, on this machine; elsewhere the judge may start with it.

    Raises:
        ConfigError: none is named; the hint lists the options, and the share of rows that rules can score.
        NetworkError: it does not answer.
    """
    judgings: dict[tuple[str, str | None], tuple[Judging, str]] = {}  # by name and endpoint; the name of a total each
    asking = list(asking_terms(resolved))
    judge_names = {asks.judge for _, _, asks in asking}
    for name in resolved.config.reward.judges:
        if name not in judge_names and resolved.origins.get(f"reward.judges.{name}.endpoint") == "option":
            near = did_you_mean(name, judge_names, f"virc rewards show {resolved.system.called}")
            raise ConfigError(f"--judge-endpoint names the judge {name!r}, whom no reward of this stage asks", near)
    for reward, total_name, asks in asking:
        judging = _judging(reward, asks)
        if asks.needed or judging.endpoint:
            judgings.setdefault((asks.judge, judging.endpoint), (judging, total_name))
        else:
            report.warn(
                f"the published reward {total_name} asks a judge, and none is named: rules decide alone",
                "--judge-endpoint URL, as virc rewards show says",
            )
    for (name, endpoint), (judging, total_name) in judgings.items():
        if endpoint is None and name == JUDGE:
            hint = judges(resolved.system.overlays) + (_scorable_share(source) if source else "")
            raise ConfigError(f"the reward {total_name} asks a judge, and none is named", hint)
        if endpoint is None:
            hint = f"--judge-endpoint {name}=URL"
            raise ConfigError(f"the reward {total_name} asks the judge {name}, which has no endpoint", hint)
        if here:
            with Judge(endpoint, judging.model, key_of(name), max_retries=0) as answering:
                report.note(f"the {'' if name == JUDGE else f'{name} '}judge is {answering.model}, at {endpoint}")


def asking_terms(resolved: Resolved) -> Iterator[tuple[Reward, str, Asks]]:
    """What asks a judge in the rewards of a stage and of its `sources`: the reward, its total's name, the question."""
    all_rewards: list[tuple[Reward, Path | None]] = [(resolved.config.reward, resolved.system.file.parent)]
    all_rewards += [(each.reward, each.beside) for each in speakers(resolved.config).values()]
    for reward, folder in all_rewards:
        yield from asking_terms_of(reward, folder)


def asking_terms_of(reward: Reward, folder: Path | None) -> Iterator[tuple[Reward, str, Asks]]:
    total = rewards.of(reward, folder)
    yield from ((reward, total.name, term.asks) for term in total.terms if term.asks)


def published_questions(asking: Iterable[tuple[Reward, str, Asks]]) -> list[Question]:
    """The questions of others that judges are asked, whose texts are in files."""
    judged = [asks for reward, _, asks in asking if asks.needed or _judging(reward, asks).endpoint]
    return [each for asks in judged for each in (asks.question, *asks.others) if each and each.file]


def _judging(reward: Reward, asks: Asks) -> Judging:
    return reward.judge if asks.judge == JUDGE else reward.judges[asks.judge]


def _scorable_share(source: RowsFile) -> str:
    """How many of the first rows need no judge, as an addition to a hint."""
    records = (row.record for row in source.rows() if row.record)
    units = (unit for record in records for unit in (rl.split(record) if record.messages else [record]))
    try:
        scorable = without_judge(islice(units, _SAMPLE), rewards.find("rules"), "pixel")
    except VircError:
        return ""
    return f" ({scorable.share:.0%} of the first {scorable.rows} rows can be scored by rules)" if scorable.rows else ""


def tools_of(resolved: Resolved, options: tuple[str, ...]) -> tuple[str, ...]:
    """The names or files of tools that `--tools +NAME` adds, and of the system's own that its chat protocol may lack.

    Raises:
        UsageError, ConfigError: one cannot be added.
    """
    folder = resolved.system.file.parent
    names = chat_protocol.added(options)
    by_name = chat_protocol.own_tools(resolved.system) | dict(zip(tools.load(names, folder), names, strict=True))
    return tuple(tools.source(name, folder) for name in by_name.values())


def check_reward(result: Result, resolved: Resolved, report: Reporter) -> None:
    """Raises DataError: the reward cannot score rows; ConfigError: a run's copy of a tool would not work."""
    reward = resolved.config.reward
    check_copies(result.protocol.tools)
    for name, rows in result.of_no_source.items():
        sentence = f"{rows} rows have the {SOURCE} {plain(name, 80)!r}, which is no system of `sources`"
        report.warn(f"{sentence}: they are put and rewarded as the stage's own")
    if result.lacking:
        count = max(result.lacking.values())
        hint = "leave such rows out, or choose another total: virc rewards ls"
        raise DataError(f"{count} rows cannot be rewarded by {reward.total}: {result.lacks}", hint)
    if reward.strict != strict_of(reward, resolved, result) and resolved.config.rollout != "multi_turn":
        report.warn(
            f"{result.off_grid} of the images checked closely are shown at another size than their files have: "
            "reward.strict is own, as the published checks would compare boxes with the files"
        )


def check_copies(names: Sequence[str]) -> None:
    """Refuse a tool whose YAML names files relative to its own folder: a run keeps a copy of the YAML alone."""
    for file in tools.own_files(names).values():
        mcp = described.read_described(file).mcp if file.suffix == ".yaml" else None
        if mcp is None:
            continue
        relative = [word for word in mcp.command if not Path(word).is_absolute() and (file.parent / word).is_file()]
        if mcp.cwd and not Path(mcp.cwd).is_absolute():
            relative.append(mcp.cwd)
        if relative:
            raise ConfigError(
                f"{file} names {relative[0]} from its own folder, and a run keeps a copy of {file.name} alone",
                f"write {(file.parent / relative[0]).resolve()}, on every node",
            )


def strict_of(reward: Reward, resolved: Resolved, result: Result) -> Strict:
    """Whose checks of replies decide: ours, or the published ones.

    The published ones compare boxes with the size of the image's file, which must then be the size that is shown.
    """
    off_grid = result.off_grid and result.protocol.coordinates == "pixel"
    own = reward.strict == "own" or resolved.config.rollout == "multi_turn" or off_grid
    return "own" if own else "published"


def with_job_judge(request: TrainRequest, resolved: Resolved, target: Target | None) -> tuple[TrainRequest, Resolved]:
    """The request with the endpoint of the judge that the Slurm job serves, if the reward needs one and it has one."""
    if not isinstance(target, Site) or target.judge is None or not _asks(request, resolved):
        return request, resolved
    request = msgspec.structs.replace(request, judge_endpoint=IN_JOB)
    return request, request.resolve()


def check_job_judge(request: TrainRequest, resolved: Resolved, target: Target | None) -> None:
    """Raises ConfigError before a job waits in the queue: nobody serves its judge, or that has no weights here."""
    if not isinstance(target, Site):
        return
    if target.judge is None:
        if _asks(request, resolved) and resolved.config.judge_gpus:
            ways = "--judge-endpoint URL of one that is served elsewhere"
            raise ConfigError(
                "the reward asks a judge, and the job serves none", f"judge: {{model: judge}} in slurm.yaml, or {ways}"
            )
    elif request.judge_endpoint == IN_JOB:
        models.find(target.judge.model, request.workspace)


def _asks(request: TrainRequest, resolved: Resolved) -> bool:
    """Whether the reward asks a judge that is served nowhere else; one on `judge_gpus` is the job's."""
    if resolved.kind != "rl" or request.judge_endpoint:
        return False
    config = resolved.config
    if config.reward.judge.endpoint and not config.judge_gpus:
        return False
    return any(asks.judge == JUDGE for _, _, asks in asking_terms(resolved))
