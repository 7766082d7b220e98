#!/usr/bin/env bash
# Version: llguidance 1.7.6.
# Behaviour: with multipleOf no negative number can be written, also where `minimum` is one: of `"multipleOf": 5`, -10 is refused.
# A guess: the multiples of 5 are those of JSON Schema, -10 among them; or the keyword is refused, as others are.
# Hurts: who asks for changes, coordinates or angles in steps; the model is steered to 10 in place of -10, which then validates.
#   vLLM 0.24 takes this grammar for schemas with multipleOf, where no other one is asked for.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet llguidance==1.7.6
cd "$folder"
venv/bin/python - 2>/dev/null >seen <<'END'
import json

from llguidance import LLMatcher, LLTokenizer

tokenizer = LLTokenizer("byte")


def admits(schema, text):
    matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_json_schema(schema))
    tokens = tokenizer.tokenize_str(text)
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


whole = {"type": "integer"}
for more in ({}, {"minimum": -20, "maximum": 20}, {"multipleOf": 5}, {"multipleOf": 5, "minimum": -20, "maximum": 20}):
    print(json.dumps(more), *(f"{text} {admits(whole | more, text)}" for text in ("10", "0", "-10")))
END
cat seen
diff seen - <<'END'
{} 10 True 0 True -10 True
{"minimum": -20, "maximum": 20} 10 True 0 True -10 True
{"multipleOf": 5} 10 True 0 True -10 False
{"multipleOf": 5, "minimum": -20, "maximum": 20} 10 True 0 True -10 False
END
