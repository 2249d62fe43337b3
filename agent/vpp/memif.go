package vpp

import (
	"context"
	"errors"
	"fmt"

	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/ethernet_types"
	"go.fd.io/govpp/binapi/memif"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// The longest socket paths that VPP takes, in bytes. sun_path has 108; VPP's
// clib_socket_init, which memif uses, counts the final NUL and leaves one more
// free (src/vppinfra/socket.c). A longer one is taken by the add of the socket
// and refused by the create.
const (
	maxMemifPath = 106
	maxVhostPath = 107
)

// maxSecret is what of memif's 24-byte field can be used.
const maxSecret = 23

func checkMemif(m model.Memif) error {
	if n := len(m.Secret.Reveal()); n > maxSecret {
		return terminal("the secret has %d bytes, VPP takes %d", n, maxSecret)
	}
	return checkPath(m.Socket, maxMemifPath)
}

func checkPath(path string, longest int) error {
	if len(path) > longest {
		return terminal("socket path %s has %d bytes, VPP takes %d", path, len(path), longest)
	}
	if path == "" || path[0] != '/' {
		return terminal("socket path %q is not absolute", path)
	}
	return nil
}

// createMemif makes a memif and its tag, or nothing. There are two modes only:
// model has no word for punt-inject, whose create kills VPP.
func (v *VPP) createMemif(ctx context.Context, s *session, m model.Memif) error {
	v.gate.enter(creating)
	defer v.gate.leave(creating, 0)
	idx, err := v.tryMemif(ctx, s, m)
	if isRetval(err, api.SUBIF_ALREADY_EXISTS) {
		idx, err = v.overLeftover(ctx, s, m, err)
	}
	if err != nil {
		return err
	}
	if err := v.adopt(ctx, s, idx, m.Tag, m); err != nil {
		return err
	}
	v.index.used(m.Socket, +1)
	return nil
}

// memifRequest is the create of a memif. It knows two modes: VPP 25.10 dies of
// the third, punt-inject.
func memifRequest(m model.Memif, id uint32) *memif.MemifCreateV2 {
	req := &memif.MemifCreateV2{
		Role: memif.MEMIF_ROLE_API_SLAVE, Mode: memif.MEMIF_MODE_API_ETHERNET,
		SocketID: id, HwAddr: ethernet_types.MacAddress(m.MAC), Secret: m.Secret.Reveal(),
	}
	if m.Master {
		req.Role = memif.MEMIF_ROLE_API_MASTER
	}
	if m.IPMode {
		req.Mode = memif.MEMIF_MODE_API_IP
	}
	return req
}

func (v *VPP) tryMemif(ctx context.Context, s *session, m model.Memif) (uint32, error) {
	id, err := v.readySocket(ctx, s, m.Socket)
	if err != nil {
		return 0, err
	}
	if m.Master {
		if err = v.cfg.Clear(ctx, m.Socket); err != nil {
			return 0, err
		}
	}
	reply, err := ask[*memif.MemifCreateV2Reply](ctx, s, memifRequest(m, id))
	if err == nil {
		return uint32(reply.SwIfIndex), nil
	}
	// After a create that failed, the next one on this id says 0 and listens
	// nowhere: the id must not stay, unless somebody is on it.
	cctx, cancel := v.cleanup(ctx)
	defer cancel()
	if undo := v.dropUnused(cctx, s, m.Socket); undo != nil {
		err = errors.Join(err, fmt.Errorf("delete socket id %d again: %w", id, undo))
	}
	return 0, fmt.Errorf("on socket %s: %w", m.Socket, err)
}

// overLeftover takes away a memif without a tag of ours that stands on our
// socket, and tries again. One with a tag of ours stays: it is another object.
func (v *VPP) overLeftover(ctx context.Context, s *session, m model.Memif, refused error) (uint32, error) {
	snap, err := s.take(ctx)
	if err != nil {
		return 0, errors.Join(refused, err)
	}
	for idx, d := range snap.memifs {
		if snap.sockets[d.SocketID] != m.Socket || snap.byIndex[idx] == nil {
			continue
		}
		tag := snap.tag(snap.byIndex[idx])
		if model.Ours(string(tag)) || !v.ourSocket(m.Socket) {
			return 0, fmt.Errorf("%w (taken by %s, tag %q)", refused, snap.byIndex[idx].InterfaceName, tag)
		}
		if err := s.deleteIndex(ctx, model.KindMemif, idx); err != nil {
			return 0, errors.Join(refused, err)
		}
		v.index.ousted(idx)
	}
	return v.tryMemif(ctx, s, m)
}
