# client: VLMEvalKit
# packages: ms-vlmeval==0.0.20
# gigabytes: 7
# The package is that of Eval-Scope: VLMEvalKit has none of its own.
import json

from vlmeval.api import GPT4V

model = GPT4V(model="tiny", api_base="http://127.0.0.1:8000/v1/chat/completions", key="KEY", retry=3)

image = {"type": "image", "value": "figure.png"}
answer = model.generate([image, {"type": "text", "value": "What is m∠B in triangle MBH?"}])
print(json.dumps({"chat": {"whole": {"answer": answer}}}))
