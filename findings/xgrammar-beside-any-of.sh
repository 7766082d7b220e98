#!/usr/bin/env bash
# Version: xgrammar 0.2.8.
# Behaviour: next to anyOf every other keyword is dropped, type and properties, too: with a last line "one of these two is required"
#   the schema of an object admits [] and 3.
# A guess: anyOf adds to what stands next to it, as JSON Schema has it; or the schema is refused.
# Hurts: who writes alternatives of `required` below common properties; all replies are free JSON, and no error says so.
. "$(dirname "$0")/lib/xgrammar.sh"
venv/bin/python - 2>/dev/null >seen <<'END'
from grammars import admits

schema = {
    "type": "object",
    "properties": {"unit": {"type": "string"}, "metres": {"type": "number"}, "feet": {"type": "number"}},
    "required": ["unit"],
}
either = [{"required": ["metres"]}, {"required": ["feet"]}]
for text in ('{"unit": "m", "metres": 2}', '{"metres": "two"}', "[]", "3"):
    print(text, "alone", admits(schema, text), "with anyOf", admits({**schema, "anyOf": either}, text))
END
cat seen
diff seen - <<'END'
{"unit": "m", "metres": 2} alone True with anyOf True
{"metres": "two"} alone False with anyOf True
[] alone False with anyOf True
3 alone False with anyOf True
END
