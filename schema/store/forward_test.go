package store_test

import (
	"errors"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

func putRequest(key, value string) *etcdserverpb.TxnRequest {
	return &etcdserverpb.TxnRequest{Success: []*etcdserverpb.RequestOp{{Request: &etcdserverpb.RequestOp_RequestPut{
		RequestPut: &etcdserverpb.PutRequest{Key: []byte(key), Value: []byte(value)},
	}}}}
}

// TestForwardWaits: a write made while etcd is away is carried out when it comes
// back in time, and fails at its time-out and no earlier where it does not.
func TestForwardWaits(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	hasty := openStore(t, store.Config{Endpoints: e.cluster.Endpoints(), RequestTimeout: time.Second})
	patient := openStore(t, store.Config{Endpoints: e.cluster.Endpoints(), RequestTimeout: time.Minute})
	for _, s := range []*store.Store{hasty, patient} {
		if _, err := s.Subtree("a/").Forward(e.ctx, "b/", putRequest("c", "before")); err != nil {
			t.Fatal(err)
		}
	}
	e.cluster.Stop(0)
	for range 2 { // the connection breaks, and then is known to be broken
		begin := time.Now()
		_, err := hasty.Subtree("a/").Forward(e.ctx, "b/", putRequest("c", "never"))
		if took := time.Since(begin); !errors.Is(err, store.ErrUnavailable) || took < 900*time.Millisecond || took > 10*time.Second {
			t.Errorf("etcd is away: %v after %s, want ErrUnavailable after a second", err, took)
		}
	}
	done := make(chan error, 1)
	go func() {
		_, err := patient.Subtree("a/").Forward(e.ctx, "b/", putRequest("c", "during"))
		done <- err
	}()
	time.Sleep(300 * time.Millisecond)
	select {
	case err := <-done:
		t.Errorf("it did not wait: %v", err)
	default:
	}
	if err := e.cluster.Restart(0); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("etcd came back in time: %v", err)
	}
	resp, err := patient.Subtree("a/").Forward(e.ctx, "b/", &etcdserverpb.TxnRequest{Success: []*etcdserverpb.RequestOp{{
		Request: &etcdserverpb.RequestOp_RequestRange{RequestRange: &etcdserverpb.RangeRequest{Key: []byte("c")}},
	}}})
	if err != nil || string(resp.Responses[0].GetResponseRange().Kvs[0].Value) != "during" {
		t.Errorf("afterwards: %v, %v", resp, err)
	}
}
