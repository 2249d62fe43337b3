package store

import (
	"context"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// statusTimeout bounds the look at every endpoint: one that hangs must not
	// hold up an agent's start for long.
	statusTimeout = 200 * time.Millisecond
	// doubtsNeeded is how many lists in a row must show the same other state
	// before it is believed.
	doubtsNeeded = 3
)

// known is the newest that is known of the cluster. What does not go with it, a
// list of another cluster or of an older revision, is doubted: a list of
// endpoints may hold members of two clusters, and a member may answer with what
// it had long ago.
type known struct {
	mu      sync.Mutex
	cluster uint64 // 0: nothing is known yet
	rev     int64
	doubt   doubt
}

// doubt is another state that was shown, how often in a row, and since when.
type doubt struct {
	cluster uint64
	rev     int64
	times   int
	since   time.Time
}

// endpointState is what one endpoint says of itself.
type endpointState struct {
	endpoint string
	cluster  uint64
	rev      int64
}

// note takes what a list or a watch that was believed has shown.
func (k *known) note(cluster uint64, rev int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if cluster == k.cluster {
		k.rev = max(k.rev, rev)
	}
}

// check refuses what does not go with what is known.
func (k *known) check(cluster uint64, rev int64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.cluster == 0:
		return nil
	case k.cluster != cluster:
		return twoClusters(k.cluster, cluster)
	case rev < k.rev:
		return &stale{fmt.Sprintf("etcd is at revision %d, and was at %d", rev, k.rev)}
	}
	return nil
}

// certain says whether there is nothing to ask the endpoints before a list.
func (k *known) certain() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cluster != 0 && k.doubt.times == 0
}

// survey asks every endpoint for its cluster and revision, before a list, where
// that may be needed to judge the list.
func (s *Store) survey(ctx context.Context) []endpointState {
	if s.known.certain() || len(s.cfg.Endpoints) < 2 {
		return nil // of one endpoint the list tells all
	}
	return s.endpointStates(ctx)
}

// believe says whether a list of this cluster at this revision may be taken for
// the truth. What goes with all that was seen before may. Else no endpoint may
// belong to another cluster, or have been ahead before the list was asked for.
// A cluster that was wiped, restored or made anew is believed when it has shown
// the same for a while.
func (s *Store) believe(cluster uint64, rev int64, states []endpointState) error {
	for _, st := range states {
		if st.cluster != cluster {
			return &stale{fmt.Sprintf("the endpoints belong to different etcd clusters, none is believed: %s is of %x, not %x", st.endpoint, st.cluster, cluster)}
		}
		if st.rev > rev {
			return &stale{fmt.Sprintf("etcd answered with revision %d, but %s had revision %d: not believed", rev, st.endpoint, st.rev)}
		}
	}
	k := &s.known
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cluster != 0 && (k.cluster != cluster || rev < k.rev) {
		if err := k.doubted(cluster, rev, s.cfg.ProgressInterval); err != nil {
			return err
		}
		if n := len(s.cfg.Endpoints); k.cluster != cluster && n > 1 && 2*len(states) <= n {
			return &stale{fmt.Sprintf("%v: not believed, since only %d of %d endpoints are of it", twoClusters(k.cluster, cluster), len(states), n)}
		}
	}
	k.cluster, k.rev, k.doubt = cluster, rev, doubt{}
	return nil
}

// doubted counts an appearance of another state. It is an error until there were
// enough, in a row and over some time.
func (k *known) doubted(cluster uint64, rev int64, settle time.Duration) error {
	d := &k.doubt
	if d.times == 0 || d.cluster != cluster || rev < d.rev {
		*d = doubt{cluster: cluster, since: time.Now()}
	}
	d.rev = rev
	d.times++
	if d.times >= doubtsNeeded && time.Since(d.since) >= settle {
		return nil
	}
	if cluster != k.cluster {
		return twoClusters(k.cluster, cluster)
	}
	return &stale{fmt.Sprintf("etcd is at revision %d, and was at %d: wiped or restored? It is believed if that goes on for %s", rev, k.rev, settle)}
}

func twoClusters(was, is uint64) error {
	return &stale{fmt.Sprintf("the endpoints now belong to another etcd cluster: %x, not %x", is, was)}
}

// endpointStates asks every endpoint for its state. One that does not answer in
// time, or cannot (a proxy), is left out.
func (s *Store) endpointStates(ctx context.Context) []endpointState {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	c, err := s.connect()
	if err != nil {
		return nil
	}
	var mu sync.Mutex
	var out []endpointState
	var wg sync.WaitGroup
	for _, ep := range s.cfg.Endpoints {
		wg.Go(func() {
			if st, err := askEndpoint(ctx, c, ep); err == nil {
				mu.Lock()
				defer mu.Unlock()
				out = append(out, st)
			}
		})
	}
	wg.Wait()
	return out
}

func askEndpoint(ctx context.Context, c *clientv3.Client, endpoint string) (endpointState, error) {
	resp, err := c.Status(ctx, endpoint)
	if err != nil {
		return endpointState{}, err
	}
	return endpointState{endpoint: endpoint, cluster: resp.Header.GetClusterId(), rev: resp.Header.GetRevision()}, nil
}
