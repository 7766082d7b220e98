# client: Inspect
# packages: inspect-ai==0.3.285 openai==3.54.0
import json
from typing import Any

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample

from inspect_ai.model import get_model

model = get_model("openai-api/virc/tiny", base_url="http://127.0.0.1:8000/v1", api_key="KEY")
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText, GenerateConfig, ResponseSchema
from inspect_ai.scorer import exact
from inspect_ai.solver import generate
from inspect_ai.util import JSONSchema

content = [ContentImage(image="figure.png"), ContentText(text="What is m∠B in triangle MBH?")]
question = Sample(input=[ChatMessageUser(content=content)], target="73")
properties = {"degrees": JSONSchema(type="string")}
schema = ResponseSchema(name="angle", json_schema=JSONSchema(type="object", properties=properties))


def asked(**words: Any) -> Any:
    config = GenerateConfig(**words)
    task = Task(dataset=[question], solver=generate(), scorer=exact(), config=config)
    (log,) = eval(task, model=model, display="none", log_dir="logs")
    return log.samples[0]


sample = asked()
message = sample.output.choices[0].message  # of a sample in a log
thoughts = "".join(part.reasoning for part in message.content if part.type == "reasoning")
(event,) = (event for event in sample.events if event.event == "model")
calls = event.call.response["choices"][0]["message"]["virc_tool_calls"]
assert sample.scores["exact"].value in (1, "C"), sample.scores
written = asked(response_schema=schema).output.completion

print(json.dumps({
    "chat": {
        "whole": {"answer": message.text, "thoughts": thoughts, "calls": calls},
        "json_schema": {"answer": json.loads(written)["degrees"]},
    }
}))  # fmt: skip
