# shellcheck shell=bash disable=SC2034
# The Debian packages that each job needs, and how they get installed. This is the one list; the scripts read it.

# To build the BPF objects, make a virtual environment and load.
RUN_PACKAGES=(
	bpftool
	ca-certificates
	clang
	libbpf-dev
	libbpf1
	linux-libc-dev # the asm/ and linux/ headers that the BPF programs include
	make
	python3
	python3-venv
)

# What stays needed once the service is installed (python3-venv for the next release); the rest only builds it.
SERVICE_PACKAGES=(ca-certificates libbpf1 python3 python3-venv)

# The linters of scripts/check that are not Python packages.
CHECK_PACKAGES=(clang-format shellcheck)

# Real containers, static programs for their root file systems, C programs of the tests, fresh Debian trees, guests with
# other kernels.
TEST_PACKAGES=(
	busybox-static
	catatonit # podman run --init
	clang-19  # what compiles on Debian 12 is clang 14: the objects must load whichever made them
	conmon
	containerd
	crun
	debian-archive-keyring
	docker.io
	gcc
	iproute2
	libc6-dev
	mmdebstrap
	podman
	procps
	qemu-system-x86
	runc
	util-linux
)

# Where there is no dpkg the programs themselves are looked for: "what it is for" is the Debian package that has it.
declare -A PROGRAM_PACKAGE=(
	[bpftool]=bpftool [busybox]=busybox-static [catatonit]=catatonit [clang]=clang [clang-format]=clang-format [conmon]=conmon
	[containerd]=containerd [crun]=crun [dockerd]=docker.io [gcc]=gcc [ip]=iproute2 [make]=make [mmdebstrap]=mmdebstrap [podman]=podman
	[qemu-system-x86_64]=qemu-system-x86 [runc]=runc [shellcheck]=shellcheck [unshare]=util-linux
)

is_debian() {
	[[ -r $TARGET/etc/debian_version && -x $TARGET/usr/bin/apt-get && -x $TARGET/usr/bin/dpkg-query ]]
}

# ensure_packages PACKAGE...: install those that are missing; no apt call when none is.
ensure_packages() {
	if ! is_debian; then
		[[ ! $TARGET ]] || fail 3 "$TARGET is no Debian tree: install Stockade on a running host of that kind"
		_require_programs "$@"
		return
	fi
	local missing
	mapfile -t missing < <(_missing_packages "$@")
	((${#missing[@]} == 0)) && return
	((EUID == 0)) || fail 3 "needs the Debian packages ${missing[*]}: sudo apt-get install ${missing[*]}"
	say "apt-get install ${missing[*]}${TARGET:+ in $TARGET}"
	export DEBIAN_FRONTEND=noninteractive
	# Lists that cannot be refreshed may still do: a mirror on disk, a flaky network.
	logged apt-update _apt_get update || say "apt-get update failed; trying with the package lists there are"
	logged apt-install _without_services _apt_get install --yes --no-install-recommends "${missing[@]}" ||
		fail 3 "apt-get could not install ${missing[*]}$(_network_hint "$LOGS"/apt-update.log "$LOGS"/apt-install.log)"
}

_missing_packages() {
	local package
	local -A installed=()
	# shellcheck disable=SC2016 # the format is dpkg-query's
	while read -r package; do
		installed[$package]=1
	done < <(in_target dpkg-query --show --showformat '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed //p')
	for package in "$@"; do
		[[ ${installed[$package]-} ]] || printf '%s\n' "$package"
	done
}

_apt_get() {
	in_target apt-get --quiet=2 -o DPkg::Lock::Timeout=300 -o Acquire::Retries=2 "$@"
}

# Docker's package starts its daemon, which makes a bridge and firewall rules: tests start their own, elsewhere.
_without_services() (
	policy=/usr/sbin/policy-rc.d
	if [[ ! $TARGET && ! -e $policy ]]; then
		trap 'rm -f "$policy"' EXIT
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
	fi
	"$@"
)

# Say "no network" only when a tool's own words say so.
_network_hint() {
	if grep -qsE 'Temporary failure|Could not resolve|Could not connect|Unable to connect|Network is unreachable|NewConnectionError|Name or service not known' "$@"; then
		printf ': no network? It could not reach its server. Connect this machine, or configure a mirror or proxy, and run it again'
	fi
}

_require_programs() {
	local package program missing=()
	for package in "$@"; do
		for program in "${!PROGRAM_PACKAGE[@]}"; do
			[[ ${PROGRAM_PACKAGE[$program]} == "$package" ]] || continue
			command -v "$program" >/dev/null || missing+=("$program (Debian: $package)")
		done
	done
	if [[ " $* " == *" libbpf1 "* ]] && ! ldconfig -p | grep -q 'libbpf\.so\.1 '; then
		missing+=("libbpf.so.1 (Debian: libbpf1)")
	fi
	if [[ " $* " == *" libbpf-dev "* ]] && ! [[ -e /usr/include/bpf/bpf_helpers.h ]]; then
		missing+=("bpf/bpf_helpers.h (Debian: libbpf-dev)")
	fi
	((${#missing[@]} == 0)) && return
	fail 3 "installs packages by itself only on Debian; install these and run it again:" "${missing[@]/#/  }"
}
