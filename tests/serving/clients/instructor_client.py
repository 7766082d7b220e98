# client: instructor
# packages: instructor==1.17.0
import json

import instructor

words = {"base_url": "http://127.0.0.1:8000/v1", "api_key": "KEY"}
client = instructor.from_provider("openai/tiny", **words)  # or mode=instructor.Mode.JSON_SCHEMA
from pydantic import BaseModel

content = ["What is m∠B in triangle MBH?", instructor.Image.from_path("figure.png")]
messages = [{"role": "user", "content": content}]


class Angle(BaseModel):
    degrees: str


angle, completion = client.create_with_completion(messages=messages, response_model=Angle)
message = completion.choices[0].message
thoughts, calls = message.reasoning_content, message.virc_tool_calls
*_, last = client.create_partial(messages=messages, response_model=Angle)
held = instructor.from_provider("openai/tiny", **words, mode=instructor.Mode.JSON_SCHEMA)
by_responses = instructor.from_provider("openai/tiny", **words, mode=instructor.Mode.RESPONSES_TOOLS)
found, response = by_responses.create_with_completion(messages=messages, response_model=Angle)
*_, part = by_responses.create_partial(messages=messages, response_model=Angle)
reasoning, said = response.output
summary = "".join(text.text for text in reasoning.summary)

print(json.dumps({
    "chat": {
        "whole": {"answer": angle.degrees, "thoughts": thoughts, "calls": calls},
        "stream": {"answer": last.degrees},
        "json_schema": {"answer": held.create(messages=messages, response_model=Angle).degrees},
        "tool": {"answer": angle.degrees},
    },
    "responses": {
        "whole": {"answer": found.degrees, "thoughts": summary, "calls": said.virc_tool_calls},
        "stream": {"answer": part.degrees},
        "tool": {"answer": found.degrees},
    },
}))  # fmt: skip
