FROM python:3.11-slim
WORKDIR /app
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation . \
    && useradd --system --create-home candlefleet \
    && mkdir -p /exports /fleet && chown candlefleet /exports
USER candlefleet
WORKDIR /home/candlefleet
