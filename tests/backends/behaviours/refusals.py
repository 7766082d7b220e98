"""HTTP errors, each with its cause and what helps; texts are those of the servers, or of their documentation."""

import gzip

from behaviours.rows import HTML, JSON, KEY, TEXT, Row, encoded, error, page

ZSCALER = page("Access Denied - Zscaler")


def said(name: str, status: int, body: bytes, *words: str, code: int = 3, kind: str = JSON, **more: object) -> Row:
    return Row(name, body, None, code, words, status, kind, **more)  # type: ignore[arg-type]


def accounts() -> list[Row]:
    """Keys, quotas, and who may ask at all."""
    used_up = "used up"
    return [
        said("wrong key (OpenAI)", 401, error(f"Incorrect API key provided: {KEY}."), "refuses the key", "***"),
        said("no key", 401, error("You didn't provide an API key."), "wants a key", "virc_api_key", key=""),
        said("crashed twice (LM Studio)", 400, error("The model has crashed."), "fails (400)", code=6, chats=2),
        said("country (OpenAI)", 403, error("Country, region, or territory not supported"), "forbids", "country"),
        said(
            "quota (OpenAI)",
            429,
            error(
                "You exceeded your current quota, please check your plan and billing details.",
                type="insufficient_quota",
                code="insufficient_quota",
            ),
            used_up,
            chats=1,
        ),
        said("余额 (Chinese gateways)", 403, encoded({"error": {"message": "用户余额不足"}}), used_up),
        said(
            "rate limit (OpenAI)",
            429,
            error(
                "Rate limit reached for gpt-4o on requests per min (RPM): Limit 3, Used 3. "
                "Please try again in 20s. Visit https://platform.openai.com/account/billing to add a payment method."
            ),
            "too busy",
            code=6,
            chats=3,
        ),
    ]


def ways() -> list[Row]:
    """Proxies, pages and addresses."""
    return [
        said("Cloudflare, in words", 403, b"error code: 1020", "firewall", "1020", kind=TEXT),
        said("corporate proxy", 403, ZSCALER, "proxy", "zscaler", "no_proxy", kind=HTML),
        said("proxy that wants a login", 407, page("Proxy Authentication Required"), "proxy", "password", kind=HTML),
        said("nginx without that path", 404, page("404 Not Found"), "does not know", "(404)", kind=HTML),
        said(
            "plain HTTP to a TLS port (nginx)",
            400,
            page("400 The plain HTTP request was sent to HTTPS port"),
            "tls",
            "https://",
            kind=HTML,
        ),
        said("redirect", 308, b"", "redirects", "elsewhere", headers={"Location": "https://elsewhere.example/v1"}),
    ]


def proxied() -> list[Row]:
    """Errors in other words."""
    return [
        said("no vision (OpenRouter)", 404, error("No endpoints found that support image input"), "vision model"),
        said(
            "packed error",
            400,
            gzip.compress(error("the seed is odd")),
            "seed is odd",
            headers={"Content-Encoding": "gzip"},
        ),
    ]


def models() -> list[Row]:
    """Models that are not there, or not yet, and requests that they do not take."""
    blind, zhipu = ("takes no pictures", "vision model"), "messages.content.type 参数非法，取值范围 ['text']"
    serde = "Failed to deserialize the JSON body into the target type: messages[1]: "
    return [
        said("a text model (Zhipu)", 400, encoded({"error": {"code": "1210", "message": zhipu}}), *blind, chats=1),
        said("a text model (Groq)", 400, error("message[1].content must be a string"), *blind, chats=1),
        said(
            "a text model (DeepSeek)", 422, error(serde + "invalid type: sequence, expected a string"), *blind, chats=1
        ),
        said(
            "no such model (OpenAI)",
            404,
            error("The model `m` does not exist or you do not have access to it."),
            "does not serve",
            "--model",
        ),
        said("loading (llama.cpp)", 503, error("Loading model", code=503), "still loading", code=6, chats=3),
        said("413", 413, page("413 Request Entity Too Large"), "--max-pixels", "(413)", kind=HTML),
        said("out of memory", 500, error("CUDA out of memory"), "out of memory", code=6, chats=3),
        said(
            "sees nothing (llama.cpp)",
            500,
            error("image input is not supported - hint: you may need to provide the mmproj"),
            "vision model",
            chats=1,
        ),
        said(
            "pictures of a prompt (Xinference)",
            500,
            error("You set image=0 (or defaulted to 1) in `--limit-mm-per-prompt`, but passed 1 image items"),
            "image=0",
            chats=1,
        ),
    ]


ROWS = [*proxied(), *accounts(), *ways(), *models()]
