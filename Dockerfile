# Two images of one source. `serve`, the last one, holds what scoring needs; `tools` holds everything: training, the gate,
# DVC and the MLflow server. Both run any fraud3000 command:
#     podman build --format docker --tag fraud3000 .
#     podman build --format docker --tag fraud3000-tools --target tools .
ARG PYTHON_IMAGE=docker.io/library/python:3.12-slim

FROM ${PYTHON_IMAGE} AS source
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PROJECT_ENVIRONMENT=/opt/fraud3000 \
    UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir --root-user-action=ignore "uv>=0.9,<1"
WORKDIR /source
COPY pyproject.toml uv.lock ./

FROM source AS built-tools
RUN uv sync --frozen --no-dev --all-extras --no-install-project
COPY README.md LICENSE ./
COPY fraud3000 fraud3000
RUN uv sync --frozen --no-dev --all-extras --no-editable

FROM source AS built-serve
# Symbols for debuggers are 60 MB of these two libraries.
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils \
    && uv sync --frozen --only-group serve \
    && find /opt/fraud3000/lib -type d -name tests -prune -exec rm -rf {} + \
    && strip --strip-unneeded $(find /opt/fraud3000/lib -name '_polars_runtime*.so' -o -name 'libllvmlite.so')
COPY README.md LICENSE ./
COPY fraud3000 fraud3000
COPY infra/image/compile_kernels.py ./
# For any processor of the architecture: the machine that builds is not the one that serves.
ENV NUMBA_CPU_NAME=generic NUMBA_CACHE_DIR=/opt/fraud3000/kernels
RUN uv pip install --python /opt/fraud3000 --no-deps --compile-bytecode . \
    && /opt/fraud3000/bin/python -P compile_kernels.py

FROM ${PYTHON_IMAGE} AS base
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="fraud3000" \
      org.opencontainers.image.description="From raw card transactions to fraud decisions a risk team can defend" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/fraud3000/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FRAUD3000_LOG_FORMAT=json \
    NUMBA_CPU_NAME=generic \
    NUMBA_CACHE_DIR=/tmp/kernels
RUN groupadd --gid 10001 fraud3000 \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin fraud3000 \
    && install --directory --owner 10001 --group 10001 /srv/fraud3000
COPY infra/image/start.sh /usr/local/bin/start
# params.yaml, data and the journal; nothing else is written but /tmp.
WORKDIR /srv/fraud3000
VOLUME /srv/fraud3000 /tmp
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/start"]

FROM base AS tools
COPY --from=built-tools /opt/fraud3000 /opt/fraud3000
CMD ["fraud3000", "--help"]

FROM base AS serve
COPY --from=built-serve /opt/fraud3000 /opt/fraud3000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=4)"]
CMD ["fraud3000", "serve", "--host", "0.0.0.0"]
