#!/usr/bin/env bash
# Version: Pillow 12.0.0 and 13.0.0 with the libwebp in their wheels.
# Behaviour: RGBA frames with a transparent margin that are saved as an animated WebP are read again as RGB, with a black margin.
#   libwebp stores the rectangle inside the margin and sets no flag for alpha, by which Pillow chooses the mode; browsers show the
#   margin transparent. A single frame keeps its alpha.
# A guess: what is saved without loss as RGBA is opened as RGBA, or is at least on a white page what a browser shows.
# Hurts: stickers and drawn animations with a free margin are shown to models on black.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for version in 12.0.0 13.0.0; do
  python3 -m venv "$version"
  "$version/bin/pip" install --quiet "pillow==$version"
  "$version/bin/python" - <<'END'
import PIL
from PIL import Image

frames = [Image.new("RGBA", (64, 64), (0, 0, 0, 0)) for _ in range(2)]
for frame, colour in zip(frames, ("red", "lime")):
    frame.paste(colour, (8, 8, 56, 56))
frames[0].save("two.webp", save_all=True, append_images=frames[1:], duration=500, lossless=True)
frames[0].save("one.webp", lossless=True)
for name in ("one.webp", "two.webp"):
    with Image.open(name) as image:
        print(PIL.__version__, name, image.mode, image.convert("RGBA").getpixel((2, 2)))
END
done >seen
cat seen
diff seen - <<'END'
12.0.0 one.webp RGBA (0, 0, 0, 0)
12.0.0 two.webp RGB (0, 0, 0, 255)
13.0.0 one.webp RGBA (0, 0, 0, 0)
13.0.0 two.webp RGB (0, 0, 0, 255)
END
