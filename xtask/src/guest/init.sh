#!/bin/sh
# The first process of a machine, started by its path in the machine's directory on the host, whose file system is mounted.
# The environment contains MACHINE, the number of the machine, SHARE, the kind of file system that leads to the host
# (hostfs or 9p), and MODULES, the directory of the kernel's modules. It prints a marker line before and after the output
# of the command.
PATH=/run/guest:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin
export PATH
dir=${0%/*}

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/guest /run/host
# The only writable directory that is shared with the host.
case $SHARE in
    hostfs) mount -t hostfs -o "$dir" hostfs /run/guest;;
    9p) mount -t 9p -o trans=virtio,version=9p2000.L room /run/guest;;
esac
# The directories to which tests and plugins write are empty and temporary. All other files are read-only.
mount --bind / /run/host
for empty in /tmp /var/tmp /var/lib/cni; do
    [ ! -d $empty ] || mount -t tmpfs -o mode=1777 tmpfs $empty
done
# The project and its binaries, if they are below one of these directories.
while read -r keep; do
    [ -d "$keep" ] || { mkdir -p "$keep" && mount --bind "/run/host$keep" "$keep"; }
done < /run/guest/keep
umount -l /run/host
# The host's devices are files on hostfs, and not accessible through 9p.
[ "$SHARE" = hostfs ] || {
    mount -t devtmpfs devtmpfs /dev
    mkdir -p /dev/pts /dev/shm
    mount -t devpts devpts /dev/pts
    mount -t tmpfs tmpfs /dev/shm
    ln -s /proc/self/fd /dev/fd
}

# The modules are not in the directory that modprobe searches.
mkdir -p /run/modules/lib
ln -s "$MODULES" /run/modules/lib/modules
echo /run/guest/modprobe > /proc/sys/kernel/modprobe
# IPv6 is a module in User Mode Linux, and programs read /proc/sys/net/ipv6 before there is an address.
modprobe -q ipv6
# In devtmpfs, /dev/net/tun exists after the module is loaded. The others are loaded by programs, to which the files in
# /run/guest may be hidden; the kernel loads what depends on them.
[ "$SHARE" = hostfs ] || modprobe -a tun br_netfilter ip_tables ip6_tables
ip link set lo up

echo "--- init: start"
sh /run/guest/command
echo $? > "/run/guest/status-$MACHINE"
echo "--- init: end"
sync
exec xtask power-off
