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
nodes=()

# Everything that is made here hangs below these four names.
make_lab() {
    [ -n "$unified" ] || fail "no cgroup2 is mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup"
    grep -q ' /sys/fs/bpf ' /proc/self/mountinfo || mount -t bpf bpf /sys/fs/bpf
    mkdir "$cgroup" "$bpf" "$work"
    ip netns add "$lab.LAN" # the wire between the nodes
    ip -n "$lab.LAN" link add lan up type bridge
}

# make_node NAME NUMBER: the node's address is 192.168.0.NUMBER, its pods' are in 10.NUMBER.0.0/16.
make_node() {
    local netns=$lab.$1 other
    mkdir "$cgroup/$1"
    ip netns add "$netns"
    nsenter --net="/run/netns/$netns" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
    ip -n "$netns" -batch - <<END
link set lo up
link add eth0 type veth peer name node$2 netns $lab.LAN
addr add 192.168.0.$2/24 dev eth0
link set eth0 up
addr add 10.$2.0.1/32 dev lo
END
    ip -n "$lab.LAN" link set "node$2" master lan up
    for other in "${nodes[@]}"; do
        ip -n "$netns" route add "10.${other#*:}.0.0/16" via "192.168.0.${other#*:}"
        ip -n "$lab.${other%:*}" route add "10.$2.0.0/16" via "192.168.0.$2"
    done
    nodes+=("$1:$2")
}

# make_pod NAME NODE ADDRESS: a pod with a wire to its node, and routes to the pods of all nodes made so far;
# to nowhere else, so that a Service's address leads nowhere without Bowline.
make_pod() {
    local netns=$lab.$1 gateway=${3%.*}.1 node
    node_of[$1]=$2
    mkdir "$cgroup/$2/$1"
    ip netns add "$netns"
    ip -n "$lab.$2" -batch - <<END
link add pod${3##*.} type veth peer name eth0 netns $netns
link set pod${3##*.} up
route add $3 dev pod${3##*.}
END
    ip -n "$netns" -batch - <<END
link set lo up
addr add $3/32 dev eth0
link set eth0 up
route add $gateway dev eth0
END
    for node in "${nodes[@]}"; do
        ip -n "$netns" route add "10.${node#*:}.0.0/16" via "$gateway" dev eth0
    done
}

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
