"""Checks a model card without asking the Hub."""

import re
from pathlib import Path

import yaml
from huggingface_hub import ModelCard


SECTIONS = ("How to use", "Data", "Results", "Limits", "Intended use and misuse", "Licence")
UNWRITTEN = ("[More Information Needed]", "{{", "Model Card for Model ID", "No corpus is named: whoever trained it")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
LICENCE_ID = re.compile(r"[a-z0-9][a-z0-9.+-]*")


def is_hub_id(name: str) -> bool:
    """Whether `name` can be a repository on the Hub and is no directory here."""
    return bool(HUB_ID.fullmatch(name)) and not Path(name).exists()


def read_card(path: Path | str) -> ModelCard:
    """
    Reads a card from a file.

    Raises:
        `ValueError`: there is no such file, or its metadata cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} does not exist: `empathav card {path.parent}` writes it.")
    text = path.read_text(encoding="utf-8-sig")
    if not re.match(r"---\r?\n.*?\r?\n---\r?\n", text, re.DOTALL):
        raise ValueError(f"{path} has no metadata: it begins with a block of YAML between two lines of ---.")
    try:
        return ModelCard(text)
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise ValueError(f"The metadata of {path} cannot be read: {error}") from None


def card_problems(card: ModelCard) -> list[str]:
    """
    Everything that is wrong with a card, a phrase each; empty when it is complete.

    It looks at licence, library, task, base model, corpora, blanks and sections, without a network. The Hub has a
    check of its own, which knows its licences and the model index: it runs at every push, and by `card.validate()`.
    """
    data, problems = card.data, []
    if not data.license:
        problems.append("licence is missing (the Hub's identifier, such as cc-by-nc-sa-4.0)")
    elif not isinstance(data.license, str) or not LICENCE_ID.fullmatch(data.license):
        problems.append(f"licence {data.license!r} is no identifier of the Hub (write `other` and a licence name)")
    elif data.license == "other" and not data.license_name:
        problems.append("licence `other` needs a licence name")
    if data.library_name not in ("transformers", "peft"):
        problems.append("library_name is neither transformers nor peft")
    if not data.pipeline_tag:
        problems.append("pipeline_tag is missing")
    for field in ("base_model", "datasets"):
        values = data.get(field, [])
        for value in [values] if isinstance(values, str) else values:
            if not isinstance(value, str) or not HUB_ID.fullmatch(value):
                problems.append(f"{field} {value!r} is no id of the Hub (owner/name)")
    if data.library_name == "peft" and not data.base_model:
        problems.append("base_model is missing (the checkpoint on the Hub that the adapter belongs to)")
    problems += [f"{blank!r} is not filled in" for blank in UNWRITTEN if blank in card.text]
    headings = re.findall(r"^#+ +(.+?)\s*$", card.text, re.MULTILINE)
    problems += [f"section {name!r} is missing" for name in SECTIONS if name not in headings]
    return problems
