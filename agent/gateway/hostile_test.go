package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/vpp-cni/vpp-cni/agent/gateway"
)

// allowed are the methods that a pod may call at all. What comes back from them
// is for TestNeighbours.
var allowed = []string{
	"/etcdserverpb.KV/Range", "/etcdserverpb.KV/RangeStream", "/etcdserverpb.KV/Put", "/etcdserverpb.KV/DeleteRange",
	"/etcdserverpb.KV/Txn", "/etcdserverpb.Watch/Watch",
}

// services are all that an etcd serves to clients.
func services() []protoreflect.ServiceDescriptor {
	var out []protoreflect.ServiceDescriptor
	for _, f := range []protoreflect.FileDescriptor{etcdserverpb.File_rpc_proto, v3lockpb.File_v3lock_proto, v3electionpb.File_v3election_proto} {
		for i := range f.Services().Len() {
			out = append(out, f.Services().Get(i))
		}
	}
	return out
}

// call calls a method of whatever kind with one message, and returns the error of
// the first answer.
func call(ctx context.Context, conn *grpc.ClientConn, method string, m protoreflect.MethodDescriptor, req any) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	if err = stream.SendMsg(req); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err = stream.CloseSend(); err != nil {
		return err
	}
	return stream.RecvMsg(dynamicpb.NewMessage(m.Output()))
}

// filled is a message whose fields all ask for something: keys and ends for
// everything, numbers for 1.
func filled(d protoreflect.MessageDescriptor, depth int) *dynamicpb.Message {
	m := dynamicpb.NewMessage(d)
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		if f.IsList() || f.IsMap() || depth > 3 {
			continue
		}
		switch f.Kind() {
		case protoreflect.BytesKind:
			m.Set(f, protoreflect.ValueOfBytes([]byte{0}))
		case protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString("root"))
		case protoreflect.Int64Kind:
			m.Set(f, protoreflect.ValueOfInt64(1))
		case protoreflect.Uint64Kind:
			m.Set(f, protoreflect.ValueOfUint64(1))
		case protoreflect.BoolKind:
			m.Set(f, protoreflect.ValueOfBool(true))
		case protoreflect.MessageKind:
			m.Set(f, protoreflect.ValueOfMessage(filled(f.Message(), depth+1)))
		default:
		}
	}
	return m
}

// TestEveryMethod calls every method of etcd's API, empty and filled, and one
// that nobody has: all but those of allowed are refused in etcd's words.
func TestEveryMethod(t *testing.T) {
	t.Parallel()
	w := newWorld(t, generous)
	conn := dial(t, w.open(myPod))
	w.set(myPod, "interfaces/net1", "mine")
	before := w.everything()
	n := 0
	for _, s := range services() {
		for i := range s.Methods().Len() {
			m := s.Methods().Get(i)
			name := fmt.Sprintf("/%s/%s", s.FullName(), m.Name())
			if slices.Contains(allowed, name) {
				continue
			}
			n++
			for _, req := range []*dynamicpb.Message{dynamicpb.NewMessage(m.Input()), filled(m.Input(), 0)} {
				denied(t, name, call(w.ctx(), conn, name, m, req))
			}
		}
	}
	if n < 40 {
		t.Errorf("%d methods were refused: are all of etcd's among them?", n)
	}
	m := services()[0].Methods().Get(0)
	for _, name := range []string{"/etcdserverpb.KV/Nothing", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/grpc.health.v1.Health/Check"} {
		denied(t, name, call(w.ctx(), conn, name, m, dynamicpb.NewMessage(m.Input())))
	}
	if after := w.everything(); after != before {
		t.Errorf("etcd has changed:\n%s\nbefore:\n%s", after, before)
	}
}

func denied(t *testing.T, what string, err error) {
	t.Helper()
	if s := status.Convert(err); s.Code() != codes.PermissionDenied || s.Message() != "etcdserver: permission denied" {
		t.Errorf("%s: %v, want etcd's PermissionDenied", what, err)
	}
}

// everything is all keys of etcd.
func (w *world) everything() string {
	w.t.Helper()
	resp, err := w.root.Get(w.ctx(), "\x00", clientv3.WithFromKey())
	if err != nil {
		w.t.Fatal(err)
	}
	var b strings.Builder
	for _, kv := range resp.Kvs {
		fmt.Fprintf(&b, "%s=%s at %d\n", kv.Key, kv.Value, kv.ModRevision)
	}
	return b.String()
}

// neighbours are keys beside and around the pod's own, with a secret in each.
func (w *world) neighbours() []string {
	keys := []string{
		w.keys.PodInterface(node, "p2", "net1"), w.keys.PodStatus(node, "p2", "net1"), w.keys.PodInterface(node, "p10", "net1"),
		w.keys.PodInterface(node, "p0", "net1"), w.keys.PodInterface("n10", myPod, "net1"), w.keys.PodsPrefix(node) + string(myPod),
		w.keys.PodsPrefix(node) + string(myPod) + "0", w.keys.PodsPrefix(node), w.keys.HostPrefix(node) + "c1/net1", w.keys.Agent(node),
		w.keys.Network("red"), "\x01", "\xff\xff", "interfaces/net1", "status/net1",
	}
	for _, k := range keys {
		if _, err := w.root.Put(w.ctx(), k, "secret"); err != nil {
			w.t.Fatal(err)
		}
	}
	return keys
}

// TestNeighbours asks for neighbours' keys by every shape of range, of compare and
// of watch, and tries to write them by every request that writes.
func TestNeighbours(t *testing.T) {
	t.Parallel()
	w := newWorld(t, generous)
	neighbours := w.neighbours()
	w.set(myPod, "interfaces/net1", "mine")
	w.set(myPod, "status/net1", ready("mine"))
	kv := etcdserverpb.NewKVClient(dial(t, w.open(myPod)))
	w.shown(w.client(), "status/net1", ready("mine"))
	before := w.everything()

	shapes := slices.Clone(neighbours)
	for _, k := range neighbours {
		shapes = append(shapes, strings.TrimPrefix(k, w.keys.PodPrefix(node, myPod)), "../"+strings.TrimPrefix(k, w.keys.PodsPrefix(node)))
	}
	shapes = append(shapes, "", "\x00", "\x00\x00", "/", "..", "../", "a", "~", "\xff", "status/", "status/..", "status/../x", "status/net1/", "status/net1\x00", "STATUS/net1")
	ends := append(slices.Clone(shapes), "\x00")
	ranges := 0
	for _, key := range shapes {
		for _, end := range ends {
			for _, opts := range []*etcdserverpb.RangeRequest{{}, {CountOnly: true}, {KeysOnly: true, Limit: 1}, {Revision: 2}, {SortTarget: 3, SortOrder: 2, Serializable: true}} {
				r := &etcdserverpb.RangeRequest{
					Key: []byte(key), RangeEnd: []byte(end), CountOnly: opts.CountOnly, KeysOnly: opts.KeysOnly, Limit: opts.Limit,
					Revision: opts.Revision, SortTarget: opts.SortTarget, SortOrder: opts.SortOrder, Serializable: opts.Serializable,
				}
				resp, err := kv.Range(w.ctx(), r)
				ranges++
				if err != nil {
					if c := status.Code(err); key == "" && c == codes.InvalidArgument || r.Revision != 0 && c == codes.OutOfRange {
						continue
					}
					t.Fatalf("%v: %v", r, err)
				}
				w.own(r.String(), resp)
			}
		}
		w.writes(kv, key)
	}
	if after := w.everything(); after != before {
		t.Errorf("etcd has changed:\n%s\nbefore:\n%s", after, before)
	}
	t.Logf("%d ranges", ranges)
}

// own wants an answer to show the pod's two keys at most, and to count no others.
func (w *world) own(what string, resp *etcdserverpb.RangeResponse) {
	w.t.Helper()
	if resp.Count > 2 || len(resp.Kvs) > 2 {
		w.t.Errorf("%s: count %d, %v", what, resp.Count, resp.Kvs)
	}
	for _, kv := range resp.Kvs {
		if k := string(kv.Key); k != "interfaces/net1" && k != "status/net1" || strings.Contains(string(kv.Value), "secret") {
			w.t.Errorf("%s: shows %q=%q", what, kv.Key, kv.Value)
		}
	}
}

// writes tries to write a key, and to learn of it by a transaction that is
// forwarded to etcd.
func (w *world) writes(kv etcdserverpb.KVClient, key string) {
	w.t.Helper()
	if key == "" || key == "status/net1" {
		return
	}
	k, value := []byte(key), []byte(ready("mine"))
	put := &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestPut{RequestPut: &etcdserverpb.PutRequest{Key: k, Value: value}}}
	del := &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestDeleteRange{RequestDeleteRange: &etcdserverpb.DeleteRangeRequest{Key: k}}}
	span := &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestDeleteRange{
		RequestDeleteRange: &etcdserverpb.DeleteRangeRequest{Key: []byte("status/net1"), RangeEnd: []byte("status/net2")},
	}}
	nested := &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestTxn{RequestTxn: &etcdserverpb.TxnRequest{Success: []*etcdserverpb.RequestOp{put}}}}
	_, err := kv.Put(w.ctx(), put.GetRequestPut())
	denied(w.t, "put "+key, err)
	_, err = kv.DeleteRange(w.ctx(), del.GetRequestDeleteRange())
	denied(w.t, "delete "+key, err)
	_, err = kv.DeleteRange(w.ctx(), &etcdserverpb.DeleteRangeRequest{Key: k, RangeEnd: []byte{0}})
	denied(w.t, "delete from "+key, err)
	for what, op := range map[string]*etcdserverpb.RequestOp{"put": put, "delete": del, "range delete": span, "nested": nested} {
		_, err = kv.Txn(w.ctx(), &etcdserverpb.TxnRequest{Success: []*etcdserverpb.RequestOp{op}})
		denied(w.t, "transaction, "+what+" "+key, err)
		_, err = kv.Txn(w.ctx(), &etcdserverpb.TxnRequest{Failure: []*etcdserverpb.RequestOp{op}})
		denied(w.t, "transaction's other branch, "+what+" "+key, err)
	}
	// A transaction that writes goes to etcd, with what it compares and reads.
	if key == "interfaces/net1" {
		return
	}
	noop := &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestDeleteRange{RequestDeleteRange: &etcdserverpb.DeleteRangeRequest{Key: []byte("status/absent")}}}
	read := &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestRange{RequestRange: &etcdserverpb.RangeRequest{Key: k, RangeEnd: []byte{0}}}}
	resp, err := kv.Txn(w.ctx(), &etcdserverpb.TxnRequest{
		Compare: []*etcdserverpb.Compare{{Key: k, Target: etcdserverpb.Compare_CREATE, Result: etcdserverpb.Compare_GREATER}},
		Success: []*etcdserverpb.RequestOp{noop, read}, Failure: []*etcdserverpb.RequestOp{noop, read},
	})
	if err != nil {
		w.t.Errorf("transaction that reads from %q: %v", key, err)
		return
	}
	if resp.Succeeded {
		w.t.Errorf("a compare says that %q is there", key)
	}
	w.own("transaction that reads from "+key, resp.Responses[1].GetResponseRange())
}

// TestStatusValues: what a pod may write as a status, and what not.
func TestStatusValues(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{Writes: 1000})
	w.open(myPod)
	w.set(myPod, "interfaces/net1", "mine")
	c := w.client()
	w.shown(c, "interfaces/net1", "mine")
	lease, err := w.root.Grant(w.ctx(), 60)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		key, value string
		opts       []clientv3.OpOption
		ok         bool
	}{
		"a status":             {key: "status/net1", value: ready("fine"), ok: true},
		"a field of tomorrow":  {key: "status/net1", value: strings.Replace(ready("x"), "{", `{"tomorrow":1,`, 1), ok: true},
		"no JSON":              {key: "status/net1", value: "hello"},
		"null":                 {key: "status/net1", value: "null"},
		"empty":                {key: "status/net1", value: ""},
		"two values":           {key: "status/net1", value: ready("x") + ready("y")},
		"no state":             {key: "status/net1", value: `{"specRevision":1,"reason":"Applied"}`},
		"the plugin's word":    {key: "status/net1", value: strings.Replace(ready("x"), "Ready", "Removed", 1)},
		"too long":             {key: "status/net1", value: ready(strings.Repeat("x", gateway.DefaultLimits.StatusBytes))},
		"an escape sequence":   {key: "status/net1", value: strings.Replace(ready("x"), `"x"`, `"\u001b[2J"`, 1)},
		"no UTF-8":             {key: "status/net1", value: ready("") + "\xff"},
		"no such interface":    {key: "status/net2", value: ready("x")},
		"a name that is none":  {key: "status/a/b", value: ready("x")},
		"a lease of another's": {key: "status/net1", value: ready("x"), opts: []clientv3.OpOption{clientv3.WithLease(lease.ID)}},
		"a lease that is none": {key: "status/net1", value: ready("x"), opts: []clientv3.OpOption{clientv3.WithLease(12345)}},
	} {
		_, err = c.Put(w.ctx(), tc.key, tc.value, tc.opts...)
		if tc.ok && err != nil || !tc.ok && (err == nil || err.Error() != "etcdserver: permission denied") {
			t.Errorf("%s: %v, want it taken: %v", name, err, tc.ok)
		}
	}
	// A branch that puts a status of nothing does nothing else either.
	before := w.everything()
	_, err = c.Txn(w.ctx()).Then(clientv3.OpPut("status/net1", ready("half")), clientv3.OpPut("status/net2", ready("x"))).Commit()
	if err == nil || w.everything() != before {
		t.Errorf("half a transaction: %v\n%s", err, w.everything())
	}
	// The other branch may: it is not taken.
	resp, err := c.Txn(w.ctx()).If(clientv3.Compare(clientv3.CreateRevision("interfaces/net1"), ">", 0)).
		Then(clientv3.OpPut("status/net1", ready("whole"))).Else(clientv3.OpPut("status/net2", ready("x"))).Commit()
	if err != nil || !resp.Succeeded || len(resp.Responses) != 1 || resp.Responses[0].GetResponsePut() == nil {
		t.Errorf("the branch that is taken: %v, %v", resp, err)
	}
}

// TestHeaders: no answer names a member of the cluster or a term, as etcd's do.
func TestHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{})
	kv := etcdserverpb.NewKVClient(dial(t, w.open(myPod)))
	w.set(myPod, "interfaces/net1", "mine")
	eventually(t, "the key", func() bool { v, _, _, err := w.get(kv, "interfaces/net1"); return err == nil && v == "mine" })
	key := []byte("status/net1")
	put := &etcdserverpb.PutRequest{Key: key, Value: []byte(ready("x"))}
	read := &etcdserverpb.RangeRequest{Key: key}
	headers := map[string]func() (*etcdserverpb.ResponseHeader, error){
		"Range": func() (*etcdserverpb.ResponseHeader, error) {
			r, err := kv.Range(w.ctx(), read)
			return r.GetHeader(), err
		},
		"Put": func() (*etcdserverpb.ResponseHeader, error) {
			r, err := kv.Put(w.ctx(), put)
			return r.GetHeader(), err
		},
		"DeleteRange": func() (*etcdserverpb.ResponseHeader, error) {
			r, err := kv.DeleteRange(w.ctx(), &etcdserverpb.DeleteRangeRequest{Key: key})
			return r.GetHeader(), err
		},
		"Txn that reads": func() (*etcdserverpb.ResponseHeader, error) {
			r, err := kv.Txn(w.ctx(), &etcdserverpb.TxnRequest{Success: []*etcdserverpb.RequestOp{{Request: &etcdserverpb.RequestOp_RequestRange{RequestRange: read}}}})
			return r.GetHeader(), err
		},
		"Txn that writes": func() (*etcdserverpb.ResponseHeader, error) {
			r, err := kv.Txn(w.ctx(), &etcdserverpb.TxnRequest{Success: []*etcdserverpb.RequestOp{{Request: &etcdserverpb.RequestOp_RequestPut{RequestPut: put}}}})
			return r.GetHeader(), err
		},
	}
	for name, call := range headers {
		h, err := call()
		if err != nil || h.GetMemberId() != 0 || h.GetRaftTerm() != 0 || h.GetRevision() == 0 {
			t.Errorf("%s: header %v (%v), want a revision, no member and no term", name, h, err)
		}
	}
	if resp, err := w.root.Get(w.ctx(), "x"); err != nil || resp.Header.MemberId == 0 || resp.Header.RaftTerm == 0 {
		t.Errorf("etcd itself: %v (%v): want a member and a term, else this tests nothing", resp, err)
	}
}
