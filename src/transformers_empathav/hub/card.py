"""Model cards, rendered from the files of a directory and from facts that its maker adds."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from pathlib import Path

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from .card_check import HUB_ID, card_problems
from .card_facts import ASSEMBLY_FILE, describe, read_json


CARD_FILE, FACTS_FILE = "README.md", "card.yaml"
REPO_PLACEHOLDER, BASE_PLACEHOLDER = "USER/NAME", "USER/BASE"  # in the examples of a card until it is pushed
TEMPLATE = files(__package__) / "template.md"
PIPELINE_TAG = "text-generation"
PART_NAMES = {"compressor": "memory compressor", "extractor": "emotion extractor"}
SUMMARIES = {
    "checkpoint": "A language model that answers a person in front of a camera. It reads a few emotion vectors of "
    "voice and face, and a few memory vectors for each thing that was said before.",
    "adapter": "A low-rank adapter of the language model inside an EmpathAV checkpoint.",
}
TAGS = ["empathav", "empathetic-dialogue", "emotion-recognition", "audio-visual", "memory"]


@dataclass(frozen=True)
class Corpus:
    """
    A corpus that something was trained on.

    Args:
        name (`str`): Its usual name.
        id (`str`, *optional*): Its id on the Hub, `owner/name`.
        licence (`str`, *optional*): Its licence.
        used_for (`str`, *optional*): What was trained on it, such as `"memory compressor"`.
    """

    name: str
    id: str | None = None
    licence: str | None = None
    used_for: str | None = None


@dataclass(frozen=True)
class Result:
    """
    One measured figure.

    Args:
        metric (`str`): What was measured, with its unit.
        value (`float`): The figure.
        dataset (`str`): Name of the data.
        dataset_id (`str`, *optional*): Its id on the Hub, `owner/name`.
        split (`str`, *optional*): Split of the data.
        interval (`Sequence[float]`, *optional*): Lower and upper bound.
        interval_name (`str`, *optional*): Kind of the interval.
        samples (`int`, *optional*): Number of samples.
        command (`str`, *optional*): The command that gave the figure.
        hardware (`str`, *optional*): Where it ran.
        seed (`int`, *optional*): Its seed.
        cannot_show (`str`, *optional*): What a reader must not conclude from it.
    """

    metric: str
    value: float
    dataset: str
    dataset_id: str | None = None
    split: str | None = None
    interval: Sequence[float] | None = None
    interval_name: str = "95 % interval"
    samples: int | None = None
    command: str | None = None
    hardware: str | None = None
    seed: int | None = None
    cannot_show: str | None = None

    def __post_init__(self):
        for number in (self.value, *(self.interval or ())):
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise ValueError(f"{self.metric}: {number!r} is no number.")

    @property
    def shown(self) -> str:
        """The figure with its interval."""
        bounds = "" if self.interval is None else " ({}–{})".format(*(round(bound, 4) for bound in self.interval))
        return f"{round(self.value, 4)}{bounds}"


def write_card(directory: Path | str, **facts) -> Path:
    """
    Renders and writes the card of a directory, in place of any that is there.

    Args:
        directory (`Path` or `str`): A checkpoint or an adapter.
        facts: Arguments of [`render_card`]. [`read_facts`] reads them from a file.

    Returns:
        `Path`: The card.

    Raises:
        `ValueError`: the card is not complete; says everything that is wrong. Nothing is written then.
    """
    card = render_card(directory, **facts)
    if problems := card_problems(card):
        raise ValueError(f"The card of {directory} is not complete: {'; '.join(problems)}.")
    return save_card(card, directory)


def save_card(card: ModelCard, directory: Path | str) -> Path:
    """Writes a card. In a directory of `empathav assemble` its checksum is noted in assembly.json."""
    path, assembly = Path(directory) / CARD_FILE, Path(directory) / ASSEMBLY_FILE
    card.save(path)
    if assembly.is_file():
        recipe = read_json(assembly)
        recipe.setdefault("files", {})[CARD_FILE] = hashlib.sha256(path.read_bytes()).hexdigest()
        assembly.write_text(json.dumps(recipe, indent=2))
    return path


def render_card(
    directory: Path | str,
    *,
    template: str | None = None,
    name: str | None = None,
    summary: str | None = None,
    base_model: str | Sequence[str] | None = None,
    datasets: Sequence[str | dict | Corpus] = (),
    licence: str | None = None,
    licence_name: str | None = None,
    licence_link: str | None = None,
    licence_text: str | None = None,
    results: Sequence[dict | Result] = (),
    training: str | None = None,
    trained: Sequence[str] | None = None,
    limits: Sequence[str] = (),
    language: str = "en",
    repo_id: str = REPO_PLACEHOLDER,
) -> ModelCard:
    """
    Renders the card of a directory. [`card_problems`] says whether it is complete.

    Args:
        directory (`Path` or `str`): A checkpoint or an adapter.
        template (`str`, *optional*): `"checkpoint"` or `"adapter"`; by default the kind of the directory.
        name (`str`, *optional*): Title, by default the directory's name.
        summary (`str`, *optional*): What it is, in a sentence or two.
        base_model (`str` or `Sequence[str]`, *optional*):
            Hub ids of the models that it was made from; by default those that the directory names.
        datasets (`Sequence` of [`Corpus`], dictionaries of its fields, or Hub ids): What it was trained on.
        licence (`str`, *optional*): The Hub's identifier of its licence; `"other"` needs `licence_name` too.
        licence_name, licence_link, licence_text (`str`, *optional*): Name, address and a sentence about the licence.
        results (`Sequence` of [`Result`] or dictionaries of its fields): Figures that were measured.
        training (`str`, *optional*): How it was trained, in Markdown: stages, seeds, hardware, time.
        trained (`Sequence[str]`, *optional*): Which of its parts are trained; by default those in assembly.json.
        limits (`Sequence[str]`): What it cannot do, a sentence each.
        language (`str`, *optional*, defaults to `"en"`): Of the training data.
        repo_id (`str`, *optional*): The repository that the examples load.

    Returns:
        `ModelCard`: The card, with its metadata in `data`.

    Raises:
        `ValueError`: the directory is neither a checkpoint nor an adapter.
    """
    if template not in (None, "checkpoint", "adapter"):
        raise ValueError(f"Unknown template {template!r}: choose 'checkpoint' or 'adapter'.")
    about = describe(directory, template)
    kind = template or about["kind"]
    base_models = [base_model] if isinstance(base_model, str) else list(base_model or about["base_models"])
    trained = about["trained"] if trained is None else list(trained)
    corpora = [as_corpus(corpus) for corpus in datasets]
    figures = [result if isinstance(result, Result) else Result(**result) for result in results]
    data = ModelCardData(
        language=language,
        license=licence,
        license_name=licence_name,
        license_link=licence_link,
        library_name="peft" if kind == "adapter" else "transformers",
        pipeline_tag=PIPELINE_TAG,
        base_model=base_models or None,
        datasets=[corpus.id for corpus in corpora if corpus.id] or None,
        tags=[*TAGS, "lora"] if about.get("peft_type") == "LORA" else TAGS,
        model_name=name or Path(directory).resolve().name,
        eval_results=[as_eval_result(figure) for figure in figures] or None,
    )
    return ModelCard.from_template(
        data,
        template_str=TEMPLATE.read_text(encoding="utf-8"),
        kind=kind,
        name=name or Path(directory).resolve().name,
        summary=summary or SUMMARIES[kind],
        base=base_models[0] if base_models else BASE_PLACEHOLDER,
        untrained=[PART_NAMES[part] for part in PART_NAMES if part not in trained] if trained is not None else [],
        trained=trained,
        contents=about["contents"],
        parts=about["parts"],
        corpora=corpora,
        training=training and training.strip(),
        results=list(grouped(figures)),
        limits=limits,
        licence=licence_name or licence,
        licence_text=licence_text,
        version=about["version"],
        repo_id=repo_id,
    )


def read_facts(path: Path | str) -> dict:
    """
    Reads the arguments of [`render_card`] from a YAML file.

    Raises:
        `ValueError`: the file is no YAML mapping, or has a field that a card does not have.
    """
    try:
        facts = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML: {error}") from None
    if not isinstance(facts, dict):
        raise ValueError(f"{path} holds no fields: write lines such as `licence: cc-by-nc-sa-4.0`.")
    known = set(render_card.__kwdefaults__)
    if unknown := sorted(set(facts) - known):
        raise ValueError(f"{path} has unknown fields ({', '.join(unknown)}): a card has {', '.join(sorted(known))}.")
    try:
        facts["results"] = [Result(**result) for result in facts.get("results") or ()]
        facts["datasets"] = [as_corpus(corpus) for corpus in facts.get("datasets") or ()]
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from None
    return facts


def as_corpus(corpus: str | dict | Corpus) -> Corpus:
    if isinstance(corpus, str):
        return Corpus(corpus, id=corpus if HUB_ID.fullmatch(corpus) else None)
    return corpus if isinstance(corpus, Corpus) else Corpus(**corpus)


def as_eval_result(figure: Result) -> EvalResult:
    """A figure as an entry of the model index, from which the Hub lists results."""
    return EvalResult(
        task_type=PIPELINE_TAG,
        dataset_type=figure.dataset_id or slug(figure.dataset),
        dataset_name=figure.dataset,
        dataset_split=figure.split,
        metric_type=slug(figure.metric),
        metric_name=figure.metric,
        metric_value=figure.value,
    )


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def grouped(figures: list[Result]):
    """Groups neighbouring figures of one command, hardware, seed and caveat; each group becomes a table."""
    for shared, members in groupby(figures, key=lambda row: (row.command, row.hardware, row.seed, row.cannot_show)):
        (command, hardware, seed, cannot_show), rows = shared, list(members)
        intervals = " or ".join(dict.fromkeys(row.interval_name for row in rows if row.interval is not None))
        notes = [f"Command: `{command}`."] if command else []
        notes += [f"Hardware: {hardware}."] if hardware else []
        notes += [f"Seed: {seed}."] if seed is not None else []
        notes += [f"In brackets: {intervals}."] if intervals else []
        yield {"rows": rows, "notes": " ".join(notes), "cannot_show": cannot_show}
