"""Secrets and harmless texts, as they stand in rows, settings, cards and code; no secret is a real one.

Secrets are joined at run time from a random source with a fixed seed, so that no scanner takes this file for a leak.
"""

import base64
import html
import json
import random
import string
from collections.abc import Mapping
from urllib.parse import quote

_LOWER, _DIGITS = string.ascii_lowercase, string.digits
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


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _broken(key: str, by: str) -> str:
    return f"mine is '{key[:25]}{by}{key[25:]}'"


def _block(kind: str, lines: int = 8) -> str:
    body = "\n".join(_of(_BASE64, 64) for _ in range(lines))
    return f"-----{'BEGIN'} {kind}-----\n{body}\n-----{'END'} {kind}-----"


_TYPED = (
    "mysql -h db.acme.io -u root -pPW rows", "sshpass -p 'PW' ssh maria@acme.io", "curl -u maria:PW https://acme.io",
    "docker login -u maria -p PW ghcr.io", "redis-cli -h acme.io -a PW", "unzip -P PW rows.zip", "7z x rows.7z -pPW",
    "lftp -u maria,PW acme.io", "smbclient //acme/rows -U maria%PW", "openssl enc -d -pass pass:PW -in a",
    "rclone config create box webdav user maria pass PW", "echo 'root:PW' | chpasswd", "wandb login --relogin PW",
    "mc alias set minio https://minio.acme.io admin PW", "htpasswd -b .htpasswd maria PW", "judge_key: PW",
    "requests.get(url, auth=('maria', 'PW'))", "smtp.login('maria@acme.io', 'PW')", "driver('a.io', 'root', 'PW')",
    "MilvusClient(uri='a.io', token='admin:PW')", "Credential('maria', 'PW')", "app.secret_key = b'PW'",
    "parser.add_argument('--api_key', type=str, default='PW')", "Authorization: Client-ID PW",
)  # fmt: skip
"""Passwords as people type them."""
_GIVEN = (
    "wandb.login(key='KEY')", "hub.login('KEY')", "cohere.ClientV2('KEY')", "Experiment('KEY', project_name='x')",
    "Auth.api_key('KEY')", "AzureKeyCredential('KEY')", "openxlab.login(ak='a', sk='KEY')", "Mistral('KEY')",
)  # fmt: skip
_FORMS = (
    ("sk-proj-", _WORD, 48), ("sk-kimi-", _WORD, 64), ("sk_", _HEX, 48), ("tvly-", _WORD, 32), ("fc-", _HEX, 32),
    ("jina_", _WORD, 60), ("app-", _WORD, 24), ("pat_", _WORD, 64), ("bce-v3/ALTAK-", _WORD, 62), ("AKLT", _WORD, 43),
    ("AKID", _WORD, 32), ("LTAI5t", _WORD, 18), ("sb_secret_", _URL, 31), ("pscale_tkn_", _URL, 43), ("SEC", _HEX, 64),
    ("ATBB", _WORD, 32), ("nfp_", _WORD, 36), ("secret_", _WORD, 43), ("xoxe.xoxb-1-", _WORD, 160), ("KGAT_", _HEX, 32),
)  # fmt: skip


def _secrets() -> Mapping[str, str]:
    of = _of
    return {
        "hugging face": f"hf_{of(string.ascii_letters, 34)}",
        "openai project": f"sk-proj-{of(_URL, 74)}T3Blbk{'FJ'}{of(_URL, 74)}",
        "openai old": f"sk-{of(_WORD, 20)}T3Blbk{'FJ'}{of(_WORD, 20)}",
        "anthropic": f"sk-ant-{'api03'}-{of(_URL, 93)}AA",
        "github classic": f"ghp_{of(_WORD, 36)}",
        "github fine": f"github_pat_{of(_WORD, 22)}_{of(_WORD, 59)}",
        "github app": f"ghs_{of(_WORD, 36)}",
        "variable GITHUB_PAT": f"GITHUB_PAT={of(_HEX, 40)}",
        "gitlab": f"glpat-{of(_URL, 20)}",
        "slack bot": f"xoxb-{of(_DIGITS, 12)}-{of(_DIGITS, 13)}-{of(_WORD, 24)}",
        "slack webhook": f"https://hooks.{'slack'}.com/services/T{of(_DIGITS, 8)}A/B{of(_DIGITS, 8)}C/{of(_WORD, 24)}",
        "discord webhook": f"https://{'discord'}.com/api/webhooks/{of(_DIGITS, 18)}/{of(_URL, 68)}",
        "teams webhook": f"https://acme.webhook.{'office'}.com/webhookb2/{_uuid()}@{_uuid()}/{of(_HEX, 32)}/{_uuid()}",
        "aws access key": f"AKIA{of(string.ascii_uppercase + '234567', 16)}",
        "aws secret key": f"aws_secret_access_key = {of(_BASE64, 40)}",
        "aws secret in json": json.dumps({"SecretAccessKey": of(_BASE64, 40)}),
        "google api": f"AIza{of(_URL, 35)}",
        "google oauth secret": f"GOCSPX-{of(_URL, 28)}",
        "google oauth token": f"ya29.{of(_URL, 68)}",
        "google service account": json.dumps({"type": "service_account", "private_key": _block("PRIVATE KEY")}),
        "azure storage": f"AccountName=pictures;AccountKey={of(_BASE64, 86)}==;EndpointSuffix=core.windows.net",
        "azure sas": f"https://pictures.blob.core.windows.net/a?sv=2024-11-04&sp=r&sig={of(_WORD, 43)}%3D",
        "azure client secret": f"AZURE_CLIENT_SECRET={of(_WORD, 3)}8Q~{of(_URL, 34)}",
        "digitalocean": f"dop_v1_{of(_HEX, 64)}",
        "heroku": f"HEROKU_API_KEY={_uuid()}",
        "cloudflare": f"CLOUDFLARE_API_TOKEN={of(_URL, 40)}",
        "databricks": f"dapi{of(_HEX, 32)}",
        "stripe live": f"sk_live_{of(_WORD, 24)}",
        "stripe restricted": f"rk_live_{of(_WORD, 24)}",
        "stripe webhook": f"whsec_{of(_WORD, 32)}",
        "square": f"sq0csp-{of(_URL, 43)}",
        "paypal braintree": f"access_token${'production'}${of(_LOWER + _DIGITS, 16)}${of(_HEX, 32)}",
        "shopify": f"shpat_{of(_HEX, 32)}",
        "sendgrid": f"SG.{of(_URL, 22)}.{of(_URL, 43)}",
        "mailgun": f"MAILGUN_API_KEY=key-{of(_HEX, 32)}",
        "mailchimp": f"MAILCHIMP_KEY={of(_HEX, 32)}-us14",
        "postmark": f"POSTMARK_SERVER_TOKEN={_uuid()}",
        "twilio key": f"SK{of(_HEX, 32)}",
        "twilio token": f"TWILIO_AUTH_TOKEN={of(_HEX, 32)}",
        "telegram": f"TELEGRAM_BOT={of(_DIGITS, 10)}:AA{of(_URL, 33)}",
        "npm": f"npm_{of(_WORD, 36)}",
        "pypi": f"pypi-AgEIcHlwaS5vcmc{of(_URL, 90)}",
        "docker": f"dckr_pat_{of(_URL, 27)}",
        "wandb": f"WANDB_API_KEY={of(_HEX, 40)}",
        "wandb netrc": f"machine api.wandb.ai login user password {of(_HEX, 40)}",
        "nvidia": f"nvapi-{of(_URL, 64)}",
        "groq": f"gsk_{of(_WORD, 52)}",
        "xai": f"xai-{of(_WORD, 80)}",
        "replicate": f"r8_{of(_WORD, 37)}",
        "bearer header": f"Authorization: Bearer {of(_URL, 40)}",
        "basic header": f"curl -H 'Authorization: Basic {_base64(of(_WORD, 22))}' x.io",
        "jwt": _jwt(),
        "password in url": f"postgres://maria:{of(_WORD, 14)}@db.acme.io:5432/rows",
        "password in https": f"git clone https://maria:{of(_WORD, 18)}@git.acme.io/rows.git",
        "PGPASSWORD": f"export PGPASSWORD={of(_WORD, 16)}",
        "TOKEN": f'TOKEN = "{of(_WORD, 32)}"',
        "password in yaml": f"password: {of(_WORD, 10)}7K!x",
        "rsa": _block("RSA PRIVATE KEY"),
        "openssh": _block("OPENSSH PRIVATE KEY"),
        "pgp": _block("PGP PRIVATE KEY BLOCK"),
        "telegram in url": f"https://api.telegram.org/file/bot{of(_DIGITS, 10)}:AA{of(_URL, 33)}/photos/file_0.jpg",
        "private jwk": json.dumps({"kty": "EC", "crv": "P-256", "x": of(_URL, 43), "d": of(_URL, 43)}),
        "private jwk of rsa": json.dumps({"d": of(_URL, 342), "n": of(_URL, 342), "e": "AQAB", "kty": "RSA"}, indent=1),
        "one-time password": f"otpauth://totp/ACME:maria?secret={of(string.ascii_uppercase + '234567', 16)}&issuer=x",
        "kaggle": json.dumps({"username": "maria", "key": of(_HEX, 32)}),
        "docker login": json.dumps({"auths": {"ghcr.io": {"auth": _base64(f"maria:{of(_WORD, 22)}")}}}),
        "set-cookie": f"Set-Cookie: sessionid={of(_LOWER + _DIGITS, 32)}; Path=/; HttpOnly",
        "second cookie": f"Cookie: theme=dark; csrftoken={of(_WORD, 64)}",
        "signed cookie in json": json.dumps(
            {"headers": {"cookie": f"connect.sid=s%3A{of(_URL, 32)}.{of(_BASE64, 43)}"}}
        ),
        "cookies in code": f"get(url, cookies={{'sessionid': '{of(_LOWER + _DIGITS, 32)}'}})",
        "cookie of curl": f"curl -b 'PHPSESSID={of(_LOWER + _DIGITS, 26)}' https://acme.io",
        **{f"password {each}": f"{each} {of(_WORD, 12)}3xK7p" for each in ("Passwort:", "mot de passe :", "密码:")},
        "password in spanish json": json.dumps({"contraseña": f"{of(_WORD, 12)}3xK7p"}, ensure_ascii=False),
        "mailchimp alone": f"{of(_HEX, 32)}-us12",
        "percent": quote(json.dumps({"api_key": of(_WORD, 32)})),
        "percent twice": quote(quote(f"postgres://maria:{of(_WORD, 14)}@db.acme.io/rows", safe=""), safe=""),
        "percent in password": f"postgres://maria:p%40{of(_WORD, 12)}@db.acme.io/rows",
        "html": html.escape(json.dumps({"api_key": of(_WORD, 32)})),
        "broken over lines": _broken(f"ghp_{of(_WORD, 36)}", "\n"),
        "jwk in yaml": f"kty: EC\ncrv: P-256\nd: {of(_URL, 43)}",
        "bold name": f"**Password:** {of(_WORD, 12)}3xK7p",
        "broken in a mail": _broken(f"ghp_{of(_WORD, 36)}", "\n> "),
        "added up": _broken(f"ghp_{of(_WORD, 36)}", "' + '"),
        "broken in code": _broken(f"github_pat_{of(_WORD, 22)}_{of(_WORD, 59)}", "'\n    '"),
        **{f"typed {at}": each.replace("PW", f"{of(_WORD, 12)}3xK7p") for at, each in enumerate(_TYPED)},
        **{f"given {at}": each.replace("KEY", of(_HEX, 40)) for at, each in enumerate(_GIVEN)},
        **{f"form {start}": start + of(letters, length) for start, letters, length in _FORMS},
        "discord bot": f"MT{of(_WORD, 24)}.{of(_URL, 6)}.{of(_URL, 38)}",
        **{f"form {start}": start + _uuid() for start in ("sk-lf-", "ms-", "https://open.feishu.cn/hook/")},
        "broken in json": json.dumps({"note": _broken(f"sk-ant-{'api03'}-{of(_URL, 93)}AA", "\n")}),
    }


SECRETS = _secrets()
_PIXELS = "iVBORw0KGgoAAAANSUhEUg" + _of(_BASE64, 400)
HARMLESS: Mapping[str, str] = {
    "question": "What is m∠B in triangle MBH?",
    "answer": "The secret is that both angles are equal: 42 degrees.",
    "asks for a password": "What is the password on the whiteboard? Answer with one word.",
    "reads a password": "password: what word does the sign show?",
    "token counts": '{"max_tokens": 4096, "prompt_tokens": 1532, "token": 15}',
    "tokens of a tokenizer": '{"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "image_token": "<|image|>"}',
    "token class": '{"tokenizer_class": "Qwen2TokenizerFast", "bos_token": null}',
    "token id": '"image_token_id": 151655, "vision_start_token_id": 151652',
    "chat template": "{{ message['content'] if token else bos_token }}",
    "sha256": f"sha256: {_of(_HEX, 64)}",
    "md5": f"md5={_of(_HEX, 32)}",
    "commit": f"revision: {_of(_HEX, 40)}",
    "commit url": f"https://github.com/acme/rows/commit/{_of(_HEX, 40)}",
    "uuid": _uuid(),
    "uuid of a row": json.dumps({"id": _uuid(), "image": "a.png"}),
    "picture": f"data:image/png;base64,{_PIXELS}",
    "base64 alone": _PIXELS,
    "image hash name": f"images/{_of(_HEX, 64)}.png",
    "etag": f'"etag": "{_of(_HEX, 32)}"',
    "id": f'"problem_id": "{_of(_WORD, 24)}"',
    "url of a page": "https://huggingface.co/datasets/acme/charts/resolve/main/train-00000-of-00003.parquet",
    "url with query": "https://example.com/figure?size=large&token_count=3",
    "placeholders in a url": "postgres://user:password@localhost:5432/db",
    "placeholder of a password": "mysql://user:your_password@db.acme.io/rows",
    "password of this machine": "redis://default:hunter22@localhost:6379",
    "password of an example": "https://maria:hunter22@db.example.com/rows",
    "url with port": "http://localhost:8000/v1/chat/completions",
    "mail": "write to maria@example.com",
    "scp": "git@github.com:acme/rows.git",
    "time in a url": "https://news.example.com/12:30@home",
    "latex": r"$\sqrt{x^2+1} = \frac{\alpha}{\beta}$ where $AKIA$ is a quadrilateral",
    "options": "(A) 12 (B) 14 (C) 15 (D) 18",
    "box": '<|box_start|>(120,44),(311,209)<|box_end|>',
    "bbox": '{"bbox_2d": [12, 40, 311, 209], "label": "secret door"}',
    "long number": "3.14159265358979323846264338327950288419716939937510",
    "phone": "+49 30 1234567890",
    "isbn": "ISBN 978-3-16-148410-0",
    "doi": "https://doi.org/10.48550/arXiv.2509.00001",
    "public key": _block("PUBLIC KEY", 3),
    "certificate": _block("CERTIFICATE", 3),
    "ssh public key": f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{_of(_BASE64, 43)} maria@x",
    "env name": 'key = os.environ["HF_TOKEN"]',
    "getenv": 'api_key = os.getenv("OPENAI_API_KEY")',
    "api_key option": "virc serve rl --api-key env:VIRC_SERVE_KEY",
    "placeholder": 'api_key="YOUR_API_KEY"',
    "placeholder in angles": "export OPENAI_API_KEY=<your key>",
    "placeholder dots": "OPENAI_API_KEY=sk-...",
    "empty key": 'client = OpenAI(base_url=url, api_key="EMPTY")',
    "header template": "Authorization: Bearer $HF_TOKEN",
    "bearer in words": "clients send `Authorization: Bearer KEY`",
    "secret variable": "password = read_password(prompt)",
    "token variable": "token = tokens[index + 1]",
    "shell variable": 'export TOKEN="$(hf auth token)"',
    "function": "def secret_of(password: str, token: str) -> str:",
    "type": "api_key: str | None = None",
    "model name": "Qwen/Qwen2.5-VL-7B-Instruct",
    "sk word": "task-oriented-dialogue-systems-2024 and risk-adjusted-returns-of-funds-2",
    "module": "model.layers.27.self_attn.q_proj.weight",
    "file name": "sk-learn-diabetes-regression-figure-2.png",
    "chemistry": "InChI=1S/C9H8O4/c1-6(10)13-8-5-3-2-4-7(8)9(11)12/h2-5H,1H3,(H,11,12)",
    "protein": "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVVHSLAKWKRQ",
    "merge": '["Ġsecret", "ly"], ["pass", "word"]',
    "chinese": "密码: 图中的数字是多少?",
    "license key word": "license: apache-2.0",
    "public jwk": json.dumps({"kty": "RSA", "n": _of(_URL, 342), "e": "AQAB", "kid": "2025"}),
    "one-time password of docs": "otpauth://totp/LABEL?secret=SECRET&issuer=ISSUER",
    "key of a person": json.dumps({"username": "maria", "key": "answer_3"}),
    "auth word": json.dumps({"auths": {"ghcr.io": {}}, "auth": "required", "author": "maria"}),
    "recipe": "Cookie: 200g flour; sugar=100g; butter=120g",
    "cookie of docs": "Set-Cookie: name=value; Path=/; Expires=Thu, 01 Jan 2026 00:00:00 GMT",
    "cookies counted": json.dumps({"cookies": 3, "image_id": _of(_HEX, 24), "url": f"a.io/?v={_of(_HEX, 24)}"}),
    "german": "Passwort: welches Wort steht auf dem Schild?",
    "french": "Le mot de passe : Sésame-ouvre-toi",
    "spanish": json.dumps({"contraseña": "la palabra de la pizarra"}, ensure_ascii=False),
    "japanese": "パスワード: 看板の文字",
    "percent": "https://en.wikipedia.org/wiki/%E4%B8%89%E8%A7%92%E5%BD%A2?useskin=vector",
    "percent of percent": "12%20 of 50% is 6%, 100%25 and %2525",
    "html": "&lt;answer&gt;&amp;token=3&lt;/answer&gt; a &lt; b",
    "prose over lines": "The answer is therefore\n42 degrees, because the tri-\nangle is isosceles",
    "ids over lines": "\n".join(_of(_HEX, 24) for _ in range(4)),
    "hashes of a lock file": " \\\n".join(f"    --hash=sha256:{_of(_HEX, 64)}" for _ in range(2)),
    "picture over lines": "\n".join(["iVBORw0KGgoAAAANSUhEUg", *(_of(_BASE64, 76) for _ in range(9))]),
    "table": "| 0.8123 | 12.5M | 3.2e-05 |\n| 0.8301 | 13.1M | 1.6e-05 |",
    "records of driving": json.dumps({"token": _of(_HEX, 32), "sample_token": _of(_HEX, 32), "prev": _of(_HEX, 32)}),
    "column of driving": f"sample_token,lidar_token\n{_of(_HEX, 32)},{_of(_HEX, 32)}, mask_{_of(_HEX, 48)}.png",
    "keys of rows": json.dumps({"key": _of(_HEX, 32), "image_key": _of(_HEX, 40), "answer_key": "A1B2C3D4"}),
    "programs": "mysql -u root -p rows; docker run -p 8080:80 x; mkdir -p runs/qwen2_5_vl_7b_stage2; ssh -p 2222 a@b",
    "variables of a shell": 'mysql -p${DB_PW_1} x; curl -u "$USER1:$TOKEN1" y; docker login -u a -p "$DOCKER_TOKEN_1"',
    "arguments": 'wandb.login(key=args.wandb_key2); Client("http://localhost:8000/v1"); login("maria_2024")',
    "placeholders": "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx1, hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx, api_key='YOUR_API_KEY_1'",
    "ratio": "ratio 1234567890:35 at 2025-10-11T12:30:00Z, part ab12-us3",
}  # fmt: skip
