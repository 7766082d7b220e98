# virc with its engines on CUDA, from a checkout: `docker build --file docker/engines.Dockerfile --tag virc-engines .`
# docker run --rm --gpus all --shm-size 16g --volume "$PWD:/work" virc-engines train --stage instruct
# ENGINES is a list in words: sft, rl, serve. Each is some GB of pinned packages. The host needs a driver for the CUDA of the pins.
FROM nvidia/cuda:13.0.1-devel-ubuntu24.04
ARG ENGINES="sft rl serve"
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv libseccomp2 git \
    && rm -rf /var/lib/apt/lists/*
ENV VIRC_CACHE=/opt/virc PATH=/opt/venv/bin:$PATH
WORKDIR /source
COPY . .
# hadolint ignore=DL3013
RUN python3 -m venv /opt/venv \
    && pip install --no-cache-dir ".[train,serve,data]" \
    && for engine in $ENGINES; do virc env create "$engine" --device cuda || exit 1; done \
    && rm -rf /root/.cache /source/*
WORKDIR /work
ENTRYPOINT ["virc"]
