# shellcheck shell=bash disable=SC2034
# The host that packages and the service are installed on: this one, or a root tree given to scripts/install by --root
# (an image being built, a test), whose own programs are then used, through chroot.

TARGET='' # empty, or the absolute path of the tree
UNITS=(stockade.service run-stockade-bpf.mount)
UNIT_DIR=/usr/local/lib/systemd/system
PREFIX=/opt/stockade
COMMAND=/usr/local/bin/stockade

set_target() {
	[[ -d ${1-}/usr/bin ]] || fail 2 "--root ${1-}: not a root tree: it has no usr/bin"
	TARGET=$(cd -- "$1" && pwd -P)
	[[ $TARGET != / ]] || TARGET=''
}

in_target() {
	if [[ $TARGET ]]; then chroot "$TARGET" "$@"; else "$@"; fi
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
