#!/bin/sh
# Makes the secrets of an installation on one server, once: passwords, random texts, an authority and certificates.
# What is there already is kept. A file that is there is whole: each is made under another name first. Run it as root:
# some files belong to the user of one container.
#
#     sh infra/compose/secrets.sh /etc/cloakhouse/secrets
set -eu
umask 077
folder=${1:?the folder of the secrets}
mkdir -p "$folder"
chmod 700 "$folder"
cd "$folder"
trap 'rm -f ./*.new' EXIT

keep() {  # keep NAME COMMAND...: what the command writes becomes the file, unless it is there; nothing if it fails
    name=$1
    shift
    [ -s "$name" ] && return
    "$@" > "$name.new"
    [ -s "$name.new" ] || { echo "$name: nothing was made" >&2; exit 1; }
    mv "$name.new" "$name"
}
random() {  # 64 hexadecimal digits, in the variable `text`: a failure within $(...) of an argument would pass unseen
    text=$(openssl rand -hex 32)
    [ ${#text} -eq 64 ] || { echo "openssl made no random text" >&2; exit 1; }
}
digits() { random; printf %s "$text"; }
fernet() {
    random_key=$(openssl rand -base64 32)
    [ ${#random_key} -eq 44 ] || { echo "openssl made no random key" >&2; exit 1; }
    printf '%s\n' "$random_key" | tr '+/' '-_'
}
passwords() {
    separator='{'
    for user in admin engineer model auditor approver; do
        random
        printf '%s"%s": "%s"' "$separator" "$user" "$text"
        separator=', '
    done
    printf '}'
}
pgpass() {
    control=$(cat control-password)
    airflow=$(cat airflow-password)
    printf 'postgresql:5432:cloakhouse:cloakhouse:%s\npostgresql:5432:airflow:airflow:%s\n' "$control" "$airflow"
}
store_key() { random; printf 'lake,%s' "$text"; }
credentials() {
    id=$(cut -d, -f1 s3-key)
    secret=$(cut -d, -f2 s3-key)
    printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$id" "$secret"
}
new_key() { openssl ecparam -name prime256v1 -genkey -noout; }
authority() {
    openssl req -x509 -new -key authority.key -sha256 -days 1825 -subj "/CN=Cloakhouse of this server" \
        -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign"
}
certificate() {  # certificate NAME: of NAME.key, for the host of that name and this machine
    printf 'subjectAltName=DNS:%s,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n' \
        "$1" > extensions.new
    openssl req -new -key "$1.key" -subj "/CN=$1" > request.new
    openssl x509 -req -in request.new -CA ca.crt -CAkey authority.key -CAcreateserial -sha256 -days 397 \
        -extfile extensions.new 2>/dev/null || { echo "$1.crt: not made; is authority.key there?" >&2; exit 1; }
}

keep airflow-fernet fernet
for name in airflow-jwt airflow-api spark postgres-password control-password airflow-password; do
    keep "$name" digits
done
keep airflow-passwords passwords
keep pgpass pgpass
keep s3-key store_key
keep aws-credentials credentials
[ -e bao-token ] || : > bao-token   # README.md: after OpenBao was initialised

if ! [ -s ca.crt ]; then
    rm -f authority.key
    keep authority.key new_key
    keep ca.crt authority
fi
for host in postgresql openbao s3 api-server; do
    [ -s "$host.crt" ] && continue
    rm -f "$host.key"
    keep "$host.key" new_key
    keep "$host.crt" certificate "$host"
done

# The folder lets nobody but root in; a container sees the files that compose gives it, as its own user.
chmod 444 ./*.crt airflow-fernet airflow-jwt airflow-api airflow-passwords pgpass spark aws-credentials bao-token
own() { chown "$2" "$1" && chmod 400 "$1"; }
if [ "$(id -u)" = 0 ]; then
    for name in postgresql.key postgres-password control-password airflow-password; do own $name 999:999; done
    own openbao.key 100:1000
    for name in s3.key s3-key; do own $name 65534:65534; done
    own api-server.key 10001:10001
else
    echo "not root: the files of single containers keep this owner, and those containers can't read them" >&2
fi
