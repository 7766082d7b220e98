# client: LiteLLM proxy
# packages: litellm[proxy]==1.106.2
# note: In a whole chat completion the tool calls are in `provider_specific_fields`.
import base64
import json
import os
import secrets
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import openai

CONFIG = """
# docs
# litellm.yaml, for `litellm --config litellm.yaml`
model_list:
  - model_name: tiny
    litellm_params:
      model: openai/tiny
      api_base: http://127.0.0.1:8000/v1
      api_key: KEY
# end
general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
"""
QUESTION = "What is m∠B in triangle MBH?"
SCHEMA = {"type": "object", "properties": {"degrees": {"type": "string"}}, "required": ["degrees"]}
url = "data:image/png;base64," + base64.b64encode(Path("figure.png").read_bytes()).decode()
content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": QUESTION}]
chat = {"model": "tiny", "messages": [{"role": "user", "content": content}]}
content = [{"type": "input_image", "image_url": url}, {"type": "input_text", "text": QUESTION}]
asked = {"model": "tiny", "input": [{"role": "user", "content": content}]}


def wait(address: str) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(f"{address}/health/liveliness", timeout=10)
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(address)


def read(response: object) -> dict:
    reasoning, said = response.output
    summary = "".join(part.text for part in reasoning.summary)
    return {"answer": response.output_text, "thoughts": summary, "calls": said.virc_tool_calls}


def ways(client: openai.OpenAI) -> dict:
    message = client.chat.completions.create(**chat).choices[0].message
    thoughts, calls = message.reasoning_content, message.provider_specific_fields["virc_tool_calls"]
    stream = {"answer": "", "thoughts": "", "calls": []}
    for chunk in client.chat.completions.create(**chat, stream=True):
        delta = chunk.choices[0].delta
        stream["answer"] += delta.content or ""
        stream["thoughts"] += getattr(delta, "reasoning_content", "")
        stream["calls"] += getattr(delta, "virc_tool_calls", [])
    form = {"type": "json_schema", "json_schema": {"name": "angle", "schema": SCHEMA}}
    text = client.chat.completions.create(**chat, response_format=form).choices[0].message.content
    tool = {"type": "function", "function": {"name": "angle", "parameters": SCHEMA}}
    forced = client.chat.completions.create(**chat, tools=[tool], tool_choice="required")
    called = forced.choices[0].message.tool_calls[0]
    with client.responses.stream(**asked) as events:
        streamed = events.until_done().get_final_response()
    return {
        "chat": {
            "whole": {"answer": message.content, "thoughts": thoughts, "calls": calls},
            "stream": stream,
            "json_schema": {"answer": json.loads(text)["degrees"]},
            "tool": {"answer": json.loads(called.function.arguments)["degrees"]},
        },
        "responses": {"whole": read(client.responses.create(**asked)), "stream": read(streamed)},
    }


Path("litellm.yaml").write_text(CONFIG)
with socket.socket() as place:
    place.bind(("127.0.0.1", 0))
    port = place.getsockname()[1]
key = f"sk-{secrets.token_hex(32)}"
# The proxy asks the network for prices unless it is told not to.
settings = {"LITELLM_MASTER_KEY": key, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
command = ["litellm", "--config", "litellm.yaml", "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
with Path("proxy.log").open("w") as log:
    proxy = subprocess.Popen(command, env={**os.environ, **settings}, stdout=log, stderr=log)
try:
    wait(f"http://127.0.0.1:{port}")
    print(json.dumps(ways(openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key))))
finally:
    proxy.terminate()
    proxy.wait(30)
