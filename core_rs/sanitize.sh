#!/usr/bin/env bash
# AddressSanitizer and ThreadSanitizer over the runtime's native half and the table. The stable compiler has both,
# behind RUSTC_BOOTSTRAP; its standard library is not instrumented, so ThreadSanitizer runs what synchronises
# through the project's own locks, with the suppressions that runtime/tests/tsan.supp argues for.
set -euo pipefail
cd "$(dirname "$0")"
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTC_BOOTSTRAP=1 PROPTEST_CASES=40 TSAN_OPTIONS="suppressions=$PWD/runtime/tests/tsan.supp"

run() { # NAME FLAGS TESTS...
  echo "== $1: ${*:3}"
  RUSTFLAGS=$2 CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/$1 \
    cargo test --release --locked --quiet --target "$host" "${@:3}"
}

run address "-Zsanitizer=address" -p pyworkbench-runtime --lib native
run address "-Zsanitizer=address" -p pyworkbench-stage2 --lib --tests
run thread "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" -p pyworkbench-runtime --lib native
run thread "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" -p pyworkbench-stage2 --test stress
