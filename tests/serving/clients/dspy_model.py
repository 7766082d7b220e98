# client: dspy
# packages: dspy==3.4.1
# note: `JSONAdapter` sends a JSON schema with `supports_response_schema`.
import json

# docs
import dspy


class Model(dspy.LM):
    supports_response_schema, supported_params = True, frozenset({"response_format"})


lm = Model("openai/tiny", api_base="http://127.0.0.1:8000/v1", api_key="KEY")
dspy.configure(lm=lm, adapter=dspy.JSONAdapter())
# end
lm.cache = False
picture = dspy.Image.from_path("figure.png").format()
messages = [{"role": "user", "content": [*picture, {"type": "text", "text": "What is m∠B in triangle MBH?"}]}]
SCHEMA = {"type": "object", "properties": {"degrees": {"type": "string"}}, "required": ["degrees"]}
form = {"type": "json_schema", "json_schema": {"name": "angle", "schema": SCHEMA}}


(whole,) = lm(messages=messages)
(text,) = lm(messages=messages, response_format=form)
text = text["text"] if isinstance(text, dict) else text
print(json.dumps({
    "chat": {
        "whole": {"answer": whole["text"], "thoughts": whole["reasoning_content"]},
        "json_schema": {"answer": json.loads(text)["degrees"]},
    },
}))  # fmt: skip
