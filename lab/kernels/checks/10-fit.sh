# `bowline check`: this kernel takes all that an agent ever loads, also what older ones get.
# shellcheck shell=sh

expect "check: the machine is fit" "*This machine is fit." bowline check
expect "check: nothing is pinned by it" "" ls /sys/fs/bpf
expect "check: what older kernels get" "*all 12 pass the verifier, those of a migration too*" \
    env BOWLINE_KERNEL_VERSION=5.13 bowline check
