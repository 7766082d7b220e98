#!/usr/bin/env bash
# Version: PyAV 18.1.0 with its FFmpeg (libavformat 62.12); the same with PyAV 12.3.0 to 17.0.0. Pillow 12.0.0 writes the file.
# Behaviour: the options `min_delay` and `default_delay` of FFmpeg's GIF demuxer are accepted and change nothing: a delay of 0 is
#   shown 100 ms, delays of 10 ms stay 10 ms, whatever the options say.
# A guess: by the options' defaults (2 and 10 hundredths of a second) a GIF read by FFmpeg is timed as browsers do, which show
#   delays of up to 10 ms for 100 ms.
# Hurts: who takes frames of a GIF by time: one with delays of 10 ms is a tenth as long as what a user saw.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 pillow==12.0.0
cd "$folder"
venv/bin/python - 2>/dev/null >seen <<'END'
import av
from PIL import Image

frames = []
for number in range(4):
    frames.append(Image.new("P", (16, 16), number))
    frames[-1].putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
frames[0].save("a.gif", save_all=True, append_images=frames[1:], duration=[0, 10, 10, 30])
for options in ({}, {"min_delay": "2", "default_delay": "10"}, {"min_delay": "6000", "default_delay": "6000"}):
    with av.open("a.gif", format="gif", container_options=options) as clip:
        print(options, [packet.duration for packet in clip.demux() if packet.size], clip.streams.video[0].time_base)
END
cat seen
diff seen - <<'END'
{} [10, 1, 1, 3] 1/100
{'min_delay': '2', 'default_delay': '10'} [10, 1, 1, 3] 1/100
{'min_delay': '6000', 'default_delay': '6000'} [10, 1, 1, 3] 1/100
END
