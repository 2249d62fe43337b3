package node_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestNode walks a node through its life: each step begins with what the one before
// has left.
func TestNode(t *testing.T) {
	n := up(t)
	one, two := newPod("one", "7d1f0c5e-0000-4000-8000-000000000001"), newPod("two", "7d1f0c5e-0000-4000-8000-000000000002")
	_ = t.Run("install refuses a wrong config.yaml", n.refuse) &&
		t.Run("install", n.install) &&
		t.Run("the agent ends at a wrong config.yaml", n.wrongConfig) &&
		t.Run("the agent waits for VPP", n.waits) &&
		t.Run("a pod before VPP", func(t *testing.T) { n.fails(t, one, "VPPDown", "/run/vpp/api.sock") }) &&
		t.Run("VPP comes", n.comes) &&
		t.Run("two pods ping", func(t *testing.T) { n.ping(t, one, two) }) &&
		t.Run("the agent is killed and stopped", func(t *testing.T) { n.restart(t, one, two) }) &&
		t.Run("the log's volume is full", func(t *testing.T) { n.logFull(t, one, two) }) &&
		t.Run("the addresses' volume is full", func(t *testing.T) { n.ipamFull(t, one, two) }) &&
		t.Run("the sockets' volume is full", func(t *testing.T) { n.socketsFull(t, one, two) }) &&
		t.Run("the plugin is missing", func(t *testing.T) { n.missing(t, one, two) }) &&
		t.Run("the CNI directory is read-only", n.readOnly) &&
		t.Run("the log is rotated", n.rotate) &&
		t.Run("a pod leaves what is others'", func(t *testing.T) { n.leavesForeign(t, one, two) }) &&
		t.Run("the pods go", func(t *testing.T) { n.goAway(t, one, two) }) &&
		t.Run("the run-dir is removed", n.removed) &&
		t.Run("uninstall", n.uninstall)
}

func (n *node) refuse(t *testing.T) {
	out, err := tryShell(t.Context(), t, `printf 'etcd:\n  endpoint: ["http://192.0.2.1:2379"]\n' >$STATE/wrong.yaml; $BIN/vpp-cni install --config $STATE/wrong.yaml`)
	if err == nil || !strings.Contains(out, `unknown field "etcd.endpoint"`) {
		t.Errorf("it does not name the unknown key: %v", err)
	}
	must(t, same("what is installed", places(t), n.files))
}

// install does what deploy/node/README.md tells an operator to do.
func (n *node) install(t *testing.T) {
	must(t, toFile())
	if err := n.runtime.network(t.Context()); err == nil {
		t.Error("there is a network before there is anything of ours")
	}
	shell(t, `install -m 0755 $BIN/vpp-agent $BIN/vpp-cnictl /usr/local/bin/`)
	shell(t, `install -D -m 0644 $DEPLOY/vpp-cni.sysusers /etc/sysusers.d/vpp-cni.conf; systemd-sysusers vpp-cni.conf`)
	shell(t, `install -m 0644 $DEPLOY/vpp-agent.service /etc/systemd/system/`)
	shell(t, `install -D -m 0644 $DEPLOY/vpp-cni.logrotate /etc/logrotate.d/vpp-cni`)
	shell(t, `$BIN/vpp-cni install --config $STATE/config.yaml --node worker-1 --conflist $DEPLOY/10-vpp-cni.conflist --plugin $BIN/host-local --plugin $BIN/kubernetes/loopback`)
	eventually(t, patience, "the runtime finds the network", n.runtime.network)
}

// wrongConfig: what somebody has written into the node's file by hand.
func (n *node) wrongConfig(t *testing.T) {
	shell(t, `cp /etc/vpp-cni/config.yaml $STATE/good.yaml; echo 'vppSokcet: /x' >>/etc/vpp-cni/config.yaml`)
	shell(t, `systemctl daemon-reload; systemctl start vpp-agent`)
	n.agentSays(t, `vpp-agent: configuration file /etc/vpp-cni/config.yaml: unknown field "vppSokcet"`)
	shell(t, `systemctl stop vpp-agent; cp $STATE/good.yaml /etc/vpp-cni/config.yaml`)
}

// waits: the agent says what it waits for.
func (n *node) waits(t *testing.T) {
	shell(t, `systemctl enable --now vpp-agent`)
	n.agentSays(t, "VPP not connected", "/run/vpp/api.sock")
	out, err := tryShell(t.Context(), t, `vpp-agent healthcheck`)
	if err == nil || !strings.Contains(out, "vpp: not ready: VPP is down") {
		t.Errorf("it does not say that VPP is down: %v", err)
	}
	n.hardened(t)
}

// fails wants the pod's sandbox to fail for the reasons given, and nothing of it to
// be left.
func (n *node) fails(t *testing.T, p *pod, reasons ...string) {
	t.Helper()
	err := n.runtime.run(t.Context(), p)
	if err == nil {
		t.Fatal("the pod has a sandbox")
	}
	t.Log(err)
	for _, r := range reasons {
		if !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(r)) {
			t.Errorf("the runtime is not told %q", r)
		}
	}
}

// ready waits for the agent.
func (n *node) ready(t *testing.T) {
	t.Helper()
	eventually(t, patience, "the agent is ready", func(ctx context.Context) error {
		_, err := tryShell(ctx, t, `vpp-agent healthcheck`)
		return err
	})
}

func (n *node) comes(t *testing.T) {
	n.startVPP(t)
	n.ready(t)
	eventually(t, patience, "nothing is left of the pod that failed", func(ctx context.Context) error { return n.exactly(ctx) })
}

func (n *node) ping(t *testing.T, one, two *pod) {
	t.Helper()
	for _, p := range []*pod{one, two} {
		must(t, n.runtime.run(t.Context(), p))
		if len(p.ips) != 2 {
			t.Fatalf("pod %s has the addresses %v, one of each family is wanted", p.name, p.ips)
		}
		must(t, n.runtime.start(t.Context(), p))
	}
	n.well(t, one, two)
	shell(t, `vpp-cnictl get nodes; vpp-cnictl get attachments; vpp-cnictl verify`)
	shell(t, `systemctl status vpp-agent; ls -l /run/vpp-cni /run/vpp-cni/pods/*; head -2 /var/log/vpp-cni/plugin.log`)
	n.logged(t, one.sandbox)
}

// well: the pods ping each other, and nothing of any other is there.
func (n *node) well(t *testing.T, one, two *pod) {
	t.Helper()
	start := time.Now()
	must(t, ping(t.Context(), one, two), ping(t.Context(), two, one))
	t.Logf("both ping each other's %d addresses: after %.1f s", len(one.ips), time.Since(start).Seconds())
	eventually(t, patience, "just the two pods are there", func(ctx context.Context) error { return n.exactly(ctx, one, two) })
}

// logged: the plugin's log tells of the container.
func (n *node) logged(t *testing.T, container string) {
	t.Helper()
	if log, err := os.ReadFile(pluginLog); err != nil || !strings.Contains(string(log), container) {
		t.Errorf("the plugin's log does not tell of %s: %v\n%s", container, err, log)
	}
}

// restart: sockets outlive the agent, however it ends.
func (n *node) restart(t *testing.T, one, two *pod) {
	t.Helper()
	before, err := agentPID()
	must(t, err)
	shell(t, `systemctl kill --signal=KILL vpp-agent`)
	eventually(t, patience, "systemd starts another", func(ctx context.Context) error {
		if pid, err := agentPID(); err != nil || pid == before {
			return errors.Join(err, errors.New("it is the old one"))
		}
		_, err := tryShell(ctx, t, `vpp-agent healthcheck`)
		return err
	})
	n.well(t, one, two)
	shell(t, `systemctl stop vpp-agent`)
	must(t, ping(t.Context(), one, two))
	third := newPod("three", "7d1f0c5e-0000-4000-8000-000000000003")
	n.fails(t, third, "agent")
	shell(t, `systemctl start vpp-agent`)
	n.ready(t)
	n.well(t, one, two)
}

// full mounts a volume without space over dir, until the test ends.
func full(t *testing.T, dir string) {
	t.Helper()
	must(t, unix.Mount("full", dir, "tmpfs", 0, "size=4k,mode=0755"), os.WriteFile(dir+"/filler", make([]byte, 4096), 0o600))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
}

// logFull: a log that cannot be written costs no pod.
func (n *node) logFull(t *testing.T, one, two *pod) {
	t.Helper()
	full(t, "/var/log/vpp-cni")
	third := newPod("three", "7d1f0c5e-0000-4000-8000-000000000003")
	must(t, n.runtime.run(t.Context(), third), n.runtime.remove(t.Context(), third))
	n.well(t, one, two)
}

// ipamFull: host-local cannot note the address that it gives.
func (n *node) ipamFull(t *testing.T, one, two *pod) {
	t.Helper()
	t.Run("full", func(t *testing.T) {
		full(t, ipamDir)
		n.fails(t, newPod("three", "7d1f0c5e-0000-4000-8000-000000000003"), "host-local", "no space left on device")
	})
	n.well(t, one, two)
}

// socketsFull: the agent cannot make the pod's directory.
func (n *node) socketsFull(t *testing.T, one, two *pod) {
	t.Helper()
	t.Run("full", func(t *testing.T) {
		must(t, unix.Mount("full", runDir+"/pods", "tmpfs", 0, "nr_inodes=1,mode=0711"))
		t.Cleanup(func() { must(t, unix.Unmount(runDir+"/pods", unix.MNT_DETACH)) })
		n.fails(t, newPod("three", "7d1f0c5e-0000-4000-8000-000000000003"), "no space left on device")
	})
	n.well(t, one, two)
}

// missing: without the plugin no pod starts; install brings it back.
func (n *node) missing(t *testing.T, one, two *pod) {
	t.Helper()
	shell(t, `rm -r /opt/cni/bin`)
	third := newPod("three", "7d1f0c5e-0000-4000-8000-000000000003")
	n.fails(t, third, "failed to find plugin", "in path [/opt/cni/bin]")
	shell(t, `$BIN/vpp-cni install --plugin $BIN/host-local --plugin $BIN/kubernetes/loopback`)
	must(t, n.runtime.sweep(t.Context(), third)) // its DEL could not be called either
	must(t, n.runtime.run(t.Context(), third), n.runtime.remove(t.Context(), third))
	n.well(t, one, two)
}

// readOnly: what is installed stays as it is, and install says why.
func (n *node) readOnly(t *testing.T) {
	before := places(t)
	must(t, unix.Mount("/opt/cni/bin", "/opt/cni/bin", "", unix.MS_BIND, ""),
		unix.Mount("", "/opt/cni/bin", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	defer func() { must(t, unix.Unmount("/opt/cni/bin", unix.MNT_DETACH)) }()
	shell(t, `$BIN/vpp-cni install`) // all is there
	out, err := tryShell(t.Context(), t, `$BIN/failpoints/vpp-cni install`)
	if err == nil || !strings.Contains(out, "vpp-cni install: install /opt/cni/bin/vpp-cni: ") || !strings.Contains(out, "read-only file system") {
		t.Errorf("another build: %v", err)
	}
	if out, err = tryShell(t.Context(), t, `$BIN/vpp-cni uninstall --conf-dir /nowhere --etc-dir /nowhere`); err == nil || !strings.Contains(out, "read-only file system") {
		t.Errorf("uninstall: %v", err)
	}
	must(t, same("what is installed", places(t), before))
}

// rotate: the plugin writes on where its log has been turned.
func (n *node) rotate(t *testing.T) {
	shell(t, `logrotate --force --state $STATE/logrotate /etc/logrotate.d/vpp-cni; ls -l /var/log/vpp-cni`)
	third := newPod("three", "7d1f0c5e-0000-4000-8000-000000000003")
	must(t, n.runtime.run(t.Context(), third), n.runtime.remove(t.Context(), third))
	n.logged(t, third.sandbox)
}

// leavesForeign: the agent, which is root with few capabilities, removes what a pod
// that is root has given to other users.
func (n *node) leavesForeign(t *testing.T, one, two *pod) {
	t.Helper()
	third := newPod("three", "7d1f0c5e-0000-4000-8000-000000000003")
	must(t, n.runtime.run(t.Context(), third))
	shell(t, `cd `+runDir+`/pods/`+third.uid+`; mkdir -p x/y; touch x/y/f; chown 12345 x/y/f; chmod 1777 x/y; chown -R 12346 x; chmod 700 x
		chmod 700 .; chown 12345:12345 .`)
	must(t, n.runtime.remove(t.Context(), third))
	n.well(t, one, two)
	eventually(t, patience, "nothing of it is left", func(context.Context) error {
		left, err := os.ReadDir(runDir + "/pods")
		if err == nil && len(left) != 2 {
			err = fmt.Errorf("%s has %v", runDir+"/pods", left)
		}
		return err
	})
}

func (n *node) goAway(t *testing.T, one, two *pod) {
	t.Helper()
	must(t, n.runtime.remove(t.Context(), one), n.runtime.remove(t.Context(), two))
	eventually(t, patience, "nothing is left of the pods", func(ctx context.Context) error { return n.exactly(ctx) })
	if out, err := n.containerd.Ctr(t.Context(), "containers", "list", "-q"); err != nil || out != "" {
		t.Errorf("containers are left: %s %v", out, err)
	}
	shell(t, `vpp-cnictl verify`)
}

// removed: the unit makes its directory again, which the agent alone may not.
func (n *node) removed(t *testing.T) {
	shell(t, `rm -r /run/vpp-cni; systemctl restart vpp-agent`)
	n.ready(t)
	p := newPod("four", "7d1f0c5e-0000-4000-8000-000000000004")
	must(t, n.runtime.run(t.Context(), p), n.runtime.remove(t.Context(), p))
	eventually(t, patience, "nothing is left of the pod", func(ctx context.Context) error { return n.exactly(ctx) })
}

func (n *node) uninstall(t *testing.T) {
	shell(t, `systemctl disable --now vpp-agent`)
	shell(t, `/opt/cni/bin/vpp-cni uninstall`)
	shell(t, `rm /etc/systemd/system/vpp-agent.service /etc/sysusers.d/vpp-cni.conf /etc/logrotate.d/vpp-cni`)
	shell(t, `rm -r /usr/local/bin/vpp-agent /usr/local/bin/vpp-cnictl /run/vpp-cni /var/log/vpp-cni`)
	shell(t, `rm /opt/cni/bin/host-local /opt/cni/bin/loopback`)
	must(t, same("what is installed", places(t), n.files))
	eventually(t, patience, "the runtime has no network", func(ctx context.Context) error {
		if n.runtime.network(ctx) == nil {
			return errors.New("it has one")
		}
		return nil
	})
	resp, err := n.etcd.Get(t.Context(), keyPrefix+"nodes/"+nodeName+"/agent")
	if err != nil || resp.Count != 0 {
		t.Errorf("the agent's presence is left: %v", err)
	}
}
