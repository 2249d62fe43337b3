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
	statusTimeout = 500 * time.Millisecond
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

// believe says whether a list of this cluster at this revision may be taken for
// the truth. What goes with all that was seen before may. Else every endpoint is
// asked: none may belong to another cluster, or still have what was known. A
// cluster that was wiped or restored is believed when it has shown the same for
// a while.
func (s *Store) believe(ctx context.Context, cluster uint64, rev int64) error {
	k := &s.known
	k.mu.Lock()
	sure := k.cluster == cluster && rev >= k.rev
	was, wasRev := k.cluster, k.rev
	k.mu.Unlock()
	if !sure {
		states := s.endpointStates(ctx)
		if err := sameCluster(cluster, states); err != nil {
			return err
		}
		if was != 0 {
			if err := outdated(was, wasRev, cluster, rev, states); err != nil {
				return err
			}
			if err := k.doubted(cluster, rev, s.cfg.ProgressInterval); err != nil {
				return err
			}
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cluster, k.rev, k.doubt = cluster, rev, doubt{}
	return nil
}

// sameCluster checks that all endpoints that answered belong to the cluster.
func sameCluster(cluster uint64, states []endpointState) error {
	for _, st := range states {
		if st.cluster != cluster {
			return &stale{fmt.Sprintf("the endpoints belong to different etcd clusters, nothing is believed: %s is of %x, not %x", st.endpoint, st.cluster, cluster)}
		}
	}
	return nil
}

// outdated refuses an older state while an endpoint still has what was known.
func outdated(was uint64, wasRev int64, cluster uint64, rev int64, states []endpointState) error {
	for _, st := range states {
		if st.cluster == was && st.rev >= wasRev && cluster == was {
			return &stale{fmt.Sprintf("etcd answered with revision %d, but %s has revision %d: not believed", rev, st.endpoint, st.rev)}
		}
	}
	return nil
}

// doubted counts an appearance of another state. It is an error until there were
// enough, in a row and over some time.
func (k *known) doubted(cluster uint64, rev int64, settle time.Duration) error {
	k.mu.Lock()
	defer k.mu.Unlock()
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

// endpointStates asks every endpoint for its cluster and revision. Where there is
// only one, the list has told already. One that does not answer, or cannot (a
// proxy), is left out.
func (s *Store) endpointStates(ctx context.Context) []endpointState {
	if len(s.cfg.Endpoints) < 2 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	c, err := s.connect(ctx)
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
