# client: OpenAI Agents SDK for Python
# packages: openai-agents==0.24.0
import asyncio
import base64
import json
from pathlib import Path

# docs
from agents import Agent, OpenAIResponsesModel, Runner, set_tracing_disabled
from openai import AsyncOpenAI

set_tracing_disabled(True)
client = AsyncOpenAI(base_url="http://127.0.0.1:8000/v1", api_key="KEY")
agent = Agent("Reader", model=OpenAIResponsesModel("tiny", client))  # or OpenAIChatCompletionsModel
# end
from agents import OpenAIChatCompletionsModel
from agents.result import RunResultBase
from openai.types.responses import ResponseTextDeltaEvent
from pydantic import BaseModel

url = "data:image/png;base64," + base64.b64encode(Path("figure.png").read_bytes()).decode()
content = [{"type": "input_image", "image_url": url}, {"type": "input_text", "text": "What is m∠B in triangle MBH?"}]
asked = [{"role": "user", "content": content}]


class Angle(BaseModel):
    degrees: str


def read(answer: str, result: RunResultBase) -> dict:
    items = [item.raw_item for item in result.new_items]
    thoughts = "".join(part.text for item in items if item.type == "reasoning" for part in item.summary)
    calls = [call for item in items for call in getattr(item, "virc_tool_calls", [])]
    return {"answer": answer, "thoughts": thoughts, "calls": calls}


async def ways(agent: Agent) -> dict:
    whole = await Runner.run(agent, asked)
    stream, text = Runner.run_streamed(agent, asked), ""
    async for event in stream.stream_events():
        if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent):
            text += event.data.delta
    written = await Runner.run(agent.clone(output_type=Angle), asked)
    return {
        "whole": read(whole.final_output, whole),
        "stream": read(text, stream),
        "json_schema": {"answer": written.final_output.degrees},
    }


async def both() -> dict:
    chat = agent.clone(model=OpenAIChatCompletionsModel("tiny", client))
    return {"chat": await ways(chat), "responses": await ways(agent)}


print(json.dumps(asyncio.run(both())))
