# shellcheck shell=bash disable=SC2034
# The host that packages and the service are installed on: this one, or a root tree given to scripts/install by --root
# (an image being built, a test), whose own programs are then used, through chroot.

TARGET='' # empty, or the absolute path of the tree
UNITS=(stockade.service run-stockade-bpf.mount)
UNIT_DIR=/usr/local/lib/systemd/system
PREFIX=/opt/stockade
COMMAND=/usr/local/bin/stockade
OUR_PLACES=("$PREFIX" "$UNIT_DIR" "${COMMAND%/*}" {/etc,/var/lib,/var/log,/run}/stockade)

# What programs expect of a root and a tree need not have: an image's dev is empty. It is gone with the last process.
# shellcheck disable=SC2016 # the inner shell expands it
ENTER_TREE='
for each in proc dev; do
	[ ! -d "$0/$each" ] || mount --rbind "/$each" "$0/$each"
done
exec chroot "$0" "$@"'

# find_tree DIR: its absolute path; nothing for / itself. An empty DIR is somebody's variable without a value: no tree.
find_tree() {
	local root place real
	[[ ${1-} && -d $1/usr/bin ]] || fail 2 "--root '${1-}': not a root tree: it has no usr/bin"
	root=$(realpath -e -- "$1")
	[[ $root != / ]] || return 0
	for place in "${OUR_PLACES[@]}"; do
		real=$(realpath -m -- "$root$place")
		[[ $real == "$root"/* ]] || fail 3 "--root $1: its $place is a link that leads out of it, to $real"
	done
	printf '%s' "$root"
}

in_target() {
	if [[ $TARGET ]]; then
		unshare --mount --propagation private /bin/sh -euc "$ENTER_TREE" "$TARGET" "$@"
	else
		"$@"
	fi
}

systemd_runs() {
	[[ ! $TARGET && -d /run/systemd/system ]]
}

# Without a running systemd a unit can still be enabled: that is only a link.
can_enable() {
	in_target /bin/sh -c 'command -v systemctl' >/dev/null
}

has_group() {
	grep -q '^stockade:' "$TARGET/etc/group"
}
