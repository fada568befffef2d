# shellcheck shell=bash
# Two small nodes on this machine, for the demo: sourced, not run.
#
# A node is a network namespace and a cgroup; a pod is a network namespace, and a cgroup below its node's.
# That is all of a real one that Bowline sees. The names begin with `bowl-` and the id of this process, as
# those of the crate bowline-lab do, so that its sweep removes what a killed demo left.

lab=bowl-$$-0-demo
unified=$(awk '/ - cgroup2 / { print $5; exit }' /proc/self/mountinfo)
cgroup=$unified/$lab
bpf=/sys/fs/bpf/$lab
work=${TMPDIR:-/tmp}/$lab
declare -A node_of # by pod

# Everything that is made here hangs below these four names.
make_lab() {
    [ -n "$unified" ] || fail "no cgroup2 is mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup"
    grep -q ' /sys/fs/bpf ' /proc/self/mountinfo || mount -t bpf bpf /sys/fs/bpf
    mkdir "$cgroup" "$bpf" "$work"
    ip netns add "$lab.LAN" # the wire between the nodes
    ip -n "$lab.LAN" link add lan up type bridge
}

# make_node NAME NUMBER: the node's address is 192.168.0.NUMBER. It has no network for pods, and no way to those of others.
make_node() {
    local netns=$lab.$1
    mkdir "$cgroup/$1"
    ip netns add "$netns"
    ip -n "$netns" -batch - <<END
link set lo up
link add eth0 type veth peer name node$2 netns $lab.LAN
addr add 192.168.0.$2/24 dev eth0
link set eth0 up
END
    ip -n "$lab.LAN" link set "node$2" master lan up
}

# make_pod NAME NODE: a pod without a network, as a runtime makes it before it asks the CNI plugin.
make_pod() {
    node_of[$1]=$2
    mkdir "$cgroup/$2/$1"
    ip netns add "$lab.$1"
}

# add_pod NAME ADDRESS: what a container runtime does next, by the plugins and the configuration that its node's agent has put
# in place: the loopback, then the network, here with the address that the pod's manifest names. Prints the plugin's answer.
add_pod() {
    local cni=$work/${node_of[$1]}-cni
    export CNI_COMMAND=ADD CNI_CONTAINERID="$1-container" CNI_NETNS="/run/netns/$lab.$1" CNI_PATH="$cni/bin"
    CNI_IFNAME=lo "$cni/bin/loopback" <<<'{"cniVersion": "1.0.0", "name": "lo", "type": "loopback"}' >/dev/null || return 1
    CNI_IFNAME=eth0 CNI_ARGS="K8S_POD_NAMESPACE=default;K8S_POD_NAME=$1" "$cni/bin/bowline-cni" < <(
        python3 - "$cni/net.d/05-bowline.conflist" "$2" <<'END'
import json, sys
network = json.load(open(sys.argv[1]))
print(json.dumps(network["plugins"][0] | {
    "cniVersion": "1.0.0", "name": network["name"], "runtimeConfig": {"ips": [sys.argv[2]]},
}))
END
    )
}

# in_netns NODE COMMAND...: runs a command of the machine's own in the node's network namespace.
in_netns() { nsenter --net="/run/netns/$lab.$1" -- "${@:2}"; }

# in_host NODE|POD COMMAND...: runs a command there: in its cgroup and its network namespace.
in_host() (become "$@")

# become NODE|POD COMMAND...: the same instead of this shell; `become ... &` starts a program whose id is $!.
become() {
    local host=$1 path=${node_of[$1]:+${node_of[$1]}/}$1
    shift
    # shellcheck disable=SC2016 # the inner shell expands these
    exec sh -c 'echo $$ >"$1" && shift && exec nsenter --net="$0" -- "$@"' \
        "/run/netns/$lab.$host" "$cgroup/$path/cgroup.procs" "$@"
}

# Ends what runs in the hosts, and removes the hosts. Nothing here touches what another program made.
remove_lab() {
    local file left netns
    disown -a # their ends are no news
    while left=$(find "$cgroup" -name cgroup.procs -exec cat {} + 2>/dev/null) && [ -n "$left" ]; do
        # shellcheck disable=SC2086 # one word for each process
        kill -KILL $left 2>/dev/null
        sleep 0.01
    done
    for netns in /run/netns/"$lab".*; do
        [ ! -e "$netns" ] || ip netns del "${netns##*/}"
    done
    for file in "$bpf" "$cgroup"; do
        [ ! -d "$file" ] || find "$file" -depth \( -type d -exec rmdir {} \; -o -path "$bpf/*" -exec rm -f {} \; \)
    done
    rm -rf "$work"
}
