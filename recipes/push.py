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
import sys

from huggingface_hub import HfApi

from transformers_empathav.hub.push import push


def main(arguments: argparse.Namespace, api: HfApi | None = None) -> str | None:
    """Publishes, and gives the commit; `None` for a dry run."""
    return push(**vars(arguments), api=api)


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
