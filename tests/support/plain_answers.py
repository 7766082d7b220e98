"""Plain answers with brackets, functions, code and JSON in them, drawn from a seed; none of them is a call."""

import re
from random import Random

KINDS = r"""
#f(#n) = #n
#f("#f") is #n (#n %).
#f(#n) is the largest of #f(#n), #f(1)
#f(x=#n, y=#n) = #n
#f(#box) = #n
#f(#n°) = 0.5, so <answer>«#n»</answer>
<answer>«#f(#n) = #n»</answer>
the vertex A(#n, #n) and the centre (#n, -#n)
Revenue(20#n) was $(#n,#n0) million
P(A|B) = P(A∩B)/P(B) = #n/#n, P(X >= #n) = 0.#n
Ca(OH)2(aq) + Al2(SO4)3, #n g of CH3(CH2)4COOH and Fe(III)
x in [#n, #n) ∪ (#n, #n] or {1, 2}
(#n)
[#n]
#box
(#box) of {#n}
see Smith(2020), Table(#n), tel. (555) #n1-4567
It is $f(#n) = \binom{#n}{2}$, \(x = \sqrt{#n}\)
$\boxed{«f(#n) = #n»}$
| x | f(x) |↵|---|---|↵| #n | f(#n) |↵| max(#n) | [#n] |
```python↵print("hello #n")↵```
print("hello")
print(#box)
```python↵def f(x, box=None):↵    return g(x, index=#n)↵↵f(#n)↵```
```python↵img.crop((#n, 2, 300, 400)).save('a.png')↵img.zoom(#box)↵```
```python↵def #tool(bbox_2d=None, image_index=#n):↵    pass↵```
<button onclick="go(#n, [#n])">Go</button> <function>
```js↵console.log("#n", {"name": "a", "id": #n});↵```
`echo $(ls -#n)` and ${HOME}
SELECT COUNT(*), MAX(price) FROM t WHERE id IN (#n, #n) AND name = 'a(b)'
[{"name": "ACME", "region": "EMEA"}, {"name": "B#n", "region": "APAC"}]
{"name": "ACME", "index": #n, "box": "B#n", "scale": #n}
{"function": "#f", "input": #n, "output": #n}
{"type": "function", "name": "sin", "parameters": {"x": #n}}
{"region": "north", "index": #n}
```json↵{↵  "tool": "hammer",↵  "box": #n,↵  "args": ["#f(#n)"]↵}↵```
[{"name": "cat", "bbox_2d": #box}, {"name": "dog", "bbox_2d": #box}]
{"name": "cat", "bbox_2d": #box, "image_index": 0}
```json↵[↵  {"bbox_2d": #box, "label": "cat"},↵  {"bbox_2d": #box, "label": "f(#n)"}↵]↵```
[↵  {"name": "crop", "bbox_2d": #box},↵  {"name": "zoom", "bbox_2d": #box}↵]
{"name": "crop", "region": "North", "yield": #n}
crop(wheat, #n), zoom(#n) and zoom(x)
name: crop↵arguments: {bbox: none, index: #n}↵region: (EMEA)
Der Wert f(#n) beträgt #n € (netto), siehe Abb. (#n)
L’aire A(#n) vaut #n cm² (voir f(#n))
函数 f(#n) 等于 #n，最大值 max(#n)（见表）
答えは f(#n) です。座標は A(#n, #n)
Значение f(#n) равно #n руб. (x = #n)
قيمة f(#n) هي #n
I would use #tool(…) here, but it reads #n.
#tool(bbox_2d, image_index) takes a box and the number of an image
I used #call and it reads #n.
At last I used display_image()
{"search": "#n", "name": "python", "arguments": "f(#n)"}
The button runs `#call`.
Line #n says "#call".
#call↵So the final answer is f(#n) = #n.
#call↵↵**Answer:** #n
#call↵Die Antwort ist f(#n).
#call↵答案：#n
#call↵It is $\boxed{#n}$
#call↵<answer>«f(#n)»</answer>
<think>#call? No.</think>«f(2) = #n»
<think><tool_call>{"name": "crop_image"}</tool_call>? No.</think>«g(#n)»
<|begin_of_box|>«f(2) = #n»<|end_of_box|>
""".strip().splitlines()
"""A kind of answer a line, in which ↵ is a new line, and « » stand around the answer that is not the whole reply."""

_NAMES = {
    "f": "f g P A h Revenue Sales sin log max Area Var E sum price total_cost Q1".split(),
    "tool": "crop_image scale_image display_image image_zoom_in_tool zoom crop".split(),
    "call": "crop_image image_zoom_in_tool zoom_in".split(),
}


def drawn(times: int) -> list[tuple[str, str]]:
    """So many of each kind: the reply and its answer."""
    return list(dict.fromkeys(_draw(kind, Random(f"{kind} {number}")) for kind in KINDS for number in range(times)))


def _draw(kind: str, random: Random) -> tuple[str, str]:
    def value(found: re.Match[str]) -> str:
        left, top, more = (random.randint(2, 99) for _ in range(3))
        box = f"[{left}, {top}, {left + more}, {top + more}]"
        if found[1] in ("n", "box"):
            return box if found[1] == "box" else str(left)
        name = random.choice(_NAMES[found[1]])
        return f"{name}(bbox_2d={box}, label='sign', image_index=0)" if found[1] == "call" else name

    text = re.sub(r"#(tool|call|box|f|n)", value, kind).replace("↵", "\n")
    answer = re.search("«(.*)»", text)
    return re.sub("[«»]", "", text), answer[1] if answer else text
