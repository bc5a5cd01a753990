#!/usr/bin/env bash
# Read a job on arm64, for real but for the processor: a worker in a Debian arm64 root under qemu,
# installed from a wheelhouse without a network; its texts against this machine's. As root, from a
# checkout, with debootstrap and qemu-user-static installed: make test-arm64
set -euo pipefail
cd "$(dirname "$0")/../.."
PIFLEET=${PIFLEET:-$PWD/.venv/bin/pifleet}
# shellcheck source=infra/proof/machines.sh
. infra/proof/machines.sh
ROOT=$PROOF/arm64
HERE=$PROOF/arm64-job
IMAGES=100
PIDS=()

INSIDE=(chroot "$ROOT" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/root)
inside() { "${INSIDE[@]}" "$@"; }
offline() { unshare --net "${INSIDE[@]}" "$@"; }
cleanup() {
    [ ${#PIDS[@]} = 0 ] || kill "${PIDS[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    for place in proc dev/shm wheelhouse; do umount "$ROOT/$place" 2>/dev/null || true; done
}
trap cleanup EXIT

register_qemu() { # as Debian's binfmt-support does; F: the interpreter is found in any root
    mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
    [ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] ||
        cat /usr/lib/binfmt.d/qemu-aarch64.conf >/proc/sys/fs/binfmt_misc/register
}

make_root() {
    [ ! -f "$ROOT/.complete" ] || return 0
    rm -rf "$ROOT"
    debootstrap --arch=arm64 --variant=minbase --include=python3,python3-venv "$SUITE" "$ROOT" \
        "$MIRROR" >"$PROOF/arm64.log"
    touch "$ROOT/.complete"
}

say "an arm64 root, and a wheelhouse for it"
mkdir -p "$PROOF"
register_qemu
make_root
fill_wheelhouse bookworm-arm64
inside uname -m
inside python3 --version

say "install the worker there, with the network off"
mkdir -p "$ROOT"/{wheelhouse,proc,dev/shm}
mount --bind "$PROOF/wheelhouse" "$ROOT/wheelhouse"
mount -t proc proc "$ROOT/proc"
mount -t tmpfs none "$ROOT/dev/shm"
rm -rf "$ROOT/opt/pifleet"
inside python3 -m venv /opt/pifleet
offline /opt/pifleet/bin/pip install --quiet --disable-pip-version-check \
    --no-index --find-links /wheelhouse 'pifleet[worker]'
inside /opt/pifleet/bin/pifleet --version
inside /opt/pifleet/bin/pifleet models verify captcha
inside /opt/pifleet/bin/pifleet models verify emnist

say "a job from here, read there"
rm -rf "$HERE" && mkdir -p "$HERE"
"$PIFLEET" generate captcha -n "$IMAGES" -o "$HERE/set" --seed 1 >/dev/null
mkdir "$HERE/images" && find "$HERE/set" -name '*.png' -exec cp -t "$HERE/images" {} +
PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])')
export PIFLEET_REDIS_URL=redis://127.0.0.1:$PORT/0
redis-server --port "$PORT" --save '' --dir "$HERE" >"$HERE/redis.log" &
PIDS+=($!)
# Under qemu all is some twenty times slower: the fleet's clocks go slower too.
PIFLEET_HEARTBEAT_S=20
# Not by the function: its shell would be what $! names, and the worker would outlive it.
"${INSIDE[@]}" PIFLEET_REDIS_URL="$PIFLEET_REDIS_URL" PIFLEET_FETCH_ALLOW=127.0.0.0/8 \
    PIFLEET_HEARTBEAT_S=$PIFLEET_HEARTBEAT_S PIFLEET_WORKER_NAME=arm64 \
    /opt/pifleet/bin/pifleet worker --concurrency 1 >"$HERE/worker.log" 2>&1 &
PIDS+=($!)
wait_for 300 "the worker's start" grep -q worker-starts "$HERE/worker.log"
export PIFLEET_HEARTBEAT_S
(cd "$HERE" && "$PIFLEET" submit images -o arm64.csv)

say "the same, read here"
"$PIFLEET" classify "$HERE/images" --csv "$HERE/here.csv"
cmp "$HERE/arm64.csv" "$HERE/here.csv"
echo "$(wc -l <"$HERE/here.csv") texts of arm64 are those of $(uname -m)"
say "done"
