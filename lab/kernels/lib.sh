# What the checks in the machine share.
# shellcheck shell=sh

note() { echo "@@ note $*"; }
ok() { echo "@@ ok $*"; }
fail() { echo "@@ FAIL $*"; }
line() { tr '\n' ' ' | sed 's/ *$//'; }

# expect NAME WANTED COMMAND...: whether what the command prints is that, in one line; WANTED is a pattern of the shell's.
expect() {
    expect_name=$1 expect_wanted=$2
    shift 2
    expect_got=$("$@" 2>&1 | line)
    # shellcheck disable=SC2254 # a pattern
    case $expect_got in
    $expect_wanted) ok "$expect_name" ;;
    *) fail "$expect_name: '$expect_wanted' was expected, it is '$expect_got'" ;;
    esac
}

# await NAME WANTED COMMAND...: the same, as soon as it is so.
await() {
    await_name=$1 await_wanted=$2 await_left=600
    shift 2
    while [ $await_left -gt 0 ]; do
        await_got=$("$@" 2>&1 | line)
        # shellcheck disable=SC2254 # a pattern
        case $await_got in $await_wanted) ok "$await_name"; return 0 ;; esac
        await_left=$((await_left - 1))
        sleep 0.1
    done
    fail "$await_name: '$await_wanted' was awaited, it is '$await_got'"
    return 1
}

# busybox takes its own ip for iproute2's unless that is named by its path.
# servers: a and b, at the addresses of the manifests' endpoints.
servers() {
    for server in "a 1" "b 2"; do
        name=${server% *} last=${server#* }
        /usr/bin/ip addr replace "10.1.0.$last/32" dev lo
        /usr/bin/ip addr replace "fd00:1::$last/128" dev lo nodad
        bowline-lab-net serve --id "$name" --tcp "10.1.0.$last:8001" --udp "10.1.0.$last:8001" \
            --tcp "[fd00:1::$last]:8001" --udp "[fd00:1::$last]:8001" >/tmp/server-$name &
        SERVERS="$SERVERS $!"
        await "server $name is ready" ready cat /tmp/server-$name
    done
}

# seen ARGS...: a client of bowline-lab-net; the server that answered, or the call that failed, for each question.
seen() {
    bowline-lab-net "$@" | sed 's/.*"name":"\([^"]*\)".*/\1/; s/.*"what":"\([^"]*\)","errno":"\([^"]*\)".*/\1 \2/'
}
# sorted COMMAND...: its lines in order.
sorted() { "$@" | sort; }

# agent PROGRAM ARGS...: starts one, and waits until it is ready.
agent() {
    agent_program=$1
    shift
    # Without the end of a held connection's input, which would else stay open with the agent.
    "$agent_program" node --state files:/manifests --state-dir "" --hostname-override vm "$@" >/tmp/agent.log 2>&1 9>&- &
    AGENT=$!
    # Or until it has ended.
    while kill -0 "$AGENT" 2>/dev/null; do
        bowline-lab-net http 127.0.0.1:10256 /readyz >/dev/null 2>&1 && break
        sleep 0.1
    done
    expect "agent is ready: $agent_program $*" "ok*" bowline-lab-net http 127.0.0.1:10256 /readyz
    kill -0 "$AGENT" || tail -n 15 /tmp/agent.log | while read -r said; do note "| $said"; done
}
agent_killed() {
    kill -9 "$AGENT"
    wait "$AGENT" 2>/dev/null
}

# sockets: how many translations are remembered.
sockets() { bpftool map dump pinned "$(echo /sys/fs/bpf/bowline/layout-*/sockets)" | grep -c '^key\|"key":'; }

# hold ADDRESS:PORT, held NAME: a connection that is open from the one to the other.
hold() {
    rm -f /tmp/hold
    mkfifo /tmp/hold
    bowline-lab-net connect --stdin --target "$1" </tmp/hold >/tmp/held 2>&1 &
    HELD=$!
    exec 9>/tmp/hold
    await "a connection to $1 is open" '*"name":"[ab]"*' cat /tmp/held
}
held() {
    echo >&9
    exec 9>&-
    wait "$HELD"
    expect "$1" 2 grep -c '"name":"[ab]"' /tmp/held
}

# cleaned: takes all away, servers too, and looks whether it is gone.
cleaned() {
    expect "cleanup" "*removed*" bowline cleanup
    expect "cleanup: no pin is left" "" ls /sys/fs/bpf
    expect "cleanup: no lock is left" "" sh -c "ls /run/bowline 2>/dev/null"
    expect "cleanup: no program is left" "" bpftool cgroup show /sys/fs/cgroup
    # shellcheck disable=SC2086 # several
    kill $SERVERS
    SERVERS=
}
