# Both commands of the README as they stand: on CPUs, not as root.
#
#     docker build -t msm_ray .
#     docker run --rm --shm-size=256m msm_ray                 # make quickstart
#     docker run --rm --shm-size=256m msm_ray make test
#
# Where the image's Python finds no CPU build of torch: docker build --build-arg TORCH_INDEX=<address of an index> -t msm_ray .
FROM python:3.11-slim-bookworm

# libnuma1: vLLM's CPU build is linked against it. No compiler.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git libnuma1 make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 msm

USER 1000
WORKDIR /home/msm/msm_ray
ARG TORCH_INDEX=
ENV UV_NO_CACHE=1 PIP_NO_CACHE_DIR=1

# The environment is a layer of its own: a change of the code does not install it anew.
COPY --chown=msm:msm Makefile pyproject.toml README.md LICENSE ./
COPY --chown=msm:msm requirements requirements
COPY --chown=msm:msm msm_ray/__init__.py msm_ray/__init__.py
RUN make setup TORCH_INDEX="$TORCH_INDEX"

COPY --chown=msm:msm . .
RUN touch .venv/installed
CMD ["make", "quickstart"]
