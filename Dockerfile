# syntax=docker/dockerfile:1
# gar-video as a server. Two targets:
#   docker build --target cpu  -t gar-video:cpu .
#   docker build --target cuda -t gar-video:cuda .
# The nano checkpoints come with the package; others are fetched into the volume /models.

FROM python:3.12-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/gar-video
ENV PATH=/opt/gar-video/bin:$PATH
WORKDIR /src
COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY gar_video ./gar_video
COPY trackers ./trackers
# PyPI's torch for Linux is the CUDA build and computes on the CPU too; a CPU-only torch has no
# torchvision on PyPI, so that both targets share one environment. Versions are pyproject.toml's.
# hadolint ignore=DL3013
RUN pip install '.[serve]'

FROM python:3.12-slim-bookworm AS base
# What OpenCV links against; everything else is in the wheels.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 gar \
    && useradd --system --uid 10001 --gid gar --no-create-home --shell /usr/sbin/nologin gar \
    && mkdir -p /models /store \
    && chown gar:gar /models /store
COPY --from=build /opt/gar-video /opt/gar-video
ENV PATH=/opt/gar-video/bin:$PATH \
    HF_HOME=/models \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /store
VOLUME ["/models", "/store"]
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
# A token is needed, since a container is not asked from loopback: GAR_VIDEO_TOKEN or --token-file.
ENTRYPOINT ["gar-video", "serve", "--host", "0.0.0.0", "--port", "8000", "--store", "/store"]

FROM base AS cpu
ENV CUDA_VISIBLE_DEVICES=""
CMD ["--device", "cpu"]

FROM base AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
CMD ["--device", "cuda"]
