"""What fits a client's schema can be written within the grammars that xgrammar 0.2.8 and llguidance 1.7.6, which vLLM
0.24 has, make of what the engine is sent."""

import json
import subprocess
from typing import Any

import pytest
from support.engine_python import interpreter

from virc.core.limits import bounded
from virc.serving.agent.engine_schema import enforced

pytestmark = pytest.mark.engine

ADMIT = r"""
import json, sys, xgrammar
from llguidance import LLMatcher, LLTokenizer
tokens = [*(bytes([value]) for value in range(256)), b"</s>"]
compiler = xgrammar.GrammarCompiler(xgrammar.TokenizerInfo(tokens, stop_token_ids=[256]))
by_bytes = LLTokenizer("byte")
def admits(schema, value):
    matcher = xgrammar.GrammarMatcher(compiler.compile_json_schema(json.dumps(schema)))
    written = by_bytes.tokenize_str(value)
    guided = LLMatcher(by_bytes, LLMatcher.grammar_from_json_schema(schema))
    taken = guided.try_consume_tokens(written) == len(written) and guided.is_accepting()
    return matcher.accept_string(value) and matcher.accept_token(256), taken
print(json.dumps([admits(*case) for case in json.load(sys.stdin)]))
"""
ESCAPED = (r'"\\frac{1}{2}"', r'"\"a\""', r'"a\nb"')
UNIT = {"type": "object", "properties": {"unit": {"type": "string"}, "rate": {"type": "number", "minimum": 0}}}
EITHER = {**UNIT, "anyOf": [{"required": ["unit"]}, {"required": ["rate"]}]}
FAR = {"type": "object", "properties": {"far": {"type": "number"}}}
BASED = {"$ref": "#/$defs/base", "$defs": {"base": {"type": "object", "properties": {"unit": {"type": "string"}}}}}

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
    (EITHER, ('{"unit": "m/s"}', '{"rate": 2e-9}')),
    ({**EITHER, "additionalProperties": False}, ('{"unit": "m/s", "rate": 1}',)),
    ({**UNIT, "required": ["note"]}, ('{"note": [1]}', '{"unit": "m/s", "note": "a"}')),
    ({"type": "object", "required": ["note"]}, ('{"note": 1}', '{"note": 1, "unit": "m"}')),
    ({**BASED, "properties": {"far": {"type": "number"}}, "required": ["far"]}, ('{"far": 1, "unit": "m"}',)),
    (
        {"$defs": BASED["$defs"], "allOf": [{"$ref": "#/$defs/base"}], **FAR},
        ('{"far": 1, "unit": "m"}', '{"unit": "m"}'),
    ),
    ({**BASED, "anyOf": [FAR, {"type": "object"}]}, ('{"far": 1, "unit": "m"}',)),
    ({**FAR, "if": {"required": ["far"]}, "then": UNIT}, ('{"far": 1, "unit": "m"}',)),
    ({**FAR, "dependentSchemas": {"far": UNIT}}, ('{"far": 1, "unit": "m"}',)),
    ({**BASED, "unevaluatedProperties": False, **FAR}, ('{"far": 1, "unit": "m"}',)),
    ({"type": "integer", "minimum": 0.5}, ("1", "12")),
    ({"type": "integer", "exclusiveMaximum": 1e20}, ("10000000000000000000",)),
    ({"type": "number", "multipleOf": 0.01}, ("0.07", "1e-2")),
    ({"type": "array", "maxItems": 2}, ("[]", '["a", 1]')),
    ({"type": "array", "minItems": 2}, ('["a", 1]',)),
    ({"type": "array", "contains": {"type": "integer"}}, ('["a", 1]',)),
    ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, ('["a", "b"]',)),
    ({"type": "object", "minProperties": 1}, ('{"a": 1}',)),
    ({"type": "object", "propertyNames": {"pattern": "^x"}}, ('{"x1": 1}',)),
    ({"type": "object", "properties": {"a": True, "b": False}}, ('{"a": [1]}', "{}")),
    ({"type": "string", "not": {"enum": ["x"]}}, ('"a"',)),
    ({"type": "string", "format": "uri"}, ('"http://[::1]:80/"',)),
    ({"type": "string", "format": "json-pointer"}, ('"/a/b"',)),
    ({"type": "boolean"}, ("true", "false")),
    ({"type": "string", "format": "date"}, ('"2024-05-01"',)),
]


REFUSED: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    (EITHER, ("[]", "3", '{"unit": 1}')),
    ({**UNIT, "required": ["note"]}, ("{}", '{"unit": "m/s"}')),
    ({**BASED, **FAR}, ('{"far": "m"}', "3")),
    ({"type": "integer", "minimum": 1, "maximum": 12}, ("0", "13", "1.5")),
    ({"type": "array", "items": {"type": "integer"}, "maxItems": 2}, ("[1, 2, 3]", '["a"]')),
    ({"enum": ["a", "b"], "anyOf": [{"type": "string"}]}, ('"c"',)),
]


def admitted(cases: list[tuple[dict[str, Any], str]]) -> list[list[bool]]:
    sent = json.dumps([(enforced(schema), text) for schema, text in cases])
    done = subprocess.run([interpreter("serve"), "-c", ADMIT], input=sent, check=True, capture_output=True, text=True)
    answers: list[list[bool]] = json.loads(done.stdout.splitlines()[-1])
    return answers


def test_what_fits_a_schema_can_be_written_and_shapes_are_kept() -> None:
    fitting = [(schema, text) for schema, texts in FITTING for text in texts]
    others = [(schema, text) for schema, texts in REFUSED for text in texts]
    assert [case for case in fitting if bounded.misfit(case[0], json.loads(case[1]))] == []
    assert [case for case in others if not bounded.misfit(case[0], json.loads(case[1]))] == []
    found = [*zip(fitting + others, admitted(fitting + others), strict=True)]
    assert [(case, admits) for case, admits in found if set(admits) != {case in fitting}] == []
