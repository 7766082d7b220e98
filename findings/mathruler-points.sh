#!/usr/bin/env bash
# Version: mathruler 0.1.0, grade_answer, which rewards of verl and EasyR1 call.
# Behaviour: a point or a list whose second number has three digits is the number of thousands: (3, 100) is 3100, and so is [3, 100].
# A guess: a point is no number, as (3, 10) is none.
# Hurts: who rewards or measures answers in pixels or coordinates by it: a point counts as right where a number is asked, and the other
#   way round.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mathruler==0.1.0 sympy==1.14.0 pylatexenc==2.10 tqdm==4.70.1
cd "$folder"
venv/bin/python - 2>/dev/null >seen <<'END'
from mathruler.grader import grade_answer

for given, right in (("(3, 100)", "3100"), ("[3, 100]", "3100"), ("3100", "(3, 100)"), ("(12, 345, 678)", "12345678"), ("(3, 10)", "310")):
    print(given, right, grade_answer(given, right))
END
cat seen
diff seen - <<'END'
(3, 100) 3100 True
[3, 100] 3100 True
3100 (3, 100) True
(12, 345, 678) 12345678 True
(3, 10) 310 False
END
