"""Hands a job to a Ray cluster, writes what it writes, and ends it when this process is ended.

`python -m virc.cluster.ray.submit FILE.json`, in the engine's environment; the file is `ray_job.on_cluster`'s.
It does what `ray job submit` and `ray job stop` do, by the same interface, and ends with the job's own exit code.
"""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from virc.cluster.ray.job import KEYS, OF_TOOLS
from virc.core.orphans import end_with_parent

_STOPPING = 60.0  # seconds that a job gets to end
_LOOK = 1.0  # seconds
_RUN = "virc_run"
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
        return _refused(f"the Ray cluster at {job_request['address']} wants its token: RAY_AUTH_TOKEN")
    except (ConnectionError, RuntimeError) as error:
        return _refused(f"no Ray cluster answers at {job_request['address']}: {_line(error)}")
    for former in client.list_jobs():  # of this run, that a machine left behind when it went down
        if (former.metadata or {}).get(_RUN) == job_request["run"] and not former.status.is_terminal():
            _end(client, former.submission_id)
    runtime: dict[str, Any] = job_request["runtime_env"]
    passed = (*KEYS, *OF_TOOLS)
    runtime["env_vars"] |= {name: value for name, value in os.environ.items() if name.startswith(passed) and value}
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    try:
        job = client.submit_job(
            entrypoint=job_request["entrypoint"], runtime_env=runtime, metadata={_RUN: job_request["run"]}
        )
    except RuntimeError as error:
        return _refused(f"the Ray cluster takes no job: {_line(error)}")
    try:
        print(f"virc: Ray job {job} at {job_request['address']}", flush=True)
        written = 0
        while True:  # write what the job writes until it has ended; after a break of the connection, from where it was
            written = asyncio.run(_tail(client, job, written))
            if client.get_job_status(job).is_terminal():
                break
            time.sleep(_LOOK)
    except BaseException:
        _end(client, job)
        raise
    return _code(client.get_job_info(job))


async def _tail(client: Any, job: str, written: int) -> int:
    seen = 0
    async for text in client.tail_job_logs(job):
        new = text[max(0, written - seen) :]
        seen += len(text)
        sys.stdout.write(new)
        sys.stdout.flush()
    return max(written, seen)


def _code(info: Any) -> int:
    if info.status == "SUCCEEDED":
        return 0
    if info.driver_exit_code is None:  # its process never began, or Ray lost it
        return _refused(f"the Ray job {info.status.lower()}: {_line(info.message)}")
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


def _refused(error_text: str) -> int:
    print(f"virc: SetupError: {error_text}", file=sys.stderr, flush=True)
    return 1


def _line(error: object) -> str:
    return " ".join(str(error).split())[-300:]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
