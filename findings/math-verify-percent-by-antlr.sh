#!/usr/bin/env bash
# Version: math-verify 0.9.0, latex2sympy2-extended 1.11.0, with antlr4-python3-runtime 4.13.2, and with 4.9.3, which hydra-core 1.3.4 and
#   omegaconf 2.3.0 pin, and so each environment of verl.
# Behaviour: one version of math-verify reads \boxed{50\%} as 1/2 with the one runtime, and as no number with the other. $50\%$ is 50 there.
# A guess: a grader of one version gives one verdict, in the environment that trains and in the one that evaluates.
# Hurts: who trains by verl and evaluates elsewhere: an answer in percent is right here and wrong there.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
: >seen
for runtime in 4.13.2 'omegaconf==2.3.0 hydra-core==1.3.4 antlr4-python3-runtime==4.9.3'; do
  python3 -m venv --clear venv
  case $runtime in 4*) runtime="antlr4-python3-runtime==$runtime" ;; esac
  # shellcheck disable=SC2086 # several words
  venv/bin/pip install --quiet math-verify==0.9.0 latex2sympy2-extended==1.11.0 sympy==1.14.0 $runtime
  venv/bin/python - 2>/dev/null >>seen <<'END'
from importlib.metadata import version
from math_verify import parse, verify

print(version("antlr4-python3-runtime"))
for given in (r"\boxed{50\%}", r"$50\%$", r"\boxed{\frac{1}{2}}"):
    print(given, verify(parse("$0.5$"), parse(given)))
END
done
cat seen
diff seen - <<'END'
4.13.2
\boxed{50\%} True
$50\%$ True
\boxed{\frac{1}{2}} True
4.9.3
\boxed{50\%} False
$50\%$ False
\boxed{\frac{1}{2}} True
END
