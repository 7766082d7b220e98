#!/usr/bin/env bash
# Version: math-verify 0.9.0.
# Behaviour: the thin space of thousands in LaTeX is a product or a sum: 10\,000 is 0, and verifies against 0; 12\,345 is 357.
# A guess: 10\,000 is 10000, as 10{,}000 and 10,000 are.
# Hurts: who grades answers of long numbers: references as TeX and Wikipedia write them count right replies as wrong, and 0 as right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet math-verify==0.9.0 latex2sympy2_extended==1.11.0
cd "$folder"
venv/bin/python - 2>/dev/null >seen <<'END'
from math_verify import parse, verify

for written, value in ((r"$10,000$", "$10000$"), (r"$10\,000$", "$10000$"), (r"$10\,000$", "$0$"), (r"$12\,345$", "$357$")):
    print(written, value, verify(parse(value), parse(written)))
END
cat seen
diff seen - <<'END'
$10,000$ $10000$ True
$10\,000$ $10000$ False
$10\,000$ $0$ True
$12\,345$ $357$ True
END
