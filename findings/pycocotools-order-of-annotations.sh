#!/usr/bin/env bash
# Version: pycocotools 2.0.11.
# Behaviour: where a detection overlaps two annotations equally, the later one in the file is taken: the same boxes in another order
#   have another average precision.
# A guess: the order of annotations means nothing; or the first is taken, and is left for nothing better.
# Hurts: who compares figures after a set was sorted, merged or converted, and who writes the measure again.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pycocotools==2.0.11 numpy==2.4.6
cd "$folder"
venv/bin/python - 2>/dev/null >seen <<'END'
import contextlib
import io

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

truth = [[50, 0, 40, 40], [60, 0, 30, 30]]
found = [([50, 0, 40, 30], 0.9), ([50, -10, 40, 50], 0.8)]


def precision(boxes):
    coco = COCO()
    marked = [
        {"id": at, "image_id": 1, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for at, box in enumerate(boxes, 1)
    ]
    coco.dataset = {"images": [{"id": 1}], "categories": [{"id": 1}], "annotations": marked}
    coco.createIndex()
    results = [{"image_id": 1, "category_id": 1, "bbox": box, "score": score} for box, score in found]
    measure = COCOeval(coco, coco.loadRes(results), "bbox")
    measure.evaluate()
    measure.accumulate()
    measure.summarize()
    return measure.stats[:2].round(3).tolist()


for boxes in (truth, truth[::-1]):
    with contextlib.redirect_stdout(io.StringIO()):
        seen = precision(boxes)
    print("annotations", boxes, "AP, AP50", seen)
END
cat seen
diff seen - <<'END'
annotations [[50, 0, 40, 40], [60, 0, 30, 30]] AP, AP50 [0.625, 1.0]
annotations [[60, 0, 30, 30], [50, 0, 40, 40]] AP, AP50 [0.328, 0.505]
END
