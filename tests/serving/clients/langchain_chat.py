# client: LangChain
# packages: langchain-openai==1.7.3
import base64
import json
from pathlib import Path

# docs
from langchain_openai import ChatOpenAI

model = ChatOpenAI(model="tiny", base_url="http://127.0.0.1:8000/v1", api_key="KEY", use_responses_api=True)
# end
from pydantic import BaseModel

url = "data:image/png;base64," + base64.b64encode(Path("figure.png").read_bytes()).decode()
content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is m∠B in triangle MBH?"}]
messages = [{"role": "user", "content": content}]


class Angle(BaseModel):
    """The size of an angle."""

    degrees: str


def read(message: object) -> dict:
    thoughts = "".join(block["reasoning"] for block in message.content_blocks if block["type"] == "reasoning")
    kept = message.additional_kwargs
    parts = [block for block in message.content if isinstance(block, dict)]
    calls = [call for each in (kept, *parts) for call in each.get("virc_tool_calls", [])]
    return {"answer": message.text, "thoughts": thoughts or kept.get("reasoning_content"), "calls": calls}


def streamed(model: ChatOpenAI) -> object:
    message = None
    for chunk in model.stream(messages):
        message = chunk if message is None else message + chunk
    return message


def ways(model: ChatOpenAI) -> dict:
    by_schema = model.with_structured_output(Angle, method="json_schema").invoke(messages)
    by_tool = model.with_structured_output(Angle, method="function_calling").invoke(messages)
    return {
        "whole": read(model.invoke(messages)),
        "stream": read(streamed(model)),
        "json_schema": {"answer": by_schema.degrees},
        "tool": {"answer": by_tool.degrees},
    }


print(json.dumps({"chat": ways(model.model_copy(update={"use_responses_api": False})), "responses": ways(model)}))
