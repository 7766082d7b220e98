"""HTTP errors, each with its cause and what helps; texts are those of the servers, or of their documentation."""

import gzip

from behaviours.rows import HTML, JSON, KEY, TEXT, Row, encoded, error, page

CLOUDFLARE = page("Attention Required! | Cloudflare", "<h1>Sorry, you have been blocked</h1>")
ZSCALER = page("Access Denied - Zscaler")


def said(name: str, status: int, body: bytes, *words: str, code: int = 3, kind: str = JSON, **more: object) -> Row:
    return Row(name, body, None, code, words, status, kind, **more)  # type: ignore[arg-type]


def _anthropic(kind: str, message: str) -> bytes:
    return encoded({"type": "error", "request_id": "req_1", "error": {"type": kind, "message": message}})


def accounts() -> list[Row]:
    """Keys, quotas, and who may ask at all."""
    used_up = "used up"
    return [
        said("wrong key (OpenAI)", 401, error(f"Incorrect API key provided: {KEY}."), "refuses the key", "***"),
        said("no key", 401, error("You didn't provide an API key."), "wants a key", "virc_api_key", key=""),
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
        said(
            "arrears (DashScope)",
            400,
            error("Access denied, please make sure your account is in good standing.", code="Arrearage"),
            used_up,
        ),
        said("余额 (Chinese gateways)", 403, encoded({"error": {"message": "用户余额不足"}}), used_up),
        said(
            "quota (Gemini)",
            429,
            encoded(
                [
                    {
                        "error": {
                            "code": 429,
                            "status": "RESOURCE_EXHAUSTED",
                            "message": "You exceeded your current quota, please check your plan and billing details.",
                        }
                    }
                ]
            ),
            used_up,
            chats=1,
        ),
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
        said(
            "quota per minute (Gemini)",
            429,
            encoded(
                {
                    "error": {
                        "code": 429,
                        "status": "RESOURCE_EXHAUSTED",
                        "message": "You exceeded your current quota. Please retry in 12.5s.",
                    }
                }
            ),
            "too busy",
            code=6,
        ),
        said("overloaded (Anthropic)", 529, _anthropic("overloaded_error", "Overloaded"), "too busy", code=6),
    ]


def ways() -> list[Row]:
    """Proxies, pages and addresses."""
    return [
        said("Cloudflare, in words", 403, b"error code: 1020", "firewall", "1020", kind=TEXT),
        said("corporate proxy", 403, ZSCALER, "proxy", "zscaler", "no_proxy", kind=HTML),
        said("Squid", 403, b"ERR_ACCESS_DENIED", "proxy", kind=TEXT, headers={"X-Squid-Error": "ERR_ACCESS_DENIED 0"}),
        said("proxy that wants a login", 407, page("Proxy Authentication Required"), "proxy", "password", kind=HTML),
        said("nginx without that path", 404, page("404 Not Found"), "does not know", "(404)", kind=HTML),
        said(
            "Express without that path",
            404,
            page("Error", "<pre>Cannot POST /v1/chat/completions</pre>"),
            "does not know",
            kind=HTML,
        ),
        said(
            "plain HTTP to a TLS port (nginx)",
            400,
            page("400 The plain HTTP request was sent to HTTPS port"),
            "tls",
            "https://",
            kind=HTML,
        ),
        said("redirect", 308, b"", "redirects", "elsewhere", headers={"Location": "https://elsewhere.example/v1"}),
        said(
            "bad gateway (nginx)",
            502,
            page("502 Bad Gateway"),
            "fails (502)",
            "bad gateway",
            code=6,
            kind=HTML,
            chats=3,
        ),
        said("Anthropic alone: no such path", 404, _anthropic("not_found_error", "Not Found"), "anthropic"),
        said("Anthropic, wrong key", 401, _anthropic("authentication_error", "invalid x-api-key"), "key (401)"),
    ]


def proxied() -> list[Row]:
    """Errors in other words."""
    return [
        said("key of Gemini", 400, error("API key not valid. Please pass a valid API key."), "refuses the key"),
        said("no vision (OpenRouter)", 404, error("No endpoints found that support image input"), "vision model"),
        said(
            "packed error",
            400,
            gzip.compress(error("the seed is odd")),
            "seed is odd",
            headers={"Content-Encoding": "gzip"},
        ),
    ]


ROWS = [*proxied(), *accounts(), *ways()]
