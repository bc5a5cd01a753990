#!/usr/bin/env bash
# Try a card: the user-data of `pifleet join` in machines that boot with cloud-init.
# As root, from a checkout: make test-card
set -euo pipefail
cd "$(dirname "$0")/../.."
PIFLEET=${PIFLEET:-$PWD/.venv/bin/pifleet}
# shellcheck source=infra/proof/machines.sh
. infra/proof/machines.sh
SITE=$PROOF/site
SERVERS=()
trap 'kill "${SERVERS[@]}" 2>/dev/null; stop_all' EXIT

seed() { # NAME FOLDER: what cloud-init finds at its first boot
    local place=$PROOF/$1.seed/var/lib/cloud/seed/nocloud
    mkdir -p "$place" "$PROOF/$1.seed/etc/cloud/cloud.cfg.d"
    cp "$2/user-data" "$place/"
    echo "instance-id: $1" >"$place/meta-data"
    # The network is the namespace's; network-config is only looked at, by netplan, below.
    printf 'network: {config: disabled}\ndisable_root: false\n' \
        >"$PROOF/$1.seed/etc/cloud/cloud.cfg.d/99-proof.cfg"
}

# shellcheck disable=SC1091
status() { (set -a; . "$SITE/access/metrics.env"; "$PIFLEET" status --json); }
workers() { status | python3 -c 'import json, sys
print(" ".join(sorted(one["worker"] for one in json.load(sys.stdin)["workers"])))'; }
has() { [ "$(workers | wc -w)" = "$1" ]; }

say "a control node at $NET.1"
stop_all
make_root
make_network
rm -rf "$SITE" && mkdir -p "$SITE/redis"
fill_wheelhouse bookworm-amd64
cd "$SITE"
"$PIFLEET" access init access --host "$NET.1" --at "$SITE/access" 2>/dev/null
/usr/bin/redis-server access/tls.conf --bind 0.0.0.0 --dir redis --save '' >redis.log 2>&1 &
SERVERS+=($!)
"$PIFLEET" join --serve --host "$NET.1" --wheels "$PROOF/wheelhouse" >serve.log 2>&1 &
SERVERS+=($!)
wait_for 60 "the server" grep -q gives serve.log
cat serve.log

say "a card for one, and one for many"
"$PIFLEET" join --new pi7 --at "https://$NET.1:8765" --time-server "$NET.1" \
    --ssh-key "$PROOF/key.pub"
"$PIFLEET" join --many 2 --at "https://$NET.1:8765"
for card in card-pi7 card-many; do
    cloud-init schema --config-file "$card/user-data"
    if command -v netplan >/dev/null; then
        install -D -m 600 "$card/network-config" "$SITE/netplan/etc/netplan/50-cloud-init.yaml"
        netplan generate --root-dir "$SITE/netplan" && echo "network-config is taken by netplan"
    fi
done
cd - >/dev/null
seed pi7 "$SITE/card-pi7"
seed one "$SITE/card-many"
seed two "$SITE/card-many"
seed three "$SITE/card-many"

say "pi7's first boot, and those of three with the card for two"
boot pi7 17
wait_for 240 "pi7" has 1
echo "workers: $(workers)"
for one in one:21 two:22 three:23; do boot "${one%:*}" "${one#*:}"; done
wait_for 240 "two more" has 3
echo "workers: $(workers)"
wait_for 60 "the third to be refused" grep -q 'used up' "$SITE/serve.log"
grep -v gives "$SITE/serve.log" | sort -u

say "what the journal of the one that was refused says"
for number in 21 22 23; do
    on $number journalctl -u pifleet-first-boot -o cat | grep 'used up' | tail -n 1 || true
done

say "what lies on pi7"
on 17 'hostname; stat -c "%a %U %n" /etc/pifleet/* /opt/pifleet; systemctl is-active pifleet-worker
    journalctl -u pifleet-first-boot -o cat | grep -E "changed|runs"
    systemctl show pifleet-worker -p LimitNOFILE -p MemoryMax -p NRestarts'

say "pi7 is stolen"
(cd "$SITE" && "$PIFLEET" access revoke pi7)
gone() { ! workers | grep -q pi7; }
wait_for 60 "its end" gone
echo "workers: $(workers)"
wait_for 60 "its journal" on 17 'journalctl -u pifleet-worker -o cat | grep -q "pifleet: "'
on 17 'journalctl -u pifleet-worker -o cat | grep "pifleet: " | tail -n 1'
say "done"
