"""What an error of verl's processes came from, and which of them died.

verl waits forever for some processes that died: for an agent loop worker, or for the process of its queue.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from virc.core.errors import EngineError
from virc.engines.verl import private

TRAINER = "virc_trainer"
"""The name of the Ray actor that trains."""
_EVERY = 2.0  # seconds
_PATIENCE = 10.0  # seconds until Ray knows of a death that an error tells of
_NAMES = {
    "Runner": "trainer",
    "WorkerDict": "actor",
    "Server": "rollout server",
    "vLLMHttpServer": "rollout server",
    "AgentLoopWorkerTQ": "agent loop worker",
    "RewardLoopWorker": "reward worker",
    "GlobalRequestLoadBalancer": "load balancer",
    "TransferQueueController": "queue's controller",
    "SimpleStorageUnit": "queue's storage",
}
"""Ray's name of a class -> what verl calls it."""


def cause(error: BaseException) -> str:
    """The error that others were raised for, in one line; Ray's carry that of another process."""
    while (inner := getattr(error, "cause", None) or error.__cause__) is not None:
        error = inner
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def last_cause(error: BaseException) -> str:
    """As `cause`, of the error that ended a run: the process that died first, if one did."""
    found, end = cause(error), time.monotonic() + _PATIENCE
    while not (died := first_death()) and "Actor" in found and time.monotonic() < end:
        time.sleep(_EVERY / 10)
    return f"{EngineError.__name__}: {died}" if died else found


@contextmanager
def ended_by_deaths() -> Iterator[None]:
    """While it is open, the trainer ends as soon as another of its processes has died."""
    import ray  # type: ignore[import-not-found]

    over = threading.Event()

    def watch() -> None:
        while not over.wait(_EVERY):
            if first_death():
                with suppress(ValueError):  # it has ended
                    ray.kill(ray.get_actor(TRAINER))
                return

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join(_PATIENCE)  # or it would start Ray again


def first_death() -> str | None:
    """The first of a run's Ray actors that died unasked, as a clause."""
    import ray

    if not ray.is_initialized():
        return None
    job = ray.get_runtime_context().get_job_id()
    died = [each for each in private.dead_actors() if each["JobID"] == job and _unasked(each["DeathCause"])]
    if not died:
        return None
    first = min(died, key=lambda each: each["EndTime"])
    kind = first["ActorClassName"].rpartition(".")[2]  # verl makes some of them in functions
    name = _NAMES.get(kind, kind)
    where = f"process {first['Pid']} on {first['Address']['IPAddress']}"
    if first["DeathCause"].HasField("oom_context"):
        return f"Ray ended its {name} ({where}) since the main memory was full"
    return f"its {name} died ({where})"


def _unasked(death: Any) -> bool:
    """Whether nobody asked for a death: an actor of which nobody holds a handle any more is ended by Ray."""
    if death.HasField("oom_context"):
        return True
    context = death.actor_died_error_context
    return context.reason in (context.WORKER_DIED, context.NODE_DIED)
