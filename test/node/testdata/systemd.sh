#!/bin/sh
# Runs a systemd of the test's own as the first process of a PID namespace, with
# nothing in it but what is in the unit directories given. It sees the machine's
# files, sets none of the kernel's settings, and has cgroups below $1.
set -e
parent=$1 units=$2
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys

# enter moves this process into a cgroup of its own below the hierarchy $1.
enter() {
  mkdir -p "$1$parent/systemd"
  for dir in "$1$parent" "$1$parent/systemd"; do
    for f in cpuset.cpus cpuset.mems; do
      if [ -e "$1/cgroup.clone_children" ] && [ -e "$dir/$f" ]; then cat "$1/$f" >"$dir/$f"; fi
    done
  done
  echo $$ >"$1$parent/systemd/cgroup.procs"
}

if [ -e /sys/fs/cgroup/cgroup.controllers ]; then # cgroup v2
  enter /sys/fs/cgroup
else
  # systemd makes /sys/fs/cgroup read-only and mounts there what the kernel has and it
  # does not find: it gets a directory of its own, and a kernel that has no more.
  awk '$2 != 0' /proc/cgroups >/run/machine/cgroups
  mount --bind /run/machine/cgroups /proc/cgroups
  mkdir -p /run/machine/cgroup
  mount -t tmpfs none /run/machine/cgroup
  for h in /sys/fs/cgroup/*/; do
    [ -e "$h/cgroup.procs" ] || continue
    mkdir "/run/machine/cgroup/$(basename "$h")"
    mount --bind "$h" "/run/machine/cgroup/$(basename "$h")"
  done
  mount --bind /run/machine/cgroup /sys/fs/cgroup
  for h in /run/machine/cgroup/*; do
    mount --bind "$h" "/sys/fs/cgroup/$(basename "$h")"
    enter "/sys/fs/cgroup/$(basename "$h")"
  done
fi

# The targets that a service needs by default.
mkdir -p "$units"
for target in test sysinit basic shutdown; do
  printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' "$target" >"$units/$target.target"
done
export container=vpp-cni-test SYSTEMD_UNIT_PATH="$units:/etc/systemd/system"
exec /usr/lib/systemd/systemd --system --unit=test.target --log-target=console --show-status=no
