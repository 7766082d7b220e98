"""What a forked child has of its parent: no connection, no held lock, no model, no process."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from asks import ANSWER, ask
from support.loopback import Connection, Loopback
from support.servers import Server, serve
from support.tables import each_case

from virc.backends.chat.backend import OpenAIBackend
from virc.backends.chat.link import Link
from virc.backends.interface import Sampling
from virc.backends.llamacpp import LlamaCppBackend
from virc.backends.local import LocalBackend
from virc.core.errors import EngineError
from virc.core.limits.bounded import Bounded
from virc.core.retry import Pace
from virc.core.work import forks
from virc.download.hub.content import answer
from virc.reasoning.opening.decoder import DECODER
from virc.reasoning.resize import QWEN2
from virc.remote.described import Described, Http
from virc.remote.http import Server as RemoteServer

forks_a_child = pytest.mark.integration
GREEDY = Sampling()
SECONDS = 60.0


def in_child(work: Callable[[], object]) -> str:
    """What `work` returns in a forked child, as text, or its error."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def tell() -> None:
        try:
            said = str(work())
        except Exception as error:
            said = str(error)
        sender.send(said)

    child = context.Process(target=tell)
    child.start()
    try:
        assert receiver.poll(SECONDS), "the child waits for ever"
        return str(receiver.recv())
    finally:
        child.kill()
        child.join()


def reply_of(backend: OpenAIBackend) -> str:
    return backend.reply(ask(), GREEDY).text


@forks_a_child
@each_case(
    ("work", "said"),
    [
        (lambda _, backend: reply_of(backend), ANSWER),
        (lambda server, backend: Link(server.url, None, 60, 0).models()[0].id, "virc-scripted"),
        (lambda _, backend: in_child(lambda: reply_of(backend)), ANSWER),
        (lambda server, backend: OpenAIBackend(server.url).link.answers(), "True"),
        (lambda server, backend: backend.json_object("/v1/models")["object"], "list"),
    ],
)
def test_a_child_asks_an_endpoint_by_connections_of_its_own(
    work: Callable[[Server, OpenAIBackend], object], said: str
) -> None:
    with serve([ANSWER]) as server:
        backend = OpenAIBackend(server.url)
        assert reply_of(backend) == ANSWER
        before = server.accepted
        assert in_child(lambda: work(server, backend)) == said
        assert server.accepted > before  # the parent's idle connection is not used
        opened = server.accepted
        assert reply_of(backend) == ANSWER  # and still works for the parent
        assert server.accepted == opened


@forks_a_child
def test_a_lock_that_a_thread_holds_is_free_in_the_child() -> None:
    lock = Pace()._lock
    with lock:
        assert in_child(lock.__enter__) == "None"
        assert lock._lock.locked()


def _local() -> LocalBackend:
    backend = LocalBackend.__new__(LocalBackend)
    backend.model, backend._lock, backend._home = "m", threading.Lock(), forks.HomeProcess()
    return backend


def _llama_cpp() -> LlamaCppBackend:
    return LlamaCppBackend("m", object(), QWEN2, 100)


@each_case(
    "work",
    [
        lambda: _local().reply(ask(), GREEDY),
        lambda: _local().estimate(1),
        lambda: _llama_cpp().reply(ask(), GREEDY),
        lambda: _llama_cpp().estimate(1),
    ],
)
def test_a_model_of_the_parent_is_refused_at_once_in_a_child(
    work: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = os.getpid()
    pids = iter([parent])
    monkeypatch.setattr("virc.core.work.forks.os.getpid", lambda: next(pids, parent + 1))
    with pytest.raises(
        EngineError, match=rf"the model m was loaded in process {parent}, and cannot be used"
    ) as refused:
        work()
    assert refused.value.hint == (
        'in each child (of a Pool: by initializer=) model = virc.load("m"); or virc serve m, and in each '
        'virc.load(endpoint="http://127.0.0.1:8000/v1")'
    )


class _Tool(Connection):
    def post(self) -> None:
        self.sent()
        self.send_body(b"said", headers={"Content-Type": "text/plain"})


def _call(server: RemoteServer) -> str:
    return server.call({}, time.monotonic() + SECONDS, lambda: None).text


@forks_a_child
def test_a_child_asks_a_remote_tool_by_connections_of_its_own() -> None:
    site = Loopback(_Tool)
    with site.running():
        server = RemoteServer(Described("d", {}), Http(url=site.address))
        assert _call(server) == "said"
        assert in_child(lambda: _call(server)) == "said"
        assert site.accepted == 2


@forks_a_child
def test_a_child_asks_the_hub_by_connections_of_its_own() -> None:
    def listed(url: str) -> int:
        return len(answer(f"{url}/models", {}).read())

    with serve([]) as server:
        assert listed(server.url) == listed(server.url)
        assert server.accepted == 1
        assert int(in_child(lambda: listed(server.url))) > 0
        assert server.accepted == 2


@forks_a_child
def test_a_child_leaves_processes_to_its_parent() -> None:
    helper = Bounded(Path("none.py"))
    helper.process = DECODER.process = object()  # type: ignore[assignment]
    try:
        assert in_child(lambda: (helper.process, DECODER.process)) == "(None, None)"
    finally:
        helper.process = DECODER.process = None
