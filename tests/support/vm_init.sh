#!/bin/busybox sh
# First program of the guest, in its initramfs: the machine's file system, read-only, under a layer that is thrown away
# (or, where overlayfs' module is to come late, in /late, without that layer);
# fresh /proc, /sys, /dev, /run, cgroup2, bpffs; then results/main, which the host has written, as process 1.
b=/bin/busybox
for folder in /proc /sys /lower /layer /root; do $b mkdir -p $folder; done
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
set -e
trap 'echo "the guest cannot start"; $b reboot -f' EXIT
for module in /modules/*; do $b insmod "$module"; done

share=trans=virtio,version=9p2000.L,msize=512000
if [ -d /late ]; then
	$b mount -t 9p -o ro,$share,cache=loose machine /root
	$b mount -t tmpfs -o mode=1777 scratch /root/mnt
else
	$b mount -t 9p -o ro,$share,cache=loose machine /lower
	$b mount -t tmpfs -o mode=0755 layer /layer
	$b mkdir /layer/upper /layer/work
	$b mount -t overlay -o lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work machine /root
fi
$b mount -t proc -o nosuid,nodev,noexec proc /root/proc
$b mount -t sysfs -o nosuid,nodev,noexec sys /root/sys
$b mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 /root/sys/fs/cgroup
$b mount -t bpf -o mode=0700 bpf /root/sys/fs/bpf
$b mount -t devtmpfs dev /root/dev
$b mkdir -p /root/dev/pts /root/dev/shm
$b mount -t devpts -o ptmxmode=666 devpts /root/dev/pts
$b mount -t tmpfs -o nosuid,nodev shm /root/dev/shm
$b mount -t tmpfs -o mode=0755 run /root/run
$b mkdir /root/run/results
$b mount -t 9p -o rw,$share results /root/run/results
$b cp $b /root/run/busybox
if [ -d /late ]; then $b cp -r /late /root/run/late; fi
$b umount /proc /sys
exec $b switch_root /root /run/busybox sh /run/results/main
