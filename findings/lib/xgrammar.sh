# Sourced by findings about xgrammar 0.2.8: a temporary folder with it, and `admits(schema, text)` of the module `grammars`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0+cpu 2>/dev/null || true # smaller, where an index has it
"$folder/venv/bin/pip" install --quiet xgrammar==0.2.8 torch==2.13.0
cd "$folder"
cat >grammars.py <<'END'
import json

import xgrammar

tokens = [*map(chr, range(32, 127)), "</s>"]
compiler = xgrammar.GrammarCompiler(xgrammar.TokenizerInfo(tokens, stop_token_ids=[len(tokens) - 1]))


def admits(schema, text):
    matcher = xgrammar.GrammarMatcher(compiler.compile_json_schema(json.dumps(schema)))
    return matcher.accept_string(text) and matcher.accept_token(len(tokens) - 1)
END
