package vppsim

import (
	"os"
	"path/filepath"
	"strings"

	govpp "go.fd.io/govpp/api"
	memif_api "go.fd.io/govpp/binapi/memif"

	"github.com/vpp-cni/vpp-cni/test/vppsim/memif"
)

// memifSocket is one socket id. As in VPP refs can go to -1: after a create that
// could not listen. The next create then finds neither 0, when it would listen,
// nor more, when it would check; so it says success and has no listener.
type memifSocket struct {
	place    uint32
	id       uint32
	filename string
	refs     int
	master   bool
	server   *memif.Server
	ids      map[uint32]*memifInterface
}

func (v *vpp) memifSocketFilenameAddDel(q *memif_api.MemifSocketFilenameAddDel, _ *memif_api.MemifSocketFilenameAddDelReply) retval {
	if q.SocketID == 0 || q.SocketID == noIndex {
		return govpp.INVALID_ARGUMENT
	}
	return v.addDelMemifSocket(q.IsAdd, q.SocketID, q.SocketFilename)
}

// memifSocketFilenameAddDelV2 draws an id for ~0.
func (v *vpp) memifSocketFilenameAddDelV2(q *memif_api.MemifSocketFilenameAddDelV2, r *memif_api.MemifSocketFilenameAddDelV2Reply) retval {
	if q.SocketID == 0 {
		return govpp.INVALID_ARGUMENT
	}
	if q.IsAdd && q.SocketID == noIndex {
		q.SocketID = draw(&v.memif.lastDrawn, noIndex, func(id uint32) bool {
			return id == noIndex || v.memif.byID[id] != nil
		})
	}
	r.SocketID = q.SocketID
	return v.addDelMemifSocket(q.IsAdd, q.SocketID, q.SocketFilename)
}

func (v *vpp) addDelMemifSocket(add bool, id uint32, filename string) retval {
	if id == noIndex {
		return govpp.INVALID_ARGUMENT
	}
	known := v.memif.byID[id]
	if !add {
		switch {
		case known == nil:
			return govpp.INVALID_ARGUMENT
		case known.refs > 0:
			return govpp.UNEXPECTED_INTF_STATE
		}
		v.closeMemifListener(known)
		delete(v.memif.byID, id)
		v.memif.sockets.del(known.place)
		return ok
	}
	if filename == "" {
		return govpp.INVALID_ARGUMENT
	}
	if !filepath.IsAbs(filename) && !strings.HasPrefix(filename, "@") {
		filename = filepath.Join(v.cfg.RuntimeDir, filename)
		if err := os.MkdirAll(filepath.Dir(filename), 0o755); err != nil { // VPP's own mode
			return govpp.SYSCALL_ERROR_1
		}
	}
	if known == nil {
		v.addMemifSocket(id, filename)
		return ok
	}
	if known.filename != filename {
		return govpp.ENTRY_ALREADY_EXISTS
	}
	return ok
}

func (v *vpp) addMemifSocket(id uint32, filename string) {
	v.memif.byID[id] = v.memif.sockets.put(func(place uint32) *memifSocket {
		return &memifSocket{place: place, id: id, filename: filename, ids: make(map[uint32]*memifInterface)}
	})
}

// memifSocketFilenameDump cuts long names as the message's field does.
func (v *vpp) memifSocketFilenameDump(_ *memif_api.MemifSocketFilenameDump, send func(govpp.Message)) {
	for s := range v.memif.sockets.all() {
		send(&memif_api.MemifSocketFilenameDetails{
			SocketID:       s.id,
			SocketFilename: s.filename[:min(len(s.filename), memifSocketFieldMax)],
		})
	}
}

func (v *vpp) closeMemifListener(s *memifSocket) {
	if s.server != nil {
		s.server.Close()
		s.server = nil
	}
}
