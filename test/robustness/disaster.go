package robustness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/report"
)

// bootID is the id of the node's n-th boot.
func bootID(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// befall lets a disaster happen where all is well, and makes peace again.
func (w *world) befall(d disaster) error {
	if d == "" {
		return nil
	}
	w.history.add(everything, "DISASTER %s with %d attached", d, len(w.model.all(attached)))
	var err error
	switch d {
	case wipeWord, wipeDel:
		err = w.wipe(d)
	case restore:
		err = w.restore()
	case reboot:
		err = w.reboot()
	}
	if err != nil {
		return err
	}
	if err := w.settleAll(false); err != nil {
		return err
	}
	if err := w.converge(); err != nil {
		return err
	}
	return w.traffic()
}

// replaceEtcd lets f put other data under etcd while it is down.
func (w *world) replaceEtcd(what string, f func() error) error {
	w.members.Lock()
	defer w.members.Unlock()
	defer w.broken("%s", what)()
	if err := f(); err != nil {
		return err
	}
	if err := w.upEtcd(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(w.ctx, startBound)
	defer cancel()
	return w.putNetworks(ctx)
}

// wipe empties etcd. Every pod keeps its attachments until the operator's word
// or its own DEL; afterwards all pods end, since etcd knows none of them.
func (w *world) wipe(d disaster) error {
	if err := w.replaceEtcd("etcd is wiped", w.etcd.Wipe); err != nil {
		return err
	}
	if err := w.awaitHeld(w.model.all(attached)); err != nil {
		return err
	}
	// An agent without memory holds what it finds by its tags.
	if err := w.killAgent(); err != nil {
		return err
	}
	if err := w.awaitHeld(w.model.all(attached)); err != nil {
		return err
	}
	if err := w.traffic(); err != nil {
		return err
	}
	if d == wipeWord {
		if err := w.release(); err != nil {
			return err
		}
	}
	for _, p := range w.pods {
		if err := w.replace(p, operation{Verb: verbFinish}); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) killAgent() error {
	w.agent.Lock()
	defer w.agent.Unlock()
	defer w.broken("the agent is killed while it holds")()
	if err := w.node.Agent.Kill(); err != nil {
		return err
	}
	return w.startAgent()
}

// awaitHeld waits until the agent says that it holds just these.
func (w *world) awaitHeld(want []*attachment) error {
	names := map[string]bool{}
	for _, a := range want {
		names[a.tag()] = true
	}
	return w.until(errNoWrongDelete, fmt.Sprintf("the agent to hold %d attachments", len(want)), func() error {
		r, err := w.report()
		if err != nil {
			return err
		}
		if len(r.Held) != len(names) {
			return fmt.Errorf("it holds %d: %+v", len(r.Held), r)
		}
		return nil
	})
}

// until waits for what is to come to be within convergeBound.
func (w *world) until(invariant error, what string, ok func() error) error {
	begin := time.Now()
	for {
		err := ok()
		switch {
		case w.ctx.Err() != nil:
			return context.Cause(w.ctx)
		case err == nil:
			return nil
		case time.Since(begin) > convergeBound:
			return broke(invariant, nil, "waited %s for %s: %v", convergeBound, what, err)
		}
		w.sleep(100 * time.Millisecond)
	}
}

// report is what the host's agent says of VPP.
func (w *world) report() (report.Report, error) {
	var r report.Report
	code, body, err := w.node.Get(w.ctx, "/verify")
	if err != nil {
		return r, err
	}
	if code != http.StatusOK {
		return r, fmt.Errorf("/verify: %d %s", code, strings.TrimSpace(body))
	}
	return r, json.Unmarshal([]byte(body), &r)
}

// patience is how long the operator waits before saying it again.
const patience = 30 * time.Second

// release is the operator's word that all that is held may go.
func (w *world) release() error {
	w.model.edit(w.model.all(attached)...)
	var given time.Time
	return w.until(errNoLeak, "VPP to be let go of", func() error {
		ctx, cancel := context.WithTimeout(w.ctx, startBound)
		defer cancel()
		r, err := w.report()
		if err != nil {
			return err
		}
		if len(r.Held) == 0 {
			return w.noneLeft()
		}
		if time.Since(given) < patience { // a word that comes too late would stay until the next hold
			return fmt.Errorf("%d are still held", len(r.Held))
		}
		given = time.Now()
		ctl := exec.CommandContext(ctx, filepath.Join(w.cfg.BinDir, "vpp-cnictl"), "--config", w.node.OperatorConfig, "node", "release", nodeName)
		out, err := ctl.CombinedOutput()
		w.history.add(everything, "vpp-cnictl node release: %s %s", outcome(err), strings.TrimSpace(string(out)))
		return fmt.Errorf("%d are still held", len(r.Held))
	})
}

// noneLeft wants no interface of ours in VPP.
func (w *world) noneLeft() error {
	v, err := w.eye.interfaces(w.ctx)
	if err != nil {
		return err
	}
	for _, i := range v.interfaces {
		if strings.HasPrefix(i.tag, ours) {
			return fmt.Errorf("VPP holds %s with the tag %s", i.name, i.tag)
		}
	}
	return nil
}

// restore puts etcd back to a state before some ADDs and DELs. What was added
// since is held, what was removed since comes back until the runtime's GC.
func (w *world) restore() error {
	if err := w.replaceEtcd("etcd is backed up", w.etcd.Backup); err != nil {
		return err
	}
	if err := w.allUp(); err != nil {
		return err
	}
	var added []*attachment
	for _, p := range w.pods {
		if a := w.model.find(p.sandbox.Container, 2); a != nil {
			w.del(a, killing{})
		}
		if w.model.find(p.sandbox.Container, 0) == nil && p.index%2 == 0 {
			w.attach(p, 0, networks()[0], killing{}, delNow)
			if a := w.model.find(p.sandbox.Container, 0); a != nil {
				added = append(added, a)
			}
		}
	}
	if err := w.settleAll(false); err != nil {
		return err
	}
	if err := w.converge(); err != nil {
		return err
	}
	if err := w.replaceEtcd("etcd is restored", w.etcd.Restore); err != nil {
		return err
	}
	if err := w.awaitHeld(added); err != nil {
		return err
	}
	if err := w.traffic(); err != nil {
		return err
	}
	for _, a := range added {
		// The pod's own agent holds its end too, and ends with the pod.
		if err := w.replace(a.owner, operation{Verb: verbFinish}); err != nil {
			return err
		}
	}
	return w.until(errNoGiveUp, "GC of what came back", func() error {
		var errs []error
		for _, n := range networks() {
			errs = append(errs, w.gc(n, killing{}))
		}
		return errors.Join(errs...)
	})
}

// reboot starts the node anew. No attachment of the earlier boot is programmed,
// each says why, and the pods' new sandboxes take over.
func (w *world) reboot() error {
	if err := w.restartNode(); err != nil {
		return err
	}
	if err := w.allUp(); err != nil {
		return err
	}
	err := w.until(errStatusTruth, "the attachments to be told of the reboot", func() error {
		return errors.Join(w.noneLeft(), w.rebootTold())
	})
	if err != nil {
		return err
	}
	for _, p := range w.pods {
		had := len(w.attachedTo(p))
		if err := w.newSandbox(p, operation{Afterwards: addRetry}); err != nil {
			return err
		}
		if now := len(w.attachedTo(p)); now != had {
			return broke(errNoGiveUp, []string{p.name}, "of %d attachments of %s a new sandbox got %d after a reboot", had, p.name, now)
		}
	}
	return nil
}

func (w *world) restartNode() error {
	w.agent.Lock()
	defer w.agent.Unlock()
	w.vpp.Lock()
	defer w.vpp.Unlock()
	defer w.broken("the node boots")()
	w.boots++
	err := errors.Join(w.node.Agent.Kill(), w.endVPP())
	for _, p := range w.pods {
		err = errors.Join(err, w.killPod(p))
	}
	err = errors.Join(err, os.RemoveAll(filepath.Join(w.node.RunDir, "pods")), w.node.Reboot(bootID(w.boots)))
	if err != nil {
		return err
	}
	return errors.Join(w.upVPP(), w.startAgent())
}

// errNotYet is a status that does not say what it will.
var errNotYet = errors.New("not yet")

// rebootTold wants a status that says so of every attachment.
func (w *world) rebootTold() error {
	keys, err := w.keysOfNode()
	if err != nil {
		return err
	}
	for _, a := range w.model.all(attached) {
		key := w.keys.HostStatus(nodeName, schema.ContainerID(a.key.container), schema.IfName(a.key.ifname))
		st, err := schema.Decode[schema.InterfaceStatus](keys[key].value)
		if err != nil || st.State != schema.Failed || st.Reason != schema.ReasonRebooted {
			return fmt.Errorf("%s says %s (%s): %w", key, st.State, st.Reason, errors.Join(err, errNotYet))
		}
	}
	return nil
}

// attachedTo are the attachments of a pod's live sandbox.
func (w *world) attachedTo(p *pod) (out []*attachment) {
	for _, a := range w.model.all(attached) {
		if a.key.container == p.sandbox.Container {
			out = append(out, a)
		}
	}
	return out
}
