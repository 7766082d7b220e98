"""Make the README's picture: `python tests/docs/trace_picture.py` solves a problem and photographs its trace page.

Needs Chromium on PATH. The page is the one that `virc solve --trace` writes; only its columns are laid out wider.
"""

import base64
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import browser  # noqa: E402

PICTURE = ROOT / "docs" / "pictures" / "trace.png"
QUESTION = "What is m∠B in triangle MBH?"
WIDTH = 1200
STYLE = """
body { max-width: none; padding: 1.5rem; }
.top { grid-template-columns: 2fr 1fr !important; }
.folds, .cost, footer, section[aria-labelledby=about] { display: none; }
section[aria-labelledby=reasoning] { column-gap: 1.5rem; display: grid; grid-template-columns: repeat(4, 1fr); }
h2 { grid-column: 1 / -1; margin-top: 1.5rem; }
.unit { align-content: start; display: block; padding: .5rem 0 0; }
.unit + .unit { border: 0; }
.thought { margin: .5rem 0; min-height: 3.5rem; }
.unit .pictures { display: block; }
.unit figure, .pictures.pair figure { margin-bottom: .75rem; max-width: 100%; }
"""


def main() -> None:
    """Solve, open the page, and save what it shows."""
    with tempfile.TemporaryDirectory() as work:
        command = [sys.executable, "-m", "virc_cli", "solve", "--model", "tiny"]
        image = ROOT / "tests" / "pictures" / "triangle.png"
        subprocess.run([*command, image, QUESTION, "--trace", work], check=True)
        with browser.tab(Path(work) / "profile") as tab:
            tab.open(Path(work) / "index.html", WIDTH)
            tab.value(
                f"(s => {{ s.replaceSync({STYLE!r}); document.adoptedStyleSheets = [s] }})(new CSSStyleSheet())"
            )
            height = tab.value("document.querySelector('main').getBoundingClientRect().bottom")
            clip = {"x": 0, "y": 0, "width": WIDTH, "height": int(height) + 16, "scale": 1}
            shot = tab.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"]
    PICTURE.write_bytes(base64.b64decode(shot))


if __name__ == "__main__":
    main()
