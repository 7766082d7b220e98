"""Serves a model that looks for itself: an agent endpoint in front of an engine, or with the model in this process."""

import os
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from virc.backends.interface import Backend
from virc.config import user as user_config
from virc.core.errors import SetupError, UsageError, VircError
from virc.core.plan import Plan
from virc.models import load as opened
from virc.models.load import Choice
from virc.models.registry import Weights
from virc.reasoning.protocol import Protocol
from virc.serving import settings as serve
from virc.serving.settings import Config
from virc.solving.one import SolveConfig
from virc_cli import serving_here, serving_vllm
from virc_cli.console import endpoint, output, plans

if TYPE_CHECKING:
    from virc.serving.agent.connections import Server

_SECONDS = 600.0
_LAST = 5.0  # seconds that a step of a model may still take
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_OWN = frozenset({"host", "port", "name", "api_key", "images"})


class Agent(msgspec.Struct, frozen=True):
    """What an agent endpoint is asked to be.

    Args:
        endpoint: the server that draws replies; None: the model is served here too.
        key: sent to that server only.
        concurrency: problems that are solved at a time; None: as many as suit the engine.
        timeout: seconds for a problem, its wait included.
        max_tokens: longest reply; None: as the model's chat protocol says.
    """

    endpoint: str | None = None
    key: str | None = None
    concurrency: int | None = None
    timeout: float = _SECONDS
    max_tokens: int | None = None


class _Looking(msgspec.Struct, frozen=True):
    """A model that looks.

    Args:
        name: what clients call it.
        backend: draws its replies.
        protocol: its chat protocol.
        at_once: problems that are solved at a time.
        context: longest conversation in tokens, where that is known.
    """

    name: str
    backend: Backend
    protocol: Protocol
    at_once: int
    context: int | None


def asked(
    agent: bool,
    model: str | None,
    url: str | None,
    concurrency: int | None,
    timeout: float | None,
    max_tokens: int | None = None,
) -> Agent | None:
    """What was asked for, completed by environment and config file; None: no agent endpoint.

    Raises:
        UsageError, ConfigError: an option, a variable or the config file is wrong.
    """
    if model is None and url is None:
        raise UsageError("which model?", "virc serve tiny")
    if not agent:
        options = {"endpoint": url, "concurrency": concurrency, "timeout": timeout, "max-tokens": max_tokens}
        foreign = [name for name, value in options.items() if value is not None]
        if foreign:
            raise UsageError(f"--{foreign[0]} means nothing without --agent", "add --agent")
        return None
    file = user_config.read(user_config.config_path(os.environ))
    flags = {"endpoint": url, "timeout": timeout, "max_tokens": max_tokens}
    wanted = user_config.values(user_config.resolve(flags, os.environ, file))
    seconds = wanted.timeout or _SECONDS
    if url is None:
        return Agent(concurrency=concurrency, timeout=seconds, max_tokens=wanted.max_tokens)
    return Agent(wanted.endpoint, wanted.api_key, concurrency, seconds, wanted.max_tokens)


def behind(config: Config) -> Config:
    """How the engine of an agent endpoint is served: to this machine alone, with a key that nobody else knows."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port: int = place.getsockname()[1]
    return msgspec.structs.replace(config, host="127.0.0.1", port=port, api_key=secrets.token_urlsafe(32))


def in_front(agent: Agent, choice: Choice, settings: Mapping[str, Any], dry_run: bool, as_json: bool) -> None:
    """Serve in front of a server that runs, until it is interrupted.

    Args:
        choice: which of its models, and the chat protocol.
        settings: those of `Config` that were chosen.

    Raises:
        UsageError: one of them means nothing here.
        ConfigError: the port is in use, or the server refuses.
        NetworkError: the server is down.
        KeyboardInterrupt: it was asked to end, and has ended.
    """
    foreign = sorted(settings.keys() - _OWN)
    if foreign:
        option = foreign[0].replace("_", "-")
        raise UsageError(f"--{option} means nothing with --endpoint", "give it to the server that runs there")
    config = Config(**settings)
    serve.looks(config.images)
    if dry_run:
        show_plan(config, config.name or choice.model, str(agent.endpoint), None, as_json)
        return
    _check_extras()
    choice = msgspec.structs.replace(
        choice, endpoint=agent.endpoint, api_key=agent.key, timeout=agent.timeout
    )
    with endpoint.taken(config) as place:
        _serve(_at(choice, agent, config.name), config, agent, place, as_json)


def by_vllm(
    agent: Agent, config: Config, engine: Config, plan: Plan, choice: Choice, log: Path, as_json: bool
) -> None:
    """Serve in front of a vLLM that is started for it, until it is interrupted.

    Args:
        config: of this endpoint.
        engine: of vLLM, as `behind` has it.
        choice: the chat protocol; `model` is what the engine calls the model.

    Raises:
        ConfigError: the port is in use.
        EngineError: vLLM ended.
        KeyboardInterrupt: it was asked to end, and has ended.
    """
    name = choice.model
    assert name is not None
    _check_extras()
    choice = msgspec.structs.replace(
        choice, endpoint=endpoint.url(engine), api_key=engine.api_key, timeout=agent.timeout
    )
    with (
        endpoint.taken(config) as place,
        serving_vllm.ready(engine, plan, name, log) as process,
    ):
        looking = _at(choice, agent, None)
        _serve(looking, config, agent, place, as_json, process.wait, log)
        code = process.wait()
    raise serving_vllm.ended(log, code)


def here(
    agent: Agent, config: Config, weights: Weights, choice: Choice, dry_run: bool, as_json: bool
) -> None:
    """Serve with the model in this process, until it is interrupted.

    Args:
        choice: `--protocol` and `--family`.

    Raises:
        ConfigError: the port is in use, or the model cannot be loaded.
        SetupError: an extra is missing, or device or memory do not do.
        KeyboardInterrupt: it was asked to end, and has ended.
    """
    protocol = opened.spoken_here(weights, choice).chat_protocol.protocol
    if dry_run:
        show_plan(config, serve.served_name(config, weights), "transformers", None, as_json)
        return
    _check_extras()
    with endpoint.taken(config) as place:
        backend = serving_here.loaded(config, weights)
        at_once = agent.concurrency or 1
        if at_once > 1:
            backend.draw_together()
        name = serve.served_name(config, weights)
        looking = _Looking(name, backend, protocol, at_once, backend.context)
        _serve(looking, config, agent, place, as_json)


def _at(choice: Choice, agent: Agent, name: str | None) -> _Looking:
    """The model of a server."""
    found = opened.open_model(choice)
    for warning in found.warnings:
        output.warn(warning)
    at_once = agent.concurrency or found.at_once
    return _Looking(name or found.name, found.backend, found.chat_protocol.protocol, at_once, found.context)


def _check_extras() -> None:
    try:
        import fastapi  # noqa: F401
        import httpcore2  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        message = f"--agent needs fastapi, uvicorn and httpcore2: {error}"
        raise SetupError(message, "pip install 'virc[serve]'") from None


def _serve(
    looking: _Looking,
    config: Config,
    agent: Agent,
    place: socket.socket,
    as_json: bool,
    engine: Callable[[], object] | None = None,
    log: Path | None = None,
) -> None:
    """Answer until a signal comes.

    Args:
        engine: returns when what draws the replies has ended; then this server ends too.
        log: the file that it writes to.
    """
    from virc.serving.agent import connections, server
    from virc.serving.agent.desk import Solving

    turns, inputs = serve.looks(config.images)
    solving = Solving(
        looking.backend,
        looking.protocol,
        SolveConfig(timeout=agent.timeout, max_turns=turns, max_tokens=agent.max_tokens),
        looking.at_once,
    )
    served = server.Served(solving, looking.name, inputs, looking.context, config.api_key, _trouble)
    level = "error" if os.environ.get("VIRC_DEBUG") else "critical"
    made = server.app(served)
    running = connections.server(made, _ending, level)
    if engine:
        threading.Thread(target=_end_with, args=(engine, running), daemon=True).start()
    if config.host not in _LOOPBACK and not config.api_key:
        output.warn(f"whoever reaches {config.host} can ask this model", "--api-key KEY")
    place.listen(connections.CONNECTIONS)
    endpoint.announce(config, looking.name, str(log) if log else None, as_json, looks=True)
    try:
        running.run([place])
    finally:
        made.state.desk.wait(0 if running.force_exit else _LAST)


def _end_with(engine: Callable[[], object], running: "Server") -> None:
    engine()
    running.should_exit = True


def _ending(waiting: int) -> None:
    answers = "1 answer is" if waiting == 1 else f"{waiting} answers are"
    output.note(f"ending: {answers} still waited for; Ctrl-C again ends it at once")


def _trouble(error: Exception) -> None:
    """What clients are not told: it stands on stderr, where the server was started."""
    message = error.message if isinstance(error, VircError) else f"internal: {type(error).__name__}: {error}"
    output.warn(f"a request failed: {message}")


def show_plan(config: Config, name: str | None, by: str, plan: Plan | None, as_json: bool) -> None:
    """Print what would be served.

    Args:
        name: what clients would call the model; None: as the server behind calls it.
        by: where the replies come from.
        plan: what would be started for it.
    """
    turns, inputs = serve.looks(config.images)
    if as_json:
        started = plans.fields(plan) if plan else {"command": None, "environment": {}, "files": {}}
        told = {"url": endpoint.url(config), "model": name, "turns": turns, "inputs": inputs}
        output.emit({"schema": "virc.serve.plan/1", "engine": by, **started, "agent": told, "error": None})
        return
    if plan:
        plans.show(plan)
        output.line("")
    output.line(f"# in this process: the loop, with replies from {by}")
    output.line(f"url={endpoint.url(config)}")
    output.line(f"# at most {turns} turns, about {inputs} image{'s' * (inputs > 1)} of a chat")
