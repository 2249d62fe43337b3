package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/agent/reconcile"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
)

var _ reconcile.Driver = (*Gateway)(nil)

// Kinds is the pods' sockets.
func (g *Gateway) Kinds() []model.Kind { return []model.Kind{model.KindGatewaySocket} }

// Dump lists the sockets that this process listens on, and whose files are there.
// A file that an agent before this one has left is taken over: it was there for
// an attachment, and whether that is still wanted, held or gone is seen when all
// is known. A directory that is gone has no socket.
func (g *Gateway) Dump(ctx context.Context) ([]model.Object, error) {
	entries, err := os.ReadDir(g.pods())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list sockets: %w", err)
	}
	var out []model.Object
	seen := map[schema.PodID]bool{}
	for _, e := range entries {
		id := schema.PodID(e.Name())
		if !e.IsDir() || id.Validate() != nil {
			continue
		}
		seen[id] = true
		o := model.GatewaySocket{Path: filepath.Join(g.pods(), e.Name(), schema.GatewaySocket)}
		if g.serves(ctx, id, o) {
			out = append(out, o)
		}
	}
	for _, s := range g.all() {
		if !seen[s.p.id] {
			g.end(s)
		}
	}
	return out, nil
}

// serves says whether the pod's socket is served, now at the latest.
func (g *Gateway) serves(ctx context.Context, id schema.PodID, o model.GatewaySocket) bool {
	dir, err := g.directory(id)
	if err != nil {
		return false
	}
	defer func() { _ = dir.Close() }()
	if s := g.socket(id); s != nil {
		return s.in(dir)
	}
	left, err := dir.Lstat(schema.GatewaySocket)
	if err != nil || left.Mode().Type() != fs.ModeSocket {
		return false
	}
	if err = g.open(ctx, id, dir, o); err != nil {
		g.cfg.Log.WithFields(logrus.Fields{"pod": id, "err": err}).Warn("gateway socket of an earlier agent not taken over")
	}
	return err == nil
}

// Put listens on the pod's socket. What this process listens on already, and
// whose file is gone, is made anew.
func (g *Gateway) Put(ctx context.Context, want, _ model.Object) error {
	o, ok := want.(model.GatewaySocket)
	if !ok {
		return fmt.Errorf("%s is no socket of the gateway", want.ID())
	}
	id, err := g.owner(o)
	if err != nil {
		return fmt.Errorf("put %s: %w", o.ID(), err)
	}
	dir, err := g.directory(id)
	if err != nil {
		return fmt.Errorf("put %s: %w", o.ID(), err)
	}
	defer func() { _ = dir.Close() }()
	if s := g.socket(id); s != nil {
		if s.in(dir) {
			return g.cfg.Dirs.Settle(o.Path)
		}
		g.end(s)
	}
	return g.open(ctx, id, dir, o)
}

// open makes the socket's file and listens.
func (g *Gateway) open(ctx context.Context, id schema.PodID, dir *os.Root, o model.GatewaySocket) error {
	if err := g.cfg.Dirs.Clear(ctx, o.Path); err != nil {
		return fmt.Errorf("put %s: %w", o.ID(), err)
	}
	s, err := g.listen(ctx, dir, id)
	if err != nil {
		return fmt.Errorf("put %s: %w", o.ID(), err)
	}
	if err = g.cfg.Dirs.Settle(o.Path); err != nil {
		return errors.Join(fmt.Errorf("put %s: %w", o.ID(), err), s.l.Close())
	}
	s.path = o.Path
	return g.begin(s)
}

// Delete ends the socket with its connections and removes its file, where it is
// still that one.
func (g *Gateway) Delete(_ context.Context, have model.Object) error {
	o, ok := have.(model.GatewaySocket)
	if !ok {
		return fmt.Errorf("%s is no socket of the gateway", have.ID())
	}
	id, err := g.owner(o)
	if err != nil {
		return fmt.Errorf("delete %s: %w", o.ID(), err)
	}
	s := g.socket(id)
	if s == nil {
		return nil
	}
	err = g.unlink(s)
	g.end(s)
	if err != nil {
		return fmt.Errorf("delete %s: %w", o.ID(), err)
	}
	return nil
}

// unlink removes the socket's file. What has taken its place stays.
func (g *Gateway) unlink(s *socket) error {
	dir, err := g.directory(s.p.id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	if !s.in(dir) {
		return nil
	}
	if err = dir.Remove(schema.GatewaySocket); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// socket is the socket of a pod that this process listens on, nil for none.
func (g *Gateway) socket(id schema.PodID) *socket {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sockets[id]
}

// all are the sockets that this process listens on.
func (g *Gateway) all() []*socket {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Values(g.sockets))
}
