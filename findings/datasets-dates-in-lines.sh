#!/usr/bin/env bash
# Version: datasets 4.0.0 with pyarrow 26.0.1.
# Behaviour: rows whose texts are all ISO dates are timestamps when they are JSON lines, and texts when they are one array.
# A guess: the same rows have the same types, whichever of the two forms of JSON holds them.
# Hurts: who trains on replies such as 2024-05-01; trainers that take the column for text stop, or print another text.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet datasets==4.0.0 pyarrow==26.0.1
cd "$folder"
venv/bin/python - 2>/dev/null >seen <<'END'
import json
from pathlib import Path

from datasets import disable_progress_bars, load_dataset

disable_progress_bars()
rows = [{"reply": {"text": "2024-05-01"}}, {"reply": {"text": "1999-12-31"}}]
Path("lines.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
Path("array.json").write_text(json.dumps(rows))
for name in ("lines.jsonl", "array.json"):
    read = load_dataset("json", data_files=name, split="train", cache_dir="cache")
    print(name, read.features["reply"]["text"].dtype, repr(read[0]["reply"]["text"]))
END
cat seen
diff seen - <<'END'
lines.jsonl timestamp[s] datetime.datetime(2024, 5, 1, 0, 0)
array.json string '2024-05-01'
END
