"""A system as a task of inspect_ai: a solver that holds its conversations, and a scorer of its rewards."""

import asyncio
import json
from collections.abc import Sequence
from math import nan
from typing import Any

from inspect_ai import Task  # type: ignore[import-not-found, unused-ignore]
from inspect_ai.dataset import MemoryDataset, Sample  # type: ignore[import-not-found, unused-ignore]
from inspect_ai.event import ModelEvent  # type: ignore[import-not-found, unused-ignore]
from inspect_ai.log import transcript  # type: ignore[import-not-found, unused-ignore]
from inspect_ai.model import (  # type: ignore[import-not-found, unused-ignore]
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    ContentImage,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    ModelName,
    get_model,
)
from inspect_ai.scorer import Score, mean, scorer, stderr  # type: ignore[import-not-found, unused-ignore]
from inspect_ai.solver import TaskState, solver  # type: ignore[import-not-found, unused-ignore]

from virc.backends.chat import providers
from virc.backends.chat.reply import read_reply
from virc.backends.interface import Sampling
from virc.core.seeds import derived
from virc.data.rows.record import Record, choices_of
from virc.reasoning.session import Reply
from virc.scoring.answers import same_answer
from virc.solving.one import SolveConfig
from virc_extras.export.environment import MAX_REPLY, Conversation, Environment, terms_of, total_of

_ROLES = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
_ATTACHED = "attachment://"
"""What its log has in place of longer texts, before their hash."""
REPLIES = "virc_replies"
"""Key of a sample's store with the replies of its solution."""


def task_of(environment: Environment, rows: str | None, tries: int) -> Task:
    """The task of a system on rows; `tries` are the replies that are drawn for a turn, warmer each time."""
    problems = environment.problems(rows)
    samples = [
        Sample(input=each.question or "", target=each.answer or "", id=at, metadata={"row": at, "id": each.id})
        for at, each in enumerate(problems, 1)
    ]

    def problem_of(state: TaskState) -> Record:
        row: int = state.metadata["row"]
        return problems[row - 1]

    @solver(name="virc")  # type: ignore[untyped-decorator, unused-ignore]
    def conversation() -> Any:
        async def solve(state: TaskState, generate: Any) -> TaskState:
            talk = await asyncio.to_thread(environment.begin, problem_of(state))
            samplings = SolveConfig(tries=tries).samplings(environment.protocol.sampling)
            while not talk.over:
                state.messages = messages_of(talk)
                for number, sampling in enumerate(samplings):
                    seed = derived(0, state.sample_id, state.epoch, len(state.messages), number)
                    config = config_of(sampling, seed, talk.ask.stop, ModelName(get_model()).api)
                    state.output = await get_model().generate(state.messages, config=config)
                    if await asyncio.to_thread(talk.feed, _reply(state.output)):
                        break
            state.messages, state.completed = messages_of(talk), True
            state.store.set(REPLIES, talk.replies)
            return state

        return solve

    @scorer(metrics={"*": [mean(), stderr()]}, name="virc")  # type: ignore[untyped-decorator, unused-ignore]
    def reward() -> Any:
        async def score(state: TaskState, target: Any) -> Score:
            problem, replies = problem_of(state), state.store.get(REPLIES)
            answer = environment.begin(problem, replies).answer
            values = {"right": nan}  # inspect_ai leaves out what is no number, and wants each key in every sample
            if problem.answer is not None:
                right = answer is not None and same_answer(answer, problem.answer, choices_of(problem))
                values["right"] = float(right)
            if environment.reward and environment.reward.total:
                found = await environment.score(problem, replies)
                values |= {"reward": total_of(found), **dict.fromkeys(found.terms, nan), **terms_of(found)}
            return Score(value=values, answer=answer)

        return score

    return Task(dataset=MemoryDataset(samples, name=environment.system.name), solver=conversation(), scorer=reward())


def config_of(sampling: Sampling, seed: int, stop: Sequence[str], provider: str) -> Any:
    """How a reply is drawn, as `virc solve` asks a server: texts that end it go to those that leave them in it."""
    warm = sampling.temperature > 0
    body: dict[str, Any] = {}
    keeps_stop = providers.provider(provider).keeps_stop
    if keeps_stop:
        body = {"top_k": sampling.top_k or -1}
        if sampling.repetition_penalty is not None:
            body["repetition_penalty"] = sampling.repetition_penalty
        body |= {"min_p": sampling.min_p} if sampling.min_p is not None else {}
        body |= {keeps_stop: True} if stop else {}
    return GenerateConfig(
        temperature=sampling.temperature,
        max_tokens=sampling.max_tokens,
        top_p=sampling.top_p if warm else None,
        seed=seed,
        stop_seqs=list(stop) if stop and body else None,
        extra_body=body or None,
    )


def messages_of(talk: Conversation) -> list[Any]:
    return [_ROLES[each["role"]](content=_content(each["content"])) for each in talk.messages]


def _content(content: Any) -> Any:
    if isinstance(content, str):
        return content
    return [
        ContentText(text=part["text"]) if part["type"] == "text" else ContentImage(image=part["image_url"]["url"])
        for part in content
    ]


def _reply(output: Any) -> Reply:
    """What a model replied: the text of its server, where the log has that, since inspect_ai takes thoughts out of it
    and the space around them.
    """
    called = [event.call for event in transcript().events if isinstance(event, ModelEvent)][-1:]
    response = called[0].response if called and called[0] else None
    if response and response.get("choices"):
        texts, (choice, *_) = transcript().attachments, response["choices"]
        said = {key: texts.get(str(each).removeprefix(_ATTACHED), each) for key, each in choice["message"].items()}
        return read_reply([json.dumps({**response, "choices": [{**choice, "message": said}]}).encode()], MAX_REPLY)
    message = output.message
    parts = message.content if isinstance(message.content, list) else []
    thought = "".join(part.reasoning for part in parts if isinstance(part, ContentReasoning)) or None
    return Reply(message.text, None, "length" if output.stop_reason == "max_tokens" else "stop", thought=thought)
