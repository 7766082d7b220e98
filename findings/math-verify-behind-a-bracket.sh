#!/usr/bin/env bash
# Version: math-verify 0.9.0.
# Behaviour: a number right behind `>`, `(`, `[` or `|` is not read at all, so a right reply of `<answer>5</answer>` is no answer;
#   a space before the number, or TeX around it, makes it one.
# A guess: parse finds the number of a reply whatever marks are around it, as it does behind a colon.
# Hurts: rewards that give the grader the whole reply, or a solution, with its marks: right replies get nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet math-verify==0.9.0 latex2sympy2_extended==1.11.0
cd "$folder"
venv/bin/python - 2>/dev/null >seen <<'END'
from math_verify import parse, verify

for written in ("answer: 5", "<answer>5</answer>", "<answer> 5 </answer>", "<answer>$5$</answer>", "(5)", "[5]", "|5|"):
    print(written, len(parse(written)), verify(parse("5"), parse(written)))
END
cat seen
diff seen - <<'END'
answer: 5 2 True
<answer>5</answer> 0 False
<answer> 5 </answer> 2 True
<answer>$5$</answer> 2 True
(5) 0 False
[5] 0 False
|5| 0 False
END
