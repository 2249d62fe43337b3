//go:build failpoints

package failpoint

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The environment variables.
const (
	envPoints = "VPP_CNI_FAILPOINTS"
	envSeed   = "VPP_CNI_FAILPOINT_SEED"
)

// On says whether this program has failpoints.
const On = true

// action is what happens at a point.
type action struct {
	kill    bool
	sleep   time.Duration
	percent int

	mu   sync.Mutex
	rand *rand.Rand
}

var points = sync.OnceValue(func() map[string]*action {
	seed := rand.Uint64() //nolint:gosec // tests need no secrecy
	if s := os.Getenv(envSeed); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			panic(fmt.Sprintf("%s=%s: a number is needed", envSeed, s))
		}
		seed = n
	}
	p, err := parse(os.Getenv(envPoints), seed)
	if err != nil {
		panic(envPoints + ": " + err.Error())
	}
	return p
})

// Hit is the point called name: here happens what the environment says.
func Hit(name string) {
	a := points()[name]
	if a == nil || !a.now() {
		return
	}
	if !a.kill {
		time.Sleep(a.sleep)
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way
}

// now says whether this is one of the cases.
func (a *action) now() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rand.IntN(100) < a.percent
}

// parse reads the points. Each has a sequence of its own, so that one that is
// hit more often does not shift another's cases.
func parse(s string, seed uint64) (map[string]*action, error) {
	out := map[string]*action{}
	for field := range strings.SplitSeq(s, ";") {
		if field = strings.TrimSpace(field); field == "" {
			continue
		}
		name, what, ok := strings.Cut(field, "=")
		if !ok || name == "" || out[name] != nil {
			return nil, fmt.Errorf("%q: name=action is needed, each name once", field)
		}
		a, err := parseAction(what)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", field, err)
		}
		h := fnv.New64a()
		_, _ = h.Write([]byte(name))
		a.rand = rand.New(rand.NewPCG(seed, h.Sum64())) //nolint:gosec // tests need no secrecy
		out[name] = a
	}
	return out, nil
}

func parseAction(s string) (*action, error) {
	a := &action{percent: 100}
	what, percent, ok := strings.Cut(s, "%")
	if ok {
		n, err := strconv.Atoi(percent)
		if err != nil || n < 0 || n > 100 {
			return nil, fmt.Errorf("%%%s is not from %%0 to %%100", percent)
		}
		a.percent = n
	}
	if what == "kill" {
		a.kill = true
		return a, nil
	}
	d, ok := strings.CutPrefix(what, "sleep:")
	if !ok {
		return nil, fmt.Errorf("action %q is not kill or sleep:<duration>", what)
	}
	var err error
	a.sleep, err = time.ParseDuration(d)
	return a, err
}
