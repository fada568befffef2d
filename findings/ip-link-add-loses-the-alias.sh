#!/usr/bin/env bash
# `ip link add NAME alias TEXT type KIND` (iproute2 6.1.0 of Debian 12, on Linux 6.18) succeeds and notes nothing: the kernel
# reads IFLA_IFALIAS only of a request that changes an interface, not of one that makes it, and refuses nothing. A program that
# marks what it makes by the alias has to set it in a second request, and has to know its interface without it if it is killed
# between the two.
#
# Seen: after `ip link add br9 alias mine type bridge`, `ip link show br9` has no line "alias mine"; after `ip link set br9 alias
# mine` it has. Needs root (a network namespace), Debian 12's archive. Ends with 1 if that has changed.
set -euo pipefail
folder=$(mktemp -d)
netns=finding-alias-$$
finish() { ip netns del "$netns" 2>/dev/null || true; rm -rf "$folder"; }
trap finish EXIT
cd "$folder"
apt-get download -qq 'iproute2=6.1.0-3' 2>/dev/null
dpkg -x iproute2_*.deb .
ip=$folder/bin/ip
[ -x "$ip" ] || ip=$folder/sbin/ip
"$ip" -V
"$ip" netns add "$netns"
"$ip" -n "$netns" link add br9 alias mine type bridge
"$ip" -n "$netns" link show br9
! "$ip" -n "$netns" link show br9 | grep -q 'alias mine'
"$ip" -n "$netns" link set br9 alias mine
"$ip" -n "$netns" link show br9 | grep 'alias mine'
echo 'As described.'
