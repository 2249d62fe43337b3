package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

const (
	// progressEvery is how often a watch that asked for it is told of progress, as
	// etcd does by default (v3rpc, progressReportInterval).
	progressEvery = 10 * time.Minute
	// noWatch is the id in answers that concern no watch, or all (clientv3's
	// InvalidWatchID); anyWatch leaves the choice to the server.
	noWatch, anyWatch = -1, 0
	// The words of mvcc's errors, which it has for a watch that is not created.
	emptyRange  = "mvcc: watcher range is empty"
	duplicateID = "mvcc: duplicate watch ID provided on the WatchStream"
)

// watches is etcd's Watch service for all pods.
type watches struct {
	etcdserverpb.UnimplementedWatchServer
	g *Gateway
}

// watch is one watch of a stream. It has a place in the pod's history and no
// buffer: a client that does not read is passed by, and then told so.
type watch struct {
	id   int64
	span span
	// start is the revision that was asked for, 0 for none; next the oldest one
	// that has not been sent.
	start, next int64
	// life is the snapshot that the watch began with.
	life                              uint64
	noPut, noDelete, prevKV, progress bool
	// spoke: something was sent since the last tick of progress.
	spoke bool
}

// conversation is one watch stream. All is done by one goroutine, which sends
// what it has to say before it hears the next request.
type conversation struct {
	g       *Gateway
	p       *pod
	stream  etcdserverpb.Watch_WatchServer
	watches map[int64]*watch
	order   []int64
	nextID  int64
	// owed: progress was asked for and could not be vouched for yet.
	owed bool
}

// Watch serves one stream.
func (s watches) Watch(stream etcdserverpb.Watch_WatchServer) error {
	p := podOf(stream.Context())
	limits := s.g.cfg.Limits
	if !p.begin(limits.Watchers) {
		s.g.metrics.limited.WithLabelValues("watchers").Inc()
		return rpctypes.ErrGRPCRequestTooManyRequests
	}
	defer p.end()
	if _, ok := s.g.cache.await(stream.Context(), p.id, limits.Patience); !ok {
		return rpctypes.ErrGRPCTimeout
	}
	c := &conversation{g: s.g, p: p, stream: stream, watches: map[int64]*watch{}}
	defer c.leave()
	return c.run()
}

func (c *conversation) leave() {
	c.p.watched(-len(c.watches))
	c.g.metrics.watches.Sub(float64(len(c.watches)))
}

// heard is a request, or why there are no more.
type heard struct {
	req *etcdserverpb.WatchRequest
	err error
}

// hear receives requests at the pace that the limits allow.
func (c *conversation) hear(to chan<- heard) {
	ctx := c.stream.Context()
	for {
		req, err := c.stream.Recv()
		if err == nil && c.p.requests.Wait(ctx) != nil {
			return
		}
		select {
		case to <- heard{req, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

func (c *conversation) run() error {
	ctx := c.stream.Context()
	requests := make(chan heard)
	go c.hear(requests)
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		v, _ := c.g.cache.look(c.p.id)
		if err := c.catchUp(v); err != nil {
			return err
		}
		select {
		case h := <-requests:
			if errors.Is(h.err, io.EOF) { // the client has no more to ask, and goes on listening
				continue
			}
			if h.err == nil {
				h.err = c.answer(h.req)
			}
			if h.err != nil {
				return ended(h.err)
			}
		case <-v.changed:
		case <-tick.C:
			if err := c.tick(v); err != nil {
				return err
			}
		case <-ctx.Done():
			return ended(ctx.Err())
		}
	}
}

// ended is etcd's error for a stream that its client has ended.
func ended(err error) error {
	if errors.Is(err, context.Canceled) {
		return rpctypes.ErrGRPCWatchCanceled
	}
	return err
}

func (c *conversation) answer(req *etcdserverpb.WatchRequest) error {
	v, _ := c.g.cache.look(c.p.id)
	switch u := req.RequestUnion.(type) {
	case *etcdserverpb.WatchRequest_CreateRequest:
		if u.CreateRequest != nil {
			return c.create(v, u.CreateRequest)
		}
	case *etcdserverpb.WatchRequest_CancelRequest:
		if u.CancelRequest != nil && c.remove(u.CancelRequest.WatchId) {
			return c.stream.Send(&etcdserverpb.WatchResponse{Header: v.header(), WatchId: u.CancelRequest.WatchId, Canceled: true})
		}
	case *etcdserverpb.WatchRequest_ProgressRequest:
		c.owed = u.ProgressRequest != nil // catchUp pays
	}
	return nil
}

// create makes a watch, or says why not, as etcd's recvLoop does.
func (c *conversation) create(v view, r *etcdserverpb.WatchCreateRequest) error {
	w := newWatch(v, r)
	refused := ""
	switch {
	case r.StartRevision < 0:
		refused = rpctypes.ErrCompacted.Error()
	case len(w.span.end) > 0 && bytes.Compare(w.span.key, w.span.end) >= 0:
		refused = emptyRange
	case w.id != anyWatch && c.watches[w.id] != nil:
		refused = duplicateID
	case !c.p.mayWatch(c.g.cfg.Limits.Watches):
		c.g.metrics.limited.WithLabelValues("watches").Inc()
		refused = rpctypes.ErrGRPCRequestTooManyRequests.Error()
	}
	if refused != "" {
		return c.stream.Send(&etcdserverpb.WatchResponse{
			Header: v.header(), WatchId: noWatch, Created: true, Canceled: true, CancelReason: refused,
		})
	}
	if w.id == anyWatch {
		for c.watches[c.nextID] != nil {
			c.nextID++
		}
		w.id = c.nextID
		c.nextID++
	}
	c.watches[w.id] = w
	c.order = append(c.order, w.id)
	c.g.metrics.watches.Inc()
	return c.stream.Send(&etcdserverpb.WatchResponse{Header: v.header(), WatchId: w.id, Created: true})
}

func newWatch(v view, r *etcdserverpb.WatchCreateRequest) *watch {
	key := r.Key
	if len(key) == 0 {
		key = []byte{0} // the smallest key
	}
	w := &watch{
		id: r.WatchId, span: newSpan(key, r.RangeEnd), start: r.StartRevision, next: r.StartRevision, life: v.life,
		prevKV: r.PrevKv, progress: r.ProgressNotify,
	}
	if w.start == 0 {
		w.next = v.rev + 1
	}
	for _, f := range r.Filters {
		w.noPut = w.noPut || f == etcdserverpb.WatchCreateRequest_NOPUT
		w.noDelete = w.noDelete || f == etcdserverpb.WatchCreateRequest_NODELETE
	}
	return w
}

func (c *conversation) remove(id int64) bool {
	if c.watches[id] == nil {
		return false
	}
	delete(c.watches, id)
	for i, o := range c.order {
		if o == id {
			c.order = append(c.order[:i], c.order[i+1:]...)
			break
		}
	}
	c.p.watched(-1)
	c.g.metrics.watches.Dec()
	return true
}

// catchUp sends what the watches have not seen yet, in the order in which they
// were made, and then the progress that is owed.
func (c *conversation) catchUp(v view) error {
	for _, id := range append([]int64(nil), c.order...) {
		if err := c.bring(v, c.watches[id]); err != nil {
			return err
		}
	}
	if !c.owed || !v.vouched() {
		return nil
	}
	c.owed = false
	return c.progressed(v)
}

// progressed tells that every watch has seen everything, where all have begun. A
// stream without watches is told nothing (mvcc, progressIfSync).
func (c *conversation) progressed(v view) error {
	for _, w := range c.watches {
		if w.start > v.rev {
			return nil
		}
	}
	if len(c.watches) == 0 {
		return nil
	}
	return c.stream.Send(&etcdserverpb.WatchResponse{Header: v.header(), WatchId: noWatch})
}

// bring brings one watch up to date.
func (c *conversation) bring(v view, w *watch) error {
	if w.life != v.life || w.next < v.compact {
		c.remove(w.id)
		c.g.metrics.compacted.Inc()
		return c.stream.Send(&etcdserverpb.WatchResponse{
			Header:  &etcdserverpb.ResponseHeader{ClusterId: v.cluster},
			WatchId: w.id, Canceled: true, CompactRevision: v.compact,
		})
	}
	upTo := v.rev
	if !v.settled {
		upTo-- // changes of this very revision may still come
	}
	if w.next > upTo {
		return nil
	}
	events := w.events(v.history)
	w.next = upTo + 1
	if len(events) == 0 {
		return nil
	}
	w.spoke = true
	return c.stream.Send(&etcdserverpb.WatchResponse{Header: v.header(), WatchId: w.id, Events: events})
}

// events are what of the history is new to the watch.
func (w *watch) events(history []change) []*mvccpb.Event {
	first := len(history)
	for first > 0 && history[first-1].rev() >= w.next {
		first--
	}
	var out []*mvccpb.Event
	for _, ch := range history[first:] {
		if !w.span.contains(ch.kv.Key) || ch.delete && w.noDelete || !ch.delete && w.noPut {
			continue
		}
		ev := &mvccpb.Event{Kv: ch.kv}
		if ch.delete {
			ev.Type = mvccpb.Event_DELETE
		}
		if w.prevKV && (ch.delete || ch.kv.CreateRevision != ch.kv.ModRevision) {
			ev.PrevKv = ch.prev
		}
		out = append(out, ev)
	}
	return out
}

// tick tells the watches that want it of progress, unless they were told of
// events since the last tick.
func (c *conversation) tick(v view) error {
	if !v.vouched() {
		return nil
	}
	for _, id := range c.order {
		w := c.watches[id]
		spoke := w.spoke
		w.spoke = false
		if !w.progress || spoke || w.start > v.rev {
			continue
		}
		if err := c.stream.Send(&etcdserverpb.WatchResponse{Header: v.header(), WatchId: id}); err != nil {
			return err
		}
	}
	return nil
}
