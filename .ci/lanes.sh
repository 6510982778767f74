#!/usr/bin/env bash
# The tests that train or quantize (marker `trains`) where floats, threads and seeds differ: what holds must hold there too.
#   .ci/lanes.sh           two other float paths, without the tests that compare back-ends (marker `backends`): integers have one path
#   .ci/lanes.sh nightly   all lanes, all marked tests
# One log per lane in lanes/ ($LANES), a line per lane in lanes/summary.txt; exit code 1 if a lane failed. What a lane's variables mean:
# tests/helpers/lanes.py.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
logs=${LANES:-lanes}
mkdir -p "$logs"
: >"$logs/summary.txt"
failed=0

lane() { # name, marker expression, variables
    local name=$1 marked=$2 said
    shift 2
    env "$@" "$python" -m pytest -n 2 -m "$marked" >"$logs/$name.txt" 2>&1 && said=passed || { said=FAILED failed=1; }
    printf '%-10s %-6s %-32s %s\n' "$name" "$said" "$*" "$(tail -n 1 "$logs/$name.txt")" | tee -a "$logs/summary.txt"
    grep '^FAILED\|^ERROR' "$logs/$name.txt" | tee -a "$logs/summary.txt" || true
}

if [ "${1:-}" = nightly ]; then
    marked=trains
    lane default "$marked" ATEN_CPU_CAPABILITY=default
    lane threads1 "$marked" EDGECHAOS_TEST_THREADS=1
    lane threads2 "$marked" EDGECHAOS_TEST_THREADS=2
    for n in 1 2 3; do lane "seeds$n" "$marked" EDGECHAOS_TEST_SEED=$n; done
    for n in 1 2; do lane "sums$n" "$marked" EDGECHAOS_TEST_FLOATS=$n; done
else
    marked="trains and not backends"
fi
lane avx2 "$marked" ATEN_CPU_CAPABILITY=avx2 OPENBLAS_CORETYPE=Haswell
lane mkl "$marked" MKL_CBWR=COMPATIBLE
exit $failed
