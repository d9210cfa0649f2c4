"""Whether a model card will do, found without the Hub."""

import re
from pathlib import Path

import yaml
from huggingface_hub import ModelCard


SECTIONS = ("How to use", "Data", "Results", "Limits", "Intended use and misuse", "Licence")
UNWRITTEN = ("[More Information Needed]", "{{", "Model Card for Model ID", "No corpus is named: whoever trained it")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# https://huggingface.co/docs/hub/repositories-licenses, those that weights may come under: the Hub refuses any other.
LICENCES = frozenset(
    """afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bigcode-openrail-m bigscience-bloom-rail-1.0 bigscience-openrail-m bsd
    bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0
    cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0
    cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0
    creativeml-openrail-m ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 gemma gpl gpl-2.0 gpl-3.0 isc lgpl lgpl-2.1
    lgpl-3.0 llama2 llama3 llama3.1 llama3.2 llama3.3 mit mpl-2.0 ms-pl ncsa odbl odc-by openrail openrail++ osl-3.0
    other pddl postgresql unlicense wtfpl zlib""".split()
)


def is_hub_id(name: str) -> bool:
    """Whether `name` can be a repository on the Hub and is no directory here."""
    return bool(HUB_ID.fullmatch(name)) and not Path(name).exists()


def read_card(path: Path | str) -> ModelCard:
    """
    A card from a file.

    Raises:
        `ValueError`: there is none, or its metadata cannot be read.
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
    All that keeps a card from the Hub, or its reader from knowing what it is; empty when it will do.

    The Hub's own check runs when a card is pushed, and by `card.validate()` where it can be reached; this one needs no
    network: licence, library, task, base model, corpora, model index, no blanks, and every section.
    """
    data, problems = card.data, []
    if not data.license:
        problems.append("licence is missing (the Hub's identifier, such as cc-by-nc-sa-4.0)")
    elif not isinstance(data.license, str) or data.license not in LICENCES:
        problems.append(
            f"licence {data.license!r} is none of the Hub's identifiers (write `other` and a licence name)"
        )
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
