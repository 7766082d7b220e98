# client: smolagents
# packages: smolagents[openai]==1.26.0
import json

from smolagents import OpenAIModel

model = OpenAIModel(model_id="tiny", api_base="http://127.0.0.1:8000/v1", api_key="KEY")
from PIL import Image
from smolagents import tool

content = [
    {"type": "image", "image": Image.open("figure.png")},
    {"type": "text", "text": "What is m∠B in triangle MBH?"},
]
messages = [{"role": "user", "content": content}]
SCHEMA = {"type": "object", "properties": {"degrees": {"type": "string"}}, "required": ["degrees"]}


@tool
def angle(degrees: str) -> str:
    """Report an angle.

    Args:
        degrees: Its size.
    """
    return degrees


message = model.generate(messages).raw.choices[0].message
thoughts, calls = message.reasoning_content, message.virc_tool_calls
stream = "".join(delta.content or "" for delta in model.generate_stream(messages))
form = {"type": "json_schema", "json_schema": {"name": "angle", "schema": SCHEMA}}
text = model.generate(messages, response_format=form).content
arguments = model.generate(messages, tools_to_call_from=[angle]).tool_calls[0].function.arguments
arguments = json.loads(arguments) if isinstance(arguments, str) else arguments

print(json.dumps({
    "chat": {
        "whole": {"answer": message.content, "thoughts": thoughts, "calls": calls},
        "stream": {"answer": stream},
        "json_schema": {"answer": json.loads(text)["degrees"]},
        "tool": {"answer": arguments["degrees"]},
    },
}))  # fmt: skip
