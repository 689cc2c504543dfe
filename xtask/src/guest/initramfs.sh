#!/busybox sh
# The first process in the initramfs of Debian's kernel: mounts the host's file system, read-only, and starts INIT on it.
while read -r module; do
    /busybox insmod "/$module" || echo "cannot load $module"
done < /modules
/busybox mkdir -p /root
/busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=524288 root /root || echo "cannot mount the host's files"
exec /busybox switch_root /root "$INIT"
