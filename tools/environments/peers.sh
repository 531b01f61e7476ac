#!/usr/bin/env bash
# Builds the environment of the peers that ours is measured and tested against, PyTorch and torch-fidelity, which need
# not get along with TensorFlow's dependencies: peers.sh FOLDER.
set -euo pipefail

source "$(dirname "$0")/find_python.sh"

venv=$1
python=$(find_python 3.11) || exit 2
echo "Setting up $venv with PyTorch; the first time takes a minute or two and 1 GB, with CUDA's build several" >&2
rm -rf "$venv"
"$python" -m venv "$venv"
pip=("$venv/bin/python" -m pip --quiet --disable-pip-version-check install)
"${pip[@]}" torch==2.13.0 numpy==2.3.5
# Alone: its Inception needs PyTorch only, and torchvision, which the rest needs, has no build for every PyTorch.
"${pip[@]}" --no-deps torch-fidelity==0.4.0
