# client: llm
# packages: llm==0.36
# note: Thoughts are on stderr, tool calls in `llm logs --json`.
set -euo pipefail
models=$(dirname "$(llm logs path)")/extra-openai-models.yaml
mkdir -p "$(dirname "$models")"
echo '
# docs
# extra-openai-models.yaml, in the folder of the file that `llm logs path` names; `llm keys set virc` asks for the key
- model_id: virc
  model_name: tiny
  api_base: http://127.0.0.1:8000/v1
  api_key_name: virc
  vision: true
  supports_schema: true
  responses: true
  reasoning: true
# end
' >"$models"
sed '/responses: true/d; s/model_id: virc/model_id: virc-chat/' "$models" >chat.yaml
cat chat.yaml >>"$models"
llm keys set virc --value KEY

ask() { llm -m "$1" -a figure.png "${@:2}" 'What is m∠B in triangle MBH?'; }
for model in virc-chat virc; do
  ask "$model" --no-stream
  ask "$model"
  ask "$model" --schema 'degrees str'
done >answers 2>thoughts
llm logs -n 6 --json >log.json

python - <<'END'
import json
from pathlib import Path

wholes, streams, schemas = (Path("answers").read_text().splitlines()[at::3] for at in (0, 1, 2))
log = json.loads(Path("log.json").read_text())


def way(answer, entry):
    body = entry["response_json"]
    said = body["output"] if "output" in body else [body["choices"][0]["message"]] if body.get("choices") else []
    calls = [call for each in said for call in each.get("virc_tool_calls", [])]
    return {"answer": answer, "thoughts": entry["reasoning"], "calls": calls}


print(json.dumps({
    api: {
        "whole": way(wholes[at], log[3 * at]),
        "stream": way(streams[at], log[3 * at + 1]),
        "json_schema": {"answer": json.loads(schemas[at])["degrees"]},
    }
    for at, api in enumerate(("chat", "responses"))
}))
END
