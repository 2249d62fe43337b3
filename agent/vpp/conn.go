package vpp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"go.fd.io/govpp/adapter/socketclient"
	"go.fd.io/govpp/api"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/memclnt"
	"go.fd.io/govpp/binapi/vpe"
	"go.fd.io/govpp/core"
)

// clientName is how VPP's `show api clients` names us.
const clientName = "vpp-cni"

// How long to wait before the next attempt. While nobody listens an attempt
// makes no API client in VPP and may come often, most often while a VPP that was
// there is being started again; one that got through to VPP and failed leaves a
// client behind there, and VPP 25.10 can hang after 16 of them (VPP-FACTS.md), so
// those come seldom.
const (
	soonPause   = 5 * time.Millisecond
	soon        = 30 * time.Second
	nobodyPause = 50 * time.Millisecond
	firstPause  = time.Second
	lastPause   = time.Minute
)

var quiet = sync.OnceFunc(func() {
	log := logrus.New()
	log.SetOutput(io.Discard)
	core.SetLogger(log)
	socketclient.SetLogger(log)
})

// QuietGoVPP lets GoVPP log nothing, for the whole process: what it warns of
// comes back to us as an error and is told with the object's name, and a VPP
// that is not well could fill the log with messages that nobody waits for, each
// printed whole. New does it; a program with GoVPP clients of its own calls it before the first of them,
// since GoVPP's loggers are not guarded.
func QuietGoVPP() { quiet() }

// Run keeps the connection up until ctx ends, then takes leave of VPP. It
// returns nil; what is wrong meanwhile stands in Info and comes as events.
func (v *VPP) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ectx, stop := context.WithCancel(ctx)
	defer stop()
	wg.Go(func() { v.events.run(ectx) })

	pause, lost := firstPause, time.Now()
	for ctx.Err() == nil {
		s, err := v.connect(ctx)
		if err != nil {
			wait := pause
			if nobodyListens(err) {
				wait, pause = nobodyPause, firstPause
				if time.Since(lost) < soon {
					wait, pause = soonPause, nobodyPause
				}
			} else {
				pause = min(2*pause, lastPause)
			}
			v.setDown(fmt.Errorf("%w: connect to %s: %w", ErrDown, v.cfg.Socket, err))
			sleep(ctx, wait)
			continue
		}
		v.setUp(s)
		v.watch(s)
		v.dropSession(s)
		// The next attempt may meet what is left of a VPP that is dying.
		pause, lost = nobodyPause, time.Now()
	}
	return nil
}

func nobodyListens(err error) bool {
	var dial *net.OpError
	return errors.Is(err, os.ErrNotExist) || errors.As(err, &dial) && dial.Op == "dial"
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// connect makes a session that is ready for calls.
func (v *VPP) connect(ctx context.Context) (*session, error) {
	if _, err := os.Stat(v.cfg.Socket); err != nil {
		return nil, err
	}
	w := newWire(v.cfg.Socket, v.cfg.CallTimeout)
	conn, err := core.Connect(w)
	if err != nil {
		return nil, err
	}
	w.begin()
	s := newSession(ctx, conn, v.cfg)
	s.wire = w
	if err := v.greet(s); err != nil {
		s.cancel(err)
		conn.Disconnect()
		return nil, err
	}
	return s, nil
}

// greet learns who VPP is and asks for its events.
func (v *VPP) greet(s *session) error {
	if err := s.lacks(required()...); err != nil {
		return err
	}
	ping, err := ask[*memclnt.ControlPingReply](s.ctx, s, &memclnt.ControlPing{})
	if err != nil {
		return err
	}
	s.pid = ping.VpePID
	version, err := ask[*vpe.ShowVersionReply](s.ctx, s, &vpe.ShowVersion{})
	if err != nil {
		return err
	}
	s.version = version.Version
	events, err := s.conn.WatchEvent(s.ctx, &interfaces.SwInterfaceEvent{})
	if err != nil {
		return fmt.Errorf("watch interface events: %w", err)
	}
	go v.follow(events)
	_, err = ask[*interfaces.WantInterfaceEventsReply](s.ctx, s, &interfaces.WantInterfaceEvents{
		EnableDisable: 1, PID: uint32(os.Getpid()), // #nosec G115 -- a process id is positive
	})
	return err
}

// follow passes interface events on until the session ends. Their flags say
// what came up and nothing of what is up (VPP's link_state_process sends the
// bits of the events alone), so only that something changed is taken from them.
func (v *VPP) follow(events api.Watcher) {
	for msg := range events.Events() {
		e, ok := msg.(*interfaces.SwInterfaceEvent)
		if !ok {
			continue
		}
		if e.Deleted {
			v.index.doubt(uint32(e.SwIfIndex))
		}
		v.events.put(Event{Kind: EventInterfacesChanged})
	}
}

func (v *VPP) setUp(s *session) {
	v.mu.Lock()
	v.sess = s
	v.info = Info{Connected: true, PID: s.pid, Version: s.version, Epoch: v.info.Epoch + 1}
	epoch := v.info.Epoch
	v.mu.Unlock()
	v.index.clear()
	v.log.WithFields(logrus.Fields{"pid": s.pid, "version": s.version}).Info("VPP connected")
	v.events.put(Event{Kind: EventConnected, PID: s.pid, Version: s.version, Epoch: epoch})
}

// dropSession forgets a session that has ended and takes leave of VPP.
func (v *VPP) dropSession(s *session) {
	err := s.down()
	v.mu.Lock()
	v.sess = nil
	v.info.Connected, v.info.Err = false, err
	v.mu.Unlock()
	v.index.clear()
	// Sends sockclnt_delete if VPP still reads.
	s.conn.Disconnect()
	v.log.WithField("pid", s.pid).WithField("err", err).Warn("VPP disconnected")
	v.events.put(Event{Kind: EventDisconnected, PID: s.pid, Err: err})
}

// setDown tells why there is no connection, once a reason.
func (v *VPP) setDown(err error) {
	v.mu.Lock()
	news := v.info.Err == nil || v.info.Err.Error() != err.Error()
	v.info.Connected, v.info.Err = false, err
	v.mu.Unlock()
	if news {
		v.log.WithField("err", err).Warn("VPP not connected")
		v.events.put(Event{Kind: EventDisconnected, Err: err})
	}
}

// session is the connection to use now.
func (v *VPP) session() (*session, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.sess == nil {
		return nil, v.info.Err
	}
	return v.sess, nil
}
