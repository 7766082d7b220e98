#!/usr/bin/env bash
# Version: webdataset 1.0.2.
# Behaviour: `.decode()` makes an integer of a member named `id`, `index` or `cls`: 007 is 7, and img_7 raises DecodingError.
# A guess: `id` is a text, as in JSON; the zeros in front belong to it.
# Hurts: who looks up pictures, boxes or answers by the ids of COCO file names (000000000139), or has ids with letters.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet webdataset==1.0.2 numpy==2.4.6
cd "$folder"
venv/bin/python - 2>/dev/null >seen <<'END'
import io
import tarfile

import webdataset

for identity in ("000000000139", "img_7"):
    with tarfile.open("shard.tar", "w") as shard:
        for name, text in (("a.id", identity), ("a.name.txt", identity)):
            member = tarfile.TarInfo(name)
            member.size = len(text)
            shard.addfile(member, io.BytesIO(text.encode()))
    try:
        (sample,) = webdataset.WebDataset("shard.tar", shardshuffle=False).decode()
        print("id", repr(sample["id"]), "name.txt", repr(sample["name.txt"]))
    except Exception as error:
        print(identity, type(error).__name__)
END
cat seen
diff seen - <<'END'
id 139 name.txt '000000000139'
img_7 DecodingError
END
