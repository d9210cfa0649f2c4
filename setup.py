"""Metadata and extras. Tested versions stand in constraints.txt; nothing here caps a version."""

import re
from pathlib import Path

from setuptools import find_packages, setup


ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "src/transformers_empathav/__init__.py").read_text())[1]

EXTRAS = {
    "face": ["opencv-contrib-python-headless"],
    "train": ["trl>=1.16", "tensorboard", "scipy", "scikit-learn"],
    "eval": ["sacrebleu", "rouge-score", "nltk", "scipy", "scikit-learn", "matplotlib", "krippendorff"],
    "app": ["gradio"],
    "serve": ["fastapi", "uvicorn", "prometheus-client", "fsspec"],
    "ray": ["ray[serve]", "fastapi", "uvicorn", "prometheus-client", "fsspec"],
    "cuda": ["mamba-ssm; sys_platform == 'linux'", "causal-conv1d; sys_platform == 'linux'"],
    "assemble": ["gguf", "h5py"],
    "remote": ["openai"],
    "dev": ["pytest", "pytest-xdist", "hypothesis", "pexpect", "playwright", "ruff"],
    "docs": ["mkdocs-material", "mkdocstrings[python]"],
}

setup(
    name="transformers-empathav",
    version=VERSION,
    description="Empathetic responses in audio-visual conversations: emotion extractor and memory compressor",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    package_dir={"": "src"},
    packages=find_packages("src"),
    package_data={
        "transformers_empathav.hub": ["template.md"],
        "transformers_empathav.chat": ["responsible_use.md"],
        "transformers_empathav.data.dialogues": ["danger.jsonl"],
        "transformers_empathav.evaluation.raters": ["*.html"],
    },
    python_requires=">=3.11",
    install_requires=[
        "torch>=2.11",
        "transformers>=5.23",
        "accelerate>=1.15",
        "huggingface-hub>=1.31",
        "safetensors",
        "peft>=0.19",
        "datasets>=5.0",
        "numpy",
        "jinja2",
        "pillow",
        "av>=17.1",
        "soxr",
        "typer",
        "rich",
        "prompt_toolkit",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["empathav = transformers_empathav.cli:main"]},
)
