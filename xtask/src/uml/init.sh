#!/bin/sh
# The first program on a User Mode Linux. The kernel runs it by its path in the machine's directory, and passes MACHINE,
# the machine's number. It writes two marker lines, around the output of the command.
PATH=/run/uml:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin
export PATH
dir=${0%/*}

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/uml
# The only directory that can be written to and is the machine's as well.
mount -t hostfs -o "$dir" hostfs /run/uml
# What tests and plugins write to is empty, and gone with the machine. Its other files are read-only.
for empty in /tmp /var/tmp /var/lib/cni; do
    [ ! -d $empty ] || mount -t tmpfs -o mode=1777 tmpfs $empty
done
# The project and its binaries, if they were below one of these.
while read -r keep; do
    [ -d "$keep" ] || { mkdir -p "$keep" && mount -r -t hostfs -o "$keep" hostfs "$keep"; }
done < /run/uml/keep

# Debian installs the modules where modprobe does not look.
mkdir -p /run/modules/lib
ln -s /usr/lib/uml/modules /run/modules/lib/modules
echo /run/uml/modprobe > /proc/sys/kernel/modprobe
# A module here; programs look at /proc/sys/net/ipv6 before there is an address.
modprobe ipv6
ip link set lo up

echo "--- init: start"
sh /run/uml/command
echo $? > "/run/uml/status-$MACHINE"
echo "--- init: end"
sync
exec xtask power-off
