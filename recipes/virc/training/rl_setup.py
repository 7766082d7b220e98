"""What the rows and the reward of a stage of RL need, checked before anything starts.

`prepare` calls `with_job_judge`, `tools_of`, `check_judges`, and, once rows were checked, `check_reward`.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from virc.cluster.jobs import Target
from virc.cluster.site import IN_JOB, Site
from virc.core.errors import ConfigError, DataError
from virc.core.events import Reporter
from virc.core.text import did_you_mean, plain
from virc.data.convert.change import SOURCE
from virc.models import chat_protocol
from virc.models import registry as models
from virc.remote import described
from virc.rewards import registry as rewards
from virc.rewards.context import JUDGE, key_of
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


def with_job_judge(request: TrainRequest, resolved: Resolved, target: Target | None) -> Resolved:
    """The settings with the endpoint of the judge that the Slurm job serves, if the reward needs one and it has one."""
    if not isinstance(target, Site) or target.judge is None or not _asks_job(resolved):
        return resolved
    return msgspec.structs.replace(request, judge_endpoint=IN_JOB).resolve()


def _asks_job(resolved: Resolved) -> bool:
    """Whether the reward asks a judge that is served nowhere else; one on `judge_gpus` is the job's."""
    if resolved.kind != "rl" or (resolved.config.reward.judge.endpoint and not resolved.config.judge_gpus):
        return False
    return any(asks.judge == JUDGE for _, _, asks in asking_terms(resolved))


def check_judges(resolved: Resolved, target: Target | None, workspace: Path, here: bool, report: Reporter) -> None:
    """Refuse a reward whose judge is not named, is served by nobody, or does not answer.

    Args:
        here: the run starts now, on this machine; elsewhere the judge may start with it.

    Raises:
        ConfigError: none is named, or that of the job has no weights here; the hint lists the options.
        NetworkError: it does not answer.
    """
    reward, overlays = resolved.config.reward, resolved.system.overlays
    if isinstance(target, Site):  # before it waits in the queue
        if target.judge is None and resolved.config.judge_gpus and _asks_job(resolved):
            ways = "judge: {model: judge} in slurm.yaml, or «--judge-endpoint URL» of one that is served elsewhere"
            raise ConfigError("the reward asks a judge, and the job serves none", ways)
        if target.judge and reward.judge.endpoint == IN_JOB:
            models.find(target.judge.model, workspace)
    judgings: dict[tuple[str, str | None], tuple[Judging, str]] = {}  # by name and endpoint; the name of a total each
    asking = list(asking_terms(resolved))
    judge_names = {asks.judge for _, _, asks in asking}
    for name in reward.judges:
        if name not in judge_names and resolved.origins.get(f"reward.judges.{name}.endpoint") == "option":
            near = did_you_mean(name, judge_names, f"virc rewards show {resolved.system.called}")
            raise ConfigError(f"«--judge-endpoint» names the judge {name!r}, whom no reward of this stage asks", near)
    for asked_for, total_name, asks in asking:
        judging = _judging(asked_for, asks)
        if asks.needed or judging.endpoint:
            judgings.setdefault((asks.judge, judging.endpoint), (judging, total_name))
        else:
            report.warn(
                f"the published reward {total_name} asks a judge, and none is named: rules decide alone",
                "«--judge-endpoint URL», as virc rewards show says",
            )
    for (name, endpoint), (judging, total_name) in judgings.items():
        if endpoint is None and name == JUDGE:
            raise ConfigError(f"the reward {total_name} asks a judge, and none is named", judges(overlays))
        if endpoint is None:
            hint = f"«--judge-endpoint {name}=URL»"
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
