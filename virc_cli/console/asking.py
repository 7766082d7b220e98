"""Options of the commands that ask a model about images, each group of them in one place, and what they set up."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Annotated, Any

from typer.core import TyperCommand

from virc.core.errors import UsageError
from virc_cli.console import options
from virc_cli.console.options import option

if TYPE_CHECKING:
    from virc.config.user import Value
    from virc.solving.pipelines.solve import PipelineSetup
    from virc.solving.setup import Setup

PANELS = {
    "Model": "model endpoint system protocol family tools device".split(),
    "Answer": "samples strategy judge_endpoint judge_model pipeline role max_turns max_tokens max_requests "
    "max_tokens_total temperature seed".split(),
    "Picture": "more_images max_pixels offline".split(),
    "Output": "as_json trace to concurrency timeout quiet verbose".split(),
}
"""Heading in the help -> the options below it, by their parameters."""


class PanelCommand(TyperCommand):
    """A command whose help lists its options by `PANELS`."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        of = {name: panel for panel, names in PANELS.items() for name in names}
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], **{panel: [] for panel in PANELS}, "Other": []}
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                argument = parameter.param_type_name == "argument"
                sections["Arguments" if argument else of.get(str(parameter.name), "Other")].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


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
    quiet: options.Quiet = False

    @property
    def flags(self) -> "dict[str, Value | None]":
        return {name: getattr(self, name, None) for name in _FLAGS}


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
    trace: Annotated[str | None, option("DIR", "Write conversation, images and a page here.")] = None

    def set_up(self) -> "Setup | PipelineSetup":
        from virc.solving.one import SolveConfig
        from virc.solving.pipelines import solve as pipelines
        from virc.solving.pipelines.files import choose
        from virc.solving.setup import set_up
        from virc.solving.strategies.registry import grades

        strategy = options.one_strategy(self.strategy)
        pipeline, system = choose(self.pipeline, self.system)
        refused = {
            "--samples": self.samples != 1,
            "--strategy": strategy is not None,
            "--temperature": self.temperature is not None,
            "--max-tokens": self.max_tokens is not None,
        }
        roles = options.named_roles(pipeline, self.role or (), refused)
        if self.judge_endpoint and not strategy:
            raise UsageError("--judge-endpoint belongs to --strategy", "--strategy best_of --judge-endpoint URL")
        judge, judges = options.named_endpoints(self.judge_endpoint or ())
        graders = options.graders(strategy, judge, self.judge_model, judges, system)
        config = SolveConfig(
            temperature=self.temperature, seed=self.seed, samples=self.samples, max_turns=self.max_turns,
            strategy=strategy, max_requests=self.max_requests, max_tokens_total=self.max_tokens_total,
        )  # fmt: skip
        tools = options.names_of(self.tools)
        setup = set_up(
            {**self.flags, "system": system}, config, self.protocol, self.trace, self.offline, tools, graders
        )
        if self.judge_endpoint and not grades(setup.config, graders):
            hint = "leave --judge-endpoint out, or --strategy best_of"
            raise UsageError(f"the strategy {strategy} asks no judge", hint)
        if pipeline is None:
            return setup
        chosen = pipelines.set_up(pipeline, roles, setup)
        options.check_default_role(chosen, {"--model": self.model, "--endpoint": self.endpoint})
        return chosen

    def finds_pictures(self) -> bool:
        from virc.solving.one import SolveConfig
        from virc.solving.pipelines.files import choose
        from virc.solving.setup import finds_pictures, set_up

        pipeline, system = choose(self.pipeline, self.system)
        plain = set_up({**self.flags, "system": system}, SolveConfig(), self.protocol, self.trace, self.offline)
        return pipeline is None and finds_pictures(plain.choice)


_FLAGS = ("model", "endpoint", "system", "device", "max_pixels", "max_tokens", "family", "timeout")


def asking(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options of its parameter `asked`, a group of them, in addition to its own."""
    parameters = signature(command, eval_str=True).parameters
    group = parameters["asked"].annotation
    own = [each for each in parameters.values() if each.name != "asked"]
    shared = [
        each.replace(kind=Parameter.POSITIONAL_OR_KEYWORD)
        for each in signature(group, eval_str=True).parameters.values()
    ]
    names = [field.name for field in fields(group)]

    @wraps(command)
    def run(**values: Any) -> None:
        if empty := next((name for name in names if values[name] == ""), None):
            sentence = f"--{empty.replace('_', '-')} is empty: perhaps a variable of the shell is not set"
            raise UsageError(sentence, "leave it out, or give it a value")
        asked = group(**{name: values.pop(name) for name in names})
        command(**values, asked=asked)

    run.__signature__ = signature(command).replace(parameters=[*own, *shared])  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in (*own, *shared)}
    return run
