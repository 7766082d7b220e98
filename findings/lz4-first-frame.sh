#!/usr/bin/env bash
# Version: lz4 4.4.5 (Python).
# Behaviour: lz4.frame.decompress gives the first frame of several and drops the rest without a word; lz4.frame.open reads all.
# A guess: both read a file as the program lz4 does, or as gzip.decompress and bz2.decompress of Python do: all members.
# Hurts: who unpacks what was appended or joined (`cat 1.lz4 2.lz4`), such as logs and archives in parts: their end is missing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet lz4==4.4.5
cd "$folder"
venv/bin/python - 2>/dev/null >seen <<'END'
import gzip
import io

import lz4.frame

joined = lz4.frame.compress(b"one ") + lz4.frame.compress(b"two")
print("decompress", lz4.frame.decompress(joined))
print("open", lz4.frame.open(io.BytesIO(joined)).read())
print("gzip.decompress", gzip.decompress(gzip.compress(b"one ") + gzip.compress(b"two")))
END
cat seen
diff seen - <<'END'
decompress b'one '
open b'one two'
gzip.decompress b'one two'
END
