#!/usr/bin/env bash
# AddressSanitizer and ThreadSanitizer over the runtime's native half with all kinds of locks, the table, and the
# measurements' threads. The stable compiler has both,
# behind RUSTC_BOOTSTRAP; its standard library is not instrumented, so ThreadSanitizer runs what synchronises
# through the project's own locks, with the suppressions that runtime/tests/tsan.supp argues for.
#
# `sanitize.sh [address|thread]`: one of them, or both.
set -euo pipefail
cd "$(dirname "$0")"
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTC_BOOTSTRAP=1 PROPTEST_CASES=40 TSAN_OPTIONS="suppressions=$PWD/runtime/tests/tsan.supp"
declare -A flags=(
  [address]="-Zsanitizer=address"
  [thread]="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer"
)

run() { # NAME TESTS...
  if [[ ${wanted:-$1} != "$1" ]]; then return; fi
  echo "== $1: ${*:2}"
  RUSTFLAGS=${flags[$1]} CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/$1 \
    cargo test --release --locked --quiet --target "$host" "${@:2}"
}

wanted=${1-}
if [[ $wanted && -z ${flags[$wanted]-} ]]; then
  echo "sanitize.sh: \"$wanted\" is not a sanitizer, \"address\" or \"thread\" would be right" >&2
  exit 2
fi
run address -p pyworkbench-runtime --lib native
run address -p pyworkbench-stage2 --lib --tests
run address -p pyworkbench-measure --lib --test counts --test teardown --test sanitized
run thread -p pyworkbench-runtime --lib native
run thread -p pyworkbench-stage2 --test stress
run thread -p pyworkbench-measure --test sanitized
