# client: Haystack
# packages: haystack-ai==3.4.1
import json

from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.utils import Secret

server = {"api_base_url": "http://127.0.0.1:8000/v1", "api_key": Secret.from_token("KEY")}
generator = OpenAIChatGenerator(model="tiny", **server)
from haystack.components.generators.chat import OpenAIResponsesChatGenerator
from haystack.dataclasses import ChatMessage, ImageContent
from haystack.tools import Tool
from pydantic import BaseModel

question = ["What is m∠B in triangle MBH?", ImageContent.from_file_path("figure.png")]
messages = [ChatMessage.from_user(content_parts=question)]
SCHEMA = {"type": "object", "properties": {"degrees": {"type": "string"}}, "required": ["degrees"]}
tool = Tool(name="angle", description="Reports an angle.", parameters=SCHEMA, function=str)


class Angle(BaseModel):
    degrees: str


def read(message: ChatMessage) -> dict:
    return {"answer": message.text, "thoughts": message.reasoning and message.reasoning.reasoning_text}


def ways(generator: object, form: dict) -> dict:
    def said(**words: object) -> ChatMessage:
        return generator.run(messages, **words)["replies"][0]

    called = said(tools=[tool], generation_kwargs={"tool_choice": "required"})
    return {
        "whole": read(said()),
        "stream": read(said(streaming_callback=lambda _: None)),
        "json_schema": {"answer": json.loads(said(generation_kwargs=form).text)["degrees"]},
        "tool": {"answer": called.tool_calls[0].arguments["degrees"]},
    }


print(json.dumps({
    "chat": ways(generator, {"response_format": Angle}),
    "responses": ways(OpenAIResponsesChatGenerator(model="tiny", **server), {"text_format": Angle}),
}))  # fmt: skip
