#!/usr/bin/env bash
# Version: xgrammar 0.2.8.
# Behaviour: a string with minLength, maxLength or pattern admits no escape: no quote, no backslash, no line break.
# A guess: a limit of length takes nothing else away; `"maxLength": 40` admits "\\frac{1}{2}".
# Hurts: who asks for LaTeX, quotations or code in a limited string; the model is steered to something else, which then validates.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet xgrammar==0.2.8 torch==2.13.0
cd "$folder"
venv/bin/python - 2>/dev/null >seen <<'END'
import json

import xgrammar

tokens = [*map(chr, range(32, 127)), "</s>"]
compiler = xgrammar.GrammarCompiler(xgrammar.TokenizerInfo(tokens, stop_token_ids=[len(tokens) - 1]))


def admits(schema, text):
    matcher = xgrammar.GrammarMatcher(compiler.compile_json_schema(json.dumps(schema)))
    return matcher.accept_string(text) and matcher.accept_token(len(tokens) - 1)


for limit in ({}, {"minLength": 1}, {"maxLength": 40}, {"pattern": r"^[^\n]*$"}):
    schema = {"type": "string", **limit}
    print(json.dumps(limit), *(f"{text} {admits(schema, text)}" for text in (r'"a b"', r'"\\frac{1}{2}"', r'"\"a\""', r'"a\nb"')))
END
cat seen
diff seen - <<'END'
{} "a b" True "\\frac{1}{2}" True "\"a\"" True "a\nb" True
{"minLength": 1} "a b" True "\\frac{1}{2}" False "\"a\"" False "a\nb" False
{"maxLength": 40} "a b" True "\\frac{1}{2}" False "\"a\"" False "a\nb" False
{"pattern": "^[^\\n]*$"} "a b" True "\\frac{1}{2}" False "\"a\"" False "a\nb" False
END
