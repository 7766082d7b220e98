#!/usr/bin/env bash
# Version: transformers 5.23.0, the image processors of GLM-4V and Qwen2-VL (the classes on Pillow).
# Behaviour: with the same limits, GLM's processor counts a picture as two frames: it is shown with half of `longest_edge` at most,
#   and need have but half of `shortest_edge`. Both are called limits of pixels.
# A guess: the two processors, which share names, patches and settings, give the same size.
# Hurts: who computes tokens or maps boxes from the limits: 3000 x 3000 is shown at 2184 x 2184, not 2996 x 2996.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet transformers==5.23.0 pillow==12.3.0 numpy==2.4.6
cd "$folder"
venv/bin/python - 2>/dev/null >seen <<'END'
from PIL import Image
from transformers.models.glm4v.image_processing_pil_glm4v import Glm4vImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

limits = {"shortest_edge": 12_544, "longest_edge": 9_633_792}
for size in ((3000, 3000), (2500, 2000), (90, 70), (640, 480)):
    shown = []
    for kind in (Qwen2VLImageProcessorPil, Glm4vImageProcessorPil):
        _, high, wide = kind(size=limits)(images=[Image.new("RGB", size)], return_tensors="np")["image_grid_thw"][0]
        shown.append(f"{kind.__name__.partition('Image')[0]} {wide * 14} x {high * 14}")
    print(*size, *shown)
END
cat seen
diff seen - <<'END'
3000 3000 Qwen2VL 2996 x 2996 Glm4v 2184 x 2184
2500 2000 Qwen2VL 2492 x 1988 Glm4v 2436 x 1960
90 70 Qwen2VL 140 x 112 Glm4v 112 x 84
640 480 Qwen2VL 644 x 476 Glm4v 644 x 476
END
