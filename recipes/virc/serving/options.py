"""Options of serving a model, without imports that take time."""

from collections.abc import Sequence
from typing import Annotated, Literal

from virc.core.declared import Option
from virc.models.options import RequestOptions
from virc.solving.options import PipelineOptions, ReplyOptions

Engine = Literal["vllm", "transformers", "llamacpp"]


class ServeOptions(RequestOptions, ReplyOptions, PipelineOptions, total=False):
    """Options of `virc serve` and its function; None is the default that the text names."""

    agent: Annotated[bool, Option(help="Run the tool loop in the server, for any OpenAI client.", default=False)]
    endpoint: Annotated[str | None, Option("URL", "--agent: server that draws the replies.")]
    endpoint_key: Annotated[str | None, Option(more="API key of that server.")]
    concurrency: Annotated[int | None, Option("N", "--agent: problems at a time. Default: by server.", min=1, max=1024)]
    timeout: Annotated[float | None, Option("SECONDS", "--agent: time limit of a problem. Default: 600.")]
    engine: Annotated[Engine | None, Option(help="Default: llamacpp for a .gguf, vllm on Linux.")]
    host: Annotated[str | None, Option("ADDRESS", "Address to listen on. Default: 127.0.0.1.")]
    port: Annotated[int | None, Option("N", "Port. Default: 8000.", min=1, max=65_535)]
    name: Annotated[str | None, Option("NAME", "Model name for clients. Default: its name.")]
    api_key: Annotated[str | Sequence[str] | None, Option(more="API key for clients; of an agent: one each.")]
    device: Annotated[Literal["cpu", "cuda", "mps"] | None, Option(help="Default: the best found.")]
    dtype: Annotated[
        Literal["auto", "bfloat16", "float16", "float32"] | None,
        Option(help="Of weights. Default: as in the model's config."),
    ]
    max_model_len: Annotated[int | None, Option("TOKENS", "Longest conversation. Default: the model's.", min=1)]
    limit_images: Annotated[
        int | None, Option("N", "Images of a conversation. Default: 20; judges: 4.", min=1, max=1000)
    ]
    tensor_parallel_size: Annotated[int | None, Option("N", "vLLM: GPUs that share each layer. Default: 1.", min=1)]
    pipeline_parallel_size: Annotated[int | None, Option("N", "vLLM: GPUs that split the layers. Default: 1.", min=1)]
    data_parallel_size: Annotated[int | None, Option("N", "vLLM: copies of the model. Default: 1.", min=1)]
    gpu_memory_utilization: Annotated[
        float | None, Option("SHARE", "vLLM: share of GPU memory. Default: 0.9.", min=0.05, max=1)
    ]
    gpus: Annotated[Sequence[int] | None, Option("N,N", "vLLM: GPUs, by number. Default: the first.")]
    cache_gib: Annotated[int | None, Option(more="GiB of main memory for keys and values, on the CPU.")]
    image_cache: Annotated[float | None, Option("GIB", "vLLM: cache for repeated images. Default: 4; 0: off.", min=0)]
