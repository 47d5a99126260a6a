#!/bin/sh
# The first process of the virtual machine: makes it usable, runs /command, and says how that ended
# to the host.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd/2 /dev/stderr

# The channels to the host.
modprobe -a virtio_pci virtio_console
# The kernel loads what is asked of it by name; these it does not, or not from every namespace.
modprobe -a veth bridge br_netfilter vxlan tun sch_ingress cls_bpf act_bpf nf_tables nft_compat \
    nf_conntrack nft_chain_nat xt_MASQUERADE xt_conntrack 2>/dev/null
ip link set lo up
hostname lb-vm

port() { # the device of a channel, by the name that QEMU gave it
    for attempt in $(seq 200); do
        for entry in /sys/class/virtio-ports/*; do
            if [ "$(cat "$entry/name" 2>/dev/null)" = "$1" ] && [ -c "/dev/${entry##*/}" ]; then
                echo "/dev/${entry##*/}"
                return
            fi
        done
        usleep 50000
    done
    echo "lb-vm: there is no channel $1" >/dev/console
    reboot -f
}

status=$(port lb.status)
echo up >"$status"
if [ -e /interactive ]; then
    until [ -c /dev/hvc0 ]; do usleep 50000; done
    setsid -c /command </dev/hvc0 >/dev/hvc0 2>&1
else
    /command </dev/null >"$(port lb.output)" 2>&1
fi
echo "exit $?" >"$status"
reboot -f
