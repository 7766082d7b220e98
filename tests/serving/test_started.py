"""What is told and published when a model is served, with nothing loaded."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from support.called import virc
from support.faults import status
from support.servers import images_of, serve
from support.solving import answer

from virc.backends import llamacpp, local
from virc.core.errors import ConfigError, EngineError, UsageError
from virc.core.events import Event, Reporter
from virc.core.plan import Plan, Step
from virc.models.chat_protocol import ChatProtocol
from virc.models.load import Choice, Opened, PromptSetup
from virc.probing.result import Probed
from virc.reasoning.protocol import own_protocol
from virc.reasoning.resize import QWEN2, Grid
from virc.serving import in_process, start, vllm_process
from virc.serving.agent import connections, problems, server
from virc.serving.start import Agent, ServePlan, Server, ServeRequest
from virc.solving.one import SolveConfig
from virc.solving.setup import Setup
from virc.stages.serve import Config
from virc.tools import registry as tools

OWN = own_protocol(tools.schemas(tools.DEFAULT))


@pytest.mark.parametrize(
    ("host", "key", "warned"),
    [
        ("127.0.0.1", None, False),
        ("localhost", None, False),
        ("0.0.0.0", "k", False),
        ("0.0.0.0", None, True),
        ("::", None, True),
        ("192.0.2.1", None, True),
    ],
)
def test_an_open_address_without_a_key_is_warned_of(
    host: str, key: str | None, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    anything = SimpleNamespace
    found = anything(
        name="m", backend=None, chat_protocol=ChatProtocol(OWN), at_once=1, answers=None, context=None, move=None
    )
    stubs = [(start, "_agent_model", found), (problems, "Solving", None), (server, "Served", None)]
    for place, name, value in [*stubs, (server, "app", None), (connections, "server", anything(run=None))]:
        monkeypatch.setattr(place, name, lambda *_, value=value, **__: value)
    bound = ExitStack()
    bound.listen = lambda _: None  # type: ignore[attr-defined]
    monkeypatch.setattr(start.address, "bound_socket", lambda _: bound)
    events: list[Event] = []
    plan = ServePlan(Config(host=host, api_key=key), "m", "http://a/v1")
    with ExitStack() as resources:
        start._agent(plan, ServeRequest("m", agent=Agent()), Agent(), Reporter(events.append), resources)
    assert [host in each.text for each in events] == [True] * warned


def test_what_is_chosen_of_an_agent_reaches_its_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def keeps(name: str) -> Any:
        return lambda *words, **named: given.setdefault(name, (*words, named))

    found = Opened(
        "m", "backend", ChatProtocol(OWN), at_once=5, answers=bool, context=4096, move=print  # type: ignore[arg-type]
    )  # fmt: skip
    behind: Any = SimpleNamespace(plan=None, started=None)
    monkeypatch.setattr(start, "_Behind", lambda *_: behind)
    monkeypatch.setattr(start, "_agent_model", lambda *_: found)
    monkeypatch.setattr(problems, "Solving", keeps("solving"))
    monkeypatch.setattr(server, "Served", keeps("served"))
    monkeypatch.setattr(server, "app", keeps("app"))
    monkeypatch.setattr(connections, "server", lambda *_: SimpleNamespace(run=None))
    bound = ExitStack()
    bound.listen = lambda _: None  # type: ignore[attr-defined]
    monkeypatch.setattr(start.address, "bound_socket", lambda _: bound)
    agent = Agent(timeout=9, max_tokens=77)
    plan = ServePlan(Config(limit_images=18, api_key=("a", "b")), "m", "http://a/v1")
    with ExitStack() as resources:
        start._agent(plan, ServeRequest("m", agent=agent), agent, Reporter(None), resources)
    assert behind.move is print
    backend, protocol, config, at_once, more = given["solving"]
    assert (backend, protocol, at_once, more["ready"](), more["pipeline"]) == ("backend", OWN, 5, True, None)
    assert (config.timeout, config.max_turns, config.max_tokens) == (9, 16, 77)
    _, name, inputs, context, key, _, answers, _ = given["served"]
    assert (name, inputs, context, key, answers) == ("m", 2, 4096, ("a", "b"), bool)


def test_a_judge_that_does_not_fit_is_refused_before_it_is_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    judges = {"j": SimpleNamespace(gib=9.0), "unknown size": SimpleNamespace(gib=None)}
    monkeypatch.setattr(start.models, "judges", lambda *words: asked.append(words) or judges)
    monkeypatch.setattr(start.serving, "refuse_unfit", lambda *words: asked.append(words))
    for name in ("j", "unknown size", "other"):
        start._refuse_large_judge(ServeRequest(name, system="s", settings={"device": "cuda"}))
    assert [words for words in asked if len(words) == 2] == [("j", "s"), ("unknown size", "s"), ("other", "s")]
    ((config, name, gib, _, others),) = [words for words in asked if len(words) == 5]
    assert (config.device, name, gib, others) == ("cuda", "j", 9.0, judges)


def test_the_seconds_of_each_stage_of_vllm_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, events = [0.0], list[Event]()
    monkeypatch.setattr(vllm_process, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    stages = vllm_process.Stages(Reporter(events.append))
    for seconds, stage in ((10.0, "weights"), (12.0, "weights"), (30.0, "imports"), (36.0, "first answer")):
        clock[0] = seconds
        stages.begin(stage)
    clock[0] = 36.05
    stages.end()
    assert [event.text for event in events] == [
        "vLLM is starting, 0 s: imports", "vLLM is starting, 10 s: weights", "vLLM is starting, 30 s: imports",
        "vLLM is starting, 36 s: first answer", "vLLM started in 36.0 s: imports 16.0 s, weights 20.0 s",
    ]  # fmt: skip


@pytest.mark.parametrize(("seconds", "starts"), [(1.0, 4), (601.0, 8)], ids=["at once", "seldom"])
def test_an_engine_that_ends_seldom_is_always_started_again(
    seconds: float, starts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, begun, closed, gave_up = [0.0], list[int](), list[int](), list[bool]()
    monkeypatch.setattr(vllm_process, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def wait() -> int:
        clock[0] += seconds
        return 1

    @contextmanager
    def start_engine(keep: Callable[[Any], None]) -> Iterator[Any]:
        begun.append(1)
        (tmp_path / "vllm.log").write_text("ValueError: no room\n")
        assert len(begun) - len(closed) == 1  # what ended is cleared away before another begins
        keep(process := SimpleNamespace(wait=wait, end=lambda: None))
        try:
            yield process
        finally:
            closed.append(1)

    events: list[Event] = []
    with vllm_process.Supervised(start_engine, tmp_path / "vllm.log", Reporter(events.append)) as engine:
        engine.watch(lambda: gave_up.append(True), lambda: len(begun) == 8)
        assert engine._thread
        engine._thread.join(60)
    assert (len(begun), gave_up, engine.running) == (starts, [True] * (starts == 4), False)
    said = [event.text for event in events if event.kind == "warning"]
    assert "vLLM ended: no room; it is started again, 1 of at most 3 times in 30 minutes" in said[0]
    if starts == 4:
        assert "it was started again 3 times in 30 minutes" in str(engine.failure)
        assert len(said) == 3


@pytest.mark.parametrize(
    ("judge", "chosen", "unknown", "published"),
    [
        (False, None, None, True),
        (True, None, None, False),
        (True, "default", None, True),
        (False, "default", None, True),
        (False, None, Probed(endpoint="/m", model="m"), False),  # nobody knows how it counts boxes
    ],
)
def test_a_judge_is_asked_in_plain_chat_unless_a_protocol_was_chosen(
    judge: bool, chosen: str | None, unknown: Probed | None, published: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, name, value in [
        (start.opened, "prompt_setup_here", PromptSetup(ChatProtocol(OWN), "own", unknown=unknown)),
        (start.opened, "grid_here", QWEN2),
        (start, "fingerprint", "f"),
    ]:
        monkeypatch.setattr(place, name, lambda *_, value=value: value)
    weights: Any = SimpleNamespace(judge=judge)
    facts = json.loads(start._published(ServeRequest("m", protocol=chosen), weights, image_ids=False))
    assert ("virc_protocol" in facts) is published


def opening(plan: ServePlan, agent: Agent, monkeypatch: pytest.MonkeyPatch, *, together: bool = True) -> Any:
    """The model behind an agent endpoint, how it was opened, and what was warned of."""
    found = Opened("served", SimpleNamespace(), ChatProtocol(OWN), at_once=6, warnings=("careful",))  # type: ignore[arg-type]
    here: Any = SimpleNamespace(at_once=4, draw_together=lambda: together, context=4096)
    asked: list[Choice] = []

    def open_model(choice: Choice) -> Opened:
        asked.append(choice)
        return found

    monkeypatch.setattr(start.opened, "open_model", open_model)
    monkeypatch.setattr(start.opened, "prompt_setup_here", lambda *_: PromptSetup(ChatProtocol(OWN), "own"))
    monkeypatch.setattr(start, "_loaded", lambda *_: here)
    events: list[Event] = []
    opened = start._agent_model(
        plan, ServeRequest("m", system="tiny", protocol="p", family="f"), agent, Reporter(events.append)
    )
    return opened, asked, [event.text for event in events if event.kind == "warning"]


@pytest.mark.parametrize(
    ("config", "behind", "agent", "asked", "name", "at_once"),
    [
        # the server that a user names, with its own key
        ({}, None, {"endpoint": "http://a/v1", "key": "k"}, ("m", "http://a/v1", "k"), "served", 6),
        ({"name": "mine"}, None, {"endpoint": "http://a/v1", "concurrency": 2}, ("m", "http://a/v1", None), "mine", 2),
        # vLLM that was started behind the agent, with a key that nobody else knows
        (
            {"name": "mine"},
            {"port": 7, "api_key": "own"},
            {"key": "k"},
            ("n", "http://127.0.0.1:7/v1", "own"),
            "served",
            6,
        ),
    ],
)
def test_an_agent_asks_the_model_behind_it(
    config: dict[str, Any], behind: dict[str, Any] | None, agent: dict[str, Any], asked: tuple[Any, ...], name: str,
    at_once: int, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    plan = ServePlan(Config(**config), "n", "vllm" if behind else "http://a/v1", behind=behind and Config(**behind))
    plan = msgspec.structs.replace(plan, plan=SimpleNamespace() if behind else None)
    found, (choice,), warned = opening(plan, Agent(timeout=9, **agent), monkeypatch)
    assert (choice.model, choice.endpoint, choice.api_key) == asked
    assert (choice.system, choice.protocol, choice.family, choice.timeout) == ("tiny", "p", "f", 9)
    assert (found.name, found.at_once, warned) == (name, at_once, ["careful"])


@pytest.mark.parametrize(
    ("concurrency", "together", "at_once", "warned"),
    [(None, True, 4, False), (2, True, 2, False), (None, False, 1, True), (1, False, 1, False)],
)
def test_a_model_here_solves_as_many_problems_as_it_can_draw_for(
    concurrency: int | None, together: bool, at_once: int, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = ServePlan(Config(), "n", "transformers", weights=SimpleNamespace())  # type: ignore[arg-type]
    found, asked, said = opening(plan, Agent(concurrency=concurrency), monkeypatch, together=together)
    assert (found.name, found.at_once, found.context, asked) == ("n", at_once, 4096, [])
    assert ["one at a time" in text for text in said] == [True] * warned


def serving(run: Callable[[], None], done: list[str], log: Path | None = None) -> Server:
    """A server that does this until it is stopped."""
    resources = ExitStack()
    resources.callback(lambda: done.append("released"))
    return Server("http://a/v1", "m", run, lambda: done.append("stopped"), resources, log)


def ending() -> None:
    raise EngineError("vLLM ended")


def interrupted() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("run", "raised"), [(lambda: None, None), (ending, EngineError), (interrupted, KeyboardInterrupt)]
)
def test_a_server_releases_what_it_holds_however_its_wait_ends(
    run: Callable[[], None], raised: type[BaseException] | None
) -> None:
    done: list[str] = []
    with pytest.raises(raised) if raised else nullcontext():
        serving(run, done).wait()
    assert done == ["stopped", "released"]


def test_an_engine_that_ended_within_the_block_is_told_at_its_end() -> None:
    done: list[str] = []
    with pytest.raises(EngineError, match="vLLM ended"), serving(ending, done):
        pass
    own = ValueError("mine")

    def fail(server: Server) -> None:
        while not server.failure:
            time.sleep(0.001)
        raise own

    with pytest.raises(ValueError, match="mine"), serving(ending, done) as server:
        fail(server)
    assert own.__notes__ == ["vLLM ended"]
    assert done == ["stopped", "released"] * 2


def test_an_engine_that_ends_with_its_block_is_no_failure() -> None:
    stopped, done, resources = threading.Event(), list[str](), ExitStack()
    resources.callback(lambda: done.append("released"))

    def run() -> None:
        assert stopped.wait(60)
        time.sleep(0.02)
        done.append("ended")
        ending()

    with Server("u", "m", run, stopped.set, resources) as server:
        pass
    assert (server.failure, done) == (None, ["ended", "released"])


@pytest.mark.parametrize(
    ("name", "concurrency", "expected"), [(None, None, ("of the file", 3)), ("mine", 2, ("mine", 2))]
)
def test_a_pipeline_answers_under_its_name_as_many_at_once_as_was_chosen(
    name: str | None, concurrency: int | None, expected: tuple[str, int]
) -> None:
    role = Opened("served", SimpleNamespace(model="m", grid=QWEN2), ChatProtocol(OWN), at_once=9, move=print)  # type: ignore[arg-type]
    writer = SimpleNamespace(opened=role, turn=threading.Lock())
    piped: Any = SimpleNamespace(writer=writer, at_once=3, answers_now=bool, setup=SimpleNamespace(name="of the file"))
    found = start._writer_of(piped, ServePlan(Config(), name, "pipeline"), Agent(concurrency=concurrency))
    assert (found.name, found.at_once, found.answers, found.move) == (*expected, bool, None)


def test_each_start_of_the_engine_behind_an_agent_has_an_address_and_a_key_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[tuple[Config, Any]] = []

    def process(plan: ServePlan, report: Reporter, on_process: Any) -> Any:
        assert plan.behind
        started.append((plan.behind, plan.plan))
        return nullcontext("process")

    monkeypatch.setattr(start, "_vllm_process", process)
    monkeypatch.setattr(start.vllm, "plan", lambda config, place: (config.port, config.api_key, place))
    plan = ServePlan(Config(), "m", "vllm", behind=Config(host="0.0.0.0"), place="place")  # type: ignore[arg-type]
    behind, moved = start._Behind(plan, Reporter(None)), list[tuple[str, str | None]]()
    for move in (None, lambda *where: moved.append(where)):
        behind.move = move
        with behind.started(lambda _: None) as found:
            assert found == "process"
    (first, _), (second, words) = started
    assert first.host == second.host == "127.0.0.1"  # nobody else reaches it
    assert first.api_key != second.api_key
    assert len(str(second.api_key)) > 30
    assert words == (second.port, second.api_key, "place")
    assert moved == [(f"http://127.0.0.1:{second.port}/v1", second.api_key)]


@pytest.mark.parametrize(("forced", "failure"), [(False, None), (True, None), (False, EngineError("given up"))])
def test_an_agent_ends_after_its_last_step_and_says_that_its_engine_was_given_up(
    forced: bool, failure: EngineError | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Any] = []
    queue = SimpleNamespace(closing=False, wait=lambda seconds: done.append(("waited", seconds)))
    running: Any = SimpleNamespace(force_exit=forced, should_exit=False)

    def watch(end: Callable[[], None], closing: Callable[[], bool]) -> None:
        assert not closing()
        end()

    monkeypatch.setattr(connections, "run", lambda server, _: done.append(("answered", server.should_exit)))
    engine: Any = SimpleNamespace(watch=watch, failure=failure)
    run = start._agent_run(running, SimpleNamespace(state=SimpleNamespace(queue=queue)), None, engine)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="given up") if failure else nullcontext():
        run()
    assert done == [("answered", True), ("waited", 0 if forced else start._LAST_STEP)]


@pytest.mark.parametrize("source", ["transformers", "llamacpp"])
@pytest.mark.parametrize("lenient", [True, False])
def test_a_model_of_this_process_is_loaded_and_published_as_it_was_planned(
    source: str, lenient: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Any] = []
    backend = SimpleNamespace(warnings=["slow"])

    def load(*given: Any, **more: Any) -> Any:
        loaded.append((given, more))
        return backend

    served: list[Any] = []
    for module, name, value in (
        (local, "load", load), (llamacpp, "load", load), (vllm_process, "ask_first", loaded.append),
        (in_process, "app", served.append), (connections, "server", lambda *_: SimpleNamespace()),
        (start.opened, "gguf_of", lambda weights: f"{weights.folder}.gguf"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    bound = ExitStack()
    bound.listen = lambda _: None  # type: ignore[attr-defined]
    monkeypatch.setattr(start.address, "bound_socket", lambda _: bound)
    config = Config(device="cpu", dtype="float32", max_model_len=2048, api_key=("k", "l"), limit_images=3)
    weights: Any = SimpleNamespace(folder="/m", adapter="/a")
    reading = {} if lenient else {"virc_protocol": {"reading": "strict"}}
    published = json.dumps({"virc_grid": {"factor": 32}, **reading})
    events: list[Event] = []
    with ExitStack() as resources:
        plan = ServePlan(config, "mine", source, weights, published)
        found = start._in_process(plan, Reporter(events.append), resources)
    (app,) = served
    assert (app.backend, app.name, app.images, app.api_key) == (backend, "mine", 3, ("k", "l"))
    assert app.published == json.loads(published)
    assert (found.model, found.url) == ("mine", start.address.url(config))
    assert [event.text for event in events if event.kind == "warning"] == ["slow"]
    ((given, more), asked) = loaded
    assert asked is backend  # a first answer, before clients come
    if source == "llamacpp":
        assert (given, more) == (("/m.gguf", "cpu", Grid(factor=32)), {"context": 2048})
    else:
        assert (given, more) == (("/m", "cpu", "float32"), {"adapter": "/a", "context": 2048, "stock": lenient})


@pytest.mark.parametrize(
    ("words", "out", "err"),
    [
        ([], "http://h/v1\n", "VIRC_ENDPOINT=http://h/v1 virc solve picture.png 'question'"),
        (["--agent"], "http://h/v1\n", "use any OpenAI client, or open http://h/"),
        (["--quiet"], "http://h/v1\n", None),
        (["--json"], '"url": "http://h/v1", "model": "m", "log": "vllm.log"', None),
    ],
)
def test_the_command_says_where_a_model_is_served_until_it_ends(
    words: list[str], out: str, err: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[ServeRequest] = []
    found = Server("http://h/v1", "m", interrupted, lambda: None, ExitStack(), Path("vllm.log"))
    monkeypatch.setattr(start, "start", lambda request, on_event: asked.append(request) or found)
    done = virc("serve", "tiny", *words)
    assert (done.code, out in done.out, "m is served no more" in done.err) == (130, True, True)
    assert (f"m is ready; Ctrl-C ends it. {err}\n" in done.err) if err else ("is ready" not in done.err)
    (request,) = asked
    assert (request.model, bool(request.agent)) == ("tiny", "--agent" in words)


@pytest.mark.parametrize("fault", [None, status(500)])
def test_vllm_is_served_once_it_has_answered_and_its_end_is_an_error(
    fault: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, done = tmp_path / "vllm.log", list[str]()
    log.write_text("of the run before")
    process = SimpleNamespace(wait=lambda: 1, end=lambda: done.append("ended"))

    @contextmanager
    def started(step: Step, file: Path) -> Iterator[Any]:
        assert not file.exists()
        file.write_text("ValueError: no room for the KV cache\n")
        yield process
        done.append("left")

    monkeypatch.setattr(vllm_process.processes, "started", started)
    roots = list[str]()
    monkeypatch.setattr(vllm_process, "_await_health", lambda _, root, *__: roots.append(root))
    with serve([answer("white")], models=("m",), fault=fault) as engine:
        at = Config(port=engine.server_address[1])
        plan = ServePlan(Config(), "m", "vllm", behind=at, plan=Plan(Step(("vllm",), "serve"), {}), log=log)
        with ExitStack() as resources:
            if fault:
                with pytest.raises(EngineError, match=r"vLLM is up and does not answer: .*500"):
                    start._vllm(plan, Reporter(None), resources)
                return
            served = start._vllm(plan, Reporter(None), resources)
        known = list[Any]()
        with start._vllm_process(plan, Reporter(None), known.append) as begun:
            assert known == [begun]  # who watches it can end it, also while it starts
    assert (engine.chats()[0]["max_tokens"], len(images_of(engine.chats()[0]))) == (1, 1)
    with pytest.raises(EngineError, match="vLLM ended: no room for the KV cache"):
        served.wait()
    assert done == ["left", "ended", "left"]
    assert roots == [f"http://127.0.0.1:{engine.server_address[1]}"] * 2


def test_what_a_vllm_that_starts_writes_is_told_line_by_line_until_it_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (log := tmp_path / "vllm.log").touch()
    written, events = ["] Starting to load", " model m\nsecond li", "ne\n] init engine (x)\n"], list[Event]()
    codes: list[int | None] = [None, None, None, 0, 1]

    def wait(_: float) -> int | None:
        with log.open("a") as file:
            file.write(written.pop(0))
        return codes.pop(0)

    process: Any = SimpleNamespace(wait=wait)
    monkeypatch.setattr(vllm_process, "_is_healthy", lambda root: not written)
    stages = vllm_process.Stages(report := Reporter(events.append))
    vllm_process._await_health(process, "http://h", log, report, stages)
    assert [event.text for event in events if event.kind == "log"] == [
        "] Starting to load model m", "second line", "] init engine (x)"
    ]  # fmt: skip
    assert [stage for stage, _ in stages._began] == ["imports", "weights", "HTTP server"]
    assert sum(event.kind == "progress" for event in events) >= 3
    for said in ("no room", "less room"):
        written.append(f"ValueError: {said}\n")
        with pytest.raises(EngineError, match=f"vLLM ended before it was ready: {said}"):
            vllm_process._await_health(process, "http://h", log, report, stages)


@pytest.mark.parametrize(
    ("engine", "request_", "installed", "runs", "expected"),
    [
        ("transformers", ServeRequest("tiny"), "xllamacpp", None, True),
        ("transformers", ServeRequest("tiny"), "xllamacpp torch", None, False),
        ("transformers", ServeRequest("tiny"), "", None, False),
        ("transformers", ServeRequest("tiny", engine="transformers"), "xllamacpp", None, False),
        ("transformers", ServeRequest("other"), "xllamacpp", None, False),
        ("vllm", ServeRequest("tiny"), "xllamacpp", None, True),
        ("vllm", ServeRequest("tiny"), "xllamacpp", "/venv/python", False),
        ("vllm", ServeRequest("tiny"), "xllamacpp uv", None, False),
        ("vllm", ServeRequest("tiny", settings={"device": "cuda"}), "xllamacpp", None, False),
        ("llamacpp", ServeRequest("tiny"), "xllamacpp", None, False),
    ],
)
def test_a_model_of_the_package_is_served_by_what_is_installed(
    engine: Any, request_: ServeRequest, installed: str, runs: str | None, expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(start, "find_spec", lambda name: name if name in installed.split() else None)
    monkeypatch.setattr(start.making, "find", lambda *_: None)
    monkeypatch.setattr(start.environments, "interpreter", lambda _: runs)
    assert start.only_by_llamacpp(engine, request_) is expected


PIPED = Agent(endpoint="http://a/v1", key="k", timeout=9, pipeline="p.py", roles={"r": "x"})


def test_the_roles_of_a_pipeline_get_what_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(
        start.pipelines, "set_up", lambda *words: given.append(words) or SimpleNamespace(name="of the file")
    )
    for name in (None, "mine"):
        settings = {"device": "cpu", "limit_images": 18, **({"name": name} if name else {})}
        plan = start.prepare(ServeRequest("m", settings=settings, agent=PIPED), Reporter(None))
        assert (plan.name, plan.source, plan.config.limit_images) == (name or "of the file", "pipeline", 18)
    choice = Choice("m", "http://a/v1", "k", device="cpu", timeout=9)
    config = SolveConfig(timeout=9, max_turns=16, keep_images=False)
    assert given == [("p.py", {"r": "x"}, Setup(choice, config, offline=True))] * 2


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (ServeRequest("m", system="s", agent=PIPED), "--system does not go with --pipeline"),
        (ServeRequest("m", protocol="s", agent=PIPED), "--protocol does not go with --pipeline"),
        (ServeRequest("m", family="s", agent=PIPED), "--family does not go with --pipeline"),
        (ServeRequest("m", agent=msgspec.structs.replace(PIPED, max_tokens=9)), "--max-tokens does not go with"),
        (ServeRequest("m", engine="vllm", agent=PIPED), "--engine means nothing with --pipeline"),
        (ServeRequest("m", settings={"dtype": "auto"}, agent=PIPED), "--dtype means nothing with --pipeline"),
        (ServeRequest("m", settings={"gpus": (0,), "dtype": "auto"}, agent=Agent(endpoint="http://a/v1")),
         "--dtype means nothing with --endpoint"),
        (ServeRequest("m", settings={"device": "cpu"}, agent=Agent(endpoint="http://a/v1")), "--device means nothing"),
        (ServeRequest("m", settings={"limit_images": 1}, agent=Agent(endpoint="http://a/v1")), "--limit-images 1"),
        (ServeRequest("m", settings={"host": "http://a"}), "'http://a' is not an address to listen on"),
        (ServeRequest("m", settings={"host": ""}), "'' is not an address to listen on"),
    ],
)  # fmt: skip
def test_what_means_nothing_to_an_agent_is_refused(request_: ServeRequest, said: str) -> None:
    with pytest.raises((UsageError, ConfigError), match=said):
        start.prepare(request_, Reporter(None))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:9/v1"), ("0.0.0.0", "http://127.0.0.1:9/v1"), ("::", "http://[::1]:9/v1"),
        ("::1", "http://[::1]:9/v1"), ("h", "http://h:9/v1"),
    ],
)  # fmt: skip
def test_where_this_machine_reaches_a_server(host: str, url: str) -> None:
    assert start.address.url(Config(host=host, port=9)) == url


def test_all_that_python_says_of_a_server_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[ServeRequest] = []
    monkeypatch.setattr(start, "start", lambda request, _: asked.append(request))
    start.serve(
        Path("m"), agent=True, endpoint="http://a/v1", endpoint_key="k", protocol=Path("p"), family="f", concurrency=2,
        timeout=9, max_tokens=7, port=1,
    )  # fmt: skip
    start.serve("m", engine="vllm", system="s", host="h")
    agent = Agent("http://a/v1", "k", 2, 9, 7)
    assert asked == [
        ServeRequest("m", None, "p", None, {"port": 1}, agent, "f"),
        ServeRequest("m", "s", None, "vllm", {"host": "h"}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"endpoint": "http://a/v1"}, "endpoint= needs agent=True"),
        ({"pipeline": "p.py"}, "pipeline= needs agent=True"),
        ({"agent": True, "roles": {"r": "m"}}, "roles= belongs to pipeline="),
    ],
)
def test_what_python_says_of_no_agent_is_refused(words: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        start.serve("m", **words)


@pytest.mark.parametrize("debug", [True, False])
def test_answers_that_are_waited_for_at_the_end_are_counted(debug: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    given, events = list[Any](), list[Event]()
    monkeypatch.setattr(connections, "server", lambda *words: given.append(words))
    monkeypatch.setenv("VIRC_DEBUG", "1" if debug else "")
    start._http_server("app", Reporter(events.append))  # type: ignore[arg-type]
    ((app, ending, level),) = given
    for waiting in (1, 3):
        ending(waiting)
    assert (app, level) == ("app", "error" if debug else "critical")
    assert [event.text for event in events] == [
        f"ending: {said} still waited for; Ctrl-C again ends it at once" for said in ("1 answer is", "3 answers are")
    ]
