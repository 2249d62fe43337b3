// Package gateway is the pods' window on etcd: it serves etcd's own gRPC API on
// one Unix socket a pod, with that pod's keys for all that there is. It decides
// what a pod may read and write, and answers as etcd would; what the keys mean
// belongs to package schema, and etcd itself is spoken to by schema/store alone.
//
// # What a pod sees
//
// The root is the pod's prefix: nodes/<node>/pods/<pod>/interfaces/net1 is
// interfaces/net1 here. Every range, also one over all keys, counts and shows
// only what is below the root. All of it may be read and watched; status/<ifname>
// may be put and deleted, with a value that is a schema.InterfaceStatus of at
// most Limits.StatusBytes, while interfaces/<ifname> is there. Everything else,
// every other method of etcd's API among it, is PermissionDenied in etcd's words.
// Transactions may read, compare, put and delete within the same bounds, in both
// branches; a transaction inside a transaction is refused.
//
// # Where answers come from
//
// Reads and watches are answered from memory, which one Subtree.Follow of
// nodes/<node>/pods/ keeps: one watch for all pods of the node, beside the one of
// nodes/<node>/host/ that the reconciler has. They are two because a status that
// a pod writes must not wake the reconciler, and an agent must not be woken by
// its own statuses. Reads are therefore not linearizable as etcd's are: they show
// one revision of etcd, which never goes back, and which has reached every write
// of the pod's own that was answered. Writes are forwarded in one transaction,
// guarded by the agent's presence.
//
// A pod's history is bounded (Limits.History). A range at a revision before it, a
// watch from there, and a watch that was not read from fast enough, get etcd's
// error of a compacted revision. So does every watch when the agent's own watch
// broke and all was read anew, or etcd was wiped or restored: clients list again.
//
// # While etcd is away
//
// Reads are answered from what is known and carry StaleHeader in their header
// metadata; the revision stays where it was, and progress requests of watches are
// not answered, since nobody vouches for the progress. Writes wait for etcd, until
// schema/store's time-out, and are then Unavailable; no more of a pod wait than
// Limits.Concurrent. An agent that has not read etcd yet
// answers nothing but Unavailable: never an empty list, which a pod would take
// for the removal of its interfaces.
//
// An etcd that was wiped or restored is shown as it is once schema/store believes
// it: the container agent holds what a list does not show (agent/daemon, hold.go)
// by the same rules as with etcd itself, and the two must not see different
// histories.
//
// # What a pod can have the agent hold
//
// Answers are held until the pod takes them: HTTP/2 leaves it to the client when.
// A pod's answers together have Limits.UntakenBytes (1 MiB). One that finds no
// place waits, and is refused after Limits.Patience with etcd's error of too many
// requests; one that would be longer than all is refused before it is built,
// ResourceExhausted, unless all of the pod's keys are as long: a list of each key
// once always works. A connection with an answer that is not taken within
// Limits.Untaken (30 s) is closed. So a pod that takes nothing costs the agent
// some 1 MiB beside what its connections and streams do, and itself alone its
// answers. A watch that finds no place waits, and is passed by.
//
// Requests are held until they are there. One that is not after Limits.Handshake
// (5 s) is given up; what a pod may send meanwhile is counted by bytes and by
// frames, since grpc keeps a hundred bytes for a frame of one.
//
// # What a revision tells
//
// Revisions are those of the cluster. A pod learns from them how many writes the
// whole cluster has made between two looks, and nothing of where or what. The
// cluster's id is passed on too, since clients tell a new cluster by it; the
// member's id and the raft term are not.
//
// # What else a pod can tell, and what does not work
//
// getpeername(2) shows the path that the socket was bound by, /proc/self/fd/<n>:
// n grows with the files that the agent has open. etcdctl endpoint health and
// status ask for alarms and for the member, and are refused; get, put, del, watch
// and txn work. A socket goes with its pod's last attachment: a pod that lives on
// without one is told nothing more.
//
// # Why not etcd's own packages
//
// server/v3/proxy/grpcproxy serves this API from a client, but forwards each range
// to etcd and opens a watch there for every distinct range: 250 pods would be 250
// watches, and answers stop with etcd. server/v3/storage/mvcc wants a bbolt file
// and numbers revisions by itself. Both bring the whole server into the agent. The
// shapes of ranges and of watches here follow server/etcdserver/txn and
// server/etcdserver/api/v3rpc of etcd 3.7, and the differential test holds
// them against a real etcd.
package gateway
