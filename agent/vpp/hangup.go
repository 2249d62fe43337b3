package vpp

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"go.fd.io/govpp/api"
	"golang.org/x/sys/unix"
)

// noFD says that the connection's descriptor is not known.
const noFD = -1

// connections are the descriptors of this process that are connected to a Unix
// socket of the same file name as path. GoVPP keeps its own to itself. The names
// of directories are left out: VPP may see the socket at another place.
func connections(path string) map[int]bool {
	found := map[int]bool{}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return found
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		peer, err := unix.Getpeername(fd)
		if err != nil {
			continue
		}
		if u, ok := peer.(*unix.SockaddrUnix); ok && filepath.Base(u.Name) == filepath.Base(path) {
			found[fd] = true
		}
	}
	return found
}

// newConnection is the one connection that was not there before.
func newConnection(path string, before map[int]bool) int {
	fresh := noFD
	for fd := range connections(path) {
		switch {
		case before[fd]:
		case fresh != noFD:
			return noFD // another client of this process connected too
		default:
			fresh = fd
		}
	}
	return fresh
}

// hungUp is closed as soon as VPP closes its end of the session's connection, and
// at the end of the session. GoVPP says nothing of it before the next write. It
// is a hint: where the descriptor is not known, the next ping tells.
func (s *session) hungUp() <-chan struct{} {
	gone := make(chan struct{})
	s.fdMu.Lock()
	fd := s.fd
	s.fdMu.Unlock()
	if fd == noFD {
		return gone
	}
	var wake [2]int
	if err := unix.Pipe2(wake[:], unix.O_CLOEXEC); err != nil {
		return gone
	}
	go func() {
		<-s.ctx.Done()
		_ = unix.Close(wake[1])
	}()
	go func() {
		defer close(gone)
		defer func() { _ = unix.Close(wake[0]) }()
		fds := []unix.PollFd{
			{Fd: int32(fd), Events: unix.POLLRDHUP},   // #nosec G115 -- descriptors are small
			{Fd: int32(wake[0]), Events: unix.POLLIN}, // #nosec G115 -- as above
		}
		for {
			if _, err := unix.Poll(fds, -1); err != unix.EINTR {
				return
			}
		}
	}()
	return gone
}

// write sends one message. GoVPP writes without a deadline, and whoever waits in
// a write holds up all others: where VPP has not taken a message for the time of
// a call, the connection is broken off. That is the one way in which a VPP that
// hangs loses us.
func (s *session) write(stream api.Stream, msg api.Message) error {
	timer := time.AfterFunc(s.timeout, s.breakOff)
	defer timer.Stop()
	return stream.SendMsg(msg)
}

// breakOff ends the session, and with it all writes that wait.
func (s *session) breakOff() {
	s.cancel(fmt.Errorf("it has not read for %v", s.timeout))
	s.fdMu.Lock()
	defer s.fdMu.Unlock()
	if s.fd != noFD {
		_ = unix.Shutdown(s.fd, unix.SHUT_RDWR)
	}
}

// forgetFD comes before the connection is closed: the number is then another
// file's.
func (s *session) forgetFD() {
	s.fdMu.Lock()
	defer s.fdMu.Unlock()
	s.fd = noFD
}
