"""Serves a model at an OpenAI-compatible endpoint: by vLLM, in this process, or as an agent that runs the tool loop.

`serve` (Python) and `virc serve` make a `ServeRequest`; `plan.prepare` turns it into a `ServePlan`, and `start` starts
that: `_vllm`, `_in_process` or `_agent`. An agent answers in this process; its replies are drawn by a model in this
process, by a vLLM that is started for it alone, by another server, or by a solver that has several.
"""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Self, Unpack

import msgspec

from virc.config.declared import with_options
from virc.config.options import ServeOptions
from virc.config.validation import check_arguments
from virc.core.errors import EngineError, SetupError, UsageError
from virc.core.events import OnEvent, Reporter
from virc.core.extras import install
from virc.core.http.addresses import is_loopback
from virc.core.processes import Process
from virc.models import load as opened
from virc.models.load import Opened
from virc.serving import address, settings, vllm_process
from virc.serving.plan import SECONDS, Agent, ServePlan, ServeRequest, VllmPlan, prepare, settings_of
from virc.solving.one import SolveConfig
from virc.solving.solver import choose


class Server:
    """A model that is served; either `wait` answers in this thread, or a `with` block in the background.

    Args:
        run: answers requests until `stop` is called or a signal comes.
        resources: closed at the end.

    Attributes:
        url: its address, up to and with `/v1`.
        model: what clients call the model.
        log: the file that its engine writes to.
        failure: why its engine ended.
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


@with_options
def serve(
    model: str | Path | None = None, *, on_event: OnEvent | None = None, **options: Unpack[ServeOptions]
) -> Server:
    """Serve a model; returns when it has given a first answer.

        with virc.serve("ViRC-7B", port=8001) as server:
            virc.solve("picture.png", "What is x?", endpoint=server.url)

    Args:
        model: folder, short name, hub id, run, `RUN@STEP`, adapter or judge; with `endpoint`, a name which that lists.
        on_event: gets progress and warnings.
        {options}

    Raises:
        UsageError: options that do not go together.
        ConfigError: no such model or chat protocol, or the port is in use.
        SetupError: the model does not fit this machine, or something is missing.
        NetworkError: the endpoint is down.
        EngineError: vLLM ended.
    """
    endpoint, agent, roles = options["endpoint"], options["agent"], options["roles"]
    pipeline, system = options["pipeline"], options["system"]
    if endpoint and not agent:
        raise UsageError("endpoint= needs agent=True", "serve(model, agent=True, endpoint=URL)")
    if agent:
        pipeline, system = choose(pipeline, system, alone=True)
    if pipeline is not None and not agent:
        raise UsageError("pipeline= needs agent=True", "serve(agent=True, pipeline=FILE)")
    if roles and pipeline is None:
        raise UsageError("roles= belongs to pipeline=", 'pipeline="FILE.py"')
    model, system, protocol, pipeline = (
        None if each is None else str(each) for each in (model, system, options["protocol"], pipeline)
    )
    of_requests: dict[str, Any] = opened.request_fields(options["extra_body"], options["thinking"], endpoint)
    agent_settings = None
    if agent:
        role_texts = {name: str(model_or_url) for name, model_or_url in roles.items()}
        timeout = SECONDS if options["timeout"] is None else options["timeout"]
        agent_settings = Agent(
            endpoint, options["endpoint_key"], options["concurrency"], timeout, options["max_tokens"], pipeline,
            role_texts, **of_requests,
        )  # fmt: skip
        check_arguments(agent_settings)
    chosen = settings_of(options)
    request = ServeRequest(model, system, protocol, options["engine"], chosen, agent_settings, options["family"])
    return start(request, on_event)


def start(request: ServeRequest, on_event: OnEvent | None = None) -> Server:
    """Serve what was requested; returns when the model has given a first answer. Errors are those of `serve`."""
    report = Reporter(on_event)
    plan = prepare(request, report)
    with ExitStack() as resources:
        if request.agent:
            server = _agent(plan, request, request.agent, report, resources)
        elif plan.vllm:
            server = _vllm(plan.vllm, report, resources)
        else:
            server = _in_process(plan, report, resources)
        resources.pop_all()
    return server


def _vllm(plan: VllmPlan, report: Reporter, resources: ExitStack) -> Server:
    process = resources.enter_context(vllm_process.started_for(plan, report))

    def run() -> None:
        raise vllm_process.ended(plan.log, process.wait())

    return Server(address.url(plan.config), plan.name, run, process.end, resources.pop_all(), plan.log)


def _in_process(plan: ServePlan, report: Reporter, resources: ExitStack) -> Server:
    _check_installed(f"«--engine {plan.source}»", "local" if plan.source == "transformers" else "llamacpp")
    from virc.serving import connections, http_server, in_process

    config, name = plan.config, plan.name
    assert name
    listening = resources.enter_context(address.bound_socket(config))
    backend = in_process.loaded(plan, report)
    facts = msgspec.json.decode(plan.published)
    app = in_process.app(in_process.Served(backend, name, facts, config.limit_images, config.api_key))
    server = http_server.Server(app, report)
    listening.listen(connections.MAX_CONNECTIONS)
    return Server(address.url(config), name, partial(server.answer, listening), server.stop, resources.pop_all())


def _check_installed(option: str, *extras: str) -> None:
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise SetupError(f"{option} needs fastapi and uvicorn: {error}", install(*extras, "serve")) from None


def _agent(plan: ServePlan, request: ServeRequest, agent: Agent, report: Reporter, resources: ExitStack) -> Server:
    _check_installed("«--agent»")
    from virc.serving import connections, http_server
    from virc.serving.agent import server
    from virc.serving.agent.other_solver import AgentSolver
    from virc.serving.agent.problems import Solving

    config = plan.config
    listening = resources.enter_context(address.bound_socket(config))
    engine = resources.enter_context(vllm_process.started_for(plan.vllm, report)) if plan.vllm else None
    solver: AgentSolver | None = None
    if plan.solver:
        solver = resources.enter_context(plan.solver.of_agent(report))
        model = solver.model(plan.name or plan.solver.name, agent.concurrency)
    else:
        model = _agent_model(plan, request, agent, report)
    turns, inputs = settings.turns_and_inputs(config.limit_images)
    max_tokens = solver.max_tokens if solver else agent.max_tokens
    solve_config = SolveConfig(timeout=agent.timeout, max_turns=turns, max_tokens=max_tokens)
    ready = (lambda: engine.wait(0) is None) if engine else (lambda: True)
    protocol = model.chat_protocol
    solving = Solving(model.backend, protocol, solve_config, model.at_once, ready=ready, solver=solver)
    answers = model.answers or (lambda: True)
    on_failure = partial(report.failure, before="a request failed: ")  # clients do not get the reason
    app = server.app(server.Served(solving, model.name, inputs, model.context, config.api_key, on_failure, answers))
    running = http_server.Server(app, report)
    if not is_loopback(config.host) and not config.api_key:
        report.warn(f"whoever reaches {config.host} can ask this model", "«--api-key env:NAME»")
    listening.listen(connections.MAX_CONNECTIONS)

    log = plan.vllm.log if plan.vllm else None
    has_failed = threading.Event()

    def watch(engine: Process) -> None:
        engine.wait()
        if not app.state.queue.closing:  # a signal that ends all processes of a service ends vLLM first
            has_failed.set()
            running.stop()

    def run() -> None:
        if engine:
            threading.Thread(target=watch, args=(engine,), name="virc-engine", daemon=True).start()
        running.answer(listening)
        if engine and log and has_failed.is_set():
            raise vllm_process.ended(log, engine.wait())

    return Server(address.url(config), model.name, run, running.stop, resources.pop_all(), log)


def _agent_model(plan: ServePlan, request: ServeRequest, agent: Agent, report: Reporter) -> Opened:
    """The model of an agent: loaded into this process, else that of the vLLM behind it or of another server."""
    if plan.weights and plan.name and not plan.vllm:
        from virc.serving import in_process

        prompt_setup = opened.prompt_setup_here(plan.weights, request.choice())
        backend = in_process.loaded(plan, report)
        at_once = agent.concurrency or backend.at_once
        if at_once > backend.at_once == 1:
            report.warn(f"{plan.name} draws one reply at a time in this process: problems are solved one at a time")
            at_once = 1
        return Opened(plan.name, backend, prompt_setup.chat_protocol, at_once=at_once, context=backend.context)
    name, endpoint, key = request.model, agent.endpoint, agent.key
    if plan.vllm:
        name, endpoint, key = plan.vllm.name, address.url(plan.vllm.config), plan.vllm.config.only_key
    server: dict[str, Any] = {"model": name, "endpoint": endpoint, "api_key": key}
    server |= {"extra_body": agent.extra_body, "thinking": agent.thinking}
    model = opened.open_model(request.choice(system=request.system, timeout=agent.timeout, **server))
    for warning in model.warnings:
        report.warn(warning)
    if plan.config.name and not plan.vllm:
        model = msgspec.structs.replace(model, name=plan.config.name)
    return msgspec.structs.replace(model, at_once=agent.concurrency or model.at_once)
