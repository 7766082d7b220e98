"""A system as two servers of NeMo Gym 0.7: one of its problems, tools and rewards, and an agent that asks the model.

The first keeps no state: it makes a conversation again from its replies. A rollout is what Gym trains on: what the
model wrote, as it came, and between that the turns that it was shown.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any, ClassVar, Literal

from fastapi import FastAPI, Request
from nemo_gym.base_resources_server import (  # type: ignore[import-not-found, unused-ignore]
    BaseResourcesServerConfig,
    BaseRunRequest,
    BaseVerifyResponse,
    ReverifyMode,
    SimpleResourcesServer,
)
from nemo_gym.base_responses_api_agent import BaseResponsesAPIAgentConfig, SimpleResponsesAPIAgent  # type: ignore[import-not-found, unused-ignore]
from nemo_gym.config_types import ModelServerRef, ResourcesServerRef  # type: ignore[import-not-found, unused-ignore]
from nemo_gym.openai_utils import (  # type: ignore[import-not-found, unused-ignore]
    NeMoGymEasyInputMessage,
    NeMoGymResponse,
    NeMoGymResponseCreateParamsNonStreaming,
    accumulate_response_usage,
)
from nemo_gym.server_utils import get_response_json, raise_for_status  # type: ignore[import-not-found, unused-ignore]
from pydantic import BaseModel, ConfigDict

from virc.core.errors import ConfigError
from virc.reasoning.session import Reply
from virc_extras.export.environment import Conversation, Environment, terms_of, total_of

_CUT = "max_output_tokens"
_WHOLE = "++policy_model.responses_api_models.vllm_model.uses_reasoning_parser=false"
"""Has Gym leave thoughts in replies."""


class Said(BaseModel):
    """A reply of the model; `finish` is "length" where the token limit cut it."""

    text: str
    finish: Literal["stop", "length"] = "stop"


class Talk(BaseModel):
    """A problem by its row, from 0, and the replies to it so far."""

    row: int
    replies: list[Said] = []


class Turn(BaseModel):
    """What the model is shown next, as the Responses API has it; nothing where the problem is over."""

    messages: list[NeMoGymEasyInputMessage]
    over: bool


class Problem(BaseRunRequest):  # type: ignore[misc]
    """A line of the rows of Gym: its problem by its row, from 0."""

    model_config = ConfigDict(extra="allow")
    row: int


class Rollout(Problem):
    """A problem with all that was said."""

    response: NeMoGymResponse


class Rewarded(BaseVerifyResponse):  # type: ignore[misc]
    """A rollout with its reward, whose terms are fields of their own."""

    model_config = ConfigDict(extra="allow")


class ResourcesConfig(BaseResourcesServerConfig):  # type: ignore[misc]
    """Rewards can be computed again from a rollout (`gym eval reverify`)."""

    REVERIFY_MODE: ClassVar[Any] = ReverifyMode.STATELESS


class AgentConfig(BaseResponsesAPIAgentConfig):  # type: ignore[misc]
    """The server of the system, and that of the model."""

    resources_server: ResourcesServerRef
    model_server: ModelServerRef


def lines_of(environment: Environment, agent: str, rows: str | None = None) -> str:
    """The rows of Gym as JSON lines: one for each problem, for the agent of this name."""
    named = {"type": "responses_api_agents", "name": agent}
    lines = (
        {"row": at, "agent_ref": named, "responses_create_params": {"input": problem.question or ""}}
        for at, problem in enumerate(environment.problems(rows))
    )
    return "".join(f"{json.dumps(line)}\n" for line in lines)


def resources_of(environment: Environment, rows: str | None = None) -> type[Any]:
    """The server of a system's problems: `/turn` shows the next turn, `/verify` rewards a rollout."""

    def held(row: int, replies: Iterable[Said]) -> Conversation:
        conversation = environment.begin(environment.problems(rows)[row])
        for reply in replies:
            if not conversation.over:
                conversation.feed(Reply(reply.text, finish=reply.finish))
        return conversation

    class Resources(SimpleResourcesServer):  # type: ignore[misc]
        config: ResourcesConfig

        def setup_webserver(self) -> FastAPI:
            app: FastAPI = super().setup_webserver()
            app.post("/turn")(self.turn)
            return app

        async def turn(self, body: Talk) -> Turn:
            talk = await asyncio.to_thread(held, body.row, body.replies)
            messages = [] if talk.over else [_message(each) for each in _unanswered(talk)]
            return Turn(messages=messages, over=talk.over)

        async def verify(self, body: Rollout) -> Rewarded:
            talk = await asyncio.to_thread(held, body.row, _replies(body.response))
            found = await environment.score(environment.problems(rows)[body.row], talk.replies)
            return Rewarded(**body.model_dump() | terms_of(found) | {"reward": total_of(found)})

    return Resources


class Agent(SimpleResponsesAPIAgent):  # type: ignore[misc]
    """Asks the model until the problem is over, without drawing a reply again."""

    config: AgentConfig

    async def responses(self, request: Request, body: NeMoGymResponseCreateParamsNonStreaming) -> NeMoGymResponse:
        """One reply of the model."""
        return NeMoGymResponse.model_validate(await self._post(self.config.model_server, "/v1/responses", body))

    async def run(self, request: Request, body: Problem) -> Rewarded:
        """The rollout of a problem, and its reward."""
        path = self.url_path_for_run("/v1/responses", body)
        replies: list[Said] = []
        said: list[Any] = []
        usage = None
        asked = body.responses_create_params.model_copy(update={"input": (await self._turn(body.row, [])).messages})
        while True:
            ask = asked.model_copy(update={"input": [*asked.input, *said]})
            response = NeMoGymResponse.model_validate(await self._post(self.config.model_server, path, ask))
            said, usage = [*said, *response.output], accumulate_response_usage(usage, response.usage)
            replies += _replies(response)
            turn = await self._turn(body.row, replies)
            if turn.over:
                break
            said += turn.messages
        ended = response.model_copy(update={"output": said, "usage": usage})
        rollout = body.model_dump() | {"responses_create_params": asked, "response": ended}
        rewarded = await self._post(self.config.resources_server, "/verify", Rollout.model_validate(rollout))
        return Rewarded(**rewarded)

    async def _turn(self, row: int, replies: list[Said]) -> Turn:
        talk = Talk(row=row, replies=replies)
        return Turn.model_validate(await self._post(self.config.resources_server, "/turn", talk))

    async def _post(self, server: Any, path: str, body: BaseModel) -> Any:
        found = await self.server_client.post(server_name=server.name, url_path=path, json=body)
        await raise_for_status(found)
        return await get_response_json(found)


def _unanswered(talk: Conversation) -> list[dict[str, Any]]:
    """The messages behind the model's last reply, all at the beginning."""
    messages = talk.messages
    replied = [at for at, each in enumerate(messages) if each["role"] == "assistant"] if talk.replies else []
    return messages[replied[-1] + 1 :] if replied else messages


def _message(message: Mapping[str, Any]) -> NeMoGymEasyInputMessage:
    """A message of the chat completions API as one of the Responses API."""
    content = message["content"]
    return NeMoGymEasyInputMessage(
        role=message["role"], content=content if isinstance(content, str) else [_part(each) for each in content]
    )


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": "input_text", "text": part["text"]}
    return {"type": "input_image", "image_url": part["image_url"]["url"], "detail": "auto"}


def _replies(response: Any) -> list[Said]:
    """The replies in a response: what the model wrote between turns of the user.

    Raises:
        ConfigError: thoughts were taken out of them, which the model would not see in its next turn.
    """
    if any(item.type == "reasoning" for item in response.output):
        raise ConfigError("the server of the model takes thoughts out of its replies", f"gym env start {_WHOLE}")
    turns = groupby(response.output, key=lambda item: getattr(item, "role", "assistant"))
    found = [Said(text="".join(map(_text, items))) for role, items in turns if role == "assistant"]
    if found and response.incomplete_details and response.incomplete_details.reason == _CUT:
        found[-1].finish = "length"
    return found


def _text(item: Any) -> str:
    return "".join(part.text for part in item.content) if item.type == "message" else ""
