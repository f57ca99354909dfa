# shellcheck shell=bash
# The virtual environment of a checkout: from the system's Python, with the versions that were tested (constraints.txt).

VENV=$CHECKOUT/.venv

# The system's own interpreter: a shim of a version manager takes many times longer to start and may be gone for root.
find_python() {
	local candidate
	for candidate in /usr/bin/python3 /usr/bin/python3.{14,13,12,11}; do
		if [[ -x $candidate ]] && "$candidate" -Ic 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
			readlink -f "$candidate"
			return
		fi
	done
	fail 3 "needs Python 3.11 or newer as /usr/bin/python3; Debian 12 and 13 have it"
}

# ensure_venv run|dev: what the service imports, or the tests' and linters' packages as well.
ensure_venv() {
	local wanted=$1 python key
	python=$(find_python)
	key=$(printf '%s\n' "$python" "$CHECKOUT" | cat - "$CHECKOUT"/{pyproject.toml,constraints.txt} | sha256sum)
	_venv_has "$wanted" "$key" && return
	(
		flock 9
		_venv_has "$wanted" "$key" || _make_venv "$wanted" "$key" "$python"
	) 9>"$CHECKOUT/build/venv.lock"
}

# One stamp for each set of packages; the larger set contains the smaller.
_venv_has() {
	local stamp
	for stamp in "$VENV/.stockade-$1" "$VENV/.stockade-dev"; do
		[[ -f $stamp && $(<"$stamp") == "$2" ]] && return
	done
	return 1
}

_make_venv() {
	local wanted=$1 key=$2 python=$3 extras='' purpose='the service needs'
	[[ $wanted == run ]] || extras='[dev]' purpose='the service, its tests and its checks need'
	# An environment of another interpreter or of a checkout that has been moved is not worth mending.
	if ! [[ -x $VENV/bin/python && $(cat "$VENV/.stockade-made-by" 2>/dev/null) == "$python $VENV" ]]; then
		say "making .venv with $python"
		logged venv "$python" -Im venv --clear "$VENV" || fail 3 "could not make a virtual environment in $VENV"
		printf '%s %s\n' "$python" "$VENV" >"$VENV/.stockade-made-by"
	fi
	rm -f "$VENV"/.stockade-{run,dev}
	say "pip install into .venv: what $purpose"
	# compat: a plain path in a .pth file, nothing to import before the first module of ours.
	logged pip pip_install "$VENV/bin/python" --editable "$CHECKOUT$extras" --config-settings editable_mode=compat ||
		fail 3 "pip could not install the packages$(_network_hint "$LOGS/pip.log")"
	printf '%s\n' "$key" >"$VENV/.stockade-$wanted"
	give_back "$VENV"
}

# pip_install PYTHON ARGUMENT...: pip of that environment, held to the tested versions, build requirements too.
pip_install() {
	local python=$1 constraints
	shift
	# As a URI: pip takes a space in these variables for the end of a name.
	constraints=$("$python" -Ic 'import pathlib, sys; print(pathlib.Path(sys.argv[1]).as_uri())' "$CHECKOUT/constraints.txt")
	PIP_CONSTRAINT=$constraints PIP_BUILD_CONSTRAINT=$constraints \
		"$python" -Im pip --disable-pip-version-check --no-input --retries 2 install --root-user-action ignore "$@"
}
