"""Choosing settings of the extractor by the speakers of the training side alone."""

import json
import logging
from dataclasses import fields, replace
from pathlib import Path

import yaml

from ..arguments import resumes
from .arguments import ExtractorArguments
from .cross_validation import cross_validated_recall
from .learner import ExtractorLearner


logger = logging.getLogger(__name__)

CHOICE_FILE = "choice.json"
GROUPS = ("learning", "training")  # what a choice may change
SHARED = ("output_dir", "resume_from_checkpoint")  # what of these belongs to the run as a whole


def read_choices(arguments: ExtractorArguments) -> dict[str, dict]:
    """
    The settings in each file of `choose_from`, by the name of the file without its ending. Call it first: it checks
    them.

    Raises:
        `ValueError`: names the file and the setting that is unknown, of the wrong kind, or the same for all choices.
    """
    found = {}
    for path in map(Path, arguments.choice.choose_from):
        if path.stem in found:
            raise ValueError(f"Two files of choose_from are called {path.stem}: rename {path}.")
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ValueError(f"{path} holds no settings: write one on each line, such as `copies: 2`.")
        found[path.stem] = {name: checked(arguments, path, name, value) for name, value in settings.items()}
    return found


def checked(arguments: ExtractorArguments, path: Path, name: str, value):
    """The value of a setting, if it is one that a choice may change and of the kind that the recipe expects."""
    group = next((group for group in vars(arguments) if name in names_of(arguments, group)), None)
    if group is None:
        raise ValueError(f"{path} sets {name}, which is no setting of this recipe: see --help.")
    if group not in GROUPS or name in SHARED:
        raise ValueError(f"{path} sets {name}, which is the same for all choices: set it in the configuration.")
    present = getattr(getattr(arguments, group), name)
    try:
        if isinstance(present, float) and isinstance(value, str):  # YAML reads 3e-4 as a word
            value = float(value)
        if present is not None and kind(value) != kind(present):
            raise ValueError
    except ValueError:
        raise ValueError(f"{path} sets {name} to {value!r}, which should be a {kind(present)}.") from None
    return value


def kind(value) -> str:
    """What kind of setting a value is."""
    names = {bool: "switch, true or false", (int, float): "number", str: "word", list: "list", dict: "mapping"}
    return next((name for types, name in names.items() if isinstance(value, types)), type(value).__name__)


def changed(arguments: ExtractorArguments, settings: dict) -> ExtractorArguments:
    """The arguments with other settings."""
    groups = {}
    for group in GROUPS:
        own = {name: value for name, value in settings.items() if name in names_of(arguments, group)}
        groups[group] = replace(getattr(arguments, group), **own)
    return replace(arguments, **groups)


def names_of(arguments: ExtractorArguments, group: str) -> set[str]:
    """Names of the settings of a group."""
    return {setting.name for setting in fields(getattr(arguments, group))}


def choose(
    learner: ExtractorLearner, arguments: ExtractorArguments, choices: dict[str, dict], items: list[dict]
) -> ExtractorArguments:
    r"""
    The arguments with the settings of the choice that serves best. Each is judged by [`cross_validated_recall`] over
    the speakers of `items`, in `choice_folds` trainings. What was found is kept in `choice.json`; a resumed run takes
    from there what was found for the same settings.

    Args:
        choices (`dict[str, dict]`): Of [`read_choices`]; with none the arguments stay as they are.
        items (`list[dict]`): The training side.
    """
    if not choices:
        return arguments
    path = Path(arguments.training.output_dir) / CHOICE_FILE
    found = json.loads(path.read_text()) if resumes(arguments.training) and path.is_file() else {}
    for name, settings in choices.items():
        if found.get(name, {}).get("settings") == settings:
            continue
        tried = changed(arguments, settings)
        tried.held_out = replace(tried.held_out, dev_groups=0)
        tried.training = replace(tried.training, save_strategy="no", resume_from_checkpoint=None)
        uar = cross_validated_recall(learner, tried, items, arguments.choice.choice_folds)
        logger.info(f"{name}: UAR {uar:.3f} over {arguments.choice.choice_folds} folds of the training speakers")
        found[name] = {"uar": uar, "settings": settings}
        if arguments.training.process_index == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(found, indent=1))
    return changed(arguments, settings=choices[max(choices, key=lambda name: found[name]["uar"])])
