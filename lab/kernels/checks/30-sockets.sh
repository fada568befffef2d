# Sockets of every kind through an agent: while it runs, when it was killed, when its maps have other sizes.
# shellcheck shell=sh

servers
agent bowline

for ask in "connect 10.96.1.1:80" "connect [fd00:10:96::1]:80" "connect --mapped 10.96.1.1:80"; do
    expect "$ask: connections take turns" "a a b b" sorted seen ${ask% *} --times 4 --target "${ask##* }"
done
for ask in "udp 10.96.1.1:53" "udp [fd00:10:96::1]:53" "udp --mapped 10.96.1.1:53" "udp --connected 10.96.1.1:53"; do
    expect "$ask: is answered by the Service" "[ab]" seen ${ask% *} --target "${ask##* }"
done
expect "connect: getpeername shows the Service" "*\"from\":\"10.96.1.1:80\"*" \
    bowline-lab-net connect --target 10.96.1.1:80
expect "affinity: one client, one server" "*3 [ab]" sh -c "
    bowline-lab-net connect --times 3 --target 10.96.1.3:80 | sed 's/.*\"name\":\"//; s/\".*//' | sort | uniq -c"
expect "no endpoint: TCP" "connect ECONNREFUSED" seen connect --target 10.96.1.2:80
expect "no endpoint: UDP" "send ECONNREFUSED" seen udp --target 10.96.1.2:53
await "closed sockets are forgotten" 0 sockets

# One socket that asks two Services: what is further than the first hangs in a chain, which its close walks.
expect "one UDP socket, two Services" "[ab] send ECONNREFUSED [ab]" \
    seen udp --target 10.96.1.1:53 --target 10.96.1.2:53 --target 10.96.1.1:53
expect "one UDP socket, two families of one Service" "[ab] [ab] [ab] [ab]" \
    seen udp --target "[fd00:10:96::1]:53" --target "[fd00:10:96::1]:53" --target "[fd00:10:96::1]:53" --target "[fd00:10:96::1]:53"
await "sockets with many translations are forgotten" 0 sockets

hold 10.96.1.1:80
expect "an open connection is remembered" 1 sockets
agent_killed
expect "killed: connections go on" "a a b b" sorted seen connect --times 4 --target 10.96.1.1:80
agent bowline --max-sockets 65536
expect "other sizes: one set of maps" 1 sh -c "ls -d /sys/fs/bpf/bowline/layout-* | wc -l"
expect "other sizes: new connections" "a a b b" sorted seen connect --times 4 --target 10.96.1.1:80
held "other sizes: an open connection"
agent_killed
cleaned
