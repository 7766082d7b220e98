"""`virc serve`: an OpenAI-compatible endpoint for a model, by vLLM or in this process."""

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from virc.core.errors import UsageError
from virc_cli.console import completion, events, options, output
from virc_cli.console.options import argument, choice, flag, option

if TYPE_CHECKING:
    from collections.abc import Mapping

    from virc.serving.plan import Agent, ServePlan, ServeRequest
    from virc.serving.start import Server

FAILURE: dict[str, object] = {"url": None, "model": None, "log": None}
_PLAN, _SERVED = "virc.serve.plan/1", "virc.serve/1"
_NO_COMMAND: dict[str, object] = {"command": None, "environment": {}, "files": {}}


def command(
    model: Annotated[
        str | None,
        argument("MODEL", "Model, run, adapter or judge, or a served name.", autocompletion=completion.models),
    ] = None,
    agent: Annotated[bool, flag("--agent", "Run the tool loop in the server, for any OpenAI client.")] = False,
    endpoint: Annotated[str | None, option("URL", "--agent: server that draws the replies.")] = None,
    concurrency: Annotated[
        int | None, option("N", "--agent: problems at a time. Default: by server.", min=1, max=1024)
    ] = None,
    timeout: Annotated[float | None, option("SECONDS", "--agent: time limit of a problem. Default: 600.")] = None,
    engine: Annotated[
        Literal["vllm", "transformers", "llamacpp"] | None, choice("Default: llamacpp for a .gguf, vllm on Linux.")
    ] = None,
    host: Annotated[str | None, option("ADDRESS", "Address to listen on. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, option("N", "Port. Default: 8000.", min=1, max=65_535)] = None,
    name: Annotated[str | None, option("NAME", "Model name for clients. Default: its name.")] = None,
    api_key: Annotated[
        list[str] | None,
        option(
            "env:NAME|file:PATH|KEY",
            "API key for clients; --agent: one each.",
            envvar="VIRC_SERVE_KEY",
            show_envvar=True,
            callback=options.read_keys,
        ),
    ] = None,
    device: Annotated[Literal["cpu", "cuda", "mps"] | None, choice("Default: the best found.")] = None,
    dtype: Annotated[
        Literal["auto", "bfloat16", "float16", "float32"] | None,
        choice("Of weights. Default: as in the model's config."),
    ] = None,
    max_model_len: Annotated[int | None, option("TOKENS", "Longest conversation. Default: the model's.", min=1)] = None,
    limit_images: Annotated[
        int | None, option("N", "Images of a conversation. Default: 20; judges: 4.", min=1, max=1000)
    ] = None,
    tensor_parallel_size: Annotated[
        int | None, option("N", "vLLM: GPUs that share each layer. Default: 1.", min=1)
    ] = None,
    pipeline_parallel_size: Annotated[
        int | None, option("N", "vLLM: GPUs that split the layers. Default: 1.", min=1)
    ] = None,
    data_parallel_size: Annotated[int | None, option("N", "vLLM: copies of the model. Default: 1.", min=1)] = None,
    gpu_memory_utilization: Annotated[
        float | None, option("SHARE", "vLLM: share of GPU memory. Default: 0.9.", min=0.05, max=1)
    ] = None,
    gpus: Annotated[str | None, option("N,N", "vLLM: GPUs, by number. Default: the first.")] = None,
    image_cache: Annotated[
        float | None, option("GIB", "vLLM: cache for repeated images. Default: 4; 0: off.", min=0)
    ] = None,
    system: options.System = None,
    protocol: options.Protocol = None,
    family: options.Family = None,
    max_tokens: options.MaxTokens = None,
    extra_body: options.ExtraBody = None,
    thinking: options.Thinking = None,
    pipeline: options.Pipeline = None,
    role: options.Role = None,
    dry_run: Annotated[bool, flag("--dry-run", "Print what would be started; start nothing.")] = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    as_json: options.Json = False,
) -> None:
    """Serve a model at an OpenAI-compatible endpoint.

    The address is printed when the model has given a first answer; Ctrl-C ends the server. Clients get the model's chat
    protocol from /v1/models, so `virc solve --endpoint URL` needs nothing else. With --agent the server runs the tool
    loop itself and has a web page at its address. With --agent and --pipeline, several models answer together; MODEL
    or --endpoint is that of roles without one.
    """
    from virc.core.limits.image_memory import share_arena
    from virc.serving import plan as planning
    from virc.serving import start as serving
    from virc.solving.solver import choose

    if agent:
        pipeline, system = choose(pipeline, system, alone=True)
    chosen = {
        "host": host, "port": port, "name": name, "device": device, "dtype": dtype, "max_model_len": max_model_len,
        "limit_images": limit_images, "tensor_parallel_size": tensor_parallel_size,
        "pipeline_parallel_size": pipeline_parallel_size, "data_parallel_size": data_parallel_size,
        "gpu_memory_utilization": gpu_memory_utilization, "image_cache": image_cache, "api_key": _keys(api_key),
    }  # fmt: skip
    settings = {key: value for key, value in chosen.items() if value is not None}
    settings = {**settings, **_gpus(gpus, settings)}
    roles = options.named_roles(pipeline, role or (), {})
    flags = {"endpoint": endpoint, "timeout": timeout, "max_tokens": max_tokens}
    flags |= {"extra_body": extra_body, "thinking": thinking}
    agent_settings = _agent(agent, model, flags, concurrency, pipeline, roles)
    request = planning.ServeRequest(model, system, protocol, engine, settings, agent_settings, family)
    with events.printed(quiet, verbose) as report:
        if dry_run:
            _show(request, planning.prepare(request, report, dry_run=True), as_json)
            return
        share_arena()
        server = serving.start(request, report.send)
    _announce(server, agent, quiet, as_json)
    output.ends_when_stopped(f"{server.model} is served no more")
    server.wait()


def _keys(given: list[str] | None) -> str | tuple[str, ...] | None:
    keys = tuple(filter(None, given or ()))
    return keys if len(keys) > 1 else next(iter(keys), None)


def _gpus(named: str | None, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings for `--gpus 4,5,6,7`: those GPUs share each layer unless another split was chosen."""
    if named is None:
        return {}
    words = [word.strip() for word in named.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,4}", word) for word in words) or len({*map(int, words)}) < len(words):
        raise UsageError(f"--gpus {named[:60]} is not a list of numbers", "for example --gpus 4,5,6,7")
    split = any(key.endswith("parallel_size") for key in settings)
    return {"gpus": tuple(map(int, words))} | ({} if split else {"tensor_parallel_size": len(words)})


def _agent(
    agent: bool, model: str | None, flags: "Mapping[str, Any]", concurrency: int | None,
    pipeline: str | None, roles: "Mapping[str, str]",
) -> "Agent | None":  # fmt: skip
    """The agent's settings, completed by environment and config file; None without `--agent`."""

    from virc.config import user
    from virc.serving.plan import SECONDS, Agent

    endpoint = flags["endpoint"]
    if model is None and endpoint is None and pipeline is None:
        if agent:
            raise UsageError("--agent needs a model or --endpoint", "virc serve tiny --agent")
        raise UsageError("which model?", "virc serve tiny")
    if not agent:
        agents = {**flags, "concurrency": concurrency, "pipeline": pipeline}
        foreign = [name.replace("_", "-") for name, value in agents.items() if value is not None]
        if foreign:
            raise UsageError(f"--{foreign[0]} means nothing without --agent", "add --agent")
        return None
    resolved = user.chosen(flags)
    user.check_endpoint(resolved, endpoint)
    found = user.values(resolved)
    return Agent(
        endpoint=found.endpoint if endpoint else None,
        key=found.api_key if endpoint or pipeline else None,
        concurrency=concurrency,
        timeout=found.timeout or SECONDS,
        max_tokens=flags["max_tokens"] if pipeline else found.max_tokens,  # roles have limits of their own
        pipeline=pipeline,
        roles=roles,
        extra_body=found.extra_body if endpoint else None,
        thinking=found.thinking if endpoint else None,
    )


def _announce(server: "Server", agent: bool, quiet: bool, as_json: bool) -> None:
    if as_json:
        log = str(server.log) if server.log else None
        output.emit(_SERVED, {"url": server.url, "model": server.model, "log": log})
        return
    output.line(server.url)
    usage = f"VIRC_ENDPOINT={server.url} virc solve picture.png 'question'"
    if agent:
        usage = f"use any OpenAI client, or open {server.url.removesuffix('v1')}"
    if not quiet:
        output.note(f"{server.model} is ready; Ctrl-C ends it. {usage}")


def _show(request: "ServeRequest", plan: "ServePlan", as_json: bool) -> None:
    from virc.serving import address
    from virc.serving.settings import turns_and_inputs
    from virc_cli.console import output, plans

    url = address.url(plan.config)
    turns, inputs = turns_and_inputs(plan.config.limit_images) if request.agent else (0, 0)
    if as_json:
        process = plans.fields(plan.vllm.plan) if plan.vllm else _NO_COMMAND
        loop = {"agent": {"url": url, "model": plan.name, "turns": turns, "inputs": inputs}}
        output.emit(_PLAN, {"engine": plan.source, **process, **(loop if request.agent else {})})
        return
    if plan.vllm:
        plans.show(plan.vllm.plan)
    if plan.solver:
        output.line(f"# in this process: the steps of {plan.solver.name}")
        output.lines(f"{name}={who}" for name, who in plan.solver.models.items())
    elif request.agent:
        output.line(("\n" if plan.vllm else "") + f"# in this process: the tool loop, with replies from {plan.source}")
    if request.agent:
        output.line(f"url={url}")
        output.line(f"# at most {turns} turns, about {inputs} image{'s' * (inputs > 1)} of a chat")
    elif plan.weights and not plan.vllm:
        by = "llama.cpp" if plan.source == "llamacpp" else "transformers, one request at a time"
        output.line(f"# no command: served in this process by {by}")
        file = plan.weights.gguf and plan.weights.gguf.file
        output.line(f"{plan.name}={file or plan.weights.adapter or plan.weights.folder}")
        output.line(f"url={url}")
        output.line(f"\n# sent to clients\n{plan.published}")
