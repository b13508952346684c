# The gateway, and with `--target engine` the gateway with the laptop engine beside it (PyTorch for CPUs).
#   docker build -t smallfirst:0.1.0 .
#   docker build -t smallfirst-engine:0.1.0 --target engine .
# Both run as user 10001 and write to /var/lib/smallfirst and /tmp alone: the root filesystem may be read-only.

FROM python:3.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN ["python", "-m", "venv", "--without-pip", "/opt/smallfirst"]
WORKDIR /src/state
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY server ./server
COPY router ./router
COPY models ./models
RUN ["python", "-m", "pip", "--python", "/opt/smallfirst/bin/python", "install", ".[oidc,tracing]"]

FROM build AS build-engine
ARG PYTORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python -m pip --python /opt/smallfirst/bin/python install --extra-index-url "$PYTORCH_INDEX" '.[engine]'

FROM python:3.13-slim-bookworm AS runtime
ENV PATH=/opt/smallfirst/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    XDG_STATE_HOME=/var/lib/smallfirst
COPY --from=build --chown=10001:10001 /src/state /var/lib/smallfirst
VOLUME ["/var/lib/smallfirst"]
WORKDIR /var/lib/smallfirst
USER 10001:10001
ENTRYPOINT ["smallfirst"]

FROM runtime AS engine
COPY --from=build-engine /opt/smallfirst /opt/smallfirst
COPY --from=build /src/models/demo/weights /opt/demo
EXPOSE 8000
CMD ["engine", "--help"]

FROM runtime AS gateway
COPY --from=build /opt/smallfirst /opt/smallfirst
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/health', timeout=4)"]
CMD ["serve", "/etc/smallfirst/smallfirst.yaml"]
