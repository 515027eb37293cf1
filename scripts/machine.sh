# shellcheck shell=bash
# A small Debian under its own systemd, in namespaces: for scripts/test-package. Sourced, never run, after lib.sh; needs root.
#
#   machine_make CODENAME PACKAGE…  makes its root folder, $machine/root, with these packages
#   machine_boot                    starts it, and waits until it has
#   on COMMAND…                     runs a command on it
#   machine_end                     ends it, whatever runs on it, and removes it
#
# It has a network of its own with nothing but a loopback, so that its servers' ports are not ours, and shares nothing with us but the
# kernel, whose settings it cannot change. No other process can see that it is a guest unless it looks for it.

machine="" machine_pid="" machine_group=""

machine_make() {
  local codename=$1 kept packages
  shift
  packages=$(IFS=, && echo "$*")
  # Unpacking what was made once is much faster than making it.
  kept=$project/target/package/debian-$codename-$(echo "$packages" | sha256sum | cut -c 1-8).tar
  machine=$(mktemp -d /var/tmp/warm-machine.XXXXXX)
  # Services see it as /.
  mkdir -m 755 "$machine/root"
  if [[ ! -e $kept ]]; then
    say "Making a Debian $codename with $packages (some minutes, once)"
    if ! debootstrap --variant=minbase --include="$packages" "$codename" "$machine/root" >"$machine/log" 2>&1; then
      tail -n 5 "$machine/log" >&2
      fail "debootstrap could not make a Debian $codename; its last words are above"
    fi
    mkdir -p "$(dirname "$kept")"
    tar -C "$machine/root" --numeric-owner -cf "$kept.new" . && mv "$kept.new" "$kept"
  else
    tar -C "$machine/root" --numeric-owner -xpf "$kept"
  fi
  echo machine >"$machine/root/etc/hostname"
  rm -f "$machine/root/etc/machine-id"
  systemd-machine-id-setup --root="$machine/root" >/dev/null 2>&1
  local unit
  # What would change the kernel that we share, or mount what it has no use for.
  for unit in systemd-sysctl.service systemd-modules-load.service systemd-remount-fs.service sys-kernel-debug.mount \
    sys-kernel-tracing.mount sys-fs-fuse-connections.mount dev-hugepages.mount; do
    ln -sf /dev/null "$machine/root/etc/systemd/system/$unit"
  done
}

# Runs as the first process of the new namespaces, in a shell that is told the root folder.
machine_init() {
  set -eu
  mount --make-rprivate /
  mount --bind "$1" "$1"
  cd "$1"
  mount -t proc proc proc
  mount --bind proc/sys proc/sys
  mount -o remount,bind,ro proc/sys
  mount -t sysfs -o ro sysfs sys
  mount -t tmpfs -o mode=755 tmpfs dev
  for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
  done
  ln -s /proc/self/fd dev/fd
  mkdir dev/shm dev/pts
  mount -t tmpfs tmpfs dev/shm
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
  ln -s pts/ptmx dev/ptmx
  mount -t tmpfs -o mode=755 tmpfs run
  mount -t tmpfs -o mode=1777 tmpfs tmp
  mount -t cgroup2 cgroup2 sys/fs/cgroup
  mkdir -p .old
  pivot_root . .old
  cd /
  umount -l /.old
  # As systemd expects it: else what it mounts for services, such as their credentials, stays out of sight.
  mount --make-rshared /
  exec /lib/systemd/systemd </dev/null >/dev/null 2>&1
}

machine_boot() {
  local groups
  groups=$(findmnt -t cgroup2 -no TARGET | head -n 1)
  [[ $groups ]] || fail "no cgroup2 hierarchy is mounted here, which systemd needs" "mount -t cgroup2 cgroup2 /some/folder"
  machine_group=$groups/warm-machine.$$
  mkdir "$machine_group"
  # It becomes part of the group before it enters its namespaces, so that the group is the root of what it sees.
  (
    echo "$BASHPID" >"$machine_group/cgroup.procs"
    exec env -i container=warm-machine PATH=/usr/sbin:/usr/bin:/sbin:/bin \
      unshare --pid --mount --uts --ipc --net --cgroup --fork --kill-child \
      bash -c "$(declare -f machine_init); machine_init \"\$@\"" machine "$machine/root" 2>"$machine/log"
  ) &
  local outer=$! tries
  for ((tries = 0; tries < 300; tries++)); do
    machine_pid=$(cat "/proc/$outer/task/$outer/children" 2>/dev/null) || fail "the machine did not start: $(<"$machine/log")"
    machine_pid=${machine_pid// /}
    if [[ $machine_pid && $(cat "/proc/$machine_pid/comm" 2>/dev/null) == systemd ]] &&
      on systemctl is-system-running 2>/dev/null | grep -qx -e running -e degraded; then
      return
    fi
    sleep 0.2
  done
  fail "the machine's systemd does not come up: $(on systemctl list-jobs --no-pager 2>&1)"
}

on() {
  nsenter --target "$machine_pid" --pid --mount --uts --ipc --net --cgroup \
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}

# Its mounts go with their namespace, which ends with its first process.
machine_end() {
  if [[ $machine_pid ]]; then
    kill -KILL "$machine_pid" 2>/dev/null || true
    wait 2>/dev/null || true
  fi
  if [[ $machine_group ]]; then
    find "$machine_group" -depth -type d -exec rmdir {} + 2>/dev/null || true
  fi
  if [[ $machine ]]; then
    rm -rf --one-file-system "$machine"
  fi
}
