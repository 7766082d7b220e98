"""Make the pictures of pages in `docs/pictures`: `python tests/docs/page_pictures.py` photographs what commands write.

Needs Chromium on PATH. Each page is photographed as on a wide screen, and as on a phone in the dark.
"""

import base64
import io
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support import browser  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
QUESTION = "What is m∠B in triangle MBH?"
COLOURS = 128
WINDOWS = {"": (1400, "light"), "-phone": (420, "dark")}
"""End of a picture's name -> width in CSS px and colour scheme."""


def virc(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "virc_cli", *map(str, words)], check=True)


def photograph(tab: browser.Tab, page: Path, name: str, end_before: str = "footer", height: int = 1150) -> None:
    """Save what a page shows above the element of a selector, at most so many px."""
    tab.call("Emulation.setScrollbarsHidden", hidden=True)
    for end, (width, scheme) in WINDOWS.items():
        tab.open(page, width, scheme, height=height)
        tab.until("[...document.images].every(each => each.complete)")
        bottom = tab.value(f"document.querySelector({end_before!r})?.getBoundingClientRect().top") or height
        clip = {"x": 0, "y": 0, "width": width, "height": min(int(bottom) - 16, height), "scale": 1}
        shot = tab.call("Page.captureScreenshot", clip=clip)["data"]
        small = Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB").quantize(COLOURS)
        small.save(PICTURES / f"{name}{end}.png", optimize=True)


def main() -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        work, image = Path(name), ROOT / "tests" / "pictures" / "triangle.png"
        virc("solve", "--model", "tiny", image, QUESTION, "--trace", work / "trace")
        virc("data", "synth", "--to", work / "drawn", "--count", 24)
        evaluate = ("eval", work / "drawn" / "problems.jsonl", "--model", "tiny", "--to", work / "eval")
        virc(*evaluate, "--strategy", "majority:n=1", "--strategy", "majority:n=5")
        with browser.tab(work / "profile") as tab:
            photograph(tab, work / "trace" / "index.html", "trace", "section[aria-labelledby=about]")
            photograph(tab, work / "eval" / "report.html", "report")
            photograph(tab, work / "eval" / "problems.html", "problems", height=1400)


if __name__ == "__main__":
    main()
