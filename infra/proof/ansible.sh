#!/usr/bin/env bash
# Try the playbooks on three machines that run systemd: a control node and two workers. As root,
# from a checkout, with ansible-playbook on the PATH: make test-ansible
set -euo pipefail
cd "$(dirname "$0")/../.."
PIFLEET=${PIFLEET:-$PWD/.venv/bin/pifleet}
# shellcheck source=infra/proof/machines.sh
. infra/proof/machines.sh
trap stop_all EXIT
CONTROL=10 PI1=11 PI2=12
VERSION=$(sed -n 's/^version = //p' setup.cfg)

play() { # PLAYBOOK OPTION...: its recap in $PROOF/play.log
    local book=$1
    shift
    ANSIBLE_CONFIG=infra/ansible/ansible.cfg ansible-playbook -i "$PROOF/inventory.yml" \
        -e "pifleet_wheelhouse=$PROOF/wheelhouse/" -e worker_watched_s=20 "$@" \
        "infra/ansible/playbooks/$book" >"$PROOF/play.log" 2>&1
}

recap() { sed -n '/PLAY RECAP/,$p' "$PROOF/play.log" | grep 'ok=' | grep -v ^localhost | tr -s ' '; }
version_on() { on "$1" readlink /opt/pifleet | sed 's/.*pifleet-//'; }
status() { on $CONTROL 'set -a; . /var/lib/pifleet/access/metrics.env; pifleet status --json'; }
workers() { status | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["workers"]))'; }
has_workers() { [ "$(workers)" = "$1" ]; }
up() { on "$1" systemctl is-system-running --wait; on "$1" true; }

# release VERSION: this commit under another version, in the wheelhouse; stdin may spoil it first.
release() {
    local place=$PROOF/release
    rm -rf "$place" && mkdir "$place" && git archive HEAD | tar -x -C "$place"
    sed -i "s/^version = .*/version = $1/" "$place/setup.cfg"
    (cd "$place" && sh -eu)
    "$(dirname "$PIFLEET")/python" -m build --wheel --outdir "$PROOF/wheelhouse" "$place" \
        >"$PROOF/release.log" 2>&1
}

say "make three machines"
stop_all
make_root
make_network
boot control $CONTROL
boot pi1 $PI1
boot pi2 $PI2
fill_wheelhouse bookworm-amd64
for one in $CONTROL $PI1 $PI2; do wait_for 120 "ssh on $NET.$one" on "$one" true; done
cat >"$PROOF/inventory.yml" <<YAML
broker: {hosts: {control: {ansible_host: $NET.$CONTROL}}}
workers: {hosts: {pi1: {ansible_host: $NET.$PI1}, pi2: {ansible_host: $NET.$PI2}}}
watch: {hosts: {control: {}}}
all: {vars: {ansible_user: root, ansible_ssh_private_key_file: $PROOF/key}}
YAML

say "site.yml, on machines that have nothing"
play site.yml || { tail -30 "$PROOF/play.log"; fail "site.yml"; }
recap
wait_for 60 "two workers" has_workers 2

say "site.yml again"
play site.yml || fail "site.yml"
recap
! recap | grep -v 'changed=0 ' || fail "a second run changed something"

say "a job, from the control node"
on $CONTROL mkdir -p /srv/images
for n in $(seq 40); do
    for image in tests/data/captcha-0.7.1-*.png; do
        cp "$image" "$PROOF/$n-$(basename "$image")"
    done
done
(cd "$PROOF" && tar -c -- *.png) | on $CONTROL tar -x -C /srv/images
rm "$PROOF"/*.png
submit='cd /srv; set -a; . /var/lib/pifleet/access/producer.env
    PIFLEET_STATE_DIR=/srv/state pifleet submit images -o out.csv'
on $CONTROL "$submit" | tail -n 3

say "what Prometheus has of it"
metrics() { on $CONTROL "curl -s 127.0.0.1:9090/api/v1/query --data-urlencode query='$1'"; }
has_metric() { metrics "$1" | grep -q '"value":\[[0-9.]*,"'"$2"'"'; }
wait_for 60 "two workers in Prometheus" has_metric 'sum(pifleet_worker_up)' 2
wait_for 60 "its images in Prometheus" has_metric 'sum(pifleet_worker_images_total)' 200
echo "2 workers, 200 images, $(on $CONTROL 'curl -s 127.0.0.1:9090/api/v1/rules' |
    grep -o '"type":"alerting"' | wc -l) alert rules"
on $CONTROL ss -Hltn | awk '$4 ~ /:(5555|9090|9717)$/ { print "listens: " $4 }' | sort

say "a job that lasts half an hour: 180,000 images, 100 a second"
on $CONTROL mkdir /srv/many
on $CONTROL python3 - <<'PY'
import os
for image in os.listdir("/srv/images"):
    for n in range(900):
        os.link(f"/srv/images/{image}", f"/srv/many/{n}-{image}")
PY
on $CONTROL systemd-run --quiet --unit=many sh -c "'${submit//images -o out.csv/many -o many.csv --rate 100}'"
reads() { status | python3 -c 'import json, sys
sys.exit(0 if all(one["images"] > 600 for one in json.load(sys.stdin)["workers"]) else 1)'; }
wait_for 180 "images read by both" reads

# refused NUMBER WHAT WHY: a release that stdin spoils is tried by one Pi, which goes back for that.
refused() {
    local version=$VERSION.$1 why=$3
    say "upgrade.yml to $version, $2"
    release "$version"
    ! play upgrade.yml || fail "a broken upgrade went through"
    grep -o 'pi[12] went back: .*' "$PROOF/play.log" | head -n 1 | tee "$PROOF/why"
    grep -q "$why" "$PROOF/why" || fail "it went back for another reason"
    [ "$(version_on $PI1) $(version_on $PI2)" = "$VERSION $VERSION" ] || fail "it did not go back"
    wait_for 60 "two workers" has_workers 2
    wait_for 60 "the job, going on" on $CONTROL systemctl is-active many
    rm "$PROOF/wheelhouse/pifleet-$version-"*.whl
    on $CONTROL rm "/var/lib/pifleet/wheelhouse/pifleet-$version-py3-none-any.whl"
}

refused 1 "whose model is damaged" "model" <<'SH'
head -c 200000 models/captcha.tflite > t && mv t models/captcha.tflite
SH
refused 2 "which wants a wheel that is not there" "no-such-wheel" <<'SH'
sed -i 's/^    psutil >= 6$/&\n    no-such-wheel >= 1/' setup.cfg && grep -q no-such-wheel setup.cfg
SH
refused 3 "which fails every third image" "of its images fail" <<'SH'
sed -i 's/^    asked = time.monotonic()$/&\n    if item.index % 3 == 0:\n        return failure_row(item.index, ImageError(Reason.DAMAGED, "on purpose"))/' workers/pipeline.py
grep -q "on purpose" workers/pipeline.py
SH
refused 4 "which takes 0.3 s longer for each image" "a process reads" <<'SH'
sed -i 's/^    asked = time.monotonic()$/&\n    time.sleep(0.3)/' workers/pipeline.py
grep -q "sleep(0.3)" workers/pipeline.py
SH

say "upgrade.yml to $VERSION.5, which is well, while they read"
release "$VERSION.5" </dev/null
play upgrade.yml || { tail -30 "$PROOF/play.log"; fail "upgrade.yml"; }
recap
echo "pi1 has $(version_on $PI1), pi2 has $(version_on $PI2)"
on $CONTROL systemctl is-active many

say "rollback.yml"
play rollback.yml || { tail -30 "$PROOF/play.log"; fail "rollback.yml"; }
echo "pi1 has $(version_on $PI1), pi2 has $(version_on $PI2)"
[ "$(version_on $PI1) $(version_on $PI2)" = "$VERSION $VERSION" ] || fail "it did not go back"

say "drain.yml"
play drain.yml || fail "drain.yml"
wait_for 60 "an empty fleet" has_workers 0
echo "workers: $(workers)"

say "an inventory with a typo"
sed 's/^workers:/worker:/' "$PROOF/inventory.yml" >"$PROOF/typo.yml"
! play site.yml -i "$PROOF/typo.yml" || fail "a typo went through"
grep -o 'there is no group .*' "$PROOF/play.log" | head -n 1

say "reset.yml"
on $CONTROL systemctl stop many
play reset.yml || { tail -30 "$PROOF/play.log"; fail "reset.yml"; }
recap
for one in $CONTROL $PI1 $PI2; do
    left=$(on "$one" 'find / -xdev -name "*pifleet*" -not -path "/proc/*" 2>/dev/null
        systemctl list-unit-files --no-legend "*pifleet*"; id pifleet 2>/dev/null; true')
    [ -z "$left" ] || fail "reset.yml left on $NET.$one: $left"
done
echo "no file, unit or user is left on any of the three"
say "done"
