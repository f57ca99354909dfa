# shellcheck shell=bash
# Brings a host to where a job of Stockade's can start. Each step is skipped when its result is there already, so that
# the second call starts its job at once. Sourced by the scripts beside this folder.

CHECKOUT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
LOGS=$CHECKOUT/build/logs
# System programs first: sudo may leave out sbin, and a version manager's shims are not what we build with.
export PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH

# shellcheck source-path=SCRIPTDIR
source "$CHECKOUT/scripts/lib/console.sh"
# shellcheck source-path=SCRIPTDIR
source "$CHECKOUT/scripts/lib/target.sh"
# shellcheck source-path=SCRIPTDIR
source "$CHECKOUT/scripts/lib/packages.sh"
# shellcheck source-path=SCRIPTDIR
source "$CHECKOUT/scripts/lib/python.sh"

# The folder for logs and locks; the first thing that a script does once it knows that it may.
prepare_checkout() {
	if ! { mkdir -p "$LOGS" && touch "$CHECKOUT"/build/{venv,objects}.lock; } 2>/dev/null; then
		fail 3 "cannot write to $CHECKOUT/build: run it with sudo, or as the owner of this checkout"
	fi
	give_back "$CHECKOUT/build"
}

# make knows what is stale; two scripts at once would write the same files.
ensure_objects() {
	(
		flock 9
		make --directory="$CHECKOUT/ebpf" --question >/dev/null 2>&1 && exit
		say "building the BPF objects (make -C ebpf)"
		logged make make --directory="$CHECKOUT/ebpf" || fail 1 "the BPF objects do not build"
		give_back "$CHECKOUT/ebpf/build"
	) 9>"$CHECKOUT/build/objects.lock"
}
