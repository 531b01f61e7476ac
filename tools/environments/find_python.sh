# To be sourced. find_python VERSION prints the path of a Python of that version, or fails with an error.
find_python() {
	local candidate
	for candidate in "python$1" "$(ls -d "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python 2>/dev/null | tail -n 1)"; do
		if [[ -n $candidate ]] && "$candidate" -c "import sys; assert '%d.%d' % sys.version_info[:2] == '$1'" 2>/dev/null; then
			command -v "$candidate"
			return
		fi
	done
	echo "error: Python $1 was not found. Install it, for example with pyenv install $1, and try again." >&2
	return 1
}
