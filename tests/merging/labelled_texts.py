"""Secrets and harmless texts, as they stand in rows, settings, cards and code; no secret is a real one.

Secrets are joined at run time from a random source with a fixed seed, so that no scanner takes this file for a leak.
"""

import base64
import json
import random
import string
from collections.abc import Mapping

_DIGITS = string.digits
_HEX, _WORD = "0123456789abcdef", string.ascii_letters + _DIGITS
_BASE64, _URL = _WORD + "+/", _WORD + "-_"
_drawn = random.Random("labelled")


def _of(letters: str, length: int) -> str:
    return "".join(_drawn.choices(letters, k=length))


def _uuid() -> str:
    return "-".join(_of(_HEX, each) for each in (8, 4, 4, 4, 12))


def _url64(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _jwt() -> str:
    return ".".join(
        (_url64({"alg": "HS256", "typ": "JWT"}), _url64({"sub": _of(_WORD, 12), "iat": 1750000000}), _of(_URL, 43))
    )


def _block(kind: str, lines: int = 8) -> str:
    body = "\n".join(_of(_BASE64, 64) for _ in range(lines))
    return f"-----{'BEGIN'} {kind}-----\n{body}\n-----{'END'} {kind}-----"


def _secrets() -> Mapping[str, str]:
    of = _of
    return {
        "hugging face": f"hf_{of(string.ascii_letters, 34)}",
        "openai project": f"sk-proj-{of(_URL, 74)}T3Blbk{'FJ'}{of(_URL, 74)}",
        "anthropic": f"sk-ant-{'api03'}-{of(_URL, 93)}AA",
        "github classic": f"ghp_{of(_WORD, 36)}",
        "gitlab": f"glpat-{of(_URL, 20)}",
        "slack bot": f"xoxb-{of(_DIGITS, 12)}-{of(_DIGITS, 13)}-{of(_WORD, 24)}",
        "aws access key": f"AKIA{of(string.ascii_uppercase + '234567', 16)}",
        "aws secret key": f"aws_secret_access_key = {of(_BASE64, 40)}",
        "google api": f"AIza{of(_URL, 35)}",
        "google service account": json.dumps({"type": "service_account", "private_key": _block("PRIVATE KEY")}),
        "azure storage": f"AccountName=pictures;AccountKey={of(_BASE64, 86)}==;EndpointSuffix=core.windows.net",
        "stripe live": f"sk_live_{of(_WORD, 24)}",
        "npm": f"npm_{of(_WORD, 36)}",
        "pypi": f"pypi-AgEIcHlwaS5vcmc{of(_URL, 90)}",
        "wandb": f"WANDB_API_KEY={of(_HEX, 40)}",
        "wandb netrc": f"machine api.wandb.ai login user password {of(_HEX, 40)}",
        "groq": f"gsk_{of(_WORD, 52)}",
        "bearer header": f"Authorization: Bearer {of(_URL, 40)}",
        "jwt": _jwt(),
        "password in url": f"postgres://maria:{of(_WORD, 14)}@db.acme.io:5432/rows",
        "password in https": f"git clone https://maria:{of(_WORD, 18)}@git.acme.io/rows.git",
        "PGPASSWORD": f"export PGPASSWORD={of(_WORD, 16)}",
        "TOKEN": f'TOKEN = "{of(_WORD, 32)}"',
        "password in yaml": f"password: {of(_WORD, 10)}7K!x",
        "rsa": _block("RSA PRIVATE KEY"),
        "openssh": _block("OPENSSH PRIVATE KEY"),
    }


SECRETS = _secrets()
_PIXELS = "iVBORw0KGgoAAAANSUhEUg" + _of(_BASE64, 400)
HARMLESS: Mapping[str, str] = {
    "question": "What is m∠B in triangle MBH?",
    "asks for a password": "What is the password on the whiteboard? Answer with one word.",
    "token counts": '{"max_tokens": 4096, "prompt_tokens": 1532, "token": 15}',
    "token class": '{"tokenizer_class": "Qwen2TokenizerFast", "bos_token": null}',
    "chat template": "{{ message['content'] if token else bos_token }}",
    "sha256": f"sha256: {_of(_HEX, 64)}",
    "commit": f"revision: {_of(_HEX, 40)}",
    "uuid": _uuid(),
    "picture": f"data:image/png;base64,{_PIXELS}",
    "image hash name": f"images/{_of(_HEX, 64)}.png",
    "url of a page": "https://huggingface.co/datasets/acme/charts/resolve/main/train-00000-of-00003.parquet",
    "scp": "git@github.com:acme/rows.git",
    "latex": r"$\sqrt{x^2+1} = \frac{\alpha}{\beta}$ where $AKIA$ is a quadrilateral",
    "box": '<|box_start|>(120,44),(311,209)<|box_end|>',
    "public key": _block("PUBLIC KEY", 3),
    "ssh public key": f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{_of(_BASE64, 43)} maria@x",
    "env name": 'key = os.environ["HF_TOKEN"]',
    "api_key option": "virc serve rl --api-key env:VIRC_SERVE_KEY",
    "placeholder": 'api_key="YOUR_API_KEY"',
    "empty key": 'client = OpenAI(base_url=url, api_key="EMPTY")',
    "bearer in words": "clients send `Authorization: Bearer KEY`",
    "secret variable": "password = read_password(prompt)",
    "sk word": "task-oriented-dialogue-systems-2024 and risk-adjusted-returns-of-funds-2",
    "chemistry": "InChI=1S/C9H8O4/c1-6(10)13-8-5-3-2-4-7(8)9(11)12/h2-5H,1H3,(H,11,12)",
    "chinese": "密码: 图中的数字是多少?",
}  # fmt: skip
