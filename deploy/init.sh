#!/bin/sh
# Makes what compose.yaml keeps secret, in the folder secrets/ beside this script: a CA and the
# broker's certificate, the passwords of the broker's users, the tokens of edgeai, and the password of
# Grafana's user admin.
#
#   ./init.sh [NAME...]           make what is missing; nothing that exists is changed
#   ./init.sh --renew [NAME...]   make a new certificate for the broker, by the same CA; it keeps the
#                                 names of the present one
#
# NAME: each name or address by which machines reach this PC, such as press-pc or 192.168.1.10; the
# host name and localhost are added. To change a password or token, delete its file and run this again.
# To drop a name, delete secrets/mqtt_server_certificate and run this with all names that shall stay.
#
# Run as root, each file gets the user of its container as owner, and nobody else can read it. Run by
# another user, the files can be read by all users of this machine who can enter secrets/: only you.
set -eu
umask 077

CA_DAYS=3650
SERVER_DAYS=730
EDGEAI=10001 MOSQUITTO=1883 PROMETHEUS=65534 ALERTMANAGER=65534 GRAFANA=472   # user ids in the images of compose.yaml

fail() { echo "init.sh: $*" >&2; exit 1; }

command -v openssl >/dev/null || fail "openssl is not installed; on Debian: apt-get install openssl"
case $(openssl version) in
    "OpenSSL 0."* | "OpenSSL 1."* | LibreSSL*) fail "openssl 3.0 or newer is needed ($(openssl version))" ;;
esac

# is_ipv4 NAME: four numbers from 0 to 255, without leading zeros, which some programs read as octal.
is_ipv4() {
    case $1 in *.) return 1 ;; esac
    old_ifs=$IFS; IFS=.
    # shellcheck disable=SC2086  # split at the points
    set -- $1
    IFS=$old_ifs
    [ $# = 4 ] || return 1
    for number in "$@"; do
        case $number in
            "" | *[!0-9]* | 0?* | ????*) return 1 ;;
        esac
        [ "$number" -le 255 ] || return 1
    done
}
# is_ipv6 NAME: as openssl reads it.
is_ipv6() {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null \
        -out /dev/null -subj /CN=x -addext "subjectAltName=IP:$1" 2>/dev/null
}
# is_host_name NAME: labels of letters, digits, - and _ with points between them; the last one has a
# letter, or it would be taken for an address.
is_host_name() {
    [ ${#1} -le 253 ] || return 1
    printf %s "$1" | grep -Eqx '([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?' \
        && printf %s "${1##*.}" | grep -q '[A-Za-z]'
}
# check_name NAME: refuse what no machine could use to reach the broker.
check_name() {
    case $1 in
        "") fail "an empty name was given: give the names and addresses of this PC, or none" ;;
        -*) fail "unknown option $1; known: --renew" ;;
        *:*) is_ipv6 "$1" && [ "$1" != :: ] || fail "'$1' is no IPv6 address, and a host name has no ':'" ;;
        *[!0-9.]*) is_host_name "$1" || fail "'$1' is not a host name or an IP address" ;;
        0.0.0.0) fail "0.0.0.0 stands for all addresses: give those by which machines reach this PC" ;;
        *) is_ipv4 "$1" || fail "'$1' is no IPv4 address: four numbers from 0 to 255 with points" ;;
    esac
}

renew=
if [ "${1-}" = --renew ]; then renew=yes; shift; fi
for name in "$@"; do check_name "$name"; done

cd "$(dirname "$0")"
mkdir -p secrets
cd secrets
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# give FILE OWNER GROUP MODE: give a file to the user of its container.
give() {
    if [ "$(id -u)" = 0 ]; then
        chown "$2:$3" "$1"
        chmod "$4" "$1"
    else
        chmod 444 "$1"
    fi
}
# keep FILE OWNER GROUP MODE: the same for a file that was made just now.
keep() {
    give "$@"
    echo "made secrets/$1"
}

# secret FILE OWNER GROUP MODE: make a random password or token if there is none.
secret() {
    if [ ! -s "$1" ]; then
        openssl rand -hex 24 > "$work/secret"
        mv "$work/secret" "$1"
        keep "$@"
        made=yes
    fi
}

# -------------------------------------------------------------------------------- certificates
present=
[ ! -s mqtt_server_certificate ] || present=$(openssl x509 -in mqtt_server_certificate -noout \
    -ext subjectAltName 2>/dev/null | sed -n '2{s/^ *//;s/IP Address:/IP:/g;s/, /,/g;p;}')
is_in_present() {   # DNS or IP, and the name
    [ -n "$present" ] || return 1
    case $1 in IP) option=-checkip ;; *) option=-checkhost ;; esac
    openssl x509 -in mqtt_server_certificate -noout "$option" "$2" | grep -q "does match"
}
kind_of() {
    case $1 in
        *[!0-9.:a-fA-F]*) echo DNS ;;
        *:* | *.*.*.*[0-9]) echo IP ;;
        *) echo DNS ;;
    esac
}
names=$present
missing=
for name in mosquitto localhost "$(hostname)" 127.0.0.1 "$@"; do
    kind=$(kind_of "$name")
    is_in_present "$kind" "$name" || names="${names:+$names,}$kind:$name"
done
for name in "$@"; do
    is_in_present "$(kind_of "$name")" "$name" || missing="$missing $name"
done
cat > "$work/openssl.cnf" <<END
[req]
distinguished_name = name
prompt = no
[name]
CN = edgeai
[ca]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = $names
END
key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"

if [ ! -s mqtt_ca_key ] || [ ! -s mqtt_ca_certificate ]; then
    [ ! -s mqtt_ca_certificate ] || [ -z "$renew" ] \
        || fail "secrets/mqtt_ca_key is missing, and without it no certificate can be made"
    if [ ! -s mqtt_ca_certificate ]; then
        # shellcheck disable=SC2086  # options
        openssl req -x509 $key -config "$work/openssl.cnf" -extensions ca -days $CA_DAYS \
            -subj "/CN=edgeai CA of $(hostname)" -keyout mqtt_ca_key -out mqtt_ca_certificate 2>/dev/null
        keep mqtt_ca_certificate "$(id -u)" "$(id -g)" 444
        chmod 400 mqtt_ca_key
        echo "made secrets/mqtt_ca_key (no container needs it: keep it in a safe place)"
    fi
fi
if [ -n "$renew" ] || [ ! -s mqtt_server_certificate ] || [ ! -s mqtt_server_key ]; then
    [ -s mqtt_ca_key ] || fail "secrets/mqtt_ca_key is missing, and without it no certificate can be made"
    # shellcheck disable=SC2086
    openssl req -new $key -config "$work/openssl.cnf" -subj "/CN=mosquitto" \
        -keyout "$work/key" -out "$work/request" 2>/dev/null
    openssl x509 -req -in "$work/request" -CA mqtt_ca_certificate -CAkey mqtt_ca_key \
        -set_serial "0x$(openssl rand -hex 16)" -days $SERVER_DAYS \
        -extfile "$work/openssl.cnf" -extensions server -out "$work/certificate" 2>/dev/null
    mv "$work/key" mqtt_server_key
    mv "$work/certificate" mqtt_server_certificate
    keep mqtt_server_key $MOSQUITTO $MOSQUITTO 400
    keep mqtt_server_certificate $MOSQUITTO $MOSQUITTO 444
    echo "the broker's certificate is for $names and ends in $SERVER_DAYS days"
    missing=
fi

# ------------------------------------------------------------------- passwords of the broker's users
made=
secret mqtt_edgeai_password $EDGEAI $EDGEAI 400
secret mqtt_line_password $EDGEAI $EDGEAI 400           # for the simulated line
secret mqtt_operator_password "$(id -u)" "$(id -g)" 400

# hash FILE: the password in a form of mosquitto: SHA-512 of password and salt, which is enough for
# the 192 random bits of `secret`. No command gets the password as an argument: others would see it.
hash() {
    salt=$(openssl rand -base64 12)
    digest=$({ tr -d '\n' < "$1"; printf %s "$salt" | openssl base64 -d -A; } \
        | openssl dgst -sha512 -binary | openssl base64 -A)
    printf "\$6\$%s\$%s\n" "$salt" "$digest"
}

if [ -n "$made" ] || [ ! -s mqtt_passwords ]; then
    for user in edgeai line operator; do
        printf '%s:%s\n' "$user" "$(hash "mqtt_${user}_password")"
    done > "$work/passwords"
    mv "$work/passwords" mqtt_passwords
    keep mqtt_passwords $MOSQUITTO $MOSQUITTO 400
fi

# ------------------------------------------------------------------------------- tokens, Grafana
secret edgeai_page_token $EDGEAI $EDGEAI 400
secret edgeai_metrics_token $EDGEAI $PROMETHEUS 440
secret grafana_admin_password $GRAFANA $GRAFANA 400

# The password of a mail server is not made here (docs/monitoring.md, "Mail"); it only gets its user.
if [ -e smtp_password ]; then
    [ -s smtp_password ] || fail "secrets/smtp_password is empty: write the password of the mail server into it"
    give smtp_password $ALERTMANAGER $ALERTMANAGER 400
fi

echo "all secrets are there. Grafana: user admin, password in secrets/grafana_admin_password;"
echo "status page of edgeai: any user name, password in secrets/edgeai_page_token"
if [ -n "$missing" ]; then
    echo "init.sh: the broker's certificate is for ${present:-no name}, and not for$missing: machines that use" >&2
    echo "this name refuse the broker. Add it: ./init.sh --renew$missing, then restart mosquitto" >&2
    exit 1
fi
