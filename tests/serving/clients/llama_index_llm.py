# client: LlamaIndex
# packages: llama-index-llms-openai-like==0.8.1
import json

# docs
from llama_index.llms.openai_like import OpenAILike

server = {"api_base": "http://127.0.0.1:8000/v1", "api_key": "KEY"}
llm = OpenAILike("tiny", is_chat_model=True, is_function_calling_model=True, **server)
# end
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from pydantic import BaseModel

blocks = [ImageBlock(path="figure.png"), TextBlock(text="What is m∠B in triangle MBH?")]
messages = [ChatMessage(role="user", blocks=blocks)]


class Angle(BaseModel):
    """The size of an angle."""

    degrees: str


message = llm.chat(messages).raw.choices[0].message
thoughts, calls = message.reasoning_content, message.virc_tool_calls
stream = {"answer": "", "thoughts": "", "calls": []}
for chunk in llm.stream_chat(messages):
    stream["answer"] += chunk.delta or ""
    for choice in chunk.raw.choices:
        stream["thoughts"] += getattr(choice.delta, "reasoning_content", "") or ""
        stream["calls"] += getattr(choice.delta, "virc_tool_calls", [])
tool = llm.as_structured_llm(Angle).chat(messages).raw.degrees
print(json.dumps({
    "chat": {
        "whole": {"answer": message.content, "thoughts": thoughts, "calls": calls},
        "stream": stream,
        "tool": {"answer": tool},
    },
}))  # fmt: skip
