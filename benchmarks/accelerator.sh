#!/bin/sh
# Fit, outer step, decoder and a learning curve of CIFAR-10 on one large GPU, in under 9 minutes.
#
#     benchmarks/accelerator.sh                     # writes bench-output/accelerator.json, prints tables
#     benchmarks/accelerator.sh --archive PATH      # CIFAR-10 as a zip or folder of images, train/ and test/
#     benchmarks/accelerator.sh --cpu               # a dry run, tiny, on the CPU: run it before a device costs money
#
# Nothing is installed or fetched. The environment of $PYTHON (default: python3) needs the dependencies of this
# project and JAX's wheels for the device, such as
#
#     pip install --editable . "jax[cuda13]"        # NVIDIA driver 580 or newer; "jax[cuda12]" from 525 on
#
# where jax and jaxlib have the same version as the plug-in. All options: benchmarks/accelerator.sh --help.
# The numbers are written after each row, so that a run that is killed loses none; $SECONDS_AT_MOST (default: 535)
# is when this script ends one.
set -eu
cd "$(dirname "$0")/.."
export CUDA_VISIBLE_DEVICES="${CUDA_VISIBLE_DEVICES:-0}"
export XLA_PYTHON_CLIENT_MEM_FRACTION="${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.9}"
exec timeout --kill-after=5 "${SECONDS_AT_MOST:-535}" "${PYTHON:-python3}" -u -m benchmarks.accelerator "$@"
