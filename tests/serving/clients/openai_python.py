# client: openai for Python
# packages: openai==3.54.0
# packages: openai==2.54.0
import json

# docs
import base64
from pathlib import Path

import openai

url = "data:image/png;base64," + base64.b64encode(Path("figure.png").read_bytes()).decode()
question = {"type": "text", "text": "What is m∠B in triangle MBH?"}
content = [{"type": "image_url", "image_url": {"url": url}}, question]
chat = {"model": "tiny", "messages": [{"role": "user", "content": content}]}

client = openai.OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="KEY")
message = client.chat.completions.create(**chat).choices[0].message
answer, thoughts, calls = message.content, message.reasoning_content, message.virc_tool_calls
# end
SCHEMA = {"type": "object", "properties": {"degrees": {"type": "string"}}, "required": ["degrees"]}
whole = {"answer": answer, "thoughts": thoughts, "calls": calls}

stream = {"answer": "", "thoughts": "", "calls": []}
for chunk in client.chat.completions.create(**chat, stream=True):
    delta = chunk.choices[0].delta
    stream["answer"] += delta.content or ""
    stream["thoughts"] += getattr(delta, "reasoning_content", "")
    stream["calls"] += getattr(delta, "virc_tool_calls", [])

form = {"type": "json_schema", "json_schema": {"name": "angle", "schema": SCHEMA}}
text = client.chat.completions.create(**chat, response_format=form).choices[0].message.content
tool = {"type": "function", "function": {"name": "angle", "parameters": SCHEMA}}
called = client.chat.completions.create(**chat, tools=[tool], tool_choice="required").choices[0].message.tool_calls[0]

content = [{"type": "input_image", "image_url": url}, {"type": "input_text", "text": question["text"]}]
asked = {"model": "tiny", "input": [{"role": "user", "content": content}]}


def read(response: object) -> dict:
    reasoning, said = response.output
    summary = "".join(part.text for part in reasoning.summary)
    return {"answer": response.output_text, "thoughts": summary, "calls": said.virc_tool_calls}


with client.responses.stream(**asked) as events:
    streamed = events.until_done().get_final_response()
form = {"type": "json_schema", "name": "angle", "schema": SCHEMA}
written = client.responses.create(**asked, text={"format": form}).output_text
tool = {"type": "function", "name": "angle", "parameters": SCHEMA}
output = client.responses.create(**asked, tools=[tool], tool_choice="required").output[-1]

print(json.dumps({
    "chat": {
        "whole": whole,
        "stream": stream,
        "json_schema": {"answer": json.loads(text)["degrees"]},
        "tool": {"answer": json.loads(called.function.arguments)["degrees"]},
    },
    "responses": {
        "whole": read(client.responses.create(**asked)),
        "stream": read(streamed),
        "json_schema": {"answer": json.loads(written)["degrees"]},
        "tool": {"answer": json.loads(output.arguments)["degrees"]},
    },
}))  # fmt: skip
