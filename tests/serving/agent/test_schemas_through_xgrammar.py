"""What fits a client's schema can be written within the grammar that xgrammar makes of what the engine is sent."""

import json
import subprocess
from typing import Any

import pytest
from support.engine_python import interpreter

from virc.core.limits import bounded
from virc.serving.agent.finish import enforced

pytestmark = pytest.mark.engine

ADMIT = r"""
import json, sys, xgrammar
tokens = [*map(chr, range(32, 127)), "</s>"]
compiler = xgrammar.GrammarCompiler(xgrammar.TokenizerInfo(tokens, stop_token_ids=[len(tokens) - 1]))
def admits(schema, value):
    matcher = xgrammar.GrammarMatcher(compiler.compile_json_schema(json.dumps(schema)))
    return matcher.accept_string(value) and matcher.accept_token(len(tokens) - 1)
print(json.dumps([admits(*case) for case in json.load(sys.stdin)]))
"""
ESCAPED = (r'"\\frac{1}{2}"', r'"\"a\""', r'"a\nb"')
UNIT = {"type": "object", "properties": {"unit": {"type": "string"}, "rate": {"type": "number", "minimum": 0}}}

FITTING: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"type": "string"}, ESCAPED),
    ({"type": "string", "minLength": 1}, ESCAPED),
    ({"type": "string", "maxLength": 40}, ESCAPED),
    ({"type": "string", "pattern": "a|frac"}, ESCAPED),
    ({"type": "string", "pattern": "^[A-D]"}, ('"B: it is red"',)),
    ({"type": "number"}, ("1e-7", "0.1234567", "3e10")),
    ({"type": "number", "minimum": 0}, ("1e-7", "0.1234567", "3e10")),
    ({"type": "number", "minimum": 0, "exclusiveMaximum": 1}, ("1e-7", "0.1234567")),
    ({"type": ["number", "null"], "exclusiveMinimum": 0}, ("1e-7", "null")),
    ({"type": "integer", "minimum": 1, "maximum": 12}, ("1", "12")),
    ({"type": "integer", "multipleOf": 5}, ("5", "-10")),
    ({"type": "object", "patternProperties": {"^x": {"type": "integer"}}}, ('{"x1": 1}',)),
    ({"type": "array", "items": {"type": "number", "minimum": 0}, "minItems": 2, "maxItems": 2}, ("[1e-7, 2]",)),
    ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]}, ('[1, "a"]',)),
    ({"enum": ["a/b", 1.5, None]}, ('"a/b"', "1.5", "null")),
    ({"const": {"a": [1]}}, ('{"a":[1]}',)),
    ({"anyOf": [{"type": "string", "maxLength": 9}, {"type": "null"}]}, (r'"\\pi"', "null")),
    ({"$ref": "#/$defs/rate", "$defs": {"rate": {"type": "number", "minimum": 0}}}, ("1e-7",)),
    (UNIT, ('{"unit": "m/s", "rate": 2e-9}',)),
    ({**UNIT, "anyOf": [{"required": ["unit"]}, {"required": ["rate"]}]}, ('{"unit": "m/s"}', '{"rate": 2e-9}')),
    ({"type": "boolean"}, ("true", "false")),
    ({"type": "string", "format": "date"}, ('"2024-05-01"',)),
]


def test_what_fits_a_schema_can_be_written() -> None:
    cases = [(schema, text) for schema, texts in FITTING for text in texts]
    assert all(not bounded.misfit(schema, json.loads(text)) for schema, text in cases)
    sent = json.dumps([(enforced(schema), text) for schema, text in cases])
    done = subprocess.run([interpreter("serve"), "-c", ADMIT], input=sent, check=True, capture_output=True, text=True)
    admitted = json.loads(done.stdout.splitlines()[-1])
    assert [case for case, admits in zip(cases, admitted, strict=True) if not admits] == []
