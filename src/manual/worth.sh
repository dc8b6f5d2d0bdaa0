#!/usr/bin/env bash
# Measures what worth.md shows: src/manual/worth.sh FOLDER SENTENCES
#
# FOLDER gets a report for each part, and what is there already is not measured again; delete a report to
# have it anew. SENTENCES has 30,000 lines or more that are no records. It takes hours on two cores; PARTS,
# a list of the functions below, makes some of it alone.
set -euo pipefail

out=$(realpath -m "${1:?a folder for the reports}")
sentences=$(realpath "${2:?a file of sentences}")
[ "$(wc -l <"$sentences")" -ge 30000 ] || { echo "$sentences has fewer than 30,000 lines" >&2; exit 2; }
cd "$(CDPATH= cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)"
python3 -c 'import matplotlib' || { echo "the plots need matplotlib: pip install matplotlib==3.10.7" >&2; exit 2; }
mkdir -p "$out"

minilm=$(scripts/fetch-minilm)
five_kinds=clinical,prescription,employment,finance,legal
[ -e "$out/key" ] || cargo embosk keygen --output "$out/key"
[ -e "$out/key-2" ] || cargo embosk keygen --output "$out/key-2"
key="key=file:$out/key"

main() {
    local name n
    records 30000 8 --split train --families "$five_kinds" >"$out/five-kinds-30000.txt"
    head -n 10000 "$out/five-kinds-30000.txt" >"$out/five-kinds-10000.txt"
    for n in 10000 30000; do head -n "$n" "$sentences" >"$out/sentences-$n.txt"; done
    sed -n 10001,20000p "$sentences" >"$out/sentences-more.txt"
    # what an evaluation of records:10000 stores
    records 10000 0 >"$out/stored.txt"
    for name in ${PARTS:-minilm reference facts pairs clouds surrogate second_seed retrained page}; do
        "$name"
    done
}

page() { python3 src/manual/worth.py "$out"; }

records() { cargo run --quiet --release --features cli --example records -- "$@"; }

# What components and quantization are fitted on: records that no evaluation draws. Groups are of what is stored.
fits() {
    local name=$1 embedder=$2 what
    for what in 96 48 24 bits=8 bits=4 bits=1; do
        [ -e "$out/fit-$name-${what/=/-}" ] ||
            cargo run --quiet --release --features cli --example codebook -- "$embedder" "$what" "$out/fit-$name-${what/=/-}"
    done
    coarse_fits "$name" "$embedder"
}

coarse_fits() {
    local name=$1 embedder=$2
    fit "$out/projection-$name" projection --embedder "$embedder" --corpus records:10000 --dims 32
    fit "$out/groups-$name" groups --embedder "$embedder" --corpus "$out/stored.txt" --k 4
}

# fit FILE WHAT ARGUMENTS…: what a spec names, unless it is there
fit() {
    local file=$1
    shift
    [ -e "$file" ] || cargo embosk fit "$@" --output "$file"
}

# measure NAME ARGUMENTS…: one report
measure() {
    local report=$out/$1.json
    shift
    [ -e "$report" ] && return
    echo "$(date +%H:%M:%S) $report" >&2
    # 3 is an inconclusive report, of which worth.py makes no page
    cargo embosk evaluate --samples 40 --local-queries 20 --format json --output "$report.part" "$@" >/dev/null ||
        [ $? = 3 ]
    mv "$report.part" "$report"
}

# Every defense, at three strengths where it has one, on all-MiniLM-L6-v2.
minilm() {
    fits minilm "$minilm"
    part minilm keys none "${keyed[@]}"
    part minilm noise "${noise[@]}"
    part minilm dcpe "${dcpe[@]}"
    rounding minilm
    codebooks minilm
    part minilm keyed-noise "${keyed_noise[@]}"
    part minilm turned-noise "${turned_noise[@]}"
    part minilm documents "gaussian(sigma=0.03,on=documents)" "gaussian(sigma=0.07,on=documents)" \
        "gaussian(sigma=0.1,on=documents)"
    part minilm coarse "$(coarse minilm 16) | gaussian(sigma=0.05) | rerank(candidates=200)" \
        "$(coarse minilm 16) | gaussian(sigma=0.1) | rerank(candidates=200)" \
        "$(coarse minilm 16) | gaussian(sigma=0.1,on=documents) | rerank(candidates=200)" \
        "gaussian(sigma=0.1) | rerank(candidates=200)" \
        "microaggregation(groups=file:$out/groups-minilm)" \
        "microaggregation(groups=file:$out/groups-minilm) | rerank(candidates=200)"
}

rounding() {
    part "$1" rounding "quantization(bits=8)" "quantization(bits=4)" "quantization(bits=1)" \
        "quantization(bits=8,scale=file:$out/fit-$1-bits-8)" \
        "quantization(bits=4,scale=file:$out/fit-$1-bits-4)" \
        "quantization(bits=1,scale=file:$out/fit-$1-bits-1)" \
        "quantization(bits=8,scale=0.2,dither=${key#key=})" \
        "quantization(bits=4,scale=0.2,dither=${key#key=})" \
        "quantization(bits=1,scale=0.05,dither=${key#key=})"
}

codebooks() {
    part "$1" codebooks "product_quantization(codebook=file:$out/fit-$1-96)" \
        "product_quantization(codebook=file:$out/fit-$1-48)" \
        "product_quantization(codebook=file:$out/fit-$1-24)"
}

# coarse EMBEDDER DIMS: components alone
coarse() { echo "projection(fit=file:$out/projection-$1, dims=$2)"; }

# The other embedder, under those that are the worst on the first.
reference() {
    local adversaries=(naive "informed(10000)" "leaked(768)" "averaging(16)")
    fits reference attacks/models/reference/embedder
    part reference noise none "${noise[@]}"
    adversaries=(naive "informed(10000)" "leaked(768)" "unpaired(10000)")
    part reference keys "rotation($key)" "rotation($key) | gaussian(sigma=0.03)" "gaussian(sigma=0.03,$key)" \
        "gaussian(sigma=0.07,$key)"
    adversaries=(naive "informed(10000)" "leaked(768)")
    part reference rounding "permutation($key)" "dcpe($key,beta=1)" "dcpe($key,beta=4)" "quantization(bits=8)" \
        "quantization(bits=4)" "quantization(bits=1)" \
        "product_quantization(codebook=file:$out/fit-reference-48)" \
        "product_quantization(codebook=file:$out/fit-reference-24)"
}

# Facts and words on both embedders, for every defense: vec2text alone. Pairs undo keys, and repeated releases fresh noise.
facts() {
    facts_of minilm "$minilm"
    facts_of reference attacks/models/reference/embedder
}

facts_of() {
    local name=$1 prefix=facts- adversaries=(naive "leaked(768)") extra=(--attack "$1")
    fits "$@"
    part "$name" keys none "${keyed[@]}" "projection($key,dims=64)"
    part "$name" keyed-noise "${keyed_noise[@]}"
    rounding "$name"
    codebooks "$name"
    part "$name" groups "microaggregation(groups=file:$out/groups-$name) | rerank(candidates=200)"
    adversaries+=("averaging(16)")
    part "$name" noise "${noise[@]}" "gaussian(sigma=0.1,on=documents)"
    part "$name" coarse "gaussian(sigma=0.1) | rerank(candidates=200)" \
        "$(coarse "$name" 16) | rerank(candidates=200)" \
        "$(coarse "$name" 16) | gaussian(sigma=0.05) | rerank(candidates=200)" \
        "$(coarse "$name" 16) | gaussian(sigma=0.1) | rerank(candidates=200)" \
        "$(coarse "$name" 16) | gaussian(sigma=0.1,on=documents) | rerank(candidates=200)"
    part "$name" dcpe "${dcpe[@]}"
    adversaries=(naive "leaked(768)" "averaging(16, 768)")
    part "$name" turned-noise "${turned_noise[@]}"
}

keyed=("rotation($key)" "rotation($key,kind=hadamard)" "permutation($key)" "scaling($key)")
noise=("gaussian(sigma=0.03)" "gaussian(sigma=0.07)" "gaussian(sigma=0.1)")
keyed_noise=("gaussian(sigma=0.03,$key)" "gaussian(sigma=0.07,$key)" "gaussian(sigma=0.1,$key)")
turned_noise=("rotation($key) | gaussian(sigma=0.03)" "rotation($key) | gaussian(sigma=0.07)"
    "rotation($key) | gaussian(sigma=0.1)")
dcpe=("dcpe($key,beta=1)" "dcpe($key,beta=4)" "dcpe($key,beta=8)")
adversaries=(all) extra=()

# part EMBEDDER NAME DEFENSE…: one report, under `adversaries`
part() {
    local embedder=$1 name=$2 folder=$minilm specs=() spec
    [ "$embedder" = minilm ] || folder=$embedder
    shift 2
    for spec in "${adversaries[@]}"; do specs+=(--adversary "$spec"); done
    for spec in "$@"; do specs+=(--defense "$spec"); done
    measure "${prefix:-}$embedder-$name" --embedder "$folder" --corpus records:10000 "${extra[@]}" "${specs[@]}"
}

# A rotation under few pairs, by the size of the store, and where the attacker's own texts are of another kind.
pairs() {
    under_pairs pairs-820 records:820 1 2 4 8 16 32 64 128 384 768
    under_pairs pairs-10000 records:10000 1 2 4
    under_pairs pairs-sentences records:820 32 48 64 96 128 384 --attacker-corpus "$out/sentences-10000.txt"
}

# under_pairs REPORT CORPUS PAIRS… [OPTIONS…]
under_pairs() {
    local report=$1 corpus=$2 specs=()
    shift 2
    while [[ ${1:-} =~ ^[0-9]+$ ]]; do
        specs+=(--adversary "leaked($1)")
        shift
    done
    measure "$report" --embedder "$minilm" --corpus "$corpus" --defense "rotation($key)" "${specs[@]}" "$@"
}

# A rotation without any pair, by how much of the store is read and what the attacker's own texts are.
clouds() {
    local own n
    for n in 1000 3000 10000 30000; do
        measure "clouds-same-$n" --embedder "$minilm" --corpus "records:$n" --defense "rotation($key)" \
            --adversary "unpaired($n)"
        for own in five-kinds sentences; do
            measure "clouds-$own-$n" --embedder "$minilm" --corpus "records:$n" --defense "rotation($key)" \
                --attacker-corpus "$out/$own-$((n > 10000 ? n : 10000)).txt" --adversary "unpaired($n)"
        done
    done
    # what is stored are sentences too: no clumps of one shape, as records are
    measure clouds-among-sentences-10000 --embedder "$minilm" --corpus "$out/sentences-10000.txt" \
        --defense "rotation($key)" --attacker-corpus "$out/sentences-more.txt" --adversary "unpaired(10000)"
}

# The reference's attack on all-MiniLM-L6-v2, which it was not trained for.
surrogate() {
    measure surrogate --embedder "$minilm" --surrogate reference --corpus records:4000 --defense none \
        --adversary "leaked(100)" --adversary "leaked(500)" --adversary "leaked(2000)" --adversary "informed(10000)"
}

# Other texts, other keys: how far the figures are chance.
second_seed() {
    local other="key=file:$out/key-2"
    measure seed-2 --embedder "$minilm" --seed 1 --corpus records:10000 --defense none \
        --adversary naive --adversary "informed(10000)" --adversary "leaked(768)" \
        --defense "rotation($other)" --defense "rotation($other,kind=hadamard)" \
        --defense "gaussian(sigma=0.07)" --defense "quantization(bits=1)"
}

# An attack on the reference that was trained on noise, inverter and corrector both.
retrained() {
    local noisy=(--corpus records:60000 --batch-size 256 --learning-rate 7e-4 --warmup 40 --defense none
        --defense "gaussian(sigma=0.03)" --defense "gaussian(sigma=0.07)" --defense "gaussian(sigma=0.1)")
    [ -e "$out/retrained/inverter/manifest.json" ] ||
        cargo embosk train inverter --init attacks/models/reference/inverter --out "$out/retrained/inverter" \
            --steps 400 "${noisy[@]}"
    [ -e "$out/retrained/corrector/manifest.json" ] ||
        cargo embosk train corrector --init attacks/models/reference/corrector --seed 2 \
            --inverter "$out/retrained/inverter" --out "$out/retrained/corrector" --steps 300 "${noisy[@]}"
    measure retrained --corpus records:10000 --retrained "$out/retrained" --adversary naive \
        --adversary "informed(10000)" --adversary retrained --defense "gaussian(sigma=0.03)" \
        --defense "gaussian(sigma=0.07)" --defense "gaussian(sigma=0.1)"
}

main
