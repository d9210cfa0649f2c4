#!/usr/bin/env bash
# The reference checkpoint smollm2-135m and its tables, from nothing: every stage in order, each with the seed of its configuration.
#
#     recipes/reference.sh --cost     what each stage takes
#     recipes/reference.sh            runs what has not left its result yet; killed, the same command goes on
#     GPU=1 recipes/reference.sh      trains the compressor on one GPU, longer, as the shipped one was; the rest on the CPU
#
# EMPATHAV_DATA names the folder with meld/, empathetic_dialogues/, esconv/, ravdess_audio/ and av_clips/. Results go to runs/ and build/.
# Minutes are those of one core of an AMD EPYC (Zen 5, bfloat16 in hardware), which other jobs shared.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" TOKENIZERS_PARALLELISM=false OMP_WAIT_POLICY=passive
cost=0 total=0
[ "${1:-}" = --cost ] && cost=1
[ $cost = 1 ] || : "${EMPATHAV_DATA:?names the folder of the corpora, see docs/evaluation.md}"

# stage RESULT MINUTES COMMAND...: runs the command unless its result is there.
stage() {
    local result=$1 minutes=$2
    shift 2
    total=$((total + minutes))
    if [ $cost = 1 ]; then
        printf '%5d min  %s\n' "$minutes" "$*"
    elif [ -e "$result" ]; then
        echo "There already: $result"
    else
        echo "== $*  (about $minutes min)"
        "$@"
    fi
}

# recipe NAME CONFIGURATION OPTIONS...: goes on where it was interrupted.
recipe() {
    local name=$1 configuration=$2
    shift 2
    echo accelerate launch --cpu "recipes/$name.py" --config "recipes/configs/$configuration.yaml" "$@"
}
train() { recipe "$@" --resume_from_checkpoint true; }

# compressor STAGE MINUTES GPU_MINUTES: one of its first three stages, on a CPU and on an H100.
compressor() {
    local result=runs/compressor_$1/compressor.safetensors
    if [ "${GPU:-0}" = 1 ]; then
        stage $result $3 accelerate launch --config_file recipes/accelerate_configs/single_gpu.yaml recipes/compressor.py \
            --config recipes/configs/gpu/compressor_smollm2-135m_$1.yaml --resume_from_checkpoint true
    else
        stage $result $2 $(train compressor compressor_smollm2-135m_$1)
    fi
}

base=build/smollm2-135m
# Parts of the model: language model and encoders frozen.
stage $base/config.json 1 empathav assemble $base --preset smollm2-135m
compressor 0_spelling 2 2
compressor 1_utterances 36 7
compressor 2_conversations 17 4
stage runs/compressor_3_apart/compressor.safetensors 27 $(train compressor compressor_smollm2-135m_3_apart)
stage runs/compressor_4_long/compressor.safetensors 36 $(train compressor compressor_smollm2-135m_4_long)
stage runs/extractor/extractor.safetensors 35 $(train extractor extractor_corpora_smollm2-135m --output_dir runs/extractor --corpora ravdess_audio cremad_audio nemo_audio av_clips/faces fer2013/public_test.parquet --leave_out actor01 actor1001)
stage runs/parts/extractor.safetensors 0 bash -c "mkdir -p runs/parts && cp runs/compressor_4_long/compressor.safetensors runs/extractor/extractor.safetensors runs/parts"
stage runs/parts/assembled 1 bash -c "empathav assemble $base --trained runs/parts && touch runs/parts/assembled"

# The language model: response tuning, pairs, preference training.
stage runs/emotion_scorer_ed/report.json 6 $(train emotion_scorer emotion_scorer --corpora empathetic_dialogues --output_dir runs/emotion_scorer_ed)
stage runs/emotion_scorer_meld/report.json 4 $(train emotion_scorer emotion_scorer --corpora meld --output_dir runs/emotion_scorer_meld)
stage runs/sft/adapter_model.safetensors 35 $(train sft sft_smollm2-135m)
stage runs/sft_tags/adapter_model.safetensors 15 $(train sft sft_tags_smollm2-135m)
stage runs/pairs/table.json 17 $(recipe counter_emotional counter_emotional_smollm2-135m)
stage runs/pairs_dev/table.json 4 $(recipe counter_emotional counter_emotional_smollm2-135m --split dev --limit 96 --output_dir runs/pairs_dev)
stage runs/pairs_human/table.json 2 $(recipe counter_emotional counter_emotional_smollm2-135m --kinds human_other random opposite --limit 500 --output_dir runs/pairs_human)
stage runs/pairs_exchanged/table.json 2 $(recipe counter_emotional counter_emotional_smollm2-135m --kinds exchanged --limit 600 --contextual_floor -1 --output_dir runs/pairs_exchanged)
for kind in random opposite; do
    stage runs/dpo_$kind/adapter_model.safetensors 12 $(train epo dpo_smollm2-135m --pairs runs/pairs_human/$kind --output_dir runs/dpo_$kind)
done
stage runs/epo_written/adapter_model.safetensors 12 $(train epo epo_smollm2-135m --pairs runs/pairs/nearest_written --output_dir runs/epo_written --report false)
stage runs/epo_human/adapter_model.safetensors 12 $(train epo epo_smollm2-135m --pairs runs/pairs/human_other --output_dir runs/epo_human --report false)
stage runs/epo_exchanged/adapter_model.safetensors 9 $(train epo dpo_smollm2-135m --pairs runs/pairs_exchanged/exchanged --output_dir runs/epo_exchanged)
stage runs/epo/preference.json 16 $(train epo epo_smollm2-135m)
# After DPO on opposite replies, everything that a conversation brings in one mixture; see docs/results.md.
stage runs/sft_mixed/adapter_model.safetensors 70 $(train sft sft_smollm2-135m_mixed)
# Preferences after it: facts and opposite replies, then the policy's own replies by the valence of the situation.
stage runs/pairs_mixed/table.json 4 $(recipe counter_emotional counter_emotional_smollm2-135m --kinds opposite random --limit 1000 --max_turns 8 --output_dir runs/pairs_mixed)
stage runs/pairs_earlier/table.json 3 $(recipe counter_emotional counter_emotional_smollm2-135m --corpora earlier_turns --max_turns 20 --min_words 1 --kinds other_history --limit 1000 --output_dir runs/pairs_earlier)
stage runs/pairs_danger/table.json 1 $(recipe counter_emotional counter_emotional_smollm2-135m --corpora danger --kinds random --limit 500 --output_dir runs/pairs_danger)
stage runs/dpo_mixed/adapter_model.safetensors 45 $(train epo dpo_smollm2-135m_mixed)
stage runs/pairs_own/table.json 30 $(recipe counter_emotional own_smollm2-135m)
stage runs/epo_mixed/adapter_model.safetensors 20 $(train epo epo_smollm2-135m_own)

# Whether a message speaks of danger, from the states of the language model with that adapter and without.
stage runs/danger/report.json 20 python recipes/danger.py --checkpoints $base runs/epo_mixed --statements tests/chat/danger.jsonl

# What it is worth.
stage runs/evaluation/results.json 60 python recipes/evaluate.py --config recipes/configs/evaluate_smollm2-135m.yaml
stage runs/evaluation/rendered 0 bash -c "python recipes/evaluate.py --render runs/evaluation/results.json --documents runs/evaluation/results.md && touch runs/evaluation/rendered"
[ $cost = 0 ] || printf '%5d min  in all: %d hours and %d minutes of one core\n' $total $((total / 60)) $((total % 60))
