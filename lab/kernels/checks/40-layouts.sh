# A migration to another layout of the maps, with a connection open; all that an agent of it loads.
# shellcheck shell=sh

if [ -x /usr/bin/bowline-next ]; then
    servers
    agent bowline
    hold 10.96.1.1:80
    agent_killed
    agent bowline-next
    expect "migrated: one set of maps" 1 sh -c "ls -d /sys/fs/bpf/bowline/layout-* | wc -l"
    expect "migrated: new connections" "a a b b" sorted seen connect --times 4 --target 10.96.1.1:80
    expect "migrated: UDP" "[ab]" seen udp --target 10.96.1.1:53
    held "migrated: an open connection"
    agent_killed
    cleaned
fi
