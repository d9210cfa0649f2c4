r"""
Runs the benchmarks and writes docs/benchmarks.md from their figures.

    python benchmarks/report.py                          # all of them, some hours
    python benchmarks/report.py conversation decoding    # these, the others stay
    python benchmarks/report.py --render                 # none: the page anew from benchmarks/figures.json

Each runs in a process of its own, one after the other; nothing else should run. The last line of each is JSON, and is
kept in benchmarks/figures.json with its command, the processor and the day. On the page stand the marks
`<!-- benchmark: NAME -->` and `<!-- /benchmark -->`; what is between them is written here, the words around are not.
A benchmark that fails is named at the end, and its old figures stay.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from datetime import date
from pathlib import Path


ROOT = Path(__file__).resolve().parents[1]
FIGURES, PAGE = Path(__file__).with_name("figures.json"), ROOT / "docs/benchmarks.md"
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
PLACE = re.compile(r"(<!-- benchmark: (\S+) -->\n).*?(<!-- /benchmark -->)", re.DOTALL)

# Name of a run: the script and its options. ablate_compressor.py trains for hours and is no part of this.
RUNS = {
    **{
        name: [f"{name}.py"]
        for name in (
            *("abstention", "conversation", "danger", "decoding", "earlier_turns", "epo", "extractor", "faces"),
            *("families", "frames", "history", "loading", "long_conversations", "media", "safety", "samples", "scan"),
            *("server", "training_memory", "worth"),
        )
    },
    "decoding-int8": ["decoding.py", "--int8"],
    "history-8": ["history.py", "--recent", "8", "--turns", "10", "400"],
    "soak": ["server.py", "--soak", "--minutes", "30"],
}

# What stands on the page of a run: the key that heads the columns, if its figures are lists, and each row's words.
TABLES = {
    "conversation": (
        ("turns", "turns so far"),
        {
            "turn_s": "`Conversation`, s",
            "turn_worst_s": "its slowest turn, which compresses half of the tail, s",
            "full_kept_kv_turn_s": "full prompt, its keys and values kept, s",
            "rss_mb": "resident memory of the process, MB",
        },
    ),
    **dict.fromkeys(
        ("decoding", "decoding-int8"),
        (
            ("turns", "messages before"),
            {
                "ms_per_token": "milliseconds a token",
                "tokens_per_s": "tokens a second",
                "llama_cpp_tokens_per_s": "llama.cpp, tokens a second",
                "ratio_vs_llama_cpp": "ours, of those of llama.cpp",
                "first_token_s": "first token, s",
                "llama_cpp_first_token_s": "llama.cpp, first token, s",
                "bandwidth_floor_ms": "milliseconds to read the weights",
                "reply_nats": "loss of human replies, nats a token",
            },
        ),
    ),
    "scan": (
        None,
        {
            "ratio_vs_mamba2": "forward, times as fast as transformers' Mamba-2",
            "ratio_vs_mamba": "forward, times as fast as transformers' Mamba-1",
            "ratio_mamba1_vs_mamba": "our Mamba-1, times as fast as transformers' Mamba-1",
            "fwdbwd_ratio_vs_mamba2": "forward and backward, times as fast as transformers' Mamba-2",
            "ratio_to_floor": "time, in that of the matrix products alone",
            "max_rel_err": "largest relative difference",
        },
    ),
    "loading": (
        None,
        {
            "import_extra_s": "importing the package, beyond transformers' own classes, s",
            "load_checkpoint_s": "loading the checkpoint, s",
            "media_to_tensors_s": "a 4 s clip of 640x360 to tensors, s",
            "media_to_tensors_with_face_crop_s": "the same with face crop, s",
        },
    ),
    "training_memory": (
        ("processes", "processes"),
        {
            "frozen": "frozen weights, GB",
            "trained": "adapter, gradients, moments, GB",
            "activations": "most that a step holds besides, GB",
            "sum": "sum, GB",
        },
    ),
    **dict.fromkeys(
        ("server", "soak"),
        (
            None,
            {
                "clients": "conversations at once",
                "minutes": "minutes",
                "requests": "requests",
                "errors": "errors",
                "tokens_per_s": "tokens a second",
                "sequential_tokens_per_s": "of one conversation alone",
                "vs_sequential": "times as many",
                "ttft_p50_s": "first token, median, s",
                "ttft_p95_s": "first token, 95th percentile, s",
                "rss_slope_mb_per_min": "memory of the server, MB a minute",
                "rss_slope_interval": "its 95 % interval",
                "open_files_before": "open files before",
                "open_files_after": "open files after",
                "fresh_400_turns_s": "a request with 400 turns that are new, s",
                "resend_400_turns_s": "with 400 turns that it knows, s",
                "vs_short_turn": "times as long as a short one",
            },
        ),
    ),
}


def machine() -> str:
    """The processor, how many cores, and which of `FLAGS` it has."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return f"{os.cpu_count()} cores of {platform.processor() or platform.machine()}"
    name, flags = (re.search(rf"^{key}\s*:\s*(.*)$", text, re.MULTILINE) for key in ("model name", "flags"))
    has = [flag for flag in FLAGS if flags and flag in flags[1].split()]
    return f"{os.cpu_count()} cores of {name[1] if name else platform.machine()} ({', '.join(has) or 'no flags'})"


def run(name: str) -> dict:
    """
    Runs one benchmark; what it prints is passed on.

    Raises:
        `RuntimeError`: it failed, or its last line is no JSON.
    """
    script, *options = RUNS[name]
    command = ["python", f"benchmarks/{script}", *options]
    print(f"== {' '.join(command)}", flush=True)
    process = subprocess.Popen([sys.executable, *command[1:]], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    last = ""
    for line in process.stdout:
        print(line, end="", flush=True)
        last = line if line.strip() else last
    if process.wait() != 0:
        raise RuntimeError(f"{name} ended with {process.returncode}")
    try:
        figures = json.loads(last)
    except ValueError:
        raise RuntimeError(f"{name} did not end with a line of JSON") from None
    return {"command": " ".join(command), "machine": machine(), "day": date.today().isoformat(), "figures": figures}


def table(name: str, kept: dict) -> str:
    """The table of one run, with its command and the machine above it."""
    head, rows = TABLES[name]
    figures = kept["figures"]
    rows = {words: figures[key] for key, words in rows.items() if figures.get(key) not in (None, [])}
    columns = figures[head[0]] if head else [""]
    lines = [f"`{kept['command']}`, {kept['day']},", f"{kept['machine']}:", ""]
    lines += [f"| {head[1] if head else ''} | " + " | ".join(shown(value) for value in columns) + " |"]
    lines += ["| --- |" + " ---: |" * len(columns)]
    for words, values in rows.items():
        cells = values if head and isinstance(values, list) else [values]
        cells = [shown(value) for value in cells] + ["–"] * (len(columns) - len(cells))
        lines.append(f"| {words} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def shown(value) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return " to ".join(shown(part) for part in value)
    if isinstance(value, float) and 0 < abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:,.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{value:,}"


def render(page: str, kept: dict) -> str:
    """
    The page with each marked place written anew.

    Raises:
        `ValueError`: a place names a run that has no table or no figures.
    """

    def place(found: re.Match) -> str:
        if found[2] not in TABLES or found[2] not in kept:
            raise ValueError(f"{found[2]} has no table or no figures: run `python benchmarks/report.py {found[2]}`.")
        return f"{found[1]}\n{table(found[2], kept[found[2]])}\n\n{found[3]}"

    return PLACE.sub(place, page)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"Which of them: {', '.join(RUNS)}.")
    parser.add_argument("--render", action="store_true", help="Run none.")
    options = parser.parse_args()
    if unknown := set(options.names) - set(RUNS):
        parser.error(f"There is no {', '.join(sorted(unknown))}: take {', '.join(RUNS)}.")
    failed = []
    for name in [] if options.render else options.names or RUNS:
        try:
            figures = run(name)
        except RuntimeError as error:
            failed.append(str(error))
            continue
        kept = {**read(), name: figures}  # written at once: the next one may fail
        FIGURES.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8"), read()), encoding="utf-8")
    if failed:
        raise SystemExit("; ".join(failed))


def read() -> dict:
    return json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.is_file() else {}


if __name__ == "__main__":
    main()
