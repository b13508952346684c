# vLLM with the plugin that verifies handed-over drafts, for NVIDIA GPUs. The plugin goes with this version alone.
#   docker build -t smallfirst-vllm:0.32.0 -f deploy/vllm.Dockerfile .
# It runs as user 10001, and writes to /models (weights), /tmp (caches) and /dev/shm alone.

FROM python:3.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src/models
WORKDIR /src
COPY models/handover ./handover
RUN ["python", "-m", "pip", "wheel", "--no-deps", "--wheel-dir", "/src/wheels", "./handover"]

FROM vllm/vllm-openai:v0.32.0
COPY --from=build /src/wheels /opt/smallfirst-handover
RUN ["python3", "-m", "pip", "install", "--no-cache-dir", "--no-deps", "--no-index", \
    "--find-links", "/opt/smallfirst-handover", "smallfirst-handover==0.1.0"]
# PyTorch asks for the user's name, also of one whom /etc/passwd does not know.
ENV HOME=/tmp \
    USER=vllm \
    HF_HOME=/models \
    VLLM_NO_USAGE_STATS=1
COPY --from=build --chown=10001:10001 /src/models /models
VOLUME ["/models"]
WORKDIR /tmp
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=15m --retries=3 \
    CMD ["python3", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["vllm", "serve"]
