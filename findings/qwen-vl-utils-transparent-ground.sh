#!/usr/bin/env bash
# Version: qwen-vl-utils 0.0.14 with Pillow 13.0.0, torch 2.14.1 and torchvision 0.29.1.
# Behaviour: a transparent ground is white if the picture is RGBA; in grey with alpha, or with a palette, it is what colour lies under it,
#   most often black. A black line on such a ground is a black picture.
# A guess: transparency is on white, as the function says and does for RGBA, whichever way the file holds it.
# Hurts: who trains on diagrams and charts: programs that make PNG smaller write palettes or grey with alpha, and the same figure is then
#   shown without its lines.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet qwen-vl-utils==0.0.14 pillow==13.0.0 torch==2.14.1 torchvision==0.29.1
cd "$folder"
venv/bin/python - 2>/dev/null >seen <<'END'
from PIL import Image
from qwen_vl_utils import fetch_image

line = Image.new("RGBA", (280, 280))  # transparent
line.paste((0, 0, 0, 255), (100, 0, 140, 280))
palette = Image.new("P", line.size, 0)
palette.putpalette([0, 0, 0, 0, 0, 0])
palette.paste(1, (100, 0, 140, 280))
for name, picture, kept in (("RGBA", line, {}), ("grey with alpha", line.convert("LA"), {}), ("palette", palette, {"transparency": 0})):
    picture.save("figure.png", **kept)
    shown = fetch_image({"image": "figure.png"})
    print(f"{name}: ground {shown.getpixel((5, 5))}, line {shown.getpixel((120, 5))}")
END
cat seen
diff seen - <<'END'
RGBA: ground (255, 255, 255), line (0, 0, 0)
grey with alpha: ground (0, 0, 0), line (0, 0, 0)
palette: ground (0, 0, 0), line (0, 0, 0)
END
