# client: Pydantic AI
# packages: pydantic-ai-slim[openai]==2.66.0
import asyncio
import json
from pathlib import Path
from typing import Any

# docs
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

provider = OpenAIProvider(base_url="http://127.0.0.1:8000/v1", api_key="KEY")
agent = Agent(OpenAIChatModel("tiny", provider=provider))  # or OpenAIResponsesModel
# end
from pydantic import BaseModel
from pydantic_ai import BinaryContent, NativeOutput, ToolOutput

image = BinaryContent(data=Path("figure.png").read_bytes(), media_type="image/png")
prompt = ["What is m∠B in triangle MBH?", image]


class Angle(BaseModel):
    degrees: str


def read(answer: str, result: Any) -> dict:
    messages = result.all_messages()
    parts = [part for message in messages for part in message.parts]
    thoughts = "".join(part.content for part in parts if part.part_kind == "thinking")
    details = [each.provider_details or {} for each in (*messages[1:], *parts[2:])]
    calls = [call for each in details for call in each.get("virc_tool_calls", [])]
    return {"answer": answer, "thoughts": thoughts, "calls": calls}


async def ways(agent: Agent) -> dict:
    whole = await agent.run(prompt)
    async with agent.run_stream(prompt) as stream:
        text = "".join([piece async for piece in stream.stream_text(delta=True)])
    return {
        "whole": read(whole.output, whole),
        "stream": read(text, stream),
        "json_schema": {"answer": (await agent.run(prompt, output_type=NativeOutput(Angle))).output.degrees},
        "tool": {"answer": (await agent.run(prompt, output_type=ToolOutput(Angle))).output.degrees},
    }


async def both() -> dict:
    return {"chat": await ways(agent), "responses": await ways(Agent(OpenAIResponsesModel("tiny", provider=provider)))}


print(json.dumps(asyncio.run(both())))
