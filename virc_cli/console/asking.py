"""Options of the commands that ask a model about images, each group of them in one place, and what they set up."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from inspect import Signature, signature
from typing import TYPE_CHECKING, Annotated, Any

from virc.core.errors import UsageError
from virc_cli.console import options
from virc_cli.console.options import option

if TYPE_CHECKING:
    from virc.solving.setup import Setup
    from virc.solving.solver import SolverSetup


@dataclass(frozen=True, kw_only=True)
class Asking:
    """The options of every command that asks models."""

    endpoint: options.Endpoint = None
    system: options.System = None
    protocol: options.Protocol = None
    family: options.Family = None
    device: options.Device = None
    max_turns: options.MaxTurns = 16
    max_tokens: options.MaxTokens = None
    seed: options.Seed = 0
    max_pixels: options.MaxPixels = None
    offline: options.Offline = False
    timeout: options.Timeout = None
    extra_body: options.ExtraBody = None
    thinking: options.Thinking = None
    ignore: options.IgnoredFiles = None
    quiet: options.Quiet = False

    @property
    def flags(self) -> dict[str, Any]:
        """All options by their names, of which settings take the place of environment and config file."""
        return vars(self)


@dataclass(frozen=True, kw_only=True)
class ModelAsked(Asking):
    """The options of a command that asks one model."""

    model: options.Model = None


@dataclass(frozen=True, kw_only=True)
class Asked(ModelAsked):
    """The options of `virc solve` and `virc batch`."""

    tools: options.Tools = None
    samples: Annotated[int, option("N", "Answers; the commonest is given.", min=1, max=1000)] = 1
    strategy: options.Strategy = None
    judge_endpoint: options.JudgeEndpoint = None
    judge_model: options.JudgeModel = None
    pipeline: options.Pipeline = None
    role: options.Role = None
    max_requests: options.MaxRequests = None
    max_tokens_total: options.MaxTokensTotal = None
    temperature: options.Temperature = None
    prices: options.Prices = None
    page: options.Page = None
    at: options.At = None
    fps: options.Fps = None
    frames: options.Frames = None
    trace: Annotated[str | None, option("DIR", "Write conversation, images and a page here.")] = None

    def set_up(self) -> "Setup | SolverSetup":
        from virc.reasoning.media import media_choice
        from virc.solving.one import SolveConfig
        from virc.solving.setup import set_up
        from virc.solving.solver import choose, pipelines
        from virc.solving.strategies.registry import grades

        strategy = options.one_strategy(self.strategy)
        pipeline, system = choose(self.pipeline, self.system)
        unread = ("samples", "strategy", "temperature", "max_tokens", "prices")  # by a pipeline
        refused = {each: getattr(self, each) != getattr(Asked, each) for each in unread}
        roles = options.named_roles(pipeline, self.role or (), refused)
        judge, judges = options.named_endpoints(self.judge_endpoint or ())
        graders = options.graders(strategy, judge, self.judge_model, judges, system)
        config = SolveConfig(
            temperature=self.temperature, seed=self.seed, samples=self.samples, max_turns=self.max_turns,
            strategy=strategy, max_requests=self.max_requests, max_tokens_total=self.max_tokens_total,
            media=media_choice(self.page, self.at, self.fps, self.frames),
        )  # fmt: skip
        flags, tools = {**self.flags, "system": system}, options.names_of(self.tools)
        setup = set_up(flags, config, self.protocol, self.trace, self.offline, tools, graders, self.prices)
        if self.judge_endpoint and not grades(setup.config, graders):
            raise UsageError("--judge-endpoint is of a strategy that asks a judge", "--strategy best_of")
        if pipeline is None:
            return setup
        return pipelines().set_up(pipeline, roles, setup, {"model": self.model, "endpoint": self.endpoint})

    def finds_pictures(self) -> bool:
        from virc.solving.setup import Setup, finds_pictures

        setup = self.set_up()
        return isinstance(setup, Setup) and finds_pictures(setup.choice)


def asking(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options of its parameter `asked`, a group of them, in addition to its own."""
    own = signature(command, eval_str=True).parameters
    group = own["asked"].annotation
    shared = signature(group, eval_str=True).parameters
    merged = [*(each for each in own.values() if each.name != "asked"), *shared.values()]

    @wraps(command)
    def run(**values: Any) -> None:
        if empty := next((name for name in shared if values[name] == ""), None):
            sentence = f"--{empty.replace('_', '-')} is empty: perhaps a variable of the shell is not set"
            raise UsageError(sentence, "leave it out, or give it a value")
        command(asked=group(**{name: values.pop(name) for name in shared}), **values)

    run.__signature__ = Signature(merged)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in merged}
    return run
