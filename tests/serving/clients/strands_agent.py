# client: Strands Agents
# packages: strands-agents[openai]==1.62.0
import asyncio
import json
from pathlib import Path

from strands import Agent
from strands.models.openai import OpenAIModel

server = {"base_url": "http://127.0.0.1:8000/v1", "api_key": "KEY"}
model = OpenAIModel(client_args=server, model_id="tiny")
agent = Agent(model, callback_handler=None)
image = {"format": "png", "source": {"bytes": Path("figure.png").read_bytes()}}
question = [{"text": "What is m∠B in triangle MBH?"}, {"image": image}]


def read(message: dict) -> dict:
    text = "".join(part.get("text", "") for part in message["content"])
    kept = [part["reasoningContent"] for part in message["content"] if "reasoningContent" in part]
    thoughts = "".join(each["reasoningText"]["text"] for each in kept)
    return {"answer": text, "thoughts": thoughts}


async def streamed() -> str:
    events = Agent(model, callback_handler=None).stream_async(question)
    return "".join([event["data"] async for event in events if "data" in event])


print(json.dumps({"chat": {"whole": read(agent(question).message), "stream": {"answer": asyncio.run(streamed())}}}))
