# shellcheck shell=bash
# Two small nodes on this machine, for the demo: sourced, not run.
#
# A node is a network namespace, a cgroup, and mounts of its own: it has its own /run, /var/lib, /etc/cni and /opt/cni, and sees
# its own part of the cgroups and of the bpf file system. So containerd, runc and Bowline run there with the paths of a real
# node, and meet nothing of this machine's. A pod is a container of its node's containerd. The names begin with `bowl-` and
# the id of this process, as those of the crate bowline-lab do, so that its sweep removes what a killed demo left.

lab=bowl-$$-0-demo
mapfile -t hierarchies < <(awk '/ - cgroup2? / { print $5 }' /proc/self/mountinfo)
unified=$(awk '/ - cgroup2 / { print $5; exit }' /proc/self/mountinfo)
cgroup=$unified/$lab
bpf=/sys/fs/bpf/$lab
work=${TMPDIR:-/tmp}/$lab
image=bowline.test/empty:demo
declare -A holder  # the process that keeps a node's namespaces, by node
declare -A node_of # by pod

# Everything that is made here hangs below these names, and below the lab's in each hierarchy of cgroups.
make_lab() {
    [ -n "$unified" ] || fail "no cgroup2 is mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup"
    grep -q ' /sys/fs/bpf ' /proc/self/mountinfo || mount -t bpf bpf /sys/fs/bpf
    mkdir "$bpf" "$work"
    make_cgroups "$lab"
    make_image
    ip netns add "$lab.LAN" # the wire between the nodes
    ip -n "$lab.LAN" link add lan up type bridge
}

# make_cgroups PATH: in each hierarchy.
make_cgroups() {
    local hierarchy file
    for hierarchy in "${hierarchies[@]}"; do
        mkdir -p "$hierarchy/$1"
        [ ! -e "$hierarchy/cgroup.controllers" ] || continue
        # Of version 1: a new cpuset has no CPU and takes no process.
        for file in cpuset.cpus cpuset.mems; do
            [ ! -e "$hierarchy/$1/$file" ] || cat "$hierarchy/$1/../$file" >"$hierarchy/$1/$file"
        done
    done
}

# The image of all pods: empty folders. What runs in them is this machine's, whose /usr they get; so no registry is asked.
make_image() {
    local arch root=$work/image/root
    arch=$(uname -m)
    mkdir -p "$root"/{etc,guestbook,tmp,usr}
    for name in bin sbin lib lib64; do ln -s "usr/$name" "$root/$name"; done
    tar --owner=0 --group=0 -cf "$work/image/layer.tar" -C "$root" .
    printf '{"architecture": "%s", "os": "linux", "config": {"Env": ["PATH=/usr/sbin:/usr/bin"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:%s"]}}\n' "$(sed 's/x86_64/amd64/; s/aarch64/arm64/' <<<"$arch")" \
        "$(sha256sum "$work/image/layer.tar" | cut -d' ' -f1)" >"$work/image/config.json"
    printf '[{"Config": "config.json", "RepoTags": ["%s"], "Layers": ["layer.tar"]}]\n' "$image" >"$work/image/manifest.json"
    tar -cf "$work/image.tar" -C "$work/image" manifest.json config.json layer.tar
}

# What makes a node of a process in its network namespace: NAME, FOLDER, BPF, and cgroups with the mounts whose place they take.
# shellcheck disable=SC2016 # expanded in the node
node_script='
    hostname "$1"
    mount -t tmpfs tmpfs /run
    mount --bind "$2/lib" /var/lib
    for own in etc opt; do
        mkdir -p "/run/$own/new" "/run/$own/work"
        mount -t overlay -o "lowerdir=/$own,upperdir=/run/$own/new,workdir=/run/$own/work" overlay "/$own"
        rm -rf "/$own/cni"
    done
    mkdir -p /etc/cni/net.d /opt/cni/bin /run/instead
    ready=$2/ready
    shift 2
    while [ $# -gt 0 ]; do
        mount --bind "$1" /run/instead
        umount "$2"
        mount --move /run/instead "$2"
        shift 2
    done
    touch "$ready"
    exec sleep infinity'

# make_node NAME NUMBER: the node's address is 192.168.0.NUMBER. It has a containerd, and no network for pods.
make_node() {
    local netns=$lab.$1 own=$work/$1 hierarchy instead=("$bpf/$1" /sys/fs/bpf)
    mkdir -p "$own/lib" "$bpf/$1"
    make_cgroups "$lab/$1"
    for hierarchy in "${hierarchies[@]}"; do instead+=("$hierarchy/$lab/$1" "$hierarchy"); done
    ip netns add "$netns"
    ip -n "$netns" -batch - <<END
link set lo up
link add eth0 type veth peer name node$2 netns $lab.LAN
addr add 192.168.0.$2/24 dev eth0
link set eth0 up
END
    ip -n "$lab.LAN" link set "node$2" master lan up
    # shellcheck disable=SC2016 # the inner shell expands these
    sh -c 'echo $$ >"$0" && exec nsenter "$@"' "$cgroup/$1/cgroup.procs" --net="/run/netns/$netns" -- \
        unshare --mount --uts --propagation private -- sh -euc "$node_script" sh "$1" "$own" "${instead[@]}" >"$own/log" 2>&1 &
    holder[$1]=$!
    log=$own/log
    until_true "$1 has its mounts" holds "$1"
    # As people have it, but for what speaks with a kubelet.
    printf 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n' >"$own/containerd.toml"
    log=$own/containerd.log
    become "$1" containerd --config "$own/containerd.toml" --log-level warn >"$log" 2>&1 &
    until_true "containerd of $1 answers" in_node "$1" ctr version >/dev/null
    in_node "$1" ctr images import "$work/image.tar" >/dev/null || fail "containerd of $1 does not take the image"
    log=
}
holds() {
    kill -0 "${holder[$1]}" || fail "$1 has ended"
    [ -e "$work/$1/ready" ]
}

# in_node NODE COMMAND...: runs a command as somebody logged in there would.
in_node() (become "$@")

# become NODE COMMAND...: the same instead of this shell; `become ... &` starts a program whose id is $!.
become() {
    local procs=$cgroup/$1/cgroup.procs target=${holder[$1]}
    shift
    # Of an empty image there is nothing to lay over.
    export CONTAINERD_SNAPSHOTTER=native
    # shellcheck disable=SC2016 # the inner shell expands these
    exec sh -c 'echo $$ >"$0" && exec nsenter --target "$@"' "$procs" "$target" --mount --uts --net -- "$@"
}

# start_pod NAME NODE COMMAND...: a container with a network, by what the agent of its node has put in place. ctr stays with it;
# when it ends, its network goes. `flags` are more flags of ctr, and the pod's environment.
flags=()
start_pod() {
    local pod=$1 node=$2
    shift 2
    node_of[$pod]=$node
    # A node's cgroup has what controllers its machine gives it, maybe none: a container asks for no share of the CPU.
    become "$node" ctr run --rm --cni --cpu-shares 0 --mount type=bind,src=/usr,dst=/usr,options=rbind:ro \
        --mount "type=bind,src=$work/guestbook,dst=/guestbook,options=rbind:ro" "${flags[@]}" \
        "$image" "$pod" "$@" </dev/null >"$work/$pod.log" 2>&1 &
}

# in_pod POD COMMAND...: runs a command in its container.
in_pod() { in_node "${node_of[$1]}" ctr tasks exec --exec-id "x$RANDOM$RANDOM$RANDOM" "$@" </dev/null; }

# Ends what runs on the nodes, and removes them. Nothing here touches what another program made.
remove_lab() {
    local file left netns hierarchy
    disown -a # their ends are no news
    # Containers are in cgroups below their node's.
    for _ in {1..500}; do
        left=$(find "$cgroup" -name cgroup.procs -exec cat {} + 2>/dev/null)
        [ -n "$left" ] || break
        # shellcheck disable=SC2086 # one word for each process
        kill -KILL $left 2>/dev/null
        sleep 0.01
    done
    for netns in /run/netns/"$lab".*; do
        [ ! -e "$netns" ] || ip netns del "${netns##*/}"
    done
    for hierarchy in "${hierarchies[@]}"; do
        # What is killed leaves its cgroups a moment later.
        for _ in {1..100}; do
            [ -d "$hierarchy/$lab" ] || break
            find "$hierarchy/$lab" -depth -type d -exec rmdir {} \; 2>/dev/null && continue
            sleep 0.05
        done
    done
    file=$bpf
    [ ! -d "$file" ] || find "$file" -depth \( -type d -exec rmdir {} \; -o -exec rm -f {} \; \)
    rm -rf "$work"
}
