#!/bin/sh
# The first process of a User Mode Linux machine. The kernel runs it by its path in the machine's directory, and passes
# the number of the machine as MACHINE. It prints a marker line before and after the output of the command.
PATH=/run/uml:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin
export PATH
dir=${0%/*}

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/uml
# The only writable directory that is shared with the host.
mount -t hostfs -o "$dir" hostfs /run/uml
# The directories to which tests and plugins write are empty and temporary. All other files are read-only.
for empty in /tmp /var/tmp /var/lib/cni; do
    [ ! -d $empty ] || mount -t tmpfs -o mode=1777 tmpfs $empty
done
# The project and its binaries, if they are below one of these directories.
while read -r keep; do
    [ -d "$keep" ] || { mkdir -p "$keep" && mount -r -t hostfs -o "$keep" hostfs "$keep"; }
done < /run/uml/keep

# Debian installs the modules in a directory that modprobe does not search.
mkdir -p /run/modules/lib
ln -s /usr/lib/uml/modules /run/modules/lib/modules
echo /run/uml/modprobe > /proc/sys/kernel/modprobe
# IPv6 is a module here, and programs read /proc/sys/net/ipv6 before there is an address.
modprobe ipv6
ip link set lo up

echo "--- init: start"
sh /run/uml/command
echo $? > "/run/uml/status-$MACHINE"
echo "--- init: end"
sync
exec xtask power-off
