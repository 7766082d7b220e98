# The command line with llama.cpp, from a checkout: `docker build --file docker/virc.Dockerfile --tag virc .`
# docker run --rm --volume "$PWD:/work" virc solve figure.png 'What is angle B?'
FROM python:3.13-slim AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.13-slim
# The wheel itself: an index may have a newer package of that name.
# hadolint ignore=DL3013
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    set -- /wheels/virc-*.whl \
    && pip install --no-cache-dir "$1[llamacpp,serve,mcp,data]" \
    && useradd --create-home --uid 1000 virc
USER 1000
WORKDIR /work
ENTRYPOINT ["virc"]
