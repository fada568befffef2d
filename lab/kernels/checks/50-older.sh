# The programs as a kernel gets them that lacks what is used only where it is there: they run here, too.
# shellcheck shell=sh

servers
export BOWLINE_KERNEL_VERSION=5.13
agent bowline
expect "as on 5.13: connections" "a a b b" sorted seen connect --times 4 --target 10.96.1.1:80
expect "as on 5.13: no endpoint" "connect EPERM" seen connect --target 10.96.1.2:80
expect "as on 5.13: UDP" "[ab] [ab]" seen udp --target 10.96.1.1:53 --target 10.96.1.1:53
await "as on 5.13: closed sockets are forgotten" 0 sockets
agent_killed
cleaned
