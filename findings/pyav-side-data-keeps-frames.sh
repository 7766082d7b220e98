#!/usr/bin/env bash
# Version: PyAV 18.1.0 with NumPy 2.4.6.
# Behaviour: a decoded frame and its `side_data`, once read, hold each other: it is freed by a garbage collection alone, which
#   counts objects and not their bytes. Frames whose side data was not read are freed at once.
# A guess: to look at each frame's display matrix, which says how it is turned, costs nothing; one frame is in memory at a time.
# Hurts: who reads long clips frame by frame: of 300 frames of 1280 x 720 over 150 MiB stay.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 numpy==2.4.6
cd "$folder"
venv/bin/python - 2>/dev/null >seen <<'END'
import gc
from pathlib import Path

import av
import numpy as np

with av.open("clip.mp4", "w") as made:
    stream = made.add_stream("mpeg4", rate=30)
    stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
    for number in range(300):
        frame = av.VideoFrame.from_ndarray(np.full((720, 1280, 3), number % 256, np.uint8), format="rgb24")
        made.mux(stream.encode(frame))
    made.mux(stream.encode())


def resident():
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024


def grown(reads):
    gc.collect()
    before = resident()
    with av.open("clip.mp4") as clip:
        for frame in clip.decode(video=0):
            if reads:
                frame.side_data.get("DISPLAYMATRIX")
    del frame
    stayed = resident() - before
    gc.collect()
    return ["over 100 MiB" if each > 100 else "under 50 MiB" if each < 50 else each for each in (stayed, resident() - before)]


grown(False)
print("decoded, and after a collection:", *grown(False))
print("side data read, and after a collection:", *grown(True))
END
cat seen
diff seen - <<'END'
decoded, and after a collection: under 50 MiB under 50 MiB
side data read, and after a collection: over 100 MiB under 50 MiB
END
