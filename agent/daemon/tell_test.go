package daemon_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"

	"github.com/vpp-cni/vpp-cni/agent/daemon"
)

// toldOf are the log's lines about attachments: level, message, and the fields
// that a person looks for.
func toldOf(t *testing.T, hook *test.Hook) []string {
	t.Helper()
	var out []string
	for _, e := range hook.AllEntries() {
		if !strings.HasPrefix(e.Message, "attachment ") {
			continue
		}
		line := fmt.Sprint(e.Level, ": ", e.Message)
		for _, field := range []string{"container", "ifname", "interface", "reason"} {
			if v, ok := e.Data[field]; ok {
				line += fmt.Sprintf(" %s=%v", field, v)
			}
		}
		if took, ok := e.Data["took"].(time.Duration); ok && took <= 0 {
			t.Errorf("%s took %v", line, took)
		}
		if text, _ := e.Data["err"].(string); e.Level == logrus.WarnLevel && !strings.Contains(text, "memif") {
			t.Errorf("%s: %q does not name the object", line, text)
		}
		out = append(out, line)
	}
	hook.Reset()
	return out
}

// TestLogOfAttachments: at level info an ADD, a failure and a DEL are a line
// each; a restart of the agent says nothing of what stays as it was.
func TestLogOfAttachments(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	logger, hook := test.NewNullLogger()
	logger.SetLevel(logrus.InfoLevel)
	logged := func(c *daemon.Config) { c.Log = logger.WithField("node", "n1") }
	expect := func(what string, want ...string) {
		t.Helper()
		var got []string
		b.eventually("log of "+what, func() error {
			if got = append(got, toldOf(t, hook)...); len(got) < len(want) {
				return errors.New("lines are missing")
			}
			return nil
		})
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("log of %s (-want +got):\n%s", what, diff)
		}
	}
	b.startVPP()
	b.start(logged)
	b.ready()

	b.put("c1", host("p1"))
	b.await("c1", 0, "Ready/Applied")
	expect("an ADD", "info: attachment ready container=c1 ifname=net1 interface=memif1/0")

	b.stop()
	b.start(logged)
	b.ready()
	time.Sleep(100 * time.Millisecond)
	expect("a restart of the agent")

	b.sim.Refuse("memif_create_v2", -1, -1)
	b.put("c2", host("p2"))
	b.await("c2", 0, "Pending/Retrying")
	expect("a failure", "warning: attachment not ready container=c2 ifname=net1 reason=Retrying")

	b.del("c2")
	b.awaitGone("c2")
	b.del("c1")
	b.awaitGone("c1")
	expect("two DELs", "info: attachment removed container=c1 ifname=net1", "info: attachment removed container=c2 ifname=net1")
}
