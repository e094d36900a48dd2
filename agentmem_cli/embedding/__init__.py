"""Embedding models."""

import os

# onnxruntime sends telemetry from 1.29 on unless this is set before it is imported; a memory store has no business to.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# How long a hub may take to describe a file, before a download is given up.
os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", "5")
