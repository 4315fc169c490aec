#!/usr/bin/env bash
# What any machine with an NVIDIA GPU can prove without TensorRT: the warp's kernel, the plugin's protocol, contexts, streams and
# CUDA graphs through PyCUDA, the networks' precisions, training. Steps 1 to 9; those whose tools are missing say so.
#   tools/cuda_check.sh [FOLDER]          # what it makes and each step's words (default: build/cuda-check)
# Needs nvcc. Used where they are there: PyTorch with CUDA, PyCUDA, compute-sanitizer, ncu, TensorRT's headers ($TensorRT_ROOT).
# $PYTHON: another interpreter than python3. Exit code: 0 some step passed on the GPU and none failed, else 1; 2: wrong use.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
case "${1:-}" in -*) sed -n '2,6s/^# //p' "$0"; exit 2 ;; esac
out=${1:-build/cuda-check}
python=${PYTHON:-python3}
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
export PYTHONPATH="$PWD/runtime:$PWD/training:$PWD/export${PYTHONPATH:+:$PYTHONPATH}"
SKIP=77  # exit code of a step that cannot run; the last line it printed says why

if ! mkdir -p "$out"; then
  echo "cuda_check: cannot make $out: name another folder" >&2
  exit 1
fi
if [ ! -x "$nvcc" ]; then
  echo "cuda_check: no nvcc (on PATH or in /usr/local/cuda): install the CUDA toolkit" >&2
  exit 1
fi

skip() { echo "$*"; exit $SKIP; }
has_module() { "$python" -c "import $1" 2>/dev/null || skip "no $1: pip install $2"; }
# Name and compute capability of the first GPU, asked from the driver; nothing where none answers.
gpu=$("$python" -c 'from spgvton.engine.gpu import first_gpu as f; g = f(); print(f"{g.name}, SM {g.sm}" if g else "")' 2>"$out/gpu.txt") ||
  { echo "cuda_check: $python cannot import spgvton ($(tail -1 "$out/gpu.txt")): pip install '.[train]'" >&2; exit 1; }

kernel() {  # 1: the kernel for this GPU, or for all where there is none
  local sm=${gpu##* } target=-arch=all-major
  if [ -n "$gpu" ]; then target="-arch=sm_$sm"; fi
  "$nvcc" -std=c++17 -O3 "$target" -Xcompiler=-fPIC -shared -Iruntime/plugin tools/cuda_check/tps_gpu.cu \
    runtime/plugin/tps_kernel.cu -o "$out/libtps_gpu.so"
}

pycuda() {  # 2: PyCUDA is there and loads
  has_module pycuda.driver "'spgvton[cuda]' (compiled: nvcc, g++, python3-dev)"
  "$python" -c 'import pycuda; print("PyCUDA", pycuda.VERSION_TEXT)'
}

torch_cuda() {
  has_module torch "'spgvton[train]'"
  "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || skip "this PyTorch has no CUDA"
}

parity() {  # 3: the kernel against float64, its limits, capture and replay, times
  torch_cuda
  "$python" tools/cuda_check/parity.py "$out/libtps_gpu.so"
}

sanitizer() {  # 4
  torch_cuda
  command -v compute-sanitizer >/dev/null || skip "no compute-sanitizer: it is part of the CUDA toolkit"
  local tool
  for tool in memcheck racecheck initcheck synccheck; do
    compute-sanitizer --tool "$tool" --error-exitcode 1 --kernel-regex kns=warpKernel "$python" \
      tools/cuda_check/parity.py --small "$out/libtps_gpu.so" || return 1
  done
}

profile() {  # 5: issue slots, DRAM, occupancy of the kernel
  torch_cuda
  command -v ncu >/dev/null || skip "no ncu: it is part of the CUDA toolkit"
  ncu --set basic -k regex:warpKernel -c 5 "$python" tools/cuda_check/parity.py --small "$out/libtps_gpu.so" ||
    skip "ncu does not run (is access to performance counters allowed? NVIDIA: ERR_NVGPUCTRPERM)"
}

protocol() {  # 6: the plugin's whole protocol, the kernel on the GPU
  local headers="" folder
  for folder in "${TensorRT_ROOT:-/nowhere}" "${TensorRT_ROOT:-/nowhere}/include" /usr/include/*-linux-gnu /usr/local/tensorrt/include; do
    if [ -f "$folder/NvInferRuntimePlugin.h" ]; then headers=$folder; fi
  done
  [ -n "$headers" ] || skip "no NvInferRuntimePlugin.h: set TensorRT_ROOT (only the headers are wanted)"
  "$nvcc" -std=c++17 -O2 "-arch=sm_${gpu##* }" -DSPGVTON_ON_GPU -Iruntime/plugin -isystem "$headers" tests/cpp/plugin_host.cpp \
    runtime/plugin/tps_plugin.cpp runtime/plugin/tps_kernel.cu -o "$out/plugin_gpu" && "$out/plugin_gpu"
}

session() {  # 7: contexts, capture, 10,000 replays, threads, reopening, on the real driver
  has_module pycuda.driver "'spgvton[cuda]'"
  "$python" tools/cuda_check/session.py
}

precision() {  # 8: the joint network in TF32, FP16 and bfloat16 against float32
  torch_cuda
  "$python" tools/cuda_check/precision.py
}

training() {  # 9: fifty updates on the GPU
  torch_cuda
  "$python" -m spgvton synth --out "$out/data" --count 8 >/dev/null || return 1
  "$python" -m spgvton train --data "$out/data" --out "$out/run" --preset mini --accelerator cuda --precision bf16-mixed \
    --iterations 0,0,50
}

failed=0 passed=0 number=0
run() {  # NAME NEEDS_GPU: a step in a shell of its own, its words in a file, its verdict on the screen
  number=$((number + 1))
  local status=0 begin=$SECONDS file="$out/$number-$1.txt" verdict
  if [ "$2" = gpu ] && [ -z "$gpu" ]; then
    verdict="skipped: no CUDA device answers"
  else
    ("$1") >"$file" 2>&1 || status=$?
    case $status in
      0) verdict=passed; if [ "$2" = gpu ]; then passed=$((passed + 1)); fi ;;
      "$SKIP") verdict="skipped: $(tail -1 "$file")" ;;
      *) verdict="FAILED ($status), see $file"; failed=$((failed + 1)) ;;
    esac
  fi
  printf '%d %-10s %s (%ds)\n' "$number" "$1" "$verdict" $((SECONDS - begin)) | tee -a "$out/summary.txt"
}

{ date -u +%FT%TZ; "$nvcc" --version | tail -2; echo "GPU: ${gpu:-none}"; nvidia-smi -L 2>/dev/null; git log -1 --format=%h 2>/dev/null; } >"$out/summary.txt"
run kernel any
run pycuda any
for step in parity sanitizer profile protocol session precision training; do run "$step" gpu; done
if [ "$failed" -gt 0 ]; then
  echo "cuda_check: $failed of $number steps failed on ${gpu:-no GPU}: see $out" >&2
  exit 1
elif [ -z "$gpu" ]; then
  echo "cuda_check: no CUDA device answers (nvidia-smi must list it): only what needs none was run" >&2
  exit 1
elif [ "$passed" -eq 0 ]; then
  echo "cuda_check: no step could run on $gpu: the lines above say what is missing" >&2
  exit 1
fi
echo "all that could run passed on $gpu: $out/summary.txt"
