#!/usr/bin/env bash
# Builds the environment of the TPU's compiler from tools/environments/tpu_check.txt: tpu_env.sh FOLDER.
set -euo pipefail
here=$(dirname "$0")
source "$here/find_python.sh"

venv=$1
if [[ -e $venv && ! -e $venv/pyvenv.cfg ]]; then
	echo "error: $venv is there and is no virtual environment, so nothing was done to it. Move it away, or name another folder with TPU_VENV=." >&2
	exit 2
fi
python=$(find_python 3.12) || exit 2
echo "Setting up $venv with the TPU's compiler; the first time takes a minute and 2.5 GB" >&2
rm -rf "$venv"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip --quiet --disable-pip-version-check install --requirement "$here/tpu_check.txt"
