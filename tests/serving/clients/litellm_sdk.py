# client: LiteLLM
# packages: litellm==1.106.2 mcp==2.3.0
# note: `litellm.responses` and the tools of a chat need the package `mcp` too.
import base64
import json
import os
from pathlib import Path

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network for prices

import litellm

QUESTION = "What is m∠B in triangle MBH?"
SCHEMA = {"type": "object", "properties": {"degrees": {"type": "string"}}, "required": ["degrees"]}
url = "data:image/png;base64," + base64.b64encode(Path("figure.png").read_bytes()).decode()
content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": QUESTION}]
messages = [{"role": "user", "content": content}]

# docs
model = {"model": "openai/tiny", "api_base": "http://127.0.0.1:8000/v1", "api_key": "KEY"}
message = litellm.completion(**model, messages=messages).choices[0].message
thoughts, calls = message.reasoning_content, message.provider_specific_fields["virc_tool_calls"]
# end

stream = {"answer": "", "thoughts": "", "calls": []}
for chunk in litellm.completion(**model, messages=messages, stream=True):
    delta = chunk.choices[0].delta
    stream["answer"] += delta.content or ""
    stream["thoughts"] += getattr(delta, "reasoning_content", None) or ""
    stream["calls"] += getattr(delta, "virc_tool_calls", [])

form = {"type": "json_schema", "json_schema": {"name": "angle", "schema": SCHEMA}}
text = litellm.completion(**model, messages=messages, response_format=form).choices[0].message.content
tool = {"type": "function", "function": {"name": "angle", "parameters": SCHEMA}}
forced = litellm.completion(**model, messages=messages, tools=[tool], tool_choice="required")
called = forced.choices[0].message.tool_calls[0]

parts = [{"type": "input_image", "image_url": url}, {"type": "input_text", "text": QUESTION}]
asked = {**model, "input": [{"role": "user", "content": parts}]}


def read(response: object) -> dict:
    reasoning, said = response.output
    summary = "".join(part.text for part in reasoning.summary)
    return {"answer": said.content[0].text, "thoughts": summary, "calls": getattr(said, "virc_tool_calls", [])}


*_, last = litellm.responses(**asked, stream=True)

print(json.dumps({
    "chat": {
        "whole": {"answer": message.content, "thoughts": thoughts, "calls": calls},
        "stream": stream,
        "json_schema": {"answer": json.loads(text)["degrees"]},
        "tool": {"answer": json.loads(called.function.arguments)["degrees"]},
    },
    "responses": {"whole": read(litellm.responses(**asked)), "stream": read(last.response)},
}))  # fmt: skip
