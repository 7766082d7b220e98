#!/usr/bin/env bash
# Version: xgrammar 0.2.8.
# Behaviour: a number with minimum or maximum has at most six digits behind the point, and no exponent.
# A guess: `"minimum": 0` takes the negative numbers away, and nothing else.
# Hurts: who asks for rates, probabilities or physical quantities: with a minimum of 0, neither 1e-7 nor 3e10 can be written, and the
#   number that the model writes instead validates.
. "$(dirname "$0")/lib/xgrammar.sh"
venv/bin/python - 2>/dev/null >seen <<'END'
import json

from grammars import admits

for limit in ({}, {"minimum": 0}, {"exclusiveMinimum": 0}, {"maximum": 1e12}):
    schema = {"type": "number", **limit}
    print(json.dumps(limit), *(f"{text} {admits(schema, text)}" for text in ("0.123456", "0.1234567", "0.0000001", "1e-7", "3e10")))
END
cat seen
diff seen - <<'END'
{} 0.123456 True 0.1234567 True 0.0000001 True 1e-7 True 3e10 True
{"minimum": 0} 0.123456 True 0.1234567 False 0.0000001 False 1e-7 False 3e10 False
{"exclusiveMinimum": 0} 0.123456 True 0.1234567 False 0.0000001 False 1e-7 False 3e10 False
{"maximum": 1000000000000.0} 0.123456 True 0.1234567 False 0.0000001 False 1e-7 False 3e10 False
END
