package vppsim_test

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"go.fd.io/govpp"
	"go.fd.io/govpp/api"
	"go.fd.io/govpp/core"
	"go.uber.org/goleak"

	"github.com/vpp-cni/vpp-cni/test/vppsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a simulated VPP for one test.
func start(tb testing.TB) *vppsim.Sim {
	tb.Helper()
	sim, err := vppsim.Start(vppsim.Config{APISocket: filepath.Join(tb.TempDir(), "api.sock")})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(sim.Close)
	return sim
}

// client is a GoVPP connection with a deadline on every call.
type client struct {
	t    testing.TB
	conn *core.Connection
	ch   api.Channel
	done api.Watcher // of finished pings, from the first on
}

func dial(tb testing.TB, sim *vppsim.Sim) *client {
	tb.Helper()
	conn, err := govpp.Connect(sim.APISocket())
	if err != nil {
		tb.Fatal(err)
	}
	ch, err := conn.NewAPIChannel()
	if err != nil {
		tb.Fatal(err)
	}
	ch.SetReplyTimeout(5 * time.Second)
	c := &client{t: tb, conn: conn, ch: ch}
	tb.Cleanup(c.close)
	return c
}

func (c *client) close() {
	if c.conn == nil {
		return
	}
	c.ch.Close()
	if c.done != nil {
		c.done.Close()
	}
	c.conn.Disconnect()
	c.conn = nil
}

// call sends a request and gives back its retval. Anything else that goes wrong
// ends the test.
func (c *client) call(req, reply api.Message) int32 {
	c.t.Helper()
	err := c.ch.SendRequest(req).ReceiveReply(reply)
	var rv api.VPPApiError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &rv):
		return int32(rv)
	}
	c.t.Fatalf("%s: %v", req.GetMessageName(), err)
	return 0
}

// must is call for what has to succeed.
func (c *client) must(req, reply api.Message) {
	c.t.Helper()
	if rv := c.call(req, reply); rv != 0 {
		c.t.Fatalf("%s %+v: retval %d", req.GetMessageName(), req, rv)
	}
}

// dump collects the details that a dump gives.
func dump[D any, P interface {
	*D
	api.Message
}](c *client, req api.Message,
) []D {
	c.t.Helper()
	var all []D
	stream := c.ch.SendMultiRequest(req)
	for {
		var d D
		last, err := stream.ReceiveReply(P(&d))
		if err != nil {
			c.t.Fatalf("%s: %v", req.GetMessageName(), err)
		}
		if last {
			return all
		}
		all = append(all, d)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for !cond() {
		select {
		case <-ctx.Done():
			t.Fatalf("never came: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// replyTo makes an empty reply for a request.
func replyTo(tb testing.TB, req api.Message) api.Message {
	tb.Helper()
	want := req.GetMessageName() + "_reply"
	for _, messages := range api.GetRegisteredMessages() {
		for _, m := range messages {
			if m.GetMessageName() == want {
				reply, _ := reflect.New(reflect.TypeOf(m).Elem()).Interface().(api.Message)
				return reply
			}
		}
	}
	tb.Fatalf("no message %s", want)
	return nil
}
