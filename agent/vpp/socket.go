package vpp

import (
	"context"
	"errors"
	"fmt"

	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/memif"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// errInUse says that something still stands on what is to be deleted.
var errInUse = errors.New("still in use")

// socket is a memif socket that VPP knows under an id.
type socket struct {
	id uint32
	// also are further ids of the same path, which VPP allows.
	also []uint32
	// users are the interfaces on it.
	users int
	// fresh: no create failed on this id, so a master on it will really listen.
	fresh bool
	// added is closed when VPP has the socket; nil: it has it.
	added chan struct{}
}

// claim is the socket of a path, and whether the caller must add it to VPP:
// then its id, the lowest that is free, is held for the caller.
func (x *index) claim(path string) (*socket, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s := x.sockets[path]; s != nil {
		return s, false
	}
	id := x.lowestID
	for x.ids[id] || id == 0 {
		id++
	}
	x.lowestID = id
	s := &socket{id: id, fresh: true, added: make(chan struct{})}
	x.ids[id] = true
	x.sockets[path] = s
	return s, true
}

// settled ends what claim began; a socket that VPP did not take is dropped.
func (x *index) settled(path string, s *socket, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	close(s.added)
	s.added = nil
	if !ok {
		x.dropSocket(path, s)
	}
}

func (x *index) dropSocket(path string, s *socket) {
	for _, id := range append([]uint32{s.id}, s.also...) {
		delete(x.ids, id)
		x.lowestID = min(x.lowestID, id)
	}
	if x.sockets[path] == s {
		delete(x.sockets, path)
	}
}

// socketOf is a copy of what is known of a path's socket, and whether it is
// still being added.
func (x *index) socketOf(path string) (s socket, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if p := x.sockets[path]; p != nil {
		return *p, true
	}
	return socket{}, false
}

func (x *index) forgetSocket(path string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s := x.sockets[path]; s != nil {
		x.dropSocket(path, s)
	}
}

// used counts the interfaces on a socket.
func (x *index) used(path string, n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s := x.sockets[path]; s != nil {
		s.users += n
		s.fresh = true // VPP made or closed a listener on it without an error
	}
}

// distrust notes that a create on a socket may have failed: see readySocket.
func (x *index) distrust(path string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s := x.sockets[path]; s != nil {
		s.fresh = false
	}
}

func (v *VPP) putSocket(ctx context.Context, s *session, o model.Socket) error {
	if err := checkPath(o.Path, maxMemifPath); err != nil {
		return err
	}
	_, err := v.addSocket(ctx, s, o.Path)
	return err
}

// addSocket is the id of a path's socket, which it adds if VPP has none.
func (v *VPP) addSocket(ctx context.Context, s *session, path string) (uint32, error) {
	for {
		sock, mine := v.index.claim(path)
		if mine {
			_, err := ask[*memif.MemifSocketFilenameAddDelV2Reply](ctx, s, &memif.MemifSocketFilenameAddDelV2{
				IsAdd: true, SocketID: sock.id, SocketFilename: path,
			})
			v.index.settled(path, sock, err == nil)
			if isRetval(err, api.ENTRY_ALREADY_EXISTS) {
				// Somebody else took the id since the last dump.
				return 0, fmt.Errorf("%w: socket id %d: %w", errOutdated, sock.id, err)
			}
			if err != nil {
				return 0, fmt.Errorf("socket %s: %w", path, err)
			}
			return sock.id, nil
		}
		known, ok := v.index.socketOf(path)
		switch {
		case !ok:
			continue
		case known.added == nil:
			return known.id, nil
		}
		select {
		case <-known.added:
		case <-ctx.Done():
			return 0, fmt.Errorf("socket %s: %w", path, ctx.Err())
		}
	}
}

// readySocket is the id of a path's socket on which a master will listen. An id
// that was there before us and has no interface may be one on which a create
// failed: VPP takes the next create for the second on a listener that does not
// exist. It is added anew.
func (v *VPP) readySocket(ctx context.Context, s *session, path string) (uint32, error) {
	if known, ok := v.index.socketOf(path); ok && known.added == nil && known.users == 0 && !known.fresh {
		if err := v.dropUnused(ctx, s, path); err != nil {
			return 0, fmt.Errorf("socket %s: %w", path, err)
		}
	}
	return v.addSocket(ctx, s, path)
}

// dropUnused deletes the ids of a path unless an interface stands on it.
func (v *VPP) dropUnused(ctx context.Context, s *session, path string) error {
	known, ok := v.index.socketOf(path)
	if !ok || known.users > 0 {
		return nil
	}
	for _, id := range append([]uint32{known.id}, known.also...) {
		_, err := ask[*memif.MemifSocketFilenameAddDelV2Reply](ctx, s, &memif.MemifSocketFilenameAddDelV2{SocketID: id})
		if isRetval(err, api.UNEXPECTED_INTF_STATE) {
			return fmt.Errorf("socket id %d: %w: %w", id, errInUse, err)
		}
		// INVALID_ARGUMENT is VPP's answer for an id that it does not have.
		if err != nil && !isRetval(err, api.INVALID_ARGUMENT) {
			return err
		}
	}
	v.index.forgetSocket(path)
	return nil
}

// deleteSocket takes a socket out of VPP and unlinks its file if nobody listens
// there any more; VPP leaves the file.
func (v *VPP) deleteSocket(ctx context.Context, s *session, o model.Socket) error {
	if !v.ourSocket(o.Path) {
		return terminal("socket %s is not under %s", o.Path, v.cfg.SocketRoot)
	}
	if known, ok := v.index.socketOf(o.Path); ok && known.users > 0 {
		return fmt.Errorf("%w by %s", errInUse, v.index.onSocket(o.Path))
	}
	if err := v.dropUnused(ctx, s, o.Path); err != nil {
		return err
	}
	v.unlinkStale(o.Path)
	return nil
}
