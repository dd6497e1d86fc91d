#!/bin/busybox sh
# First process of the guest: mounts the host's root (9p, read-only) under a tmpfs overlay, and goes on in it with /run/vm/stage2.
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
export PATH=/bin
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in $(cat /mods/order); do insmod "/mods/$module" || echo "insmod $module failed" >/dev/console; done
options=trans=virtio,version=9p2000.L,msize=524288
mount -t 9p -o $options,ro,cache=loose root /lower || echo "mount of the host's root failed" >/dev/console
mount -t tmpfs -o size=75% tmpfs /rw
mkdir /rw/upper /rw/work
mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work overlay /new
release=$(uname -r)
mkdir -p "/new/lib/modules/$release"
mount -t 9p -o $options,ro,cache=loose modules "/new/lib/modules/$release"
for folder in proc sys dev; do mount --move /$folder /new/$folder; done
mkdir -p /new/dev/pts /new/dev/shm
mount -t devpts devpts /new/dev/pts
mount -t tmpfs tmpfs /new/dev/shm
mount -t tmpfs tmpfs /new/run
mkdir -p /new/run/vm /new/run/netns /new/run/lock
# The exchange folder: results are written there.
mount -t 9p -o $options,rw,cache=none share /new/run/vm
mount -t cgroup2 none /new/sys/fs/cgroup
mount -t bpf bpf /new/sys/fs/bpf
mount -t debugfs debug /new/sys/kernel/debug
mount -t tracefs trace /new/sys/kernel/tracing 2>/dev/null
ln -sf /proc/self/fd /new/dev/fd
ln -sf fd/0 /new/dev/stdin
ln -sf fd/1 /new/dev/stdout
ln -sf fd/2 /new/dev/stderr
exec switch_root /new /bin/sh /run/vm/stage2
