#!/usr/bin/env bash
# pinned.sh FOLDER FILE: builds an environment of Python 3.12 with the packages that FILE lists, beside this script.
set -euo pipefail
here=$(dirname "$0")
source "$here/find_python.sh"

venv=$1
if [[ -e $venv && ! -e $venv/pyvenv.cfg ]]; then
	echo "error: $venv exists and is not a virtual environment; it was left alone. Move it away." >&2
	exit 2
fi
python=$(find_python 3.12) || exit 2
echo "Setting up $venv from $2; this takes a minute and about 2 GB" >&2
rm -rf "$venv"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip --quiet --disable-pip-version-check install --requirement "$here/$2"
