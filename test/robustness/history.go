package robustness

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// everything is the object of events that concern all others.
const everything = "*"

// event is one line of the history.
type event struct {
	at     time.Duration
	round  int
	object string
	text   string
}

func (e event) String() string {
	return fmt.Sprintf("%8.3fs round %d  %-12s %s", e.at.Seconds(), e.round, e.object, e.text)
}

// history is what was done and what came of it, in the order of time.
type history struct {
	mu     sync.Mutex
	begin  time.Time
	round  int
	events []event
	echo   io.Writer // each line as it happens; nil: nowhere
}

func newHistory(echo io.Writer) *history { return &history{begin: time.Now(), echo: echo} }

func (h *history) startRound(n int) {
	h.mu.Lock()
	h.round = n
	h.mu.Unlock()
}

// add notes what happened to an object: a pod's name, or everything.
func (h *history) add(object, format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := event{at: time.Since(h.begin), round: h.round, object: object, text: fmt.Sprintf(format, args...)}
	h.events = append(h.events, e)
	if h.echo != nil {
		_, _ = fmt.Fprintln(h.echo, e)
	}
}

// keepRounds is how many rounds of everything a shortened history holds before
// the one that failed; of the objects concerned it holds all.
const keepRounds = 1

// shortened is the history of some objects, with the faults of the last rounds.
func (h *history) shortened(objects []string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var b strings.Builder
	left := 0
	for _, e := range h.events {
		mine := slices.Contains(objects, e.object)
		recent := e.round >= h.round-keepRounds
		if mine && e.round >= h.round-3*keepRounds || recent && (e.object == everything || len(objects) == 0) {
			fmt.Fprintln(&b, e)
			continue
		}
		left++
	}
	fmt.Fprintf(&b, "(%d events of other objects and earlier rounds left out)\n", left)
	return b.String()
}
