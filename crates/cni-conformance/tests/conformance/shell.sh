#!/bin/sh
# A plugin that makes a veth pair and sets the address of its configuration. It reads JSON with sed.
conf=$(cat)
key() { printf %s "$conf" | tr -d '\n' | sed -n "s/.*\"$1\" *: *\"\([^\"]*\)\".*/\1/p"; }
fail() { echo "{\"code\": $1, \"msg\": \"$2\", \"details\": \"$3\"}"; exit 1; }
version=$(key cniVersion)
[ "$CNI_COMMAND" = VERSION ] && { echo '{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}'; exit; }
case "$CNI_COMMAND" in ADD | DEL | CHECK) ;; *) fail 4 "unknown CNI_COMMAND: $CNI_COMMAND" ;; esac
for name in CNI_CONTAINERID CNI_IFNAME; do
    eval "[ -n \"\$$name\" ]" || fail 4 "required variable $name is missing"
done
case "$CNI_CONTAINERID" in [!a-zA-Z0-9]* | *[!a-zA-Z0-9_.-]*) fail 4 "container ID" "$CNI_CONTAINERID" ;; esac
case "$CNI_IFNAME" in . | .. | *[!a-zA-Z0-9_.-]* | ????????????????*) fail 4 "name of the interface" ;; esac
case "$conf" in "{"*"}") ;; *) fail 6 "not JSON" ;; esac
[ -n "$(key name)" ] || fail 7 "the network has no name"
case "$version" in 0.4.0 | 1.0.0) ;; *) fail 1 "version" "supported: 0.4.0, 1.0.0" ;; esac
host=sh$(printf %s "$CNI_CONTAINERID-$CNI_IFNAME" | cksum | cut -d ' ' -f 1)
[ "$CNI_COMMAND" = DEL ] && { ip link del "$host" 2>/dev/null; exit 0; }
[ -n "$CNI_NETNS" ] || fail 4 "required variable CNI_NETNS is missing"
inside() { nsenter --net="$CNI_NETNS" ip "$@"; }
inside link show lo >/dev/null 2>&1 || fail 4 "no namespace" "$CNI_NETNS"
own=$(inside addr show dev "$CNI_IFNAME" 2>/dev/null)
[ "$CNI_COMMAND" = CHECK ] && case "$own" in *"$(key address)"*) exit ;; *) fail 100 "no address" ;; esac
[ -z "$own" ] || fail 101 "the interface exists"
ip link add "$host" type veth peer name "$CNI_IFNAME" netns "$CNI_NETNS" || fail 102 "cannot make the link"
inside addr add "$(key address)" dev "$CNI_IFNAME" && inside link set "$CNI_IFNAME" up && ip link set "$host" up
[ "$version" = 1.0.0 ] || family='"version": "4", '
echo "{\"cniVersion\": \"$version\", \"interfaces\": [{\"name\": \"$CNI_IFNAME\", \"sandbox\": \"$CNI_NETNS\"}],
 \"ips\": [{$family\"address\": \"$(key address)\", \"interface\": 0}]}"
