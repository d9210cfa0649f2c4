"""Publishes a checkpoint or an adapter on the Hugging Face Hub, in one commit."""

import json
import os
import tempfile
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, save_torch_state_dict
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled
from safetensors.torch import load_file
from transformers.utils.hub import convert_file_size_to_int

from .card import BASE_PLACEHOLDER, CARD_FILE, REPO_PLACEHOLDER
from .card_check import HUB_ID, card_problems, is_hub_id, read_card
from .card_facts import ASSEMBLY_FILE
from .push_check import ADAPTER_FILE, carried_files, check_that_it_loads, fits


# Removed from the repository where the directory does not have them: transformers would go on reading them.
REPLACED = ("*.safetensors", "*.safetensors.index.json", "*.py")


def push(
    checkpoint: str | os.PathLike,
    repo_id: str,
    private: bool = False,
    revision: str | None = None,
    dry_run: bool = False,
    base_model: str | None = None,
    max_shard_size: str = "5GB",
    message: str = "Upload with transformers-empathav",
    api: HfApi | None = None,
) -> str | None:
    r"""
    Checks a directory, lists its files with their sizes, and publishes them in one commit.

    Until the commit is made, readers see what was there before. After an interruption, call it again with the same
    arguments: what was uploaded already is not sent again.

    Args:
        checkpoint (`str` or `os.PathLike`): Directory of a checkpoint, or of an adapter.
        repo_id (`str`): `USER/NAME` on the Hub; made where it does not exist.
        private (`bool`, *optional*, defaults to `False`): Make the repository private.
        revision (`str`, *optional*): Branch to push to, by default main; made where it does not exist.
        dry_run (`bool`, *optional*, defaults to `False`): Check and list, and send nothing.
        base_model (`str`, *optional*): Of an adapter: `USER/NAME` of the checkpoint that it belongs to.
        max_shard_size (`str`, *optional*, defaults to `"5GB"`): Larger weights are split into files of this size.
        message (`str`, *optional*): Of the commit.
        api (`HfApi`, *optional*): The client.

    Returns:
        `str` or `None`: The commit; `None` for a dry run.

    Raises:
        `ValueError`: the directory cannot be published, or the Hub refuses; says what to do.
    """
    directory = Path(checkpoint)
    if not HUB_ID.fullmatch(repo_id):
        raise ValueError(f"--repo_id {repo_id} is no repository: write USER/NAME.")
    files = carried_files(directory)
    ready = {path: file for path, file in files.items() if path not in (CARD_FILE, ADAPTER_FILE, ASSEMBLY_FILE)}
    ready |= rewritten(directory, files, repo_id, base_model)
    check_that_it_loads(directory)
    with tempfile.TemporaryDirectory() as scratch:
        ready = with_shards(ready, convert_file_size_to_int(max_shard_size), Path(scratch))
        sizes = {name: len(what) if isinstance(what, bytes) else what.stat().st_size for name, what in ready.items()}
        for name in sorted(sizes):
            print(f"{sizes[name]:>15,}  {name}")
        print(f"{sum(sizes.values()):>15,}  bytes in {len(sizes)} files, for {repo_id}")
        if dry_run:
            print("Nothing was sent: this was a dry run.")
            return None
        try:
            return publish(ready, repo_id, private, revision, message, api or HfApi())
        except (HTTPError, OSError, RuntimeError) as error:  # the client wraps what fails in an upload's thread
            cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
            raise ValueError(explained(cause, repo_id)) from error


def rewritten(directory: Path, files: dict[str, Path], repo_id: str, base_model: str | None) -> dict[str, bytes]:
    """
    The card with the repository's name in it, and settings without paths of this machine.

    Raises:
        `ValueError`: the card is not complete, or an adapter's base is not on the Hub.
    """
    changed, card = {}, read_card(directory / CARD_FILE)
    if ADAPTER_FILE in files:
        config = json.loads(files[ADAPTER_FILE].read_text(encoding="utf-8"))
        base = base_model or config.get("base_model_name_or_path") or "nothing"
        if not is_hub_id(base):
            raise ValueError(
                f"The base of this adapter, {base}, is on this machine alone: push that first, then say --base_model "
                "USER/NAME."
            )
        config["base_model_name_or_path"], card.data.base_model = base, [base]
        card.text = card.text.replace(BASE_PLACEHOLDER, base)
        changed[ADAPTER_FILE] = json.dumps(config, indent=2).encode()
    elif base_model:
        raise ValueError("--base_model is for adapters: what a checkpoint was made of stands in its card.")
    if ASSEMBLY_FILE in files:
        recipe = json.loads(files[ASSEMBLY_FILE].read_text(encoding="utf-8"))
        parts = recipe["parts"].items()
        recipe["parts"] = {role: name if name is None or is_hub_id(name) else "local" for role, name in parts}
        changed[ASSEMBLY_FILE] = json.dumps(recipe, indent=2).encode()
    if problems := card_problems(card):
        raise ValueError(
            f"{directory / CARD_FILE} is not complete ({'; '.join(problems)}): edit it, or write it anew by "
            f"`empathav card {directory} --facts FILE --overwrite`."
        )
    card.text = card.text.replace(REPO_PLACEHOLDER, repo_id)
    return changed | {CARD_FILE: card.content.encode()}


def with_shards(ready: dict, limit: int, scratch: Path) -> dict:
    """The same files, with the model's weights split into files of `limit` bytes in `scratch` where one is larger."""
    weights = [name for name in ready if fnmatch(name, "model*.safetensors")]
    if all(ready[name].stat().st_size <= limit for name in weights):
        return ready
    tensors = {key: tensor for name in weights for key, tensor in load_file(ready[name]).items()}
    save_torch_state_dict(tensors, scratch, max_shard_size=limit, metadata={"format": "pt"})
    kept = {name: what for name, what in ready.items() if not fnmatch(name, "model*.safetensors*")}
    return kept | {path.name: path for path in scratch.iterdir()}


def publish(ready: dict, repo_id: str, private: bool, branch: str | None, message: str, api: HfApi) -> str:
    """Uploads, then commits once. `HfApi.upload_folder` would commit in several steps, so it is not used."""
    if ADAPTER_FILE in ready:
        base = json.loads(ready[ADAPTER_FILE])["base_model_name_or_path"]
        if not api.repo_exists(base):
            raise ValueError(
                f"{base}, the base of this adapter, is not on the Hub: push it first, or say --base_model."
            )
    if not api.repo_exists(repo_id):
        api.create_repo(repo_id, private=private or None, exist_ok=True)
    if branch is not None:
        api.create_branch(repo_id, branch=branch, exist_ok=True)
    head = api.model_info(repo_id, revision=branch)
    if private and head.private is False:
        raise ValueError(f"{repo_id} is public already: make it private in its settings, or push without --private.")
    there = [sibling.rfilename for sibling in head.siblings]
    stale = [name for name in there if name not in ready and fits(name, REPLACED)]
    for name in stale:
        print(f"{'removed':>15}  {name}, which this checkpoint does not have")
    commit = api.create_commit(
        repo_id,
        [*(CommitOperationAdd(name, what) for name, what in ready.items()), *map(CommitOperationDelete, stale)],
        commit_message=message,
        revision=branch,
        parent_commit=head.sha,
    ).oid
    if commit == head.sha:
        print(f"{repo_id} holds all of this already: there is nothing to commit.")
    print(f'Published {repo_id}: whoever loads it with revision="{commit}" gets exactly this.')
    return commit


def explained(error: Exception, repo_id: str) -> str:
    """What went wrong on the way to the Hub, and what to do, in one line."""
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    owner, said = repo_id.split("/")[0], " ".join(str(error).split())
    advice = {
        401: "the Hub does not know you: `hf auth login` with a token that may write, or set HF_TOKEN",
        403: f"your token may not write to {owner}: check --repo_id, and that the token has write access there",
        404: f"there is no {repo_id} that your token can see: check the name, and that {owner} exists",
        409: "another change is under way there: try again in a minute",
        412: "somebody else has pushed meanwhile: look at what changed, then push again",
        413: "a file is too large for the Hub: push with a smaller --max_shard_size",
        429: "too many requests: try again in some minutes",
    }
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so the Hub is not asked: unset it to push. Nothing was published."
    if status in advice:
        return f"Nothing was published, {advice[status]}. (The Hub said {status}: {said[:300]})"
    if status is not None:
        return f"Nothing was published. The Hub said {status}: {said[:500]}"
    return (
        f"Nothing was published: {constants.ENDPOINT} cannot be reached ({said[:200]}). Check the network, and "
        "HF_ENDPOINT where you set it; the same command goes on where it stopped."
    )
