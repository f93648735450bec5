#!/usr/bin/env bash
# Runs all tests with the race detector: first all packages but the acceptance tests, then
# these by themselves, because their other half is a browser, an encoder or an SDK that
# keeps its own time.
#
# A test that fails is asked once more, and the end of the output names it: a fault, of the
# test or of what it tests, that has to be mended. There is no second chance for the tests
# of promises (what is stored stays, who may not gets nothing), for data races and panics,
# and when more than six tests fail. AGAIN=0 gives none at all.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly promises='Crash|PowerCut|Lose|Lost|Kill|Torn|Bit|Linearizable|Matrix|Stranger|Revoked'
readonly go=${GO:-go} again=${AGAIN:-1}
report=$(mktemp)
trap 'rm -f "$report"' EXIT
GOBIN=$PWD/bin "$go" install gotest.tools/gotestsum@v1.13.0
export CGO_ENABLED=1 # for the race detector

run() { # with the packages as one argument
  : >"$report"
  local status=0
  bin/gotestsum --format standard-quiet --format-hide-empty-pkg --no-color \
    --rerun-fails="$again" --rerun-fails-max-failures=6 --rerun-fails-run-root-test \
    --rerun-fails-abort-on-data-race --rerun-fails-report="$report" --packages "$1" -- -race -timeout 60m || status=1
  [ -s "$report" ] || return $status
  echo "asked again, and to be mended:"
  cat "$report"
  if grep -E "$promises" "$report"; then
    echo "no second chance for these: they test a promise" >&2
    status=1
  fi
  return $status
}

others=$("$go" list ./... | grep -vx penstock/acceptance | tr '\n' ' ')
failed=0
run "$others" || failed=1
run penstock/acceptance || failed=1
exit $failed
