#!/usr/bin/env bash
# Makes the certificates of the etcd in components/etcd, and prints the Secrets that
# hold them, for kubectl apply -f:
#   etcd-certificates.sh [--node NAME[=USER]]... DIR [ADDRESS...]
# DIR keeps the authority's key: it belongs into a safe, not into the cluster. A DIR
# that is there is used again: with another address or node, or before the
# certificates end after a year.
# ADDRESS are the members' nodes': with them the members' certificate is made.
# Without --node all nodes share one certificate, in a Secret. With it each node
# NAME has its own (components/node-certificates): DIR/nodes/NAME is what goes to
# that node's /etc/vpp-cni/node-tls, USER the user of vpp-cnictl etcd init-roles
# --node; root.crt and operator.crt are for etcd's administrator and for operators.
set -euo pipefail
umask 077
usage() { sed -n '2,/^set/s/^# \?//p' "$0" >&2; exit 2; }
nodes=()
while [ "${1:-}" = --node ]; do
  [ -n "${2:-}" ] || usage
  nodes+=("$2"); shift 2
done
[ $# -ge 2 ] || { [ $# = 1 ] && [ ${#nodes[@]} != 0 ]; } || usage
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
# secret NAME FILES
secret() {
  printf -- '---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: vpp-cni}\ntype: kubernetes.io/tls\ndata:\n' "$1"
  for f in ca.crt:ca.crt "tls.crt:$2.crt" "tls.key:$2.key"; do
    printf '  %s: %s\n' "${f%%:*}" "$(base64 -w0 <"${f#*:}")"
  done
}
if [ $# != 0 ]; then
  names=IP:127.0.0.1
  for a; do names=$names,IP:$a; done
  issue server etcd "extendedKeyUsage=serverAuth,clientAuth
subjectAltName=$names"
  secret vpp-cni-etcd-server server
fi
if [ ${#nodes[@]} = 0 ]; then
  issue client vpp-agent extendedKeyUsage=clientAuth
  secret vpp-cni-etcd-client client
  exit
fi
issue root root extendedKeyUsage=clientAuth
issue operator vpp-cni-operator extendedKeyUsage=clientAuth
for n in "${nodes[@]}"; do
  node=${n%%=*} user=vpp-cni-node-$n
  [ "$node" = "$n" ] || user=${n#*=}
  [[ $node =~ ^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$ ]] || { echo "$node is no node's name" >&2; exit 2; }
  # etcd knows a user by the certificate's common name, which has room for 64.
  [ ${#user} -le 64 ] || { echo "$user is longer than 64 characters: say --node $node=USER, here and to init-roles" >&2; exit 2; }
  mkdir -p "nodes/$node"
  issue "nodes/$node/tls" "$user" extendedKeyUsage=clientAuth
  cp ca.crt "nodes/$node/"
done
