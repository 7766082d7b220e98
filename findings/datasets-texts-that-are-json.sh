#!/usr/bin/env bash
# Version: datasets 5.2.0 with pyarrow 26.0.1.
# Behaviour: in a column of texts and numbers, a text that is JSON by itself is loaded as that JSON: "null" is None, "12" is 12,
#   "[1, 2]" is a list. Written to Parquet, the other texts keep quotes, and `/` becomes `\/`, for readers that do not know the type.
# A guess: the types of JSON itself, or texts throughout.
# Hurts: who has answers such as 3, "12", "null", "[0, 1]" in one column; who reads that Parquet with anything else.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet datasets==5.2.0 pyarrow==26.0.1
cd "$folder"
venv/bin/python - 2>/dev/null >seen <<'END'
import json
from pathlib import Path

import pyarrow.parquet
from datasets import disable_progress_bars, load_dataset

disable_progress_bars()
answers = [3, "B", "x/y", "12", "null", "true", "[1, 2]"]
Path("rows.jsonl").write_text("".join(json.dumps({"answer": answer}) + "\n" for answer in answers))
rows = load_dataset("json", data_files="rows.jsonl", split="train", cache_dir="cache")
rows.to_parquet("rows.parquet")
stored = pyarrow.parquet.read_table("rows.parquet")["answer"].to_pylist()
for answer, loaded, text in zip(answers, rows["answer"], stored):
    print("given", repr(answer), "loaded", repr(loaded), "stored", text)
END
cat seen
diff seen - <<'END'
given 3 loaded 3 stored 3
given 'B' loaded 'B' stored "B"
given 'x/y' loaded 'x/y' stored "x\/y"
given '12' loaded 12 stored 12
given 'null' loaded None stored null
given 'true' loaded True stored true
given '[1, 2]' loaded [1, 2] stored [1, 2]
END
