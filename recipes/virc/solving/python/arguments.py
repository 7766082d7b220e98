"""The arguments of `virc.solve` and `virc.batch`: which model is asked, and how."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypedDict

from virc.config.validation import check_arguments
from virc.core.errors import UsageError
from virc.core.events import OnEvent as OnReport
from virc.models.load import Choice, Opened, choice_of
from virc.solving.one import SolveConfig
from virc.solving.pipelines import files
from virc.solving.pipelines import solve as pipelines
from virc.solving.sampling.grading import Graders
from virc.solving.setup import Setup
from virc.solving.strategies import registry as strategies


class Options(TypedDict, total=False):
    """Arguments of `virc.solve`, which describes them, that are no problem's own."""

    endpoint: str | None
    api_key: str | None
    system: str | Path | None
    protocol: str | Path | None
    family: str | None
    tools: Iterable[str]
    device: str | None
    max_pixels: int | None
    max_tokens: int | None
    max_turns: int
    max_requests: int | None
    max_tokens_total: int | None
    timeout: float | None
    temperature: float | None
    samples: int
    strategy: str | None
    graders: Graders
    seed: int
    trace: str | Path | None
    offline: bool
    pipeline: str | Path | None
    roles: Mapping[str, str | Path]
    on_progress: OnReport | None


def prepared(model: str | Path | Opened | None, given: Options) -> Setup | pipelines.PipelineSetup:
    """Check the arguments; nothing is loaded yet. Errors as of `virc.solve`."""
    pipeline, system = files.choose(given["pipeline"], given["system"])
    opened = model if isinstance(model, Opened) else None
    choice = choice_of(
        None if isinstance(model, Opened) else model,
        given["endpoint"],
        given["api_key"],
        system,
        given["protocol"],
        given["family"],
        given["tools"],
        given["device"],
        given["max_pixels"],
        None if opened else given["timeout"],  # a loaded model has one of its own
    )
    if opened and choice != Choice():
        raise UsageError("a loaded model is chosen already", "give endpoint=, protocol= and the like to load()")
    config = SolveConfig(
        temperature=given["temperature"],
        seed=given["seed"],
        samples=given["samples"],
        timeout=given["timeout"],
        max_turns=given["max_turns"],
        max_requests=given.get("max_requests"),
        max_tokens_total=given.get("max_tokens_total"),
        max_tokens=given["max_tokens"],
        keep_images=True,
        strategy=given["strategy"],
    )
    check_arguments(config, without=("tolerate",))
    trace = Path(given["trace"]) if given["trace"] else None
    config = strategies.resolved(config, given["graders"])
    setup = Setup(choice, config, trace, given["offline"], opened, graders=given["graders"])
    if pipeline is not None:
        files.refuse(
            {
                "samples": given["samples"] != 1,
                "strategy": given["strategy"],
                "temperature": given["temperature"] is not None,
                "max_tokens": given["max_tokens"] is not None,
                "a loaded model": opened,
            },
            "pipeline=",
        )
        return pipelines.set_up(pipeline, {name: str(who) for name, who in given["roles"].items()}, setup)
    if given["roles"]:
        raise UsageError("roles= belongs to pipeline=", 'pipeline="FILE.py"')
    return setup
