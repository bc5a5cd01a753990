# Machines to try things on: Debian roots in containers with systemd as PID 1, each with an address
# of its own on a bridge. For the scripts beside this file; as root, with debootstrap and
# systemd-container installed. It is all removed again, but for the root that the next run starts
# from.
# shellcheck shell=bash

PROOF=${PIFLEET_PROOF:-/var/tmp/pifleet-proof}
NET=10.77.0
BRIDGE=pfproof0
SUITE=bookworm
MIRROR=${PIFLEET_DEBIAN_MIRROR:-http://deb.debian.org/debian}
INCLUDED=systemd,systemd-sysv,dbus,sudo,curl,openssh-server,python3,python3-venv,redis-server
INCLUDED=$INCLUDED,python3-apt,ca-certificates,iproute2,procps,cloud-init
SSH=(ssh -q -i "$PROOF/key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null)

say() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }
fail() { echo "FAILED: $*" >&2; exit 1; }

make_root() {
    mkdir -p "$PROOF"
    [ -f "$PROOF/key" ] || ssh-keygen -q -t ed25519 -N '' -f "$PROOF/key"
    [ -f "$PROOF/base/.complete" ] && return
    rm -rf "$PROOF/base"
    debootstrap --variant=minbase --include="$INCLUDED" "$SUITE" "$PROOF/base" "$MIRROR" \
        >"$PROOF/root.log"
    rm -rf "$PROOF/base/var/cache/apt/archives/"*.deb
    # Packages that a playbook installs later, where no mirror is in reach.
    chroot "$PROOF/base" sh -c 'apt-get -qq update && apt-get -qq --yes --download-only \
        --no-install-recommends install prometheus' >>"$PROOF/root.log" 2>&1
    touch "$PROOF/base/.complete"
}

make_network() {
    sysctl -qw net.ipv4.ip_forward=1
    ip link add "$BRIDGE" type bridge
    ip address add "$NET.1/24" dev "$BRIDGE"
    ip link set "$BRIDGE" up
}

# boot NAME NUMBER: a fresh machine at $NET.NUMBER; what lies in $PROOF/NAME.seed goes onto it.
boot() {
    local name=$1 address=$NET.$2 place=$PROOF/machines/$1
    mkdir -p "$place"/{upper,work,root}
    mount -t overlay overlay "$place/root" \
        -o "lowerdir=$PROOF/base,upperdir=$place/upper,workdir=$place/work"
    echo "$name" >"$place/root/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$name" >"$place/root/etc/hosts"
    : >"$place/root/etc/machine-id"
    rm -f "$place/root/var/lib/dbus/machine-id" # else all have the same
    install -D -m 600 "$PROOF/key.pub" "$place/root/root/.ssh/authorized_keys"
    if [ -d "$PROOF/$name.seed" ]; then
        cp -r "$PROOF/$name.seed/." "$place/root/"
    else
        touch "$place/root/etc/cloud/cloud-init.disabled"
    fi
    ip netns add "pf-$name"
    ip link add "pf-$name" type veth peer name eth0 netns "pf-$name"
    ip link set "pf-$name" master "$BRIDGE" up
    ip -n "pf-$name" address add "$address/24" dev eth0
    ip -n "pf-$name" link set eth0 up
    ip -n "pf-$name" link set lo up
    ip -n "pf-$name" route add default via "$NET.1"
    systemd-nspawn --quiet --boot --register=no --keep-unit --machine="$name" \
        --directory="$place/root" --network-namespace-path="/run/netns/pf-$name" \
        </dev/null >"$place/console" 2>&1 &
    echo $! >"$place/pid"
}

on() { local address=$NET.$1; shift; "${SSH[@]}" "root@$address" "$@"; }

wait_for() { # SECONDS WHAT COMMAND...
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "$what did not happen"
        sleep 1
    done
}

stop_all() {
    local place name pid
    for place in "$PROOF"/machines/*; do
        [ -d "$place" ] || continue
        name=$(basename "$place")
        pid=$(cat "$place/pid" 2>/dev/null || echo none)
        # Its PID 1, with which all the machine's processes end; then systemd-nspawn ends by itself.
        pkill -KILL --parent "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
        for _ in 1 2 3 4 5; do umount "$place/root" 2>/dev/null && break; sleep 1; done
        ip netns delete "pf-$name" 2>/dev/null || true
        ip link delete "pf-$name" 2>/dev/null || true # its other end may outlive the namespace
        mountpoint -q "$place/root" || rm -rf "$place"
    done
    rm -rf "$PROOF"/*.seed
    ip link delete "$BRIDGE" 2>/dev/null || true
}

# fill_wheelhouse PLATFORM: with this commit in it; what others made is downloaded once.
fill_wheelhouse() {
    local stamp=$PROOF/wheelhouse/.$1
    make dist >"$PROOF/dist.log" 2>&1 || fail "make dist: see $PROOF/dist.log"
    rm -f "$PROOF"/wheelhouse/pifleet-*.whl
    if [ "$stamp" -nt setup.cfg ] && [ "$stamp" -nt constraints.txt ]; then
        cp dist/*.whl "$PROOF/wheelhouse/"
    else
        "$PIFLEET" wheelhouse "$PROOF/wheelhouse" --platform "$1"
        touch "$stamp"
    fi
}
