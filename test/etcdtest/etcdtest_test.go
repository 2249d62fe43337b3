package etcdtest_test

import (
	"context"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

func TestClusters(t *testing.T) {
	for name, opts := range map[string]etcdtest.Options{
		"one member on a Unix socket": {},
		"three members":               {Members: 3},
		"one member on TCP":           {TCP: true},
		"one member with users":       {Auth: true},
		"three members with users":    {Auth: true, Members: 3},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			c := etcdtest.Start(t, opts)
			cl, err := c.Client()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cl.Close() }()
			if _, err := cl.Put(ctx, "a", "1"); err != nil {
				t.Fatal(err)
			}
			if err := c.Compact(ctx); err != nil {
				t.Fatal(err)
			}
			c.Stop(0)
			if err := c.Restart(0); err != nil {
				t.Fatal(err)
			}
			if got := value(ctx, t, c, "a"); got != "1" {
				t.Errorf("after a restart: a = %q, want 1", got)
			}
			if err := c.Wipe(); err != nil {
				t.Fatal(err)
			}
			if got := value(ctx, t, c, "a"); got != "" {
				t.Errorf("after a wipe: a = %q, want nothing", got)
			}
		})
	}
}

func value(ctx context.Context, t *testing.T, c *etcdtest.Cluster, key string) string {
	t.Helper()
	cl, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cl.Close() }()
	resp, err := cl.Get(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return ""
	}
	return string(resp.Kvs[0].Value)
}
