# edgeai as a container (docs/container.md). Built by BuildKit (docker build), podman or buildah:
#
#   docker build --tag edgeai .
#   docker build --tag edgeai:openvino --build-arg FLAVOUR=openvino .
#
# BASE:    any glibc image with Python 3.11 to 3.13 and its `venv`; nothing is installed from the
#          distribution, so an image of your own, with drivers of a GPU or an NPU, works as well.
# FLAVOUR: cpu, openvino (with Intel's plugin), cuda (onnxruntime-gpu in place of onnxruntime).
# Secrets: `pip` is a pip.conf that names a package index of your own, and `ca` a certificate for it.
#          Neither is kept in the image.
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
ARG FLAVOUR=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_INPUT=1
WORKDIR /build
# Every package is named with its hash. /opt/tools builds; only /opt/edgeai goes into the image.
COPY locks/ locks/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/secrets/ca \
    python3 -m venv /opt/tools \
    && python3 -m venv --without-pip /opt/edgeai \
    && /opt/tools/bin/pip install --no-compile --no-deps --require-hashes --requirement locks/image.txt \
    && /opt/tools/bin/pip --python /opt/edgeai/bin/python install --no-compile \
        --no-deps --require-hashes --only-binary :all: --requirement "locks/${FLAVOUR}.txt"
COPY pyproject.toml README.md LICENSE ./
COPY edgeai/ edgeai/
COPY models/ models/
COPY devices/ devices/
COPY configs/ configs/
COPY scripts/write_sbom.py scripts/
# Tests of the packages go, and all modules are compiled, as the running container cannot write them.
RUN /opt/tools/bin/pip wheel --quiet --no-index --no-deps --no-build-isolation --wheel-dir /build/wheel . \
    && /opt/tools/bin/pip --python /opt/edgeai/bin/python install --no-compile --no-index --no-deps wheel/*.whl \
    && /opt/tools/bin/python scripts/write_sbom.py /opt/edgeai/bin/python /opt/edgeai/sbom.cdx.json \
    && find /opt/edgeai/lib -depth -type d \( -name tests -o -path '*/onnx/backend/test' \) -exec rm -r {} + \
    && /opt/edgeai/bin/python -m compileall -q -j 0 /opt/edgeai/lib

FROM ${BASE}
ARG FLAVOUR=cpu
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="edgeai" \
      org.opencontainers.image.description="Anomaly and physics-informed models on a factory line: MQTT in, predictions and metrics out" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      edgeai.flavour="${FLAVOUR}"
# Nothing is installed in a running container, so it needs no installer.
RUN groupadd --gid 10001 edgeai \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/edgeai --shell /usr/sbin/nologin edgeai \
    && mkdir -p /etc/edgeai /models /var/lib/edgeai \
    && chown 10001:10001 /var/lib/edgeai \
    && rm -rf /usr/local/lib/python3.*/site-packages/pip* /usr/local/lib/python3.*/ensurepip /usr/local/bin/pip* \
        /usr/lib/python3*/ensurepip /usr/share/python-wheels
COPY --from=build /opt/edgeai /opt/edgeai
ENV PATH=/opt/edgeai/bin:/usr/local/bin:/usr/bin:/bin \
    EDGEAI_STATE_DIR=/var/lib/edgeai \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/edgeai
VOLUME /var/lib/edgeai
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-m", "edgeai.node.health", "/etc/edgeai/config.yaml"]
ENTRYPOINT ["edgeai"]
CMD ["run", "/etc/edgeai/config.yaml"]
