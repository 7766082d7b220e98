"""Options of the commands that ask a model about images, from where they are declared, and what they set up."""

from collections.abc import Callable
from functools import wraps
from inspect import Signature, signature
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from virc.core.errors import UsageError
from virc_cli.console import options

if TYPE_CHECKING:
    from virc.solving.setup import Setup
    from virc.solving.solver import SolverSetup

OF_SOLVING: Any = {
    "model": options.Model, "judge_endpoint": options.JudgeEndpoint, "judge_model": options.JudgeModel,
}  # fmt: skip
"""Options of `virc solve` and `virc batch` that no function has."""


class Asked(SimpleNamespace):
    """The values of a command's declared options, by the names of their parameters."""

    @property
    def flags(self) -> dict[str, Any]:
        """All of them, of which settings take the place of environment and config file."""
        return vars(self)

    def set_up(self) -> "Setup | SolverSetup":
        """For `SolveOptions` and `OF_SOLVING`."""
        from virc.solving.setup import set_up
        from virc.solving.solver import choose, pipelines, unread
        from virc.solving.strategies.registry import grades

        strategy = options.one_strategy(self.strategy)
        pipeline, system = choose(self.pipeline, self.system)
        roles = options.named_roles(pipeline, self.role or (), unread(self.flags))
        judge, judges = options.named_endpoints(self.judge_endpoint or ())
        graders = options.graders(strategy, judge, self.judge_model, judges, system)
        setup = set_up({**self.flags, "system": system, "strategy": strategy}, graders)
        if self.judge_endpoint and not grades(setup.config, graders):
            raise UsageError("--judge-endpoint is of a strategy that asks a judge", "--strategy best_of")
        if pipeline is None:
            return setup
        return pipelines().set_up(pipeline, roles, setup, {"model": self.model, "endpoint": self.endpoint})

    def finds_pictures(self) -> bool:
        from virc.solving.setup import Setup, finds_pictures

        setup = self.set_up()
        return isinstance(setup, Setup) and finds_pictures(setup.choice)


def asking(kind: Any, **others: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of a TypedDict, --quiet and others; it gets their values as `asked`.

    Args:
        others: the types of those which are not declared, by the names of their parameters.
    """
    shared = {each.name: each for each in options.parameters(kind, quiet=options.Quiet, **others)}

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        own = signature(command, eval_str=True).parameters
        merged = [*(each for each in own.values() if each.name != "asked"), *shared.values()]

        @wraps(command)
        def run(**values: Any) -> None:
            if empty := next((name for name in shared if values[name] == ""), None):
                sentence = f"--{empty.replace('_', '-')} is empty: perhaps a variable of the shell is not set"
                raise UsageError(sentence, "leave it out, or give it a value")
            given = {name: values.pop(name) for name in shared}
            if "tools" in given:
                given["tools"] = options.names_of(given["tools"])
            command(asked=Asked(**given), **values)

        run.__signature__ = Signature(merged)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in merged}
        return run

    return decorated
