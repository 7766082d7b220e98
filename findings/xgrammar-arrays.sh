#!/usr/bin/env bash
# Version: xgrammar 0.2.8.
# Behaviour: an array without `items` that has maxItems, minItems or uniqueItems can only be empty: `"maxItems": 2` admits [] alone, and
#   `"minItems": 1` is an error. `"type": "array"` alone admits all arrays.
# A guess: a limit takes away what is over it, and nothing else.
# Hurts: who asks for at most five of anything; every reply is [], which validates.
. "$(dirname "$0")/lib/xgrammar.sh"
venv/bin/python - 2>/dev/null >seen <<'END'
import json

from grammars import admits

for limit in ({}, {"maxItems": 2}, {"uniqueItems": True}, {"items": {}, "maxItems": 2}, {"minItems": 1}):
    schema = {"type": "array", **limit}
    try:
        print(json.dumps(limit), *(f"{text} {admits(schema, text)}" for text in ("[]", "[1]", '["a", 2]')))
    except RuntimeError as error:
        print(json.dumps(limit), str(error).splitlines()[0].partition(": ")[2])
END
cat seen
diff seen - <<'END'
{} [] True [1] True ["a", 2] True
{"maxItems": 2} [] True [1] False ["a", 2] False
{"uniqueItems": true} [] True [1] False ["a", 2] False
{"items": {}, "maxItems": 2} [] True [1] True ["a", 2] True
{"minItems": 1} minItems is greater than the number of prefixItems, but additional items are not allowed: 1 > 0
END
