#!/usr/bin/env bash
# Builds the fuzz targets with libFuzzer's coverage on the stable toolchain and runs them one after another,
# seeded from data/. `core_rs/fuzz/run.sh [SECONDS]`: for that long in all (60 when not said).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
data=$here/../../data
targets=(ops_script ftrace packed texts)
each=$((${1:-60} / ${#targets[@]}))

# What cargo-fuzz passes, without a sanitizer: those need a nightly compiler.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
host=$(rustc -vV | sed -n 's/^host: //p')
cargo build --release --locked --manifest-path "$here/Cargo.toml" --target "$host"

mkdir -p "$here/artifacts"
seeds=$here/target/seeds
for target in "${targets[@]}"; do mkdir -p "$seeds/$target" "$here/corpus/$target"; done
cp "$data"/golden/*.ops "$seeds/ops_script"
head_of() { gzip -dc "$1" 2>/dev/null | head -c "$3" >"$seeds/$2/$(basename "${1%.gz}")" || true; }
for file in "$data"/captures/*/trace.S*.txt.gz; do head_of "$file" ftrace 6000; done
for file in "$data"/captures/*/ops.S[48].jsonl.gz "$data"/captures/*/s2.S4.jsonl.gz; do head_of "$file" packed 3000; done
for file in "$data"/captures/*/lock_stat.txt.gz; do head_of "$file" texts 6000; done
gzip -dc "$data/captures/race/own-b1/console.txt.gz" | sed -n 197,230p >"$seeds/texts/console.txt"
cp "$data"/captures/*/ptdump.*.txt "$seeds/texts"

for target in "${targets[@]}"; do
  echo "== fuzz $target for $each s"
  "${CARGO_TARGET_DIR:-$here/target}/$host/release/$target" -max_total_time="$each" -max_len=8192 -timeout=10 \
    -rss_limit_mb=4096 -print_final_stats=1 -verbosity=0 -artifact_prefix="$here/artifacts/$target-" \
    "$here/corpus/$target" "$seeds/$target" 2>&1 | grep -vE '^(INFO|WARNING|"|###)' || { echo "fuzz $target failed"; exit 1; }
done
