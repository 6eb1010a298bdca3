# LmLite for containers: Conduit with all that LmLite needs, on a base with Python 3.11 or newer.
# The guard is put before it by whoever starts a container; nothing starts by itself.
ARG BASE
FROM ${BASE}
ARG TORCH_INDEX=""
COPY *.whl /tmp/conduit/
RUN wheel=$(ls /tmp/conduit/*.whl) \
    && python3 -m pip install --no-cache-dir --break-system-packages \
        ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} "$wheel[lmlite]" \
    && rm -rf /tmp/conduit
ENTRYPOINT []
