# A start that fails leaves nothing: no pin, no mount, no lock.
# shellcheck shell=sh

# A folder that is none: the agent ends when it has made its maps, before it serves.
echo >/tmp/none
bowline node --state files:/tmp/none --state-dir "" >/tmp/agent.log 2>&1
expect "a start that fails says so" "*is no folder*" cat /tmp/agent.log
expect "a start that fails leaves no pin" "" ls /sys/fs/bpf
expect "a start that fails leaves no lock" "" sh -c "ls /run/bowline 2>/dev/null"
expect "a start that fails leaves no mount" "0" grep -c " /sys/fs/bpf " /proc/self/mountinfo
