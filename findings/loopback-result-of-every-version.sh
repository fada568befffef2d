#!/usr/bin/env bash
# The CNI plugin `loopback` of containernetworking-plugins 1.1.1 (Debian 12) prints the result of CNI 1.0.0 whichever cniVersion
# it is asked in, under the version that was asked: for 0.2.0 `interfaces` and `ips` where that version has `ip4` and `ip6`, for
# 0.4.0 `ips` without the `version` that it demands there. Who decodes a result by its cniVersion loses the addresses, or refuses
# it; the shape alone tells what it is.
#
# Seen: {"cniVersion":"0.2.0","interfaces":[{"name":"lo",...}],"ips":[{"interface":0,"address":"127.0.0.1/8"},...],"dns":{}}
# Needs root (a network namespace), Debian 12's archive. Ends with 1 if that has changed.
set -euo pipefail
folder=$(mktemp -d)
netns=finding-loopback-$$
finish() { ip netns del "$netns" 2>/dev/null || true; rm -rf "$folder"; }
trap finish EXIT
cd "$folder"
apt-get download -qq 'containernetworking-plugins=1.1.1+ds1-3+b5' 2>/dev/null
dpkg -x containernetworking-plugins_*.deb .
ip netns add "$netns"
for version in 0.2.0 0.4.0 1.0.0; do
    said=$(printf '{"cniVersion": "%s", "name": "lo", "type": "loopback"}' "$version" |
        CNI_COMMAND=ADD CNI_CONTAINERID=a CNI_NETNS="/run/netns/$netns" CNI_IFNAME=lo CNI_PATH=usr/lib/cni \
            usr/lib/cni/loopback | tr -d ' \n')
    echo "$version: $said"
    [[ $said == "{\"cniVersion\":\"$version\",\"interfaces\":["*'"ips":[{"interface":0,"address":"127.0.0.1/8"}'* ]]
    [[ $said != *'"ip4"'* && $said != *'"version":"4"'* ]]
done
echo 'As described.'
