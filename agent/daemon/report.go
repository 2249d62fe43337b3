package daemon

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"

	"github.com/vpp-cni/vpp-cni/agent/reconcile"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
)

// Report compares what is desired with what VPP and the run-dir really hold.
type Report struct {
	Node string `json:"node"`
	// VPPPID is 0 while VPP is away.
	VPPPID uint32 `json:"vppPID"`
	// InSync is true where there is no drift and nothing is pending.
	InSync  bool      `json:"inSync"`
	Drift   []Drift   `json:"drift"`
	Pending []Pending `json:"pending"`
}

// Drift is one object that is not as desired.
type Drift struct {
	// Op is what would mend it: put or del.
	Op string `json:"op"`
	// Object is kind and name.
	Object string `json:"object"`
	// Attachment is whose it is, as in <container>/<ifname>; several with a
	// comma between; empty for what nobody wants.
	Attachment string `json:"attachment"`
	// Want and Have describe the object; empty for none. Secrets are hidden.
	Want string `json:"want"`
	Have string `json:"have"`
}

// Pending is an attachment that is not ready.
type Pending struct {
	Attachment string        `json:"attachment"`
	Reason     schema.Reason `json:"reason"`
	Message    string        `json:"message"`
}

// Verify reads what is there and reports how it differs from what is desired. It
// changes nothing. While VPP is away the error says so, and the report has what
// is known.
func (d *Daemon) Verify(ctx context.Context) (Report, error) {
	rep := Report{Node: d.cfg.Node, Drift: []Drift{}, Pending: d.notReady()}
	info := d.cfg.VPP.Info()
	if !info.Connected {
		return rep, info.Err
	}
	rep.VPPPID = info.PID
	if err := d.State().Pass; err != nil {
		return rep, err
	}
	diffs, err := d.engine.Drift(ctx)
	if err != nil {
		return rep, err
	}
	for _, diff := range diffs {
		rep.Drift = append(rep.Drift, d.drift(diff))
	}
	rep.InSync = len(rep.Drift) == 0 && len(rep.Pending) == 0
	return rep, nil
}

func (d *Daemon) drift(diff reconcile.Difference) Drift {
	names := make([]string, 0, len(diff.Keys))
	for _, key := range diff.Keys {
		names = append(names, d.name(key))
	}
	return Drift{
		Op: string(diff.Op), Object: diff.ID.String(), Attachment: strings.Join(names, ","),
		Want: describe(diff.Want), Have: describe(diff.Have),
	}
}

func (d *Daemon) notReady() []Pending {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]Pending, 0, len(d.pending))
	for _, p := range d.pending {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Pending) int { return cmp.Compare(a.Attachment, b.Attachment) })
	return out
}

// name is an attachment's key without the prefix.
func (d *Daemon) name(key string) string { return strings.TrimPrefix(key, d.cfg.Contract.Desired) }

// describe lists an object's fields that are not empty, as in "Master=true
// Socket=/run/x". A secret is hidden.
func describe(o model.Object) string {
	if o == nil {
		return ""
	}
	v := reflect.ValueOf(o)
	var parts []string
	for i := range v.NumField() {
		name, field := v.Type().Field(i).Name, v.Field(i)
		if field.IsZero() {
			continue
		}
		switch value := field.Interface().(type) {
		case model.MAC:
			parts = append(parts, name+"="+net.HardwareAddr(value[:]).String())
		default:
			if name == "Secret" {
				value = schema.Secret("").String()
			}
			parts = append(parts, fmt.Sprintf("%s=%v", name, value))
		}
	}
	return strings.Join(parts, " ")
}
