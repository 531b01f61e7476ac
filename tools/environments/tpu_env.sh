#!/usr/bin/env bash
# tpu_env.sh FOLDER: builds the TPU compiler's environment from tpu_check.txt.
set -euo pipefail
here=$(dirname "$0")
source "$here/find_python.sh"

venv=$1
if [[ -e $venv && ! -e $venv/pyvenv.cfg ]]; then
	echo "error: $venv exists and is not a virtual environment; it was left alone. Move it away, or name another folder with TPU_VENV=." >&2
	exit 2
fi
python=$(find_python 3.12) || exit 2
echo "Setting up $venv with the TPU compiler; this takes a minute and 2.5 GB" >&2
rm -rf "$venv"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip --quiet --disable-pip-version-check install --requirement "$here/tpu_check.txt"
