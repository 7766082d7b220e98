"""Serves a model at an OpenAI-compatible endpoint: by vLLM, in this process, or as an agent that runs the tool loop.

`serve` (Python) and `virc serve` make a `ServeRequest`; `prepare` turns it into a `ServePlan`, and `start` starts that
plan: `_vllm`, `_in_process` or `_agent`. An agent answers in this process; its replies are drawn by a model in this
process, by a vLLM that is started for it alone (`_Behind`), by another server, or by the models of a pipeline.
"""

import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, get_args

import msgspec

from virc.config import user
from virc.core import processes
from virc.core.errors import ConfigError, EngineError, SetupError, UsageError
from virc.core.events import OnEvent, Reporter
from virc.core.extras import install
from virc.core.plan import Plan
from virc.core.processes import Process
from virc.core.web.fetch import is_loopback
from virc.engines.vllm import plan as vllm
from virc.envs import environment as environments
from virc.envs import hardware, making
from virc.models import load as opened
from virc.models import registry as models
from virc.models.load import Choice, Opened
from virc.models.local_server import fingerprint
from virc.models.registry import Weights
from virc.reasoning.resize import Grid
from virc.serving import address, vllm_process
from virc.serving import settings as serving
from virc.serving.settings import Engine
from virc.serving.vllm_process import Supervised
from virc.solving.one import SolveConfig
from virc.solving.pipelines import solve as pipelines
from virc.solving.pipelines.files import choose
from virc.solving.pipelines.solve import PipelineSetup
from virc.solving.setup import Setup
from virc.stages.serve import Config

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from virc.backends.llamacpp import LlamaCppBackend
    from virc.backends.local import LocalBackend
    from virc.serving.agent.piped import Piped
    from virc.serving.http_server import Server as AgentServer

SECONDS = 600.0
"""Longest time for a problem of an agent endpoint, in seconds, if none is chosen."""
_LAST_STEP = 5.0  # seconds that a step of a model may still take when an agent endpoint ends
# The settings of an agent endpoint that mean something if its models run elsewhere.
_WITH_ENDPOINT = frozenset({"host", "port", "name", "api_key", "limit_images"})
_WITH_PIPELINE = _WITH_ENDPOINT | {"device"}


class Agent(msgspec.Struct, frozen=True):
    """Settings of an agent endpoint.

    Args:
        endpoint: the server that draws replies; None: the model is served here too.
        key: API key of that server.
        concurrency: problems that are solved at a time; None: as many as suit the engine.
        timeout: seconds for a problem, its wait included.
        max_tokens: longest reply in tokens; None: as the model's chat protocol says.
        pipeline: a Python file or a system that answers by several models; roles without a model get the request's.
        roles: role of the pipeline -> address of its endpoint, or its model.
    """

    endpoint: str | None = None
    key: str | None = None
    concurrency: int | None = None
    timeout: float = SECONDS
    max_tokens: int | None = None
    pipeline: str | None = None
    roles: Mapping[str, str] = {}


class ServeRequest(msgspec.Struct, frozen=True):
    """What to serve.

    Args:
        model: as `virc.models.registry.find` takes it; with `agent.endpoint`, a name which that server lists.
        system, protocol, family: as in `Choice`.
        engine: None: llama.cpp for a GGUF file, else vLLM if it has builds.
        settings: the fields of `Config` that were chosen.
    """

    model: str | None
    system: str | None = None
    protocol: str | None = None
    engine: Engine | None = None
    settings: Mapping[str, Any] = {}
    agent: Agent | None = None
    family: str | None = None

    def choice(self, **changes: Any) -> Choice:
        return Choice(**{"protocol": self.protocol, "family": self.family, **changes})


class ServePlan(msgspec.Struct, frozen=True):
    """What is to be started for a request.

    Args:
        config: settings of the endpoint that clients use.
        name: what clients call the model; None: as the server behind the agent endpoint calls it.
        source: what draws replies: `vllm`, `transformers`, `llamacpp`, `pipeline` or the address of a server.
        published: the facts about the model that clients get, as JSON.
        behind: settings of the vLLM that is started: those of a hidden server behind an agent, else `config`.
        place, plan, log: of that vLLM.
        pipeline: what answers, its roles not open yet.
    """

    config: Config
    name: str | None
    source: str
    weights: Weights | None = None
    published: str = "{}"
    behind: Config | None = None
    place: vllm.Place | None = None
    plan: Plan | None = None
    log: Path | None = None
    pipeline: PipelineSetup | None = None


class Server:
    """A model that is served; either `wait` answers in this thread, or a `with` block in the background.

    Args:
        run: answers requests until `stop` is called or a signal comes.
        resources: closed at the end.

    Attributes:
        url: its address, up to and with `/v1`.
        model: what clients call the model.
        log: the file that its engine writes to.
        failure: why its engine was given up.
    """

    failure: EngineError | None = None

    def __init__(
        self, url: str, model: str, run: Callable[[], None], stop: Callable[[], None], resources: ExitStack,
        log: Path | None = None,
    ) -> None:  # fmt: skip
        self.url, self.model, self.log = url, model, log
        self._run, self._stop, self._resources = run, stop, resources
        self._thread: threading.Thread | None = None
        self._closing = False

    def wait(self) -> None:
        """Answer requests in this thread until a signal comes or the engine ends.

        Raises:
            EngineError: vLLM ended.
            KeyboardInterrupt: a signal came, and everything has ended.
        """
        try:
            self._run()
        finally:
            self.close()

    def close(self) -> None:
        self._closing = True
        self._stop()
        if self._thread:
            self._thread.join()
        self._resources.close()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run_in_thread, name="virc-serve", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """End the server.

        Raises:
            EngineError: vLLM had ended, and the block itself raised no error.
        """
        self.close()
        if self.failure and error:
            error.add_note(self.failure.message)
        elif self.failure:
            raise self.failure

    def _run_in_thread(self) -> None:
        try:
            self._run()
        except EngineError as error:  # clients are refused from then on
            self.failure = None if self._closing else error


def serve(
    model: str | Path | None = None,
    *,
    engine: Engine | None = None,
    agent: bool = False,
    endpoint: str | None = None,
    endpoint_key: str | None = None,
    system: str | Path | None = None,
    protocol: str | Path | None = None,
    family: str | None = None,
    concurrency: int | None = None,
    timeout: float = SECONDS,
    max_tokens: int | None = None,
    pipeline: str | Path | None = None,
    roles: Mapping[str, str | Path] = {},
    on_event: OnEvent | None = None,
    **settings: Any,
) -> Server:
    """Serve a model; returns when it has given a first answer.

        with virc.serve("ViRC-7B", port=8001) as server:
            virc.solve("picture.png", "What is x?", endpoint=server.url)

    Args:
        model: folder, short name, hub id, run, `RUN@STEP`, adapter or judge; with `endpoint`, a name which that lists.
        engine: `vllm`; `transformers`, or `llamacpp` for a GGUF file, in this process; None: vLLM if it has builds.
        agent: run the tool loop in the server, so that any OpenAI client gets thoughts and an answer.
        endpoint, endpoint_key: address and API key of a server that draws the replies of the agent.
        system: the system that the model belongs to, if its name does not say so.
        protocol: chat protocol file, or `default`.
        family: family of a stock model.
        concurrency, timeout, max_tokens: of the agent, as in `Agent`.
        pipeline, roles: of the agent: it answers by the pipeline of this file or system.
        on_event: gets progress and warnings.
        settings: fields of `Config`, such as `host` and `port`.

    Raises:
        UsageError: options that do not go together.
        ConfigError: no such model or chat protocol, or the port is in use.
        SetupError: the model does not fit this machine, or something is missing.
        NetworkError: the endpoint is down.
        EngineError: vLLM ended.
    """
    if endpoint and not agent:
        raise UsageError("endpoint= needs agent=True", "serve(model, agent=True, endpoint=URL)")
    if agent:
        pipeline, system = choose(pipeline, system, alone=True)
    if pipeline is not None and not agent:
        raise UsageError("pipeline= needs agent=True", "serve(agent=True, pipeline=FILE)")
    if roles and pipeline is None:
        raise UsageError("roles= belongs to pipeline=", 'pipeline="FILE.py"')
    model, system, protocol, pipeline = (
        None if each is None else str(each) for each in (model, system, protocol, pipeline)
    )
    agent_settings = None
    if agent:
        role_texts = {name: str(model_or_url) for name, model_or_url in roles.items()}
        agent_settings = Agent(endpoint, endpoint_key, concurrency, timeout, max_tokens, pipeline, role_texts)
    request = ServeRequest(model, system, protocol, engine, settings, agent_settings, family)
    return start(request, on_event)


def start(request: ServeRequest, on_event: OnEvent | None = None) -> Server:
    """Serve what was requested; returns when the model has given a first answer. Errors are those of `serve`."""
    report = Reporter(on_event)
    plan = prepare(request, report)
    with ExitStack() as resources:
        if request.agent:
            server = _agent(plan, request, request.agent, report, resources)
        elif plan.source == "vllm":
            server = _vllm(plan, report, resources)
        else:
            server = _in_process(plan, report, resources)
        resources.pop_all()
    return server


def prepare(request: ServeRequest, report: Reporter, dry_run: bool = False) -> ServePlan:
    """Find the model, check that it can be served here, and create vLLM's environment.

    A dry run creates nothing, and leaves out what depends on the state of this machine.
    """
    host = request.settings.get("host", Config().host)
    if not host or "/" in host:
        raise ConfigError(f"{host!r} is not an address to listen on", "--host 127.0.0.1, or 0.0.0.0 for other machines")
    if request.agent and request.agent.pipeline:
        return _with_pipeline(request, request.agent, request.agent.pipeline)
    if request.agent and request.agent.endpoint:
        config = _config_of_agent(request, _WITH_ENDPOINT, "--endpoint", "give it to the server that runs there")
        return ServePlan(config, config.name or request.model, request.agent.endpoint)
    engine = serving.choose_engine(request.engine, request.model)
    if only_by_llamacpp(engine, request):
        report.note(f"llama.cpp serves {request.model}: {engine} is not installed")
        engine = "llamacpp"
    if engine == "transformers" and request.engine is None:
        report.note("vLLM has no build for this system: transformers serves, one request at a time")
    if engine == "vllm" and not request.agent and isinstance(request.settings.get("api_key"), tuple):
        raise UsageError("vLLM takes one --api-key", "add --agent, or leave all but one out")
    if engine == "vllm" and not dry_run:
        _refuse_large_judge(request)
    weights = models.find(request.model, Path.cwd(), request.system, with_gguf=True)
    if engine == "llamacpp":
        opened.gguf_of(weights)
    if request.agent:
        weights = msgspec.structs.replace(weights, judge=False)  # even a judge calls tools here
    config = serving.configure(engine, request.settings, weights)
    if request.agent:
        serving.turns_and_inputs(config.limit_images)
    name = config.served_name(weights.name)
    if engine != "vllm":
        return ServePlan(config, name, engine, weights, _published(request, weights, image_ids=False))
    published = _published(request, weights, image_ids=config.image_cache > 0)
    config = _with_device(config)
    environment = making.find("serve", config.device)
    if not dry_run:
        address.bound_socket(config).close()  # vLLM would report a port in use only once the model is loaded
        gib = serving.weights_gib(weights.folder, config.dtype)
        others = models.judges(request.model or "", request.system)
        serving.refuse_unfit(config, weights.name, gib, hardware.find(Path.cwd()), others)
        making.made(environment, report.send)
    files = user.cache_folder(os.environ) / "serve" / f"{name}-{config.port}"
    recipes = environments.recipes_place if dry_run else environments.recipes_in
    python = environments.interpreter(environment) or environment.python
    behind = _hidden(config) if request.agent else config
    place = vllm.Place(weights, published, files, python, recipes(environment))
    log = files / "server.log"
    return ServePlan(config, name, engine, weights, published, behind, place, vllm.plan(behind, place), log)


def only_by_llamacpp(engine: Engine, request: ServeRequest) -> bool:
    """Whether a model of the package must be served by llama.cpp: nobody chose an engine, and no other is installed."""
    if request.engine or request.model not in models.embedded() or find_spec("xllamacpp") is None:
        return False
    if engine == "transformers":
        return find_spec("torch") is None
    if find_spec("uv") or request.settings.get("device", "cpu") != "cpu":
        return False
    return engine == "vllm" and environments.interpreter(making.find("serve", "cpu")) is None


def _hidden(config: Config) -> Config:
    """The settings of a server that this process alone can use."""
    key, port = secrets.token_urlsafe(32), address.free_port()
    return msgspec.structs.replace(config, host="127.0.0.1", port=port, api_key=key)


def _with_pipeline(request: ServeRequest, agent: Agent, name: str) -> ServePlan:
    """The plan for a pipeline, whose roles are servers that run, or models of this process."""
    of_one_model = {"system": request.system, "protocol": request.protocol, "family": request.family}
    for setting, value in {**of_one_model, "max_tokens": agent.max_tokens}.items():
        if value is not None:
            option = serving.option_of(setting)
            raise UsageError(f"{option} does not go with --pipeline", "leave one out, or write it to a role")
    config = _config_of_agent(request, _WITH_PIPELINE, "--pipeline", "give it to the server of a role")
    turns, _ = serving.turns_and_inputs(config.limit_images)
    default = Choice(request.model, agent.endpoint, agent.key, device=config.device, timeout=agent.timeout)
    setup = Setup(default, SolveConfig(timeout=agent.timeout, max_turns=turns, keep_images=False), offline=True)
    pipeline = pipelines.set_up(name, agent.roles, setup)
    return ServePlan(config, config.name or pipeline.name, "pipeline", pipeline=pipeline)


def _config_of_agent(request: ServeRequest, allowed: frozenset[str], with_option: str, hint: str) -> Config:
    """The settings of an agent endpoint whose models run elsewhere. Raises UsageError: one is not `allowed`."""
    refused = sorted(request.settings.keys() - allowed)
    if request.engine:
        refused.insert(0, "engine")
    if refused:
        raise UsageError(f"{serving.option_of(refused[0])} means nothing with {with_option}", hint)
    config = Config(**request.settings)
    serving.turns_and_inputs(config.limit_images)
    return config


def _published(request: ServeRequest, weights: Weights, image_ids: bool) -> str:
    """The facts that clients get; a judge is asked in plain chat unless a chat protocol was chosen."""
    plain = weights.judge and request.protocol is None
    prompt_setup = opened.prompt_setup_here(weights, request.choice())
    grid = opened.grid_here(weights, prompt_setup, request.choice())
    # Where the unit of boxes is not known, the protocol is a guess, which is not published.
    protocol = None if plain or prompt_setup.unknown else prompt_setup.chat_protocol.protocol
    return serving.published(grid, protocol, fingerprint(weights), image_ids)


def _with_device(config: Config) -> Config:
    return msgspec.structs.replace(config, device=config.device or environments.default_device())


def _refuse_large_judge(request: ServeRequest) -> None:
    """Refuse a judge that does not fit this machine before it is searched for: the hint there is to download it."""
    name = request.model or ""
    others = models.judges(name, request.system)
    judge = others.get(name)
    if judge and judge.gib:
        config = _with_device(Config(**request.settings))
        serving.refuse_unfit(config, name, judge.gib, hardware.find(Path.cwd()), others)


def _vllm(plan: ServePlan, report: Reporter, resources: ExitStack) -> Server:
    process = resources.enter_context(_vllm_process(plan, report))
    log = plan.log
    assert log
    assert plan.name

    def run() -> None:
        raise vllm_process.ended(log, process.wait())

    return Server(address.url(plan.config), plan.name, run, process.end, resources.pop_all(), log)


def _vllm_process(
    plan: ServePlan, report: Reporter, on_process: Callable[[Process], None] = lambda _: None
) -> AbstractContextManager[Process]:
    config = plan.behind
    assert config
    assert plan.plan
    assert plan.name
    assert plan.log
    processes.report_removed(plan.plan.step, os.environ, report)
    url = address.url(config)
    return vllm_process.started(plan.plan, url, plan.name, config.only_key, plan.log, report, on_process)


def _in_process(plan: ServePlan, report: Reporter, resources: ExitStack) -> Server:
    _check_installed(f"--engine {plan.source}", "local" if plan.source == "transformers" else "llamacpp")
    from virc.serving import http_server, in_process

    config, name = plan.config, plan.name
    assert name
    listening = resources.enter_context(address.bound_socket(config))
    backend = _loaded(plan, report)
    facts = msgspec.json.decode(plan.published)
    app = in_process.app(in_process.Served(backend, name, facts, config.limit_images, config.api_key))
    listening.listen(http_server.MAX_CONNECTIONS)
    server = _http_server(app, report)
    run = partial(http_server.run, server, listening)
    return Server(address.url(config), name, run, partial(_end, server), resources.pop_all())


def _loaded(plan: ServePlan, report: Reporter) -> "LocalBackend | LlamaCppBackend":
    config, weights, facts = plan.config, plan.weights, msgspec.json.decode(plan.published)
    assert weights
    report.start(f"loading the model {plan.name}")
    backend: LocalBackend | LlamaCppBackend
    if plan.source == "llamacpp":
        from virc.backends import llamacpp

        grid = msgspec.convert(facts["virc_grid"], Grid)
        backend = llamacpp.load(opened.gguf_of(weights), config.device, grid, context=config.max_model_len)
    else:
        from virc.backends.local import load

        dtype = None if config.dtype == "auto" else config.dtype
        stock = facts.get("virc_protocol", {}).get("reading", "lenient") == "lenient"
        limits = {"context": config.max_model_len, "stock": stock}
        backend = load(weights.folder, config.device, dtype, adapter=weights.adapter, **limits)
    for warning in backend.warnings:
        report.warn(warning)
    vllm_process.ask_first(backend)
    return backend


def _check_installed(option: str, *extras: str) -> None:
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise SetupError(f"{option} needs fastapi and uvicorn: {error}", install(*extras, "serve")) from None


def _agent(plan: ServePlan, request: ServeRequest, agent: Agent, report: Reporter, resources: ExitStack) -> Server:
    _check_installed("--agent")
    from virc.serving import http_server
    from virc.serving.agent import server
    from virc.serving.agent.piped import Piped
    from virc.serving.agent.problems import Solving

    config = plan.config
    listening = resources.enter_context(address.bound_socket(config))
    behind = _Behind(plan, report)
    engine = resources.enter_context(Supervised(behind.started, plan.log, report)) if plan.log else None
    setup = plan.pipeline
    piped = Piped(setup, resources.enter_context(pipelines.ready(setup, report))) if setup else None
    model = _writer_of(piped, plan, agent) if piped else _agent_model(behind.plan, request, agent, report)
    behind.move = model.move
    turns, inputs = serving.turns_and_inputs(config.limit_images)
    max_tokens = piped.writer.role.max_tokens if piped else agent.max_tokens
    solve_config = SolveConfig(timeout=agent.timeout, max_turns=turns, max_tokens=max_tokens)
    ready = (lambda: engine.running) if engine else (lambda: True)
    protocol = model.chat_protocol.protocol
    solving = Solving(model.backend, protocol, solve_config, model.at_once, ready=ready, pipeline=piped)
    answers = model.answers or (lambda: True)
    on_failure = partial(report.failure, before="a request failed: ")  # clients do not get the reason
    app = server.app(server.Served(solving, model.name, inputs, model.context, config.api_key, on_failure, answers))
    running = _http_server(app, report)
    if not is_loopback(config.host) and not config.api_key:
        report.warn(f"whoever reaches {config.host} can ask this model", "--api-key env:NAME")
    listening.listen(http_server.MAX_CONNECTIONS)
    run = _agent_run(running, app, listening, engine)
    return Server(address.url(config), model.name, run, partial(_end, running), resources.pop_all(), plan.log)


def _writer_of(piped: "Piped", plan: ServePlan, agent: Agent) -> Opened:
    """The model of a pipeline that writes the answer; plain chats are answered by it alone."""
    from virc.serving.agent.piped import InTurn

    role, name = piped.writer, plan.name or piped.setup.name
    return msgspec.structs.replace(
        role.opened, name=name, backend=InTurn(role.opened.backend, role.turn),
        at_once=agent.concurrency or piped.at_once, answers=piped.answers_now, move=None,
    )  # fmt: skip


def _agent_model(plan: ServePlan, request: ServeRequest, agent: Agent, report: Reporter) -> Opened:
    """The model of an agent: loaded into this process, else that of the vLLM behind it or of another server."""
    if plan.source in get_args(Engine) and not plan.plan:
        assert plan.weights
        assert plan.name
        prompt_setup = opened.prompt_setup_here(plan.weights, request.choice())
        backend = _loaded(plan, report)
        at_once = agent.concurrency or backend.at_once
        if at_once > backend.at_once == 1:
            report.warn(f"{plan.name} draws one reply at a time in this process: problems are solved one at a time")
            at_once = 1
        chat_protocol = prompt_setup.chat_protocol
        return Opened(plan.name, backend, chat_protocol, at_once=at_once, context=backend.context)
    server = {"model": request.model, "endpoint": agent.endpoint, "api_key": agent.key}
    if plan.behind:
        server = {"model": plan.name, "endpoint": address.url(plan.behind), "api_key": plan.behind.only_key}
    model = opened.open_model(request.choice(system=request.system, timeout=agent.timeout, **server))
    for warning in model.warnings:
        report.warn(warning)
    name = model.name if plan.behind else plan.config.name or model.name
    return msgspec.structs.replace(model, name=name, at_once=agent.concurrency or model.at_once)


class _Behind:
    """The vLLM behind an agent endpoint.

    Each start gets a new port and key, so that no other process can wait at the port and take the requests.

    Attributes:
        plan: of the latest start.
        move: makes the agent's backend use a new address and key; None until that backend is open.
    """

    def __init__(self, plan: ServePlan, report: Reporter) -> None:
        self.plan, self._report = plan, report
        self.move: Callable[[str, str | None], None] | None = None

    @contextmanager
    def started(self, on_process: Callable[[Process], None]) -> Iterator[Process]:
        config, place = self.plan.behind, self.plan.place
        assert config
        assert place
        config = _hidden(config)
        self.plan = msgspec.structs.replace(self.plan, behind=config, plan=vllm.plan(config, place))
        with _vllm_process(self.plan, self._report, on_process) as process:
            if self.move:
                self.move(address.url(config), config.only_key)
            yield process


def _agent_run(running: "AgentServer", app: "FastAPI", listening: Any, engine: Supervised | None) -> Callable[[], None]:
    from virc.serving import http_server

    def run() -> None:
        if engine:
            engine.watch(partial(_end, running), lambda: app.state.queue.closing)
        try:
            http_server.run(running, listening)
        finally:
            app.state.queue.wait(0 if running.force_exit else _LAST_STEP)
        if engine and engine.failure:
            raise engine.failure

    return run


def _end(server: "uvicorn.Server") -> None:
    server.should_exit = True


def _http_server(app: "FastAPI", report: Reporter) -> "AgentServer":
    from virc.serving import http_server

    def note_ending(waiting: int) -> None:
        answers = "1 answer is" if waiting == 1 else f"{waiting} answers are"
        report.note(f"ending: {answers} still waited for; Ctrl-C again ends it at once")

    # what goes wrong with a request is sent to its client
    return http_server.server(app, note_ending, "error" if os.environ.get("VIRC_DEBUG") else "critical")
