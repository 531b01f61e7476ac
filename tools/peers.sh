#!/usr/bin/env bash
# Builds the environment of the peers that ours is measured and tested against, PyTorch and torch-fidelity, which need
# not get along with TensorFlow's dependencies: peers.sh FOLDER. PYTHON may name a Python 3.11.
set -euo pipefail

venv=$1

is_311() { [[ -n $1 ]] && "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; }

for PYTHON in "${PYTHON:-}" python3.11 "$(ls -d "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.11.*/bin/python 2>/dev/null | tail -n 1)" ""; do
	is_311 "$PYTHON" && break
done
if [[ -z $PYTHON ]]; then
	echo "error: No Python 3.11 was found for the peers. Name one, as in PYTHON=/path/to/python3.11 make peers." >&2
	exit 2
fi
echo "Setting up $venv with PyTorch; the first time takes a minute or two and 1 GB, with CUDA's build several" >&2
rm -rf "$venv"
"$PYTHON" -m venv "$venv"
pip=("$venv/bin/python" -m pip --quiet --disable-pip-version-check install)
"${pip[@]}" torch==2.13.0 numpy==2.3.5
# Alone: its Inception needs PyTorch only, and torchvision, which the rest needs, has no build for every PyTorch.
"${pip[@]}" --no-deps torch-fidelity==0.4.0
