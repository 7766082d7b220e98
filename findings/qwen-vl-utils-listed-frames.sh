#!/usr/bin/env bash
# Version: qwen-vl-utils 0.0.14 with torch 2.14.1 and torchvision 0.29.1.
# Behaviour: frames that are given as a list are resized twice, at first to multiples of 56 px, as the factor of a picture's sides (28) is
#   handed on as the size of a patch and doubled again: frames of 196 x 140 become 448 x 224, so that a circle is an ellipse.
# A guess: a frame of a list has the size of the same picture, or one of the same proportions: at most half a patch of 28 px off.
# Hurts: who samples frames on their own and gives them to Qwen-VL: small and narrow frames are distorted, and boxes in pixels, of rows
#   that were written for the sizes of the processor, are beside their objects. With patches of 16 px the multiples are 64.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet qwen-vl-utils==0.0.14 pillow==13.0.0 torch==2.14.1 torchvision==0.29.1
cd "$folder"
venv/bin/python - 2>/dev/null >seen <<'END'
from PIL import Image
from qwen_vl_utils import fetch_image, fetch_video

for size in ((196, 140), (364, 252), (588, 420), (1372, 868)):
    frame = Image.new("RGB", size)
    height, width = fetch_video({"video": [frame] * 4}).shape[2:]
    print(size, "as a picture", fetch_image({"image": frame}).size, "as a listed frame", (width, height))
END
cat seen
diff seen - <<'END'
(196, 140) as a picture (196, 140) as a listed frame (448, 224)
(364, 252) as a picture (364, 252) as a listed frame (392, 280)
(588, 420) as a picture (588, 420) as a listed frame (560, 448)
(1372, 868) as a picture (1372, 868) as a listed frame (924, 616)
END
