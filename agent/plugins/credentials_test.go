package plugins

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
)

// TestCredentialsAreToldOfOnce: a line when something begins to be wrong, one
// when it becomes something else, one when it is over.
func TestCredentialsAreToldOfOnce(t *testing.T) {
	logger, hook := test.NewNullLogger()
	logger.SetOutput(io.Discard)
	ctx, cancel := context.WithCancel(t.Context())
	states := []error{nil, errors.New("late"), errors.New("late"), errors.New("gone"), nil, nil}
	i := 0
	watchCredentials(ctx, func() error {
		err := states[i]
		if i++; i == len(states) {
			cancel()
		}
		return err
	}, time.Millisecond, logrus.NewEntry(logger))
	var lines []string
	for _, e := range hook.AllEntries() {
		line := e.Message
		if err, ok := e.Data["err"].(error); ok {
			line += ": " + err.Error()
		}
		lines = append(lines, line)
	}
	want := `etcd's credentials need somebody's attention: late
etcd's credentials need somebody's attention: gone
etcd's credentials are in order again`
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("told\n%s\nwant\n%s", got, want)
	}
}
