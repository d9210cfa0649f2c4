# /// script
# dependencies = ["transformers-empathav[remote]"]
# ///
"""
Puts the language model of a checkpoint behind vLLM, and asks it with prompt embeddings that are computed here.

    python recipes/examples/behind_vllm.py export build/smollm2-135m build/language-model
    python recipes/examples/behind_vllm.py export-adapter checkpoints/smollm2-135m/adapter build/tuned
    vllm serve build/language-model --enable-prompt-embeds --enable-lora --lora-modules tuned=build/tuned
    python recipes/examples/behind_vllm.py ask build/smollm2-135m "I miss them." --clip clip.mp4 --model tuned

The engine serves a plain language model of transformers and knows nothing of clips and memories. A checkpoint that has
its adapter merged needs none: leave the second line and `--lora-modules` out, and name the directory as `--model`.
"""

import base64
import io
import json
import sys
from pathlib import Path
from typing import Annotated

import openai
import torch
import typer
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from transformers_empathav.checkpoint.loading import load_checkpoint


app = typer.Typer(help=__doc__, pretty_exceptions_enable=False, rich_markup_mode=None)
OURS, THEIRS = "base_model.model.model.language_model.", "base_model.model.model."


@app.command()
def export(checkpoint: Path, output: Path):
    """Writes the language model with its head and tokenizer, in transformers' own format."""
    model, processor = load_checkpoint(checkpoint, "cpu")
    plain = AutoModelForCausalLM.from_config(model.config.text_config, dtype=model.dtype)
    plain.base_model.load_state_dict(model.model.language_model.state_dict())
    plain.get_output_embeddings().load_state_dict(model.lm_head.state_dict())
    plain.generation_config = model.generation_config
    plain.save_pretrained(output)
    processor.tokenizer.save_pretrained(output)


@app.command()
def export_adapter(adapter: Path, output: Path):
    """Writes an adapter with the names that its layers have in the exported language model."""
    weights = load_file(adapter / "adapter_model.safetensors")
    if other := sorted(name for name in weights if not name.startswith(OURS)):
        raise ValueError(f"{other[0]} lies outside of the language model: merge the adapter, and export that.")
    config = LoraConfig.from_pretrained(adapter)
    config.target_modules = sorted({name.split(".lora_")[0].rpartition(".")[2] for name in weights})
    config.exclude_modules = config.base_model_name_or_path = None
    config.save_pretrained(output)
    renamed = {THEIRS + name.removeprefix(OURS): weight for name, weight in weights.items()}
    save_file(renamed, output / "adapter_model.safetensors", metadata={"format": "pt"})


def prompt_embeds(model, processor, messages: list[dict], memory=None) -> str:
    """A prompt as vLLM takes it: what `torch.save` makes of a tensor `(tokens, hidden)`, in base64."""
    options = {"memory": memory, "add_generation_prompt": True, "tokenize": True, "return_dict": True}
    inputs = processor.apply_chat_template(messages, **options).to(model.device)
    given = {} if memory is None else {"memory": memory}
    embeds = model.prompt_embeds(**inputs, **given)[0][inputs["attention_mask"][0].bool()]
    file = io.BytesIO()
    torch.save(embeds.cpu(), file)
    return base64.b64encode(file.getvalue()).decode()


def reply(client: openai.OpenAI, name: str, model, processor, messages: list[dict], memory=None, **options) -> str:
    """Asks the engine; the model must not write the places of vectors, which mean nothing there."""
    answer = client.completions.create(
        model=name,
        prompt=None,
        logit_bias={str(token): -100 for token in (model.config.av_token_id, model.config.memory_token_id)},
        extra_body={"prompt_embeds": prompt_embeds(model, processor, messages, memory)},
        **{"max_tokens": 96, "temperature": 0.0, **options},
    )
    return answer.choices[0].text


@app.command()
def ask(
    checkpoint: Path,
    text: str,
    clip: Annotated[list[Path] | None, typer.Option(help="Clips of the turn.")] = None,
    history: Annotated[Path | None, typer.Option(help="JSON list of the messages before it.")] = None,
    url: Annotated[str, typer.Option(help="Of the engine.")] = "http://127.0.0.1:8000/v1",
    model: Annotated[str, typer.Option(help="What the engine calls the model or the adapter.")] = "tuned",
):
    """Prints a reply to a text, with clips and history where they are given."""
    extractor, processor = load_checkpoint(checkpoint)
    parts = [{"type": "video", "path": str(path)} for path in clip or []]
    messages = [] if history is None else json.loads(history.read_text(encoding="utf-8"))
    messages.append({"role": "user", "content": [*parts, {"type": "text", "text": text}]})
    client = openai.OpenAI(base_url=url, api_key="none")
    print(reply(client, model, extractor, processor, messages))


if __name__ == "__main__":
    try:
        app()
    except (ValueError, OSError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
