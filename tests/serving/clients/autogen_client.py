# client: AutoGen
# packages: autogen-ext[openai]==0.7.5 autogen-agentchat==0.7.5
# note: The pieces of a stream have the thoughts, too, between `<think>` and `</think>`.
import asyncio
import json

# docs
from autogen_ext.models.openai import OpenAIChatCompletionClient

info = {"vision": True, "function_calling": True, "json_output": True, "structured_output": True, "family": "unknown"}
server = {"base_url": "http://127.0.0.1:8000/v1", "api_key": "KEY"}
client = OpenAIChatCompletionClient(model="tiny", model_info=info, **server)
# end
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import MultiModalMessage
from autogen_core import Image
from autogen_core.models import UserMessage
from autogen_core.tools import FunctionTool
from PIL import Image as PILImage
from pydantic import BaseModel

question = ["What is m∠B in triangle MBH?", Image(PILImage.open("figure.png"))]
messages = [UserMessage(content=question, source="user")]


class Angle(BaseModel):
    degrees: str


def angle(degrees: str) -> str:
    return degrees


async def ways() -> dict:
    agent = AssistantAgent("reader", client, system_message=None)
    said = await agent.run(task=MultiModalMessage(content=question, source="user"))
    whole = await client.create(messages)
    *pieces, streamed = [piece async for piece in client.create_stream(messages)]
    written = await client.create(messages, json_output=Angle)
    tool = FunctionTool(angle, description="Reports an angle.")
    called = await client.create(messages, tools=[tool], tool_choice=tool)
    assert "".join(pieces).removeprefix(f"<think>{streamed.thought}</think>") == said.messages[-1].content
    return {
        "whole": {"answer": whole.content, "thoughts": whole.thought},
        "stream": {"answer": streamed.content, "thoughts": streamed.thought},
        "json_schema": {"answer": json.loads(written.content)["degrees"]},
        "tool": {"answer": json.loads(called.content[0].arguments)["degrees"]},
    }


print(json.dumps({"chat": asyncio.run(ways())}))
