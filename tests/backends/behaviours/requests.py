"""HTTP errors about the model and about what was sent; texts are those of the servers."""

from behaviours.rows import HTML, JSON, Row, encoded, error, page


def said(name: str, status: int, body: bytes, *words: str, code: int = 3, kind: str = JSON, **more: object) -> Row:
    return Row(name, body, None, code, words, status, kind, **more)  # type: ignore[arg-type]


def _anthropic(kind: str, message: str) -> bytes:
    return encoded({"type": "error", "request_id": "req_1", "error": {"type": kind, "message": message}})


def models() -> list[Row]:
    """Models that are not there, or not yet, and requests that they do not take."""
    return [
        said(
            "no such model (OpenAI)",
            404,
            error("The model `m` does not exist or you do not have access to it."),
            "does not serve",
            "--model",
        ),
        said(
            "no such model (Ollama)",
            404,
            error('model "m" not found, try pulling it first'),
            "does not serve",
            "--model",
        ),
        said(
            "no such deployment (Azure)",
            404,
            encoded(
                {
                    "error": {
                        "code": "DeploymentNotFound",
                        "message": "The API deployment for this resource does not exist.",
                    }
                }
            ),
            "does not serve",
        ),
        said("loading (llama.cpp)", 503, error("Loading model", code=503), "still loading", code=6, chats=3),
        said("out of memory", 500, error("CUDA out of memory"), "out of memory", code=6, chats=3),
        said(
            "sees nothing (llama.cpp)",
            500,
            error("image input is not supported - hint: you may need to provide the mmproj"),
            "vision model",
            chats=1,
        ),
        said("context", 400, error("This model's maximum context length is 4096 tokens."), "context", "--max-pixels"),
        said(
            "filter of the prompt (Azure)",
            400,
            encoded(
                {
                    "error": {
                        "code": "content_filter",
                        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content "
                        "management policy.",
                    }
                }
            ),
            "filtered",
            code=8,
        ),
        said(
            "validation (FastAPI)",
            422,
            encoded({"detail": [{"loc": ["body", "messages"], "msg": "field required"}]}),
            "field required",
        ),
    ]


def sizes() -> list[Row]:
    """Limits of bytes; those that name a number below what a picture takes are met, see test_shrinking."""
    smaller = "--max-pixels"
    return [
        said("nginx", 413, page("413 Request Entity Too Large"), smaller, "(413)", kind=HTML),
        said(
            "Anthropic, an image",
            400,
            _anthropic(
                "invalid_request_error",
                "messages.0.content.1.image.source.base64: image exceeds 5 MB maximum: 6291456 bytes > 5242880 bytes",
            ),
            smaller,
        ),
        said(
            "Anthropic, dimensions",
            400,
            _anthropic(
                "invalid_request_error",
                "messages.0.content.1.image.source.base64.data: image dimensions exceed max allowed size: 8000 pixels",
            ),
            smaller,
        ),
    ]


ROWS = [*models(), *sizes()]
