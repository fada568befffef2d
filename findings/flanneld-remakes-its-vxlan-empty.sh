#!/usr/bin/env bash
# flanneld (0.28.10, backend vxlan) watches for the removal of its interface flannel.1 and makes it anew at once: without the
# routes, the forwarding entries and the neighbours of the other nodes, which it wrote when it heard of their leases and does not
# write again; with leases in etcd also with another Ethernet address, which it tells nobody. The interface looks well, and no pod
# of another node is reached until flanneld is restarted. Who takes flannel's place must not remove flannel.1 while flanneld runs.
#
# Seen: before, `10.5.2.0/24 via 10.5.2.0 dev flannel.1 onlink` and an entry for 192.168.9.2; 3 s after `ip link del flannel.1`
# the log says "recreated successfully", the interface is up, and it has neither. Needs root (a network namespace), iptables, Debian
# 12's archive (etcd), Go 1.25 and its module proxy; builds for some minutes. Ends with 1 if that has changed.
set -euo pipefail
folder=$(mktemp -d)
netns=finding-flannel-$$
pids=()
finish() {
    if ((${#pids[@]})); then kill "${pids[@]}" 2>/dev/null || true; fi
    wait || true
    ip netns del "$netns" 2>/dev/null || true
    chmod -R u+w "$folder"
    rm -rf "$folder"
}
trap finish EXIT
cd "$folder"
apt-get download -qq etcd-server etcd-client 2>/dev/null
for package in *.deb; do dpkg -x "$package" .; done
module=$(go mod download -json github.com/flannel-io/flannel@v0.28.10 | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
cp -r "$module" flannel
chmod -R u+w flannel
# Two backends that need a cloud's modules, and a C compiler.
sed -i '/backend\/tencentvpc"/d; /backend\/udp"/d' flannel/main.go
(cd flannel && CGO_ENABLED=0 go build -mod=mod -o ../flanneld .)

inside() { ip netns exec "$netns" "$@"; }
# Waits up to 30 s until a command succeeds.
until_it() {
    local until=$((SECONDS + 30))
    while ((SECONDS < until)); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    echo "in vain: $*" >&2
    return 1
}
ip netns add "$netns"
inside ip link set lo up
inside ip link add eth0 type veth peer name other
inside ip link set other up
inside ip link set eth0 up
inside ip addr add 192.168.9.1/24 dev eth0
inside ip route add default via 192.168.9.254
ip netns exec "$netns" usr/bin/etcd --data-dir data >etcd.log 2>&1 &
pids+=($!)
export ETCDCTL_API=3
until_it inside usr/bin/etcdctl endpoint health
inside usr/bin/etcdctl put /coreos.com/network/config '{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}'
inside usr/bin/etcdctl put /coreos.com/network/subnets/10.5.2.0-24 \
    '{"PublicIP": "192.168.9.2", "BackendType": "vxlan", "BackendData": {"VNI": 1, "VtepMAC": "5e:00:00:00:04:02"}}'
ip netns exec "$netns" ./flanneld --etcd-endpoints=http://127.0.0.1:2379 --iface=eth0 --subnet-file=subnet.env >flanneld.log 2>&1 &
pids+=($!)
has_route() { inside ip route show dev flannel.1 | grep -q '10.5.2.0/24'; }
until_it has_route
mac() { inside cat /sys/class/net/flannel.1/address; }
before=$(mac)
inside ip route show dev flannel.1
inside bridge fdb show dev flannel.1
inside ip link del flannel.1
until_it grep 'recreated successfully' flanneld.log
sleep 3
inside ip -br link show flannel.1
[[ $(mac) != "$before" ]]
[[ -z $(inside ip route show dev flannel.1) && -z $(inside bridge fdb show dev flannel.1) ]]
echo 'As described.'
