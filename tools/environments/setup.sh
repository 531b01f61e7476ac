#!/usr/bin/env bash
# setup.sh FOLDER [EXTRAS]: builds a virtual environment from requirements.txt, with the interpreter $PYTHON.
set -euo pipefail

venv=$1 extras=${2:-}
supported="3.11 3.12 3.13"

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }
is_supported() { [[ -n "$1" && " $supported " == *" $1 "* ]]; }

refuse() {
	echo "error: $1 The kit needs Python 3.11, 3.12 or 3.13. Name one: PYTHON=python3.12 make setup" >&2
	exit 2
}

if [[ -n ${PYTHON:-} ]]; then
	version=$(version_of "$PYTHON") || refuse "$PYTHON does not run."
	is_supported "$version" || refuse "$PYTHON is Python $version."
else
	for PYTHON in "$venv/bin/python" python3 python python3.12 python3.13 python3.11 ""; do
		version=$(version_of "$PYTHON") && is_supported "$version" && break
	done
	[[ -n $PYTHON ]] || refuse "No supported Python was found."
fi

installed=$(version_of "$venv/bin/python") || installed=""
if [[ $installed != "$version" ]] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
	if [[ -e $venv && ! -e $venv/pyvenv.cfg ]]; then
		refuse "$venv exists and is not a virtual environment; it was left alone."
	fi
	rm -rf "$venv"
	"$PYTHON" -m venv "$venv" || {
		rm -rf "$venv"
		echo "error: $PYTHON cannot create a virtual environment. Install its venv module (Debian: python3-venv)." >&2
		exit 2
	}
fi
echo "Setting up $venv with Python $version; this takes a minute or two and 2 GB" >&2
pip=("$venv/bin/python" -m pip --quiet --disable-pip-version-check install)
"${pip[@]}" --requirement requirements.txt
"${pip[@]}" --no-deps --no-build-isolation --editable .
if [[ -n $extras ]]; then
	"${pip[@]}" --constraint requirements.txt --no-build-isolation --editable ".[$extras]"
fi
