package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
	"github.com/vpp-cni/vpp-cni/test/lab"
)

// suite is one run: what it works with, and what it has found.
type suite struct {
	options
	lab   *lab.Lab
	etcd  *etcdtest.Cluster
	node  *lab.Node
	floor *floor
	table table
	now   machine
	disk  string // etcd's directory
}

func run(ctx context.Context, o options) (err error) {
	s := &suite{options: o}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	if err := s.start(ctx); err != nil {
		return err
	}
	parts := []func(context.Context) error{
		s.version, s.oneByOne, s.manyAtOnce, s.agentRestart, s.vppRestart, s.hold, s.weight, s.gateways,
	}
	switch {
	case s.options.vppRestart:
		parts = []func(context.Context) error{s.version, s.fill, s.vppRestart}
	case s.gatewaysOnly:
		parts = []func(context.Context) error{s.version, s.gateways}
	}
	for _, part := range parts {
		if err := part(ctx); err != nil {
			return err
		}
	}
	if !s.table.print(os.Stdout, s.now.slower()) {
		return errBounds
	}
	return nil
}

func (s *suite) start(ctx context.Context) error {
	vpp.QuietGoVPP()
	bin, err := filepath.Abs(s.bin)
	if err != nil {
		return err
	}
	s.bin = bin
	if s.lab, err = lab.New(lab.Config{
		BinDir: bin, VPP: s.vpp, TempDir: memory(), HostHeap: "512M",
		MaxAttachments: max(s.held, gatewayPods) + max(weighed, s.rounds),
	}); err != nil {
		return err
	}
	if s.disk, err = os.MkdirTemp("", "bench-etcd"); err != nil {
		return err
	}
	if s.etcd, err = etcdtest.New(s.disk, etcdtest.Options{Fsync: true}); err != nil {
		return err
	}
	s.lab.SetEndpoints(s.etcd.Endpoints(), nil)
	if s.node, err = s.lab.StartNode(ctx, "bench"); err != nil {
		return err
	}
	what := "simulator"
	if s.lab.Real() {
		what = s.vpp
	}
	fmt.Printf("VPP: %s; %d processors; %d calls of each kind, %d restarts at %d attachments; times in ms\n\n", what, runtime.NumCPU(), s.rounds, s.restarts, s.options.node)
	s.floor, err = newFloor(ctx, s.etcd.Endpoints(), s.node.VPP.APISocket, s.lab.Dir)
	return err
}

// memory is a directory on tmpfs; empty where there is none.
func memory() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}

func (s *suite) close(ctx context.Context) error {
	if s.floor != nil {
		s.floor.close(ctx)
	}
	var err error
	if s.lab != nil {
		err = s.lab.Close()
	}
	if s.etcd != nil {
		s.etcd.Close()
	}
	return errors.Join(err, os.RemoveAll(s.disk))
}

// plugin calls the plugin with a configuration of this node.
func (s *suite) plugin(conf []byte) plugin { return plugin{bin: s.bin, conf: conf} }

// version times VERSION beside an empty program.
func (s *suite) version(ctx context.Context) error {
	var ours, bare, cpu samples
	p := s.plugin([]byte(`{"cniVersion": "1.0.0"}`))
	for i := range 2 * s.rounds {
		wall, _, err := p.call(ctx, "VERSION", i)
		if err != nil {
			return err
		}
		e, used, err := empty(ctx, s.bin)
		if err != nil {
			return err
		}
		ours, bare, cpu = append(ours, wall), append(bare, e), append(cpu, used)
	}
	s.now = machine{rate: quiet.rate, half: bare.at(0.5), most: bare.at(0.99), cpu: cpu.mean()}
	s.table.add(figure{name: "VERSION p50", ours: ms(ours.at(0.5)), floor: ms(bare.at(0.5)), bound: 4, ratio: 2.5, by: byHalf})
	return nil
}

// oneByOne times ADD and DEL, one call after the other.
func (s *suite) oneByOne(ctx context.Context) error {
	add, del, cpu, err := s.sequential(ctx, s.plugin(confNoIPAM(s.node)))
	if err != nil {
		return err
	}
	s.now.half += add.floor.at(0.5)
	s.now.most += add.floor.at(0.99)
	s.table.add(add.figure("ADD no IPAM p50", 0.5, 12, byHalf), add.figure("ADD no IPAM p99", 0.99, s.tail(25), byMost),
		del.figure("DEL no IPAM p50", 0.5, 12, byHalf))
	add, del, _, err = s.sequential(ctx, s.plugin(confHostLocal(s.node)))
	if err != nil {
		return err
	}
	s.table.add(add.figure("ADD host-local p50", 0.5, 18, byHalf), add.figure("ADD host-local p99", 0.99, s.tail(35), byMost),
		del.figure("DEL host-local p50", 0.5, 18, byHalf),
		figure{name: "CPU an ADD, no IPAM: plugin", ours: ms(cpu.plugin)},
		figure{name: "CPU an ADD, no IPAM: agent", ours: ms(cpu.agent)},
		figure{name: "CPU an ADD, no IPAM: both", ours: ms(cpu.plugin + cpu.agent), bound: 10, by: byCPU})
	return nil
}

// tail is the bound of a 99th hundredth: none where it is the worst of few.
func (s *suite) tail(bound float64) float64 {
	if s.rounds < 100 {
		return 0
	}
	return bound
}

// pair is one kind of call, ours and the floor's in turn.
type pair struct{ ours, floor, empty samples }

func (p pair) figure(name string, q, bound float64, by measure) figure {
	return figure{name: name, ours: ms(p.ours.at(q)), floor: ms(p.floor.at(q)), bound: bound, by: by, slow: slowdown(p.empty.at(0.5))}
}

// share is the CPU of one call.
type share struct{ plugin, agent time.Duration }

// sequential makes attachments one by one, then removes them, with the floor's
// call after each of the plugin's.
func (s *suite) sequential(ctx context.Context, p plugin) (add, del pair, cpu share, err error) {
	begin, err := s.node.Metric(ctx, "process_cpu_seconds_total")
	if err != nil {
		return add, del, cpu, err
	}
	for i := range s.rounds {
		wall, used, failed := p.call(ctx, "ADD", i)
		if failed != nil {
			return add, del, cpu, failed
		}
		bare, failed := s.floor.add(ctx, i)
		if failed != nil {
			return add, del, cpu, failed
		}
		idle, _, failed := empty(ctx, s.bin)
		if failed != nil {
			return add, del, cpu, failed
		}
		add.empty = append(add.empty, idle)
		add.ours, add.floor = append(add.ours, wall), append(add.floor, bare)
		cpu.plugin += used
	}
	end, err := s.node.Metric(ctx, "process_cpu_seconds_total")
	if err != nil {
		return add, del, cpu, err
	}
	cpu.plugin /= time.Duration(s.rounds)
	cpu.agent = time.Duration((end - begin) / float64(s.rounds) * float64(time.Second))
	for i := range s.rounds {
		wall, _, err := p.call(ctx, "DEL", i)
		if err != nil {
			return add, del, cpu, err
		}
		bare, err := s.floor.del(ctx, i)
		if err != nil {
			return add, del, cpu, err
		}
		idle, _, err := empty(ctx, s.bin)
		if err != nil {
			return add, del, cpu, err
		}
		del.empty = append(del.empty, idle)
		del.ours, del.floor = append(del.ours, wall), append(del.floor, bare)
	}
	return add, del, cpu, nil
}

// manyAtOnce fills the node, many calls at a time. The attachments stay. The
// floor goes first and takes its own away: nothing keeps its creates and
// admin-ups apart, which a VPP with 1,000 memifs does not survive.
func (s *suite) manyAtOnce(ctx context.Context) error {
	bare, bad := crowd(s.parallel, s.rounds, func(i int) error {
		_, err := s.floor.add(ctx, i)
		return err
	})
	s.now.rate = bare
	if err := errors.Join(bad...); err != nil {
		return err
	}
	for i := range s.rounds {
		if _, err := s.floor.del(ctx, i); err != nil {
			return err
		}
	}
	p := s.plugin(confNoIPAM(s.node))
	rate, failed := crowd(s.parallel, s.options.node, func(i int) error {
		_, _, err := p.call(ctx, "ADD", i)
		return err
	})
	for _, err := range failed {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	s.table.add(
		figure{name: fmt.Sprintf("ADD, %d at a time, a second", s.parallel), ours: rate, floor: bare, bound: 100, atLeast: true, by: byRate},
		figure{name: fmt.Sprintf("ADD, %d at a time, failed", s.parallel), ours: float64(len(failed)), none: true})
	return nil
}

// fill makes the attachments that a restart is measured with, without the plugin.
func (s *suite) fill(ctx context.Context) error { return s.node.Fill(ctx, 0, s.options.node) }

// weighed is how many calls of each kind are weighed, over those that are held.
const weighed = 20

// weight adds what the plugin takes on disk and in memory.
func (s *suite) weight(ctx context.Context) error {
	const mb = 1 << 20
	sizeOf := func(name string) (float64, error) {
		info, err := os.Stat(filepath.Join(s.bin, name))
		if err != nil {
			return 0, err
		}
		return float64(info.Size()) / mb, nil
	}
	ours, err := sizeOf("vpp-cni")
	if err != nil {
		return err
	}
	bare, err := sizeOf("empty")
	if err != nil {
		return err
	}
	var most int64
	p := s.plugin(confHostLocal(s.node))
	for i := range weighed {
		for _, verb := range []string{"ADD", "DEL"} {
			peak, err := p.weigh(ctx, verb, s.held+i)
			if err != nil {
				return err
			}
			most = max(most, peak)
		}
	}
	s.table.add(figure{name: "plugin: binary, MB", ours: ours, floor: bare, bound: 25},
		figure{name: "plugin: peak memory, MB", ours: float64(most) * 1024 / mb, bound: 20})
	return nil
}
