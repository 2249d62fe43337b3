package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/test/vppsim"
)

// control serves the fault socket: a line in, a line out, which begins with ok
// or error.
type control struct {
	sim      *vppsim.Sim
	log      logrus.FieldLogger
	listener net.Listener
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	ended bool
}

func listenControl(path string, sim *vppsim.Sim, log logrus.FieldLogger) (*control, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("fault socket %s: %w", path, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("fault socket %s: %w", path, err)
	}
	c := &control{sim: sim, log: log, listener: l, conns: make(map[net.Conn]struct{})}
	c.wg.Add(1)
	go c.accept()
	return c, nil
}

func (c *control) close() {
	c.mu.Lock()
	c.ended = true
	for conn := range c.conns {
		_ = conn.Close()
	}
	c.mu.Unlock()
	_ = c.listener.Close()
	c.wg.Wait()
}

func (c *control) accept() {
	defer c.wg.Done()
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		if c.ended {
			c.mu.Unlock()
			_ = conn.Close()
			return
		}
		c.conns[conn] = struct{}{}
		c.wg.Add(1)
		c.mu.Unlock()
		go c.serve(conn)
	}
}

func (c *control) serve(conn net.Conn) {
	defer c.wg.Done()
	defer func() {
		c.mu.Lock()
		delete(c.conns, conn)
		c.mu.Unlock()
		_ = conn.Close()
	}()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		answer, err := c.sim.Control(lines.Text())
		line := "ok"
		switch {
		case err != nil:
			line = "error " + err.Error()
		case answer != "":
			line += " " + answer
		}
		c.log.WithFields(logrus.Fields{"command": lines.Text(), "answer": line}).Info("fault command")
		if _, err := fmt.Fprintln(conn, line); err != nil {
			return
		}
	}
}
