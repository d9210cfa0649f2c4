# /// script
# dependencies = ["transformers-empathav"]
# ///
"""
Publishes a checkpoint, or an adapter alone, on the Hugging Face Hub: weights, code, processor and card in one commit.

    python recipes/push.py build/smollm2-135m --repo_id USER/NAME --dry_run
    python recipes/push.py build/smollm2-135m --repo_id USER/NAME --private
    python recipes/push.py runs/epo --repo_id USER/NAME-epo --base_model USER/NAME

First everything is checked here and listed with its size; `--dry_run` ends there. A directory is refused that does not
load, that carries data, conversations or the state of a training, or whose card is not complete. The commit comes last
and is one: until it is made, readers see what was there before, and after an interruption the same command goes on.
"""

import argparse
import json
import sys
import tempfile
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, save_torch_state_dict
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled
from safetensors.torch import load_file
from transformers.dynamic_module_utils import get_class_from_dynamic_module
from transformers.utils.hub import convert_file_size_to_int

from transformers_empathav.hub.card import BASE_PLACEHOLDER, CARD_FILE, REPO_PLACEHOLDER
from transformers_empathav.hub.card_check import HUB_ID, card_problems, is_hub_id, read_card


ADAPTER_FILE = "adapter_config.json"
# What a directory may carry, what is not sent, and what must not lie there; the first list that fits decides.
LEFT_OUT = (".*", "__pycache__", "training_args.bin", "*_results.json", "trainer_state.json")
REFUSED = {
    "state of a training": (
        "checkpoint-*",
        "optimizer*",
        "scheduler*",
        "scaler*",
        "rng_state*",
        "global_step*",
        "runs",
    ),
    "memory of a conversation": ("memory.safetensors",),
    "weights that run code when they are read": ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.npy"),
}
CARRIED = (
    *("model*.safetensors", "model*.safetensors.index.json", "adapter_model*.safetensors", "*.py", "*.jinja"),
    *("config.json", "generation_config.json", ADAPTER_FILE, "assembly.json", "haarcascade_*.xml"),
    *("processor_config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "*.model"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "normalizer.json"),
    *(CARD_FILE, "LICENSE*", "NOTICE*"),
)
FOLDERS = ("asr",)
# Of what is in the repository and not in the directory, these are removed: transformers would go on reading them.
REPLACED = ("*.safetensors", "*.safetensors.index.json", "*.py")


def main(arguments: argparse.Namespace, api: HfApi | None = None) -> str | None:
    """Checks, lists and publishes; gives the commit, `None` for a dry run."""
    directory = Path(arguments.checkpoint)
    if not HUB_ID.fullmatch(arguments.repo_id):
        raise ValueError(f"--repo_id {arguments.repo_id} is no repository: write USER/NAME.")
    files = carried_files(directory)
    ready = {path: file for path, file in files.items() if path not in (CARD_FILE, ADAPTER_FILE, "assembly.json")}
    ready |= rewritten(directory, files, arguments)
    check_that_it_loads(directory)
    with tempfile.TemporaryDirectory() as scratch:
        ready = with_shards(ready, convert_file_size_to_int(arguments.max_shard_size), Path(scratch))
        sizes = {name: len(what) if isinstance(what, bytes) else what.stat().st_size for name, what in ready.items()}
        for name in sorted(sizes):
            print(f"{sizes[name]:>15,}  {name}")
        print(f"{sum(sizes.values()):>15,}  bytes in {len(sizes)} files, for {arguments.repo_id}")
        if arguments.dry_run:
            print("Nothing was sent: this was a dry run.")
            return None
        return publish(ready, arguments, api or HfApi())


# What is in the directory


def carried_files(directory: Path) -> dict[str, Path]:
    """The files to publish by their path in the repository; refuses a directory with anything else in it."""
    if not directory.is_dir():
        raise ValueError(f"{directory} is no directory: give a checkpoint or an adapter.")
    found, refused, left_out = {}, {}, []
    for path in sorted(directory.iterdir()):
        inside = sorted(path.iterdir()) if path.is_dir() and path.name in FOLDERS else [path]
        for item in inside:
            name = item.relative_to(directory).as_posix()
            reasons = [reason for reason, patterns in REFUSED.items() if fits(item.name, patterns)]
            if fits(item.name, LEFT_OUT):
                left_out.append(name)
            elif reasons or item.is_dir() or not fits(item.name, CARRIED):
                refused.setdefault(reasons[0] if reasons else "no part of a checkpoint", []).append(name)
            else:
                found[name] = item
    if refused:
        listed = "; ".join(f"{reason}: {', '.join(names[:5])}" for reason, names in refused.items())
        raise ValueError(f"{directory} holds what must not be published ({listed}): move it elsewhere.")
    if left_out:
        print(f"Left out: {', '.join(left_out)}.")
    return found


def fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def rewritten(directory: Path, files: dict[str, Path], arguments: argparse.Namespace) -> dict[str, bytes]:
    """The card with the repository's name in it, and settings without paths of this machine; refuses a bad card."""
    changed, card = {}, read_card(directory / CARD_FILE)
    if ADAPTER_FILE in files:
        config = json.loads(files[ADAPTER_FILE].read_text(encoding="utf-8"))
        base = arguments.base_model or config.get("base_model_name_or_path") or "nothing"
        if not is_hub_id(base):
            raise ValueError(
                f"The base of this adapter, {base}, is on this machine alone: push that first, then say --base_model "
                "USER/NAME."
            )
        config["base_model_name_or_path"], card.data.base_model = base, [base]
        card.text = card.text.replace(BASE_PLACEHOLDER, base)
        changed[ADAPTER_FILE] = json.dumps(config, indent=2).encode()
    elif arguments.base_model:
        raise ValueError("--base_model is for adapters: what a checkpoint was made of stands in its card.")
    if "assembly.json" in files:
        recipe = json.loads(files["assembly.json"].read_text(encoding="utf-8"))
        parts = recipe["parts"].items()
        recipe["parts"] = {role: name if name is None or is_hub_id(name) else "local" for role, name in parts}
        changed["assembly.json"] = json.dumps(recipe, indent=2).encode()
    if problems := card_problems(card):
        raise ValueError(
            f"{directory / CARD_FILE} is not complete ({'; '.join(problems)}): edit it, or write it anew by "
            f"`empathav card {directory} --facts FILE --overwrite`."
        )
    card.text = card.text.replace(REPO_PLACEHOLDER, arguments.repo_id)
    return changed | {CARD_FILE: card.content.encode()}


# Whether it loads


def check_that_it_loads(directory: Path):
    """Loads with the code that the directory carries, as readers will; an adapter onto its base, if that is here."""
    try:
        if (directory / ADAPTER_FILE).is_file():
            load_adapter(directory)
        else:
            load_checkpoint(directory)
    except Exception as error:  # whatever a reader would meet
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{directory} does not load, so nobody could use it: {reason[:500]}") from error


def load_checkpoint(directory: Path):
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    model_class = get_class_from_dynamic_module(config["auto_map"]["AutoModelForCausalLM"], str(directory))
    model, info = model_class.from_pretrained(directory, output_loading_info=True)
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[problem]:
            raise ValueError(f"its weights have {problem.replace('_', ' ')} ({', '.join(map(str, info[problem]))})")
    processor_class = get_class_from_dynamic_module(config["auto_map"]["AutoProcessor"], str(directory))
    processor = processor_class.from_pretrained(directory)
    if len(processor.tokenizer) > model.config.text_config.vocab_size:
        raise ValueError("its tokenizer has more tokens than its model")


def load_adapter(directory: Path):
    from peft import PeftConfig, PeftModel

    from transformers_empathav import EmpathAVForCausalLM

    config = PeftConfig.from_pretrained(directory)
    weights = {name for file in directory.glob("adapter_model*.safetensors") for name in load_file(file)}
    if not weights:
        raise ValueError("it has no weights (adapter_model.safetensors)")
    base = config.base_model_name_or_path or ""
    if not Path(base, "config.json").is_file():
        print(f"Its base, {base or 'unnamed'}, is not on this machine: whether the two fit was not checked.")
        return
    model = PeftModel.from_pretrained(EmpathAVForCausalLM.from_pretrained(base), directory)
    expected = {name.replace(".default.", ".") for name in model.state_dict() if ".default." in name}
    if weights != expected:
        raise ValueError(f"its weights are not those of its base ({', '.join(sorted(weights ^ expected)[:3])})")


def with_shards(ready: dict, limit: int, scratch: Path) -> dict:
    """The same files, the model's weights in files of `limit` bytes where one is larger."""
    weights = [name for name in ready if fnmatch(name, "model*.safetensors")]
    if all(ready[name].stat().st_size <= limit for name in weights):
        return ready
    tensors = {key: tensor for name in weights for key, tensor in load_file(ready[name]).items()}
    save_torch_state_dict(tensors, scratch, max_shard_size=limit, metadata={"format": "pt"})
    kept = {name: what for name, what in ready.items() if not fnmatch(name, "model*.safetensors*")}
    return kept | {path.name: path for path in scratch.iterdir()}


# The Hub


def publish(ready: dict, arguments: argparse.Namespace, api: HfApi) -> str:
    """Uploads, then commits once. `HfApi.upload_folder` would commit in several steps, so it is not used."""
    repo_id, branch = arguments.repo_id, arguments.revision
    try:
        if ADAPTER_FILE in ready and not api.repo_exists(base := adapter_base(ready)):
            raise ValueError(
                f"{base}, the base of this adapter, is not on the Hub: push it first, or say --base_model."
            )
        if not api.repo_exists(repo_id):
            api.create_repo(repo_id, private=arguments.private or None, exist_ok=True)
        if branch is not None:
            api.create_branch(repo_id, branch=branch, exist_ok=True)
        head = api.model_info(repo_id, revision=branch)
        if arguments.private and head.private is False:
            raise ValueError(
                f"{repo_id} is public already: make it private in its settings, or push without --private."
            )
        there = [sibling.rfilename for sibling in head.siblings]
        stale = [name for name in there if name not in ready and fits(name, REPLACED)]
        for name in stale:
            print(f"{'removed':>15}  {name}, which this checkpoint does not have")
        commit = api.create_commit(
            repo_id,
            [*(CommitOperationAdd(name, what) for name, what in ready.items()), *map(CommitOperationDelete, stale)],
            commit_message=arguments.message,
            revision=branch,
            parent_commit=head.sha,
        ).oid
    except (HTTPError, OSError, RuntimeError) as error:  # the client wraps what fails in an upload's thread
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        raise ValueError(explained(cause, arguments)) from error
    if commit == head.sha:
        print(f"{repo_id} holds all of this already: there is nothing to commit.")
    print(f'Published {repo_id}: whoever loads it with revision="{commit}" gets exactly this.')
    return commit


def adapter_base(ready: dict) -> str:
    return json.loads(ready[ADAPTER_FILE])["base_model_name_or_path"]


def explained(error: Exception, arguments: argparse.Namespace) -> str:
    """What went wrong on the way to the Hub, and what to do."""
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    owner = arguments.repo_id.split("/")[0]
    advice = {
        401: "the Hub does not know you: `hf auth login` with a token that may write, or set HF_TOKEN",
        403: f"your token may not write to {owner}: check --repo_id, and that the token has write access there",
        404: f"there is no {arguments.repo_id} that your token can see: check the name, and that {owner} exists",
        409: "another change is under way there: try again in a minute",
        412: "somebody else has pushed meanwhile: look at what changed, then push again",
        413: "a file is too large for the Hub: push with a smaller --max_shard_size",
        429: "too many requests: try again in some minutes",
    }
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so the Hub is not asked: unset it to push. Nothing was published."
    if status in advice:
        return (
            f"Nothing was published, {advice[status]}. (The Hub said {status}: {' '.join(str(error).split())[:300]})"
        )
    if status is not None:
        return f"Nothing was published. The Hub said {status}: {' '.join(str(error).split())[:500]}"
    return (
        f"Nothing was published: {constants.ENDPOINT} cannot be reached ({' '.join(str(error).split())[:200]}). Check "
        "the network, and HF_ENDPOINT where you set it; the same command goes on where it stopped."
    )


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("checkpoint", help="Directory of a checkpoint, or of an adapter.")
    options.add_argument("--repo_id", required=True, help="USER/NAME on the Hub; made where it does not exist.")
    options.add_argument("--private", action="store_true", help="Make the repository private.")
    options.add_argument("--revision", help="Branch to push to, by default main; made where it does not exist.")
    options.add_argument("--dry_run", action="store_true", help="Check and list, and send nothing.")
    options.add_argument("--base_model", help="Of an adapter: USER/NAME of the checkpoint that it belongs to.")
    options.add_argument("--max_shard_size", default="5GB", help="Larger weights are split into files of this size.")
    options.add_argument("--message", default="Upload with transformers-empathav", help="Of the commit.")
    return options


if __name__ == "__main__":
    try:
        main(parser().parse_args())
    except (ValueError, OSError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        sys.exit("Stopped before the commit: readers see what was there before. The same command goes on.")
