"""`virc serve`: an OpenAI-compatible endpoint for a model, by vLLM or in this process."""

from enum import StrEnum
from typing import Annotated, Literal

import typer

from virc_cli.console.options import Family, Json, MaxTokens, Protocol, System

FAILURE: dict[str, object] = {"url": None, "model": None, "log": None}


class DeviceName(StrEnum):
    """Where an engine runs."""

    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class Dtype(StrEnum):
    """Of weights and activations."""

    auto = "auto"
    bfloat16 = "bfloat16"
    float16 = "float16"
    float32 = "float32"


def command(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Folder, short name, hub id, run, RUN@STEP, adapter or judge; with --endpoint, the name it serves.",
            show_default=False,
        ),
    ] = None,
    agent: Annotated[
        bool,
        typer.Option(
            "--agent", help="The model looks for itself: any OpenAI client gets thoughts and an answer."
        ),
    ] = False,
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="--agent: in front of this OpenAI-compatible server; VIRC_API_KEY is sent to it.",
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            metavar="N",
            help="--agent: problems at a time. Default 32 on vLLM and SGLang, else 16 on an endpoint, 1 for "
            "transformers, which takes that many in one batch.",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="--agent: longest time for a problem, its wait included. Default: 600."
        ),
    ] = None,
    engine: Annotated[
        Literal["vllm", "transformers"] | None,
        typer.Option(
            help="transformers: in this process, one request at a time. Default: vllm, where there is one."
        ),
    ] = None,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Where to listen. Default: 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65_535, metavar="N", help="Port. Default: 8000.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What clients call the model. Default: its name.")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", envvar="VIRC_SERVE_KEY", help="Clients must send it.", show_envvar=True),
    ] = None,
    device: Annotated[DeviceName | None, typer.Option(help="Default: the best found.")] = None,
    dtype: Annotated[Dtype | None, typer.Option(help="Of weights. Default: auto, as the model says.")] = None,
    context: Annotated[
        int | None,
        typer.Option(
            "--max-model-len", min=1, metavar="TOKENS", help="Longest conversation. Default: the model's."
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            "--limit-images",
            min=1,
            max=1000,
            metavar="N",
            help="Images of one conversation. Default: 20; of a judge: 4.",
        ),
    ] = None,
    tensor: Annotated[
        int | None,
        typer.Option(
            "--tensor-parallel-size",
            min=1,
            metavar="N",
            help="vLLM: GPUs that share every layer. Default: 1.",
        ),
    ] = None,
    pipeline: Annotated[
        int | None,
        typer.Option(
            "--pipeline-parallel-size",
            min=1,
            metavar="N",
            help="vLLM: GPUs that take layers in turn. Default: 1.",
        ),
    ] = None,
    data: Annotated[
        int | None,
        typer.Option(
            "--data-parallel-size", min=1, metavar="N", help="vLLM: copies of the model. Default: 1."
        ),
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(
            "--gpu-memory-utilization",
            min=0.05,
            max=1,
            metavar="SHARE",
            help="vLLM: of each GPU's memory. Default: 0.9.",
        ),
    ] = None,
    gpus: Annotated[
        str | None,
        typer.Option(
            metavar="N,N",
            help="vLLM: numbers of the GPUs to take, which share every layer. Default: the first.",
        ),
    ] = None,
    image_cache: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="GIB", help="vLLM: main memory for images that come again. Default: 4; 0: none."
        ),
    ] = None,
    system: System = None,
    protocol: Protocol = None,
    family: Family = None,
    max_tokens: MaxTokens = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be started, or served; start nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Serve a model until Ctrl-C. Its address is printed when it has given a first answer.

    The chat protocol the model was trained with is told to clients: virc solve --endpoint needs nothing else. With
    --agent the server runs the loop itself, and a page to ask it stands at its address.
    """
    from virc_cli import serving, serving_agent
    from virc_cli.serving import Asked

    chosen = {
        "host": host, "port": port, "name": name, "api_key": api_key, "device": device and device.value,
        "dtype": dtype and dtype.value, "context": context, "images": images, "tensor": tensor,
        "pipeline": pipeline, "data": data, "memory": memory, "image_cache": image_cache,
        **serving.on_gpus(gpus, tensor, pipeline, data),
    }  # fmt: skip
    settings = {key: value for key, value in chosen.items() if value is not None}
    looking = serving_agent.asked(agent, model, endpoint, concurrency, timeout, max_tokens)
    serving.run(Asked(model, system, protocol, engine, settings, looking, family), dry_run, as_json)
