#!/usr/bin/env bash
# Version: xgrammar 0.2.8.
# Behaviour: a string with minLength, maxLength or pattern admits no escape: no quote, no backslash, no line break.
# A guess: a limit of length takes nothing else away; `"maxLength": 40` admits "\\frac{1}{2}".
# Hurts: who asks for LaTeX, quotations or code in a limited string; the model is steered to something else, which then validates.
. "$(dirname "$0")/lib/xgrammar.sh"
venv/bin/python - 2>/dev/null >seen <<'END'
import json

from grammars import admits

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
