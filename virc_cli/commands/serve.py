"""`virc serve`: an OpenAI-compatible endpoint for a model, by vLLM or in this process."""

import re
from typing import TYPE_CHECKING, Annotated, Any

from virc.config.options import ServeOptions
from virc.core.errors import UsageError
from virc_cli.console import completion, events, options, output
from virc_cli.console.asking import Asked, asking
from virc_cli.console.options import argument, flag, option

if TYPE_CHECKING:
    from collections.abc import Mapping

    from virc.serving.plan import Agent, ServePlan, ServeRequest
    from virc.serving.start import Server

FAILURE: dict[str, object] = {"url": None, "model": None, "log": None}
_PLAN, _SERVED = "virc.serve.plan/1", "virc.serve/1"
_NO_COMMAND: dict[str, object] = {"command": None, "environment": {}, "files": {}}


@asking(ServeOptions)
def command(
    asked: Asked,
    model: Annotated[
        str | None,
        argument("MODEL", "Model, run, adapter or judge, or a served name.", autocompletion=completion.models),
    ] = None,
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
    dry_run: Annotated[bool, flag("--dry-run", "Print what would be started; start nothing.")] = False,
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

    pipeline, system = asked.pipeline, asked.system
    if asked.agent:
        pipeline, system = choose(pipeline, system, alone=True)
    settings = planning.settings_of({**asked.flags, "api_key": _keys(api_key), "gpus": None})
    settings = {**settings, **_gpus(asked.gpus, settings)}
    roles = options.named_roles(pipeline, asked.role or (), {})
    agent = _agent(asked, model, pipeline, roles)
    request = planning.ServeRequest(model, system, asked.protocol, asked.engine, settings, agent, asked.family)
    with events.printed(asked.quiet, verbose) as report:
        if dry_run:
            _show(request, planning.prepare(request, report, dry_run=True), as_json)
            return
        share_arena()
        server = serving.start(request, report.send)
    _announce(server, asked.agent, asked.quiet, as_json)
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


def _agent(asked: Asked, model: str | None, pipeline: str | None, roles: "Mapping[str, str]") -> "Agent | None":
    """The agent's settings, completed by environment and config file; None without `--agent`."""

    from virc.config import user
    from virc.serving.plan import SECONDS, Agent

    flags = {name: asked.flags[name] for name in ("endpoint", "timeout", "max_tokens", "extra_body", "thinking")}
    endpoint, concurrency = asked.endpoint, asked.concurrency
    if model is None and endpoint is None and pipeline is None:
        if asked.agent:
            raise UsageError("--agent needs a model or --endpoint", "virc serve tiny --agent")
        raise UsageError("which model?", "virc serve tiny")
    if not asked.agent:
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
