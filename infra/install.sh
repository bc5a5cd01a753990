#!/bin/sh
# Make this machine a worker of the fleet, from the control node's wheelhouse. Run it as often as
# you like: it does what is left to do, and says what it did. Nothing secret is among its arguments;
# it asks for a token if it needs one.
#
#   sudo sh install.sh [--at URL] [--name NAME] [--version VERSION]
#
# Exit codes are pifleet's own: 2 wants a person, 3 may pass by itself.
set -eu

AT=https://pifleet.local:8765    # what the control node announces by mDNS
NAME=
VERSION=
ETC=/etc/pifleet
LINK=/opt/pifleet                # to /opt/pifleet-VERSION; /opt/pifleet-previous leads back
UNIT=/etc/systemd/system/pifleet-worker.service
NEEDED_MB=600                    # an environment, and the wheels while they are unpacked
CLOCK_TRIES=60                   # of two seconds

changed() { echo "changed: $*"; }
stop() { code=$1; shift; echo "pifleet-install: $*" >&2; exit "$code"; }

read_arguments() {
    while [ $# -gt 0 ]; do
        [ $# -gt 1 ] || stop 2 "$1 wants a value"
        case $1 in
            --at) AT=${2%/} ;;
            --name) NAME=$2 ;;
            --version) VERSION=$2 ;;
            *) stop 2 "unknown option $1; known: --at URL, --name NAME, --version VERSION" ;;
        esac
        shift 2
    done
}

check_machine() {
    [ "$(id -u)" = 0 ] || stop 2 "run it as root: sudo sh install.sh"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        stop 2 "Python 3.11 or newer is needed: Raspberry Pi OS Bookworm has it"
    python3 -c 'import ensurepip' 2>/dev/null || stop 2 "run: apt install python3-venv"
    command -v curl >/dev/null || stop 2 "run: apt install curl"
    [ ! -d "$LINK" ] || [ -L "$LINK" ] ||
        stop 2 "$LINK is a folder of an installation by hand: remove it"
    EXTRA=worker
    if [ "$(getconf LONG_BIT)" = 32 ]; then    # a 64-bit kernel may run a 32-bit system
        EXTRA=worker-tflite-runtime
        python3 -c 'import sys; sys.exit(sys.version_info >= (3, 12))' ||
            stop 2 "no TFLite runtime for 32 bit beyond Python 3.11: take the 64-bit system"
    fi
}

check_space() {
    free_mb=$(df -Pk /opt | awk 'NR == 2 { print int($4 / 1024) }')
    [ "$free_mb" -ge "$NEEDED_MB" ] ||
        stop 2 "the card is full: $free_mb MB are free in /opt, $NEEDED_MB are needed"
}

# A Pi has no clock: until a time server is heard, no certificate can be judged.
wait_for_clock() {
    tries=0
    while [ "$(timedatectl show --property=NTP,NTPSynchronized --value 2>/dev/null |
        tr '\n' ' ')" = "yes no " ]; do
        [ "$tries" -gt 0 ] || echo "waiting for a time server: it is $(date -u +%FT%TZ) here"
        tries=$((tries + 1))
        [ "$tries" -lt "$CLOCK_TRIES" ] || { echo "none was heard: going on"; return; }
        sleep 2
    done
}

read_token() {
    if [ -f "$ETC/pifleet.env" ]; then TOKEN=; return; fi
    if [ -f "$ETC/token" ]; then
        TOKEN=$(cat "$ETC/token")
    else
        [ ! -t 0 ] || printf 'Token (of: pifleet join --token): ' >&2
        read -r TOKEN || stop 2 "give a token on stdin: pifleet join --token makes one"
    fi
}

# A certificate that nobody vouches for is taken if its fingerprint stands in the token.
get_authority() {
    install -d -m 755 "$ETC"
    if [ ! -f "$ETC/ca.crt" ]; then
        [ -n "$TOKEN" ] || stop 2 "$ETC/ca.crt is missing: copy it from the control node's access/"
        curl -fsSk --max-time 20 -o "$ETC/ca.crt.new" "$AT/ca.crt" || stop 3 "$AT cannot be reached"
        found=$(sha256sum "$ETC/ca.crt.new" | cut -c 1-32)
        [ "$found" = "${TOKEN##*.}" ] ||
            { rm "$ETC/ca.crt.new"; stop 2 "$AT is not this token's fleet: give --at"; }
        chmod 644 "$ETC/ca.crt.new"
        mv "$ETC/ca.crt.new" "$ETC/ca.crt"
        changed "$ETC/ca.crt"
    fi
}

get() {
    curl -fsS --max-time 60 --cacert "$ETC/ca.crt" "$AT/$1" ||
        stop 3 "$AT/$1 cannot be had: does \`pifleet join --serve\` run there? is the clock right?"
}

choose_version() {
    [ -z "$VERSION" ] || return 0
    wheels=$(get wheels/)
    VERSION=$(echo "$wheels" | sed -n 's/.*>pifleet-\([^-]*\)-py3-.*/\1/p' | sort -V | tail -n 1)
    [ -n "$VERSION" ] || stop 3 "the wheelhouse at $AT has no pifleet"
}

make_user() {
    if ! id pifleet >/dev/null 2>&1; then
        useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin pifleet
        changed "user pifleet"
    fi
}

lacking() {    # of what pip said
    wheel=$(printf '%s\n' "$1" | sed -n 's/.*satisfies the requirement \([^ ;]*\).*/\1/p')
    echo "${wheel:-something ($(printf '%s\n' "$1" | grep -m 1 ERROR))}"
}

install_version() {
    place=$LINK-$VERSION
    if [ ! -f "$place/.complete" ]; then
        check_space
        rm -rf "$place"
        python3 -m venv "$place"
        said=$("$place/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir \
            --no-index --find-links "$AT/wheels/" --cert "$ETC/ca.crt" \
            "pifleet[$EXTRA]==$VERSION" 2>&1) ||
            stop 3 "the wheelhouse at $AT lacks $(lacking "$said"): fill it there, by pifleet wheelhouse"
        touch "$place/.complete"
        changed "$place"
    fi
    if [ "$(readlink "$LINK" || true)" != "$place" ]; then
        [ ! -L "$LINK" ] || ln -sfn "$(readlink "$LINK")" "$LINK-previous"
        ln -sfn "$place" "$LINK"
        IS_NEW=yes
        changed "$LINK leads to $VERSION"
    fi
}

join() {
    [ ! -f "$ETC/pifleet.env" ] || return 0
    printf '%s\n' "$TOKEN" |
        "$LINK/bin/pifleet" join --at "$AT" --name "${NAME%%.*}" --etc "$ETC" ||
        exit $?    # it has said why
    rm -f "$ETC/token"
    changed "$ETC/pifleet.env"
}

install_unit() {
    new=$(get pifleet-worker.service)
    if [ "$new" != "$(cat "$UNIT" 2>/dev/null)" ]; then
        printf '%s\n' "$new" > "$UNIT"
        systemctl daemon-reload
        IS_NEW=yes
        changed "$UNIT"
    fi
    if ! systemctl is-enabled --quiet pifleet-worker; then
        systemctl enable --quiet pifleet-worker
        changed "it starts at boot"
    fi
    if [ "$IS_NEW" = yes ] || ! systemctl is-active --quiet pifleet-worker; then
        systemctl restart pifleet-worker ||
            stop 3 "the worker does not start: journalctl -u pifleet-worker says why"
        changed "the worker runs"
    fi
}

IS_NEW=
read_arguments "$@"
NAME=${NAME:-$(uname -n)}
check_machine
wait_for_clock
read_token
get_authority
choose_version
make_user
install_version
join
install_unit
echo "pifleet $VERSION runs as $NAME: \`pifleet status\` on the control node shows it"
