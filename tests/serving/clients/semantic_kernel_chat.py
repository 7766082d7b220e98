# client: Semantic Kernel
# packages: semantic-kernel==1.45.0
import asyncio
import json

from openai import AsyncOpenAI
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion

client = AsyncOpenAI(base_url="http://127.0.0.1:8000/v1", api_key="KEY")
service = OpenAIChatCompletion(ai_model_id="tiny", async_client=client)
from pydantic import BaseModel
from semantic_kernel.connectors.ai.open_ai import OpenAIChatPromptExecutionSettings as Settings
from semantic_kernel.contents import ChatHistory, ChatMessageContent, ImageContent, TextContent

question = [TextContent(text="What is m∠B in triangle MBH?"), ImageContent.from_image_file("figure.png")]
history = ChatHistory(messages=[ChatMessageContent(role="user", items=question)])


class Angle(BaseModel):
    degrees: str


async def ways() -> dict:
    reply = await service.get_chat_message_content(history, Settings())
    message = reply.inner_content.choices[0].message
    thoughts, calls = message.reasoning_content, message.virc_tool_calls
    streamed = [piece async for piece in service.get_streaming_chat_message_content(history, Settings())]
    written = await service.get_chat_message_content(history, Settings(response_format=Angle))
    return {
        "whole": {"answer": str(reply), "thoughts": thoughts, "calls": calls},
        "stream": {"answer": "".join(map(str, streamed))},
        "json_schema": {"answer": json.loads(str(written))["degrees"]},
    }


print(json.dumps({"chat": asyncio.run(ways())}))
