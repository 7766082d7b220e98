"""The options of `virc solve`, `batch`, `eval` and `serve` and of their functions, each in one place.

A function has them by `@with_options`, a command by `@asking`; rooms get them by the fields of the same names of
`Choice`, `SolveConfig`, `EvalRequest` and `serve.Config`. Nothing that takes time is imported.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

from virc.config.declared import Option

Count = int | None
File = str | Path | None
Number = float | None
Text = str | None
Engine = Literal["vllm", "transformers", "llamacpp"]
NumberType = Literal["auto", "bfloat16", "float16", "float32"]
Traces = Literal["wrong", "all", "none"]
"""Which answers keep their trace."""


class RequestOptions(TypedDict, total=False):
    """How a model is prompted and asked."""

    system: Annotated[File, Option("SYSTEM", "System that the model belongs to.", "If its name does not say so.")]
    protocol: Annotated[File, Option("FILE", "Chat protocol of the model; `default`: that of virc.")]
    family: Annotated[Text, Option("NAME", "Family of a stock model, such as qwen3-vl.")]
    extra_body: Annotated[Mapping[str, Any] | Text, Option("JSON", "Further fields of requests to the endpoint.")]
    thinking: Annotated[Literal["on", "off"] | None, Option("on|off", "Whether the endpoint's model thinks.")]


class ModelOptions(RequestOptions, total=False):
    """Which model is opened."""

    endpoint: Annotated[Text, Option("URL", "OpenAI-compatible server; `none`: no server.", "None: in this process.")]
    api_key: Annotated[Text, Option(more="Sent to that endpoint only.")]
    device: Annotated[Text, Option("DEVICE", "cpu, cuda, cuda:N or mps; default: the best found.")]
    max_pixels: Annotated[Count, Option("PIXELS", "Most pixels of an image.", min=1)]


class ToolOptions(TypedDict, total=False):
    """What a model is offered besides its chat protocol's tools."""

    tools: Annotated[Iterable[str], Option("+NAME", "Offer this custom tool as well; repeatable.", "", (), many=True)]


class LoadOptions(ModelOptions, ToolOptions, total=False):
    """Options of `virc.load`."""


class ReplyOptions(TypedDict, total=False):
    """Limits of a reply."""

    max_tokens: Annotated[Count, Option("N", "Most tokens of a reply.", min=1)]


class AskOptions(ModelOptions, ReplyOptions, total=False):
    """Options of everything that asks models about images."""

    max_turns: Annotated[int, Option("N", "Most turns of one solution.", default=16, min=1, max=1000)]
    seed: Annotated[int, Option("N", "Random seed.", default=0, min=0)]
    offline: Annotated[bool, Option(help="Fetch no image from the network.", default=False)]
    timeout: Annotated[Number, Option("SECONDS", "Longest time for one problem.")]
    ignore: Annotated[
        Iterable[str], Option("NAME", "Leave out weights, settings or fields that nothing reads.", "", (), many=True)
    ]


class PipelineOptions(TypedDict, total=False):
    """Options of an answer by several models."""

    pipeline: Annotated[
        File, Option("FILE|SYSTEM", "Solve by its Python function.", '`fields["steps"]` has what each step gave.')
    ]
    roles: Annotated[
        Mapping[str, str | Path],
        Option("NAME=WHO", "A role's server URL or model; repeatable.", "", {}, name="role", many=True),
    ]


class ProblemOptions(AskOptions, PipelineOptions, total=False):
    """Options of solving and of evaluation."""

    temperature: Annotated[Number, Option("T", "0: greedy; default: 0, or 1 with several samples.")]
    min_p: Annotated[Number, Option("P", "Leave out tokens under P times the likeliest's share.", min=0, max=1)]
    prices: Annotated[File, Option("FILE", "What a million tokens of each model cost.", "None: as its server says.")]
    page: Annotated[
        int | str | Sequence[int | str] | None,
        Option(
            "N", "Pages of a PDF, as 2-5; page or frame of a picture's file.",
            "Or a list. None: the first; of a document, the first 32.", many=True,
        ),
    ]  # fmt: skip
    fps: Annotated[Number, Option("RATE", "Frames a second of a clip. Default: 1, from 4 to 32.")]
    frames: Annotated[Count, Option("N", "So many frames of a clip, from its first to its last.", min=1)]


class SolveOptions(ProblemOptions, ToolOptions, total=False):
    """Options of one answer; near the end of its requests or tokens, the model is asked to answer."""

    samples: Annotated[int, Option("N", "Answers; the commonest is given.", default=1, min=1, max=1000)]
    strategy: Annotated[Text, Option("NAME[:K=V,...]", "How the answer is found, such as majority:n=8.", many=True)]
    max_requests: Annotated[Count, Option("N", "Most replies of one solution, rejected ones too.", min=1)]
    max_tokens_total: Annotated[Count, Option("N", "Most tokens of one solution, read and drawn.", min=1)]
    at: Annotated[
        float | str | Sequence[float | str] | None,
        Option("TIME", "Frames of a clip at times as 1:02.5; repeatable.", "Or in seconds.", many=True),
    ]
    trace: Annotated[File, Option("DIR", "Write conversation, images and a page here.")]


class RowOptions(TypedDict, total=False):
    """Options of rows that are asked."""

    trust_rows: Annotated[bool, Option(help="Rows may name any file, and private addresses.", default=False)]
    concurrency: Annotated[Count, Option("N", "Rows at a time; default: by the kind of server.", min=1, max=1024)]
    max_cost: Annotated[Number, Option("AMOUNT", "Stop once rows cost that much, without judges of answers.", min=0)]


class BatchOptions(SolveOptions, RowOptions, total=False):
    """Options of many answers."""

    columns: Annotated[
        Mapping[str, str],
        Option("FIELD=NAME", "Column of id, image, question or choices; repeatable.", "", {}, name="column", many=True),
    ]


class EvalOptions(ProblemOptions, RowOptions, total=False):
    """Options of an evaluation."""

    to: Annotated[File, Option("DIR", "Write here; default evals/BENCHMARK[-ABLATION].")]
    limit: Annotated[Count, Option("N", "Ask only the first N problems.", min=1)]
    split: Annotated[Text, Option("NAME", "Part of the benchmark.")]
    columns: Annotated[
        Mapping[str, str],
        Option(
            "FIELD=NAME",
            "Column of id, image, question, choices, answer; repeatable.",
            "Of a file of rows.",
            {},
            name="column",
            many=True,
        ),
    ]
    judge_endpoint: Annotated[
        Text,
        Option("[NAME=]URL", "Server of a judge; NAME is of reward.judges.", "Its key is `VIRC_JUDGE_KEY`.", many=True),
    ]
    judge_model: Annotated[Text, Option("NAME", "Model of the judge; default: the only one.")]
    judge_endpoints: Annotated[
        Mapping[str, str],
        Option(more="Of further judges, by their names in the reward that grades.", default={}, name="judge_endpoint"),
    ]
    traces: Annotated[Traces, Option(help="Keep the traces of these answers.", default="wrong")]
    crop_ablation: Annotated[
        Literal["none", "blank", "counterfactual"],
        Option(help="Cut crops from blank paper or from the counterfactual.", default="none"),
    ]
    looks: Annotated[bool, Option(help="Test whether the model looks and its crops matter.", default=False)]
    against_run: Annotated[File, Option("RUN|ROWS", "Count problems whose picture was trained on.")]
    sign: Annotated[File, Option("KEY", "Sign results with this key of ssh-keygen or minisign.")]
    seeds: Annotated[int, Option("N", "Ask with N seeds, and give the spread.", "From `seed`.", 1, min=1, max=1000)]
    samples: Annotated[int, Option("N", "Answers per problem; the commonest counts.", default=1, min=1, max=1000)]
    strategy: Annotated[
        str | Sequence[str] | None,
        Option("NAME[:K=V,...]", "How the answer is found, such as majority:n=8; repeatable.", many=True),
    ]
    environment: Annotated[bool, Option(help="BENCHMARK is an installed environment of verifiers.", default=False)]
    environment_args: Annotated[Mapping[str, Any] | None, Option("JSON", "Arguments of the environment.")]
    answer_as: Annotated[Text, Option("TEXT", "Reply shown to an environment, of {answer} and {reply}.", "None: both.")]


class ServeOptions(RequestOptions, ReplyOptions, PipelineOptions, total=False):
    """Options of a server; None is the default that the text names."""

    agent: Annotated[bool, Option(help="Run the tool loop in the server, for any OpenAI client.", default=False)]
    endpoint: Annotated[Text, Option("URL", "--agent: server that draws the replies.")]
    endpoint_key: Annotated[Text, Option(more="API key of that server.")]
    concurrency: Annotated[Count, Option("N", "--agent: problems at a time. Default: by server.", min=1, max=1024)]
    timeout: Annotated[Number, Option("SECONDS", "--agent: time limit of a problem. Default: 600.")]
    engine: Annotated[Engine | None, Option(help="Default: llamacpp for a .gguf, vllm on Linux.")]
    host: Annotated[Text, Option("ADDRESS", "Address to listen on. Default: 127.0.0.1.")]
    port: Annotated[Count, Option("N", "Port. Default: 8000.", min=1, max=65_535)]
    name: Annotated[Text, Option("NAME", "Model name for clients. Default: its name.")]
    api_key: Annotated[str | Sequence[str] | None, Option(more="API key for clients; of an agent: one each.")]
    device: Annotated[Literal["cpu", "cuda", "mps"] | None, Option(help="Default: the best found.")]
    dtype: Annotated[NumberType | None, Option(help="Of weights. Default: as in the model's config.")]
    max_model_len: Annotated[Count, Option("TOKENS", "Longest conversation. Default: the model's.", min=1)]
    limit_images: Annotated[Count, Option("N", "Images of a conversation. Default: 20; judges: 4.", min=1, max=1000)]
    tensor_parallel_size: Annotated[Count, Option("N", "vLLM: GPUs that share each layer. Default: 1.", min=1)]
    pipeline_parallel_size: Annotated[Count, Option("N", "vLLM: GPUs that split the layers. Default: 1.", min=1)]
    data_parallel_size: Annotated[Count, Option("N", "vLLM: copies of the model. Default: 1.", min=1)]
    gpu_memory_utilization: Annotated[
        Number, Option("SHARE", "vLLM: share of GPU memory. Default: 0.9.", min=0.05, max=1)
    ]
    gpus: Annotated[Sequence[int] | None, Option("N,N", "vLLM: GPUs, by number. Default: the first.")]
    cache_gib: Annotated[Count, Option(more="GiB of main memory for keys and values, on the CPU.")]
    image_cache: Annotated[Number, Option("GIB", "vLLM: cache for repeated images. Default: 4; 0: off.", min=0)]
