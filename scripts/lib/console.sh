# shellcheck shell=bash
# What the scripts say while they work: short lines on stderr with the seconds since the start, and one clear line when
# they give up. What a tool prints goes into build/logs and is shown only when the tool fails.
#
# Exit codes are the product's: 1 failed check, 2 usage, 3 the host, its privileges or its network lack something.

started_us=${EPOCHREALTIME/[.,]/}

say() {
	local us=$((${EPOCHREALTIME/[.,]/} - started_us))
	printf '[%3d.%d s] %s\n' $((us / 1000000)) $((us / 100000 % 10)) "$*" >&2
}

# fail CODE LINE...: what is wrong and what to do, then details.
fail() {
	local code=$1 first=$2
	shift 2
	printf '%s\n' "scripts/${0##*/}: $first" "$@" >&2
	exit "$code"
}

# logged NAME COMMAND...: run it with its output in build/logs/NAME.log; when it fails show the end of that.
logged() {
	local log=$LOGS/$1.log status=0
	shift
	rm -f -- "$log" # it may be root's, in a folder that is not
	"$@" >"$log" 2>&1 </dev/null || status=$?
	((status == 0)) && return
	tail -n 20 -- "$log" | sed 's/^/    /' >&2
	say "failed with status $status; everything it said is in $log"
	return "$status"
}

require_root() {
	((EUID == 0)) || fail 3 "needs root (it $1): sudo scripts/${0##*/}"
}

# What root made inside a checkout goes to the owner of the checkout, so that it can be removed and rebuilt without sudo.
give_back() {
	((EUID == 0)) || return 0
	local owner
	owner=$(stat -c %u:%g -- "$CHECKOUT")
	[[ $owner == 0:0 ]] || chown -R --no-dereference "$owner" -- "$@"
}
