#!/usr/bin/env bash
# Makes the certificates of the etcd in components/etcd and the two Secrets that
# hold them, for kubectl apply -f:
#   etcd-certificates.sh DIR ADDRESS...
# DIR keeps the authority's key: it belongs into a safe, not into the cluster.
# ADDRESS are the members' nodes'. A DIR that is there is used again: with another
# address, or before the certificates end after a year.
set -euo pipefail
umask 077
[ $# -ge 2 ] || { sed -n '2,7s/^# \?//p' "$0" >&2; exit 2; }
dir=$1; shift
mkdir -p "$dir"; cd "$dir"
ec() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }
[ -f ca.key ] || ec ca.key
[ -f ca.crt ] || openssl req -x509 -new -key ca.key -subj /CN=vpp-cni-etcd -days 3650 -out ca.crt
# issue NAME COMMON-NAME EXTENSIONS
issue() {
  ec "$1.key"
  openssl req -new -key "$1.key" -subj "/CN=$2" |
    openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -extfile <(printf '%s\n' "$3") -out "$1.crt" 2>/dev/null
}
names=IP:127.0.0.1
for a; do names=$names,IP:$a; done
issue server etcd "extendedKeyUsage=serverAuth,clientAuth
subjectAltName=$names"
issue client vpp-agent extendedKeyUsage=clientAuth
# secret NAME FILES
secret() {
  printf -- '---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: vpp-cni}\ntype: kubernetes.io/tls\ndata:\n' "$1"
  for f in ca.crt:ca.crt "tls.crt:$2.crt" "tls.key:$2.key"; do
    printf '  %s: %s\n' "${f%%:*}" "$(base64 -w0 <"${f#*:}")"
  done
}
secret vpp-cni-etcd-server server
secret vpp-cni-etcd-client client
