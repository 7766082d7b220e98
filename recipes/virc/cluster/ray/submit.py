"""Hands a job to a Ray cluster, writes what it writes, and ends it when this process is ended.

`python -m virc.cluster.ray.submit FILE.json`, in the engine's environment; the file is `ray_job.on_cluster`'s.
It does what `ray job submit` and `ray job stop` do, by the same interface, and ends with the job's own exit code.
"""

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from virc.cluster.ray.job import OF_TOOLS, secrets
from virc.core import credentials
from virc.core.orphans import end_with_parent

OUTAGE = 120.0  # seconds that a cluster may be away
_STOPPING = 60.0  # seconds that a job gets to end
_LOOK = 1.0  # seconds
_PATIENCE = 30.0  # seconds until Ray knows of a node's loss
_ANSWER, _MAX_ROWS = 10, 10_000  # seconds that Ray gets to answer, and rows of an answer
_ENDING = 2**16  # characters of a log's end
_DEATHS = re.compile(r"\bdied\b|[Cc]onnection|NCCL|killed|unavailable", re.IGNORECASE)
_RUN = "virc_run"
_CREDENTIALS = "credentials.json"
_HOOK = f"{credentials.load.__module__}.{credentials.load.__name__}"
_TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def main(file: str) -> int:
    """Run a job to its end; returns its exit code, or 128 and the number of the signal that ended this process."""
    end_with_parent()
    job_request: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8"))
    if any(os.environ.get(name) for name in _TOKENS) or (Path.home() / ".ray" / "auth_token").exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # or Ray, when it is imported, would not send it
    from ray.exceptions import AuthenticationError  # type: ignore[import-not-found]
    from ray.job_submission import JobSubmissionClient  # type: ignore[import-not-found]

    try:
        client = JobSubmissionClient(job_request["address"])
    except AuthenticationError:
        return refused(f"the Ray cluster at {job_request['address']} wants its token: RAY_AUTH_TOKEN")
    except (ConnectionError, RuntimeError) as error:
        return refused(f"no Ray cluster answers at {job_request['address']}: {_line(error)}")
    for former in client.list_jobs():  # which a machine left behind when it went down
        if (former.metadata or {}).get(_RUN) == job_request["run"] and not former.status.is_terminal():
            _end(client, former.submission_id)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    keys = Path(file).with_name(_CREDENTIALS)
    for left in keys.parent.parent.glob(f"*/{_CREDENTIALS}"):  # by an attempt that was killed
        left.unlink(missing_ok=True)
    try:
        return _followed(client, job_request, _runtime(job_request, keys))
    finally:
        keys.unlink(missing_ok=True)


def _runtime(job_request: Mapping[str, Any], keys: Path) -> dict[str, Any]:
    """The job's environment. Its pages and logs show it, so that keys reach the job by a file, which is written."""
    runtime: dict[str, Any] = job_request["runtime_env"]
    variables = {name: value for name, value in os.environ.items() if name.startswith(OF_TOOLS) and value}
    given = secrets(Path(job_request["run"]), os.environ)
    if given:
        credentials.write(keys, given)
        variables |= {credentials.FILE: str(keys), **credentials.hidden(given)}
        runtime["worker_process_setup_hook"] = _HOOK
    runtime["env_vars"] |= {name: value for name, value in variables.items() if name not in given}
    return runtime


def _followed(client: Any, job_request: Mapping[str, Any], runtime: Mapping[str, Any]) -> int:
    try:
        job = client.submit_job(
            entrypoint=job_request["entrypoint"], runtime_env=runtime, metadata={_RUN: job_request["run"]}
        )
    except RuntimeError as error:
        return refused(f"the Ray cluster takes no job: {_line(error)}")
    try:
        print(f"virc: Ray job {job} at {job_request['address']}", flush=True)
        written = follow(client, job)
    except OutageError as error:
        print(f"virc: EngineError: the Ray cluster at {job_request['address']} {error}", file=sys.stderr, flush=True)
        return 1
    except BaseException:
        with suppress(Exception):  # a cluster that is away cannot be asked to end it; the next attempt does
            _end(client, job)
        raise
    info = client.get_job_info(job)
    code = _code(info)
    if code and (lost := _lost(job_request["address"], info.job_id, _DEATHS.search(written.end) is not None)):
        print(f"virc: EngineError: the cluster lost {lost}", file=sys.stderr, flush=True)
    return code


def _lost(address: str, job: str | None, waits: bool) -> str | None:
    """The nodes of a job that its cluster has lost; Ray knows of a loss seconds after other processes."""
    from ray.util.state import list_actors, list_nodes  # type: ignore[import-not-found]

    # one that has filtered rows out calls them missing
    asked = {"address": address, "limit": _MAX_ROWS, "timeout": _ANSWER, "raise_on_missing_output": False}
    end = time.monotonic() + (_PATIENCE if waits else 0.0)
    while job:
        try:
            actors = list_actors(filters=[("job_id", "=", job)], **asked)
            nodes = list_nodes(**asked)
        except Exception:  # any of Ray's, of requests' or of its server: what the job said itself then stands alone
            return None
        of_job = {actor["node_id"] for actor in actors}
        lost = [node for node in nodes if node["state"] == "DEAD" and node["node_id"] in of_job]
        if lost or time.monotonic() > end:
            return "; ".join(map(_node, lost)) or None
        time.sleep(_LOOK)
    return None


def _node(node: Mapping[str, Any]) -> str:
    reason = _line(node["state_message"] or "").removeprefix("Unexpected termination: ")
    return f"the node {node['node_ip']} (Ray's {node['node_id'][:8]}){f': {reason}' if reason else ''}"


class OutageError(Exception): ...


def follow(client: Any, job: str) -> "Written":
    """Write what a job writes until it has ended; after a break of the connection, from where it was.

    Raises:
        OutageError: the cluster has not answered for two minutes.
    """
    written, answered = Written(), time.monotonic()
    while True:
        try:
            asyncio.run(_tail(client, job, written))
            if client.get_job_status(job).is_terminal():
                return written
            answered = time.monotonic()
        except Exception as error:  # any of Ray's, of requests' or of aiohttp's
            if (silent := time.monotonic() - answered) > OUTAGE:
                raise OutageError(f"has not answered for {silent:.0f} s: {_line(error)}") from error
        time.sleep(_LOOK)


@dataclass
class Written:
    """What a job wrote and was written here: how many characters, and the last of them."""

    length: int = 0
    end: str = ""


async def _tail(client: Any, job: str, written: Written) -> None:
    seen = 0
    async for text in client.tail_job_logs(job):
        new = text[max(0, written.length - seen) :]
        seen += len(text)
        written.length, written.end = max(written.length, seen), (written.end + new)[-_ENDING:]
        sys.stdout.write(new)
        sys.stdout.flush()


def _code(info: Any) -> int:
    if info.status == "SUCCEEDED":
        return 0
    if info.driver_exit_code is None:  # its process never began, or Ray lost it
        return refused(f"the Ray job {info.status.lower()}: {_line(info.message)}")
    code = int(info.driver_exit_code)
    return code if code > 0 else 128 - code or 1


def _end(client: Any, job: str) -> None:
    client.stop_job(job)
    end = time.monotonic() + _STOPPING
    while not client.get_job_status(job).is_terminal() and time.monotonic() < end:
        time.sleep(_LOOK)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)  # one is enough
    sys.exit(128 + number)


def refused(error_text: str) -> int:
    print(f"virc: SetupError: {error_text}", file=sys.stderr, flush=True)
    return 1


def _line(error: object) -> str:
    return " ".join(str(error).split())[-300:]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
