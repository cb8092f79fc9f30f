#!/bin/sh
# Makes the secrets of an installation on one server, once: passwords, random texts, an authority and certificates.
# What is there already is kept. Run it as root: some files belong to the user of one container.
#
#     sh infra/compose/secrets.sh /etc/cloakhouse/secrets
set -eu
umask 077
folder=${1:?the folder of the secrets}
mkdir -p "$folder"
chmod 700 "$folder"
cd "$folder"

keep() {  # keep NAME: the standard input becomes the file, unless it is there
    [ -s "$1" ] || { cat > "$1.new"; mv "$1.new" "$1"; }
}
random() { openssl rand -hex 32; }

openssl rand -base64 32 | tr '+/' '-_' | keep airflow-fernet
for name in airflow-jwt airflow-api spark postgres-password control-password airflow-password; do
    random | tr -d '\n' | keep "$name"
done
printf '{"admin": "%s", "engineer": "%s", "model": "%s", "auditor": "%s", "approver": "%s"}' \
    "$(random)" "$(random)" "$(random)" "$(random)" "$(random)" | keep airflow-passwords
printf 'postgresql:5432:cloakhouse:cloakhouse:%s\npostgresql:5432:airflow:airflow:%s\n' \
    "$(cat control-password)" "$(cat airflow-password)" | keep pgpass
printf 'lake,%s' "$(random)" | keep s3-key
printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' \
    "$(cut -d, -f1 s3-key)" "$(cut -d, -f2 s3-key)" | keep aws-credentials
[ -e bao-token ] || : > bao-token   # README.md: after OpenBao was initialised

if ! [ -s ca.crt ]; then
    openssl ecparam -name prime256v1 -genkey -noout -out authority.key
    openssl req -x509 -new -key authority.key -sha256 -days 1825 -subj "/CN=Cloakhouse of this server" \
        -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign" \
        -out ca.crt.new
    mv ca.crt.new ca.crt
fi
for name in postgresql openbao s3 api-server; do
    [ -s "$name.crt" ] && continue
    openssl ecparam -name prime256v1 -genkey -noout -out "$name.key"
    openssl req -new -key "$name.key" -subj "/CN=$name" -out "$name.csr"
    printf 'subjectAltName=DNS:%s,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n' \
        "$name" > "$name.ext"
    openssl x509 -req -in "$name.csr" -CA ca.crt -CAkey authority.key -CAcreateserial -sha256 -days 397 \
        -extfile "$name.ext" -out "$name.crt.new" 2>/dev/null
    mv "$name.crt.new" "$name.crt"
    rm -f "$name.csr" "$name.ext"
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
