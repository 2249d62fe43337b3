package store_test

import (
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

// BenchmarkFirstCall is what a plugin waits for: a new connection and one Look.
func BenchmarkFirstCall(b *testing.B) {
	c := etcdtest.Start(b, etcdtest.Options{})
	for b.Loop() {
		s, err := store.Open(store.Config{Endpoints: c.Endpoints(), RequestTimeout: 10 * time.Second})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Look(b.Context(), lookup("c1", "p1")); err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLook is one more round trip on the same connection.
func BenchmarkLook(b *testing.B) {
	c := etcdtest.Start(b, etcdtest.Options{})
	s, err := store.Open(store.Config{Endpoints: c.Endpoints()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	for b.Loop() {
		if _, err := s.Look(b.Context(), lookup("c1", "p1")); err != nil {
			b.Fatal(err)
		}
	}
}
