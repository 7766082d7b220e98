"""Options of calls that ask models, without imports that take time."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypedDict

from virc.core.declared import Option
from virc.models.options import ModelOptions, ToolOptions


class ReplyOptions(TypedDict, total=False):
    """Limits of a reply."""

    max_tokens: Annotated[int | None, Option("N", "Most tokens of a reply.", min=1)]


class AskOptions(ModelOptions, ReplyOptions, total=False):
    """Options of everything that asks models about images."""

    max_turns: Annotated[int, Option("N", "Most turns of one solution.", default=16, min=1, max=1000)]
    seed: Annotated[int, Option("N", "Random seed.", default=0, min=0)]
    offline: Annotated[bool, Option(help="Fetch no image from the network.", default=False)]
    timeout: Annotated[float | None, Option("SECONDS", "Longest time for one problem.", "None: no end.")]
    ignore: Annotated[
        Iterable[str],
        Option("NAME", "Leave out weights, settings or fields that nothing reads.", default=(), is_repeated=True),
    ]


class PipelineOptions(TypedDict, total=False):
    """Options of an answer by several models."""

    pipeline: Annotated[
        str | Path | None,
        Option(
            "FILE|SYSTEM", "Solve by its Python function.",
            '`fields["steps"]` has what each step gave. A `system` that is a pipeline is taken for it.',
        ),
    ]  # fmt: skip
    roles: Annotated[
        Mapping[str, str | Path],
        Option(
            "NAME=WHO", "A role's server URL or model; repeatable.", "Others are as `model` and `endpoint` say.",
            default={}, name="role", is_repeated=True,
        ),
    ]  # fmt: skip


class ProblemOptions(AskOptions, PipelineOptions, total=False):
    """Options of solving and of evaluation."""

    temperature: Annotated[float | None, Option("T", "0: greedy; default: 0, or 1 with several samples.")]
    prices: Annotated[
        str | Path | None,
        Option("FILE", "What a million tokens of each model cost.", 'For `fields["cost"]`; None: as the server says.'),
    ]
    page: Annotated[
        int | str | Sequence[int | str] | None,
        Option(
            "N", "Pages of a PDF, as 2-5; page or frame of a picture's file.",
            'From 1, several as `"2-5,9"` or a list; None: the first, of a document the first 32.', is_repeated=True,
        ),
    ]  # fmt: skip
    fps: Annotated[float | None, Option("RATE", "Frames a second of a clip. Default: 1, from 4 to 32.")]
    frames: Annotated[int | None, Option("N", "So many frames of a clip, from its first to its last.", min=1)]


class SolveOptions(ProblemOptions, ToolOptions, total=False):
    """Options of `virc solve` and `virc batch`, and of their functions."""

    samples: Annotated[int, Option("N", "Answers; the commonest is given.", default=1, min=1, max=1000)]
    strategy: Annotated[
        str | None,
        Option(
            "NAME[:K=V,...]", "How the answer is found, such as majority:n=8.", "In place of `samples`.",
            is_repeated=True,
        ),
    ]  # fmt: skip
    max_requests: Annotated[
        int | None,
        Option(
            "N", "Most replies of one solution, rejected ones too.",
            "Near the end the model is asked to answer.", min=1,
        ),
    ]  # fmt: skip
    max_tokens_total: Annotated[
        int | None,
        Option(
            "N", "Most tokens of one solution, read and drawn.", "Near the end the model is asked to answer.", min=1
        ),
    ]  # fmt: skip
    at: Annotated[
        float | str | Sequence[float | str] | None,
        Option("TIME", "Frames of a clip at times as 1:02.5; repeatable.", "Or in seconds.", is_repeated=True),
    ]
    trace: Annotated[str | Path | None, Option("DIR", "Write conversation, images and a page here.")]
