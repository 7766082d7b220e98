"""A system as an environment of verifiers 0.4: a taskset of its problems, and a harness that holds its conversations.

The harness runs in the process of the environment and asks the model over verifiers' own interception server, so that
turns, images and tokens are in its traces as of any harness.
"""

import asyncio
from pathlib import Path
from typing import Any

import verifiers.v1 as vf  # type: ignore[import-not-found, unused-ignore]

from virc.backends.chat.reply import read_reply
from virc.core.http.library import http_library
from virc.data.rows.record import Record
from virc_extras.export.environment import MAX_REPLY, Environment, terms_of, total_of

REPLIES = "virc_replies"
"""Key of a trace's `info` with the replies of its rollout."""


class Data(vf.TaskData):  # type: ignore[misc]
    """A problem, by its place in a file of rows; None: the package's own."""

    row: int
    rows: str | None = None


class Config(vf.TasksetConfig):  # type: ignore[misc]
    """Whose problems: `--env.taskset.rows FILE` names rows in any format that virc reads."""

    rows: Path | None = None


class GroupConfig(vf.EnvConfig):  # type: ignore[misc]
    """The one agent, and how many rollouts of a problem are compared with each other (`--env.n`)."""

    agent: vf.AgentConfig = vf.AgentConfig(runtime=vf.SubprocessConfig())
    n: int = 1


def classes(environment: Environment) -> tuple[type[Any], type[Any], type[Any]]:
    """The taskset, the harness and the environment of a system, which verifiers finds by the `__all__` of a module."""

    def problem_of(data: Any) -> Record:
        row: int = data.row
        return environment.problems(data.rows)[row]

    class Task(vf.Task[Data]):  # type: ignore[misc]
        """A problem and its reward: the terms are metrics."""

        @vf.reward  # type: ignore[untyped-decorator, unused-ignore]
        async def reward(self, trace: Any) -> float:
            found = await environment.score(problem_of(self.data), trace.info.get(REPLIES, ()))
            trace.record_metrics(terms_of(found))
            return total_of(found)

    class Taskset(vf.Taskset[Task, Config]):  # type: ignore[misc]
        def load(self) -> list[Task]:
            rows = str(self.config.rows) if self.config.rows else None
            return [
                Task(Data(row=at, rows=rows, id=None if row.id is None else str(row.id), prompt=row.question or ""))
                for at, row in enumerate(environment.problems(rows))
            ]

    class Harness(vf.Harness[vf.HarnessConfig]):  # type: ignore[misc]
        """Holds a conversation as `virc solve` does, without drawing a reply again."""

        EXECUTES_CODE = NEEDS_CONTAINER = False

        async def launch(
            self, ctx: Any, trace: Any, runtime: Any, endpoint: str, secret: str, mcp_urls: dict[str, str], data: Any
        ) -> Any:
            """Ask until the problem is over; the replies are in the trace."""
            conversation = await asyncio.to_thread(environment.begin, problem_of(data))
            headers = {"Authorization": f"Bearer {secret}"}
            async with http_library().AsyncClient(timeout=None, headers=headers) as client:
                while not conversation.over:
                    said = await client.post(f"{endpoint}/chat/completions", json=conversation.request(ctx.model))
                    if said.is_error:
                        return vf.ProgramResult(exit_code=1, stdout="", stderr=said.text)
                    await asyncio.to_thread(conversation.feed, read_reply([said.content], MAX_REPLY))
                    trace.info[REPLIES] = conversation.replies
            return vf.ProgramResult(exit_code=0, stdout="", stderr="")

    class Group(vf.Env[GroupConfig]):  # type: ignore[misc]
        """Rollouts of one problem; where the system's total compares them, each gets what it is compared by."""

        async def run(self, task: Any, agents: Any) -> None:
            async with asyncio.TaskGroup() as together:
                for _ in range(self.config.n):
                    together.create_task(agents.agent.run(task))

        async def finalize(self, task: Any, episode: Any) -> None:
            """Set the rewards as they are compared; `reward` of the metrics is what each had alone."""
            if environment.total.group is None or not all(trace.info.get(REPLIES) for trace in episode.traces):
                return
            problem = problem_of(task.data)
            found = [await environment.score(problem, trace.info[REPLIES]) for trace in episode.traces]
            for trace, alone, compared in zip(episode.traces, found, environment.compared(found), strict=True):
                trace.record_metrics({"reward_alone": total_of(alone)})
                trace.record_reward("reward", compared)

    return Taskset, Harness, Group
