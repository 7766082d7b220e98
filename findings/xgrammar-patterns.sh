#!/usr/bin/env bash
# Version: xgrammar 0.2.8.
# Behaviour: a pattern has to match the whole text, also as a name in patternProperties: `^x` admits the name x and no other.
# A guess: a pattern is searched for, as JSON Schema says and validators do: `^x` is any name that begins with x.
# Hurts: who writes `^[A-D]` for an answer with its reason, or `^step_` for the names of steps: all but the bare match is out of reach.
. "$(dirname "$0")/lib/xgrammar.sh"
venv/bin/python - 2>/dev/null >seen <<'END'
from grammars import admits

text = {"type": "string", "pattern": "^[A-D]"}
names = {"type": "object", "patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False}
for schema, value in ((text, '"B"'), (text, '"B: it is red"'), (names, '{"x": 1}'), (names, '{"x1": 1}')):
    print(value, admits(schema, value))
END
cat seen
diff seen - <<'END'
"B" True
"B: it is red" False
{"x": 1} True
{"x1": 1} False
END
