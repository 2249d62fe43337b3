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
	"github.com/vpp-cni/vpp-cni/schema/report"
)

// Verify reads what is there and reports how it differs from what is desired. It
// changes nothing. While VPP is away the error says so, and the report has what
// is known.
func (d *Daemon) Verify(ctx context.Context) (report.Report, error) {
	rep := report.Report{Node: d.cfg.Node, Drift: []report.Drift{}, Pending: d.notReady()}
	info := d.cfg.VPP.Info()
	if !info.Connected {
		return rep, info.Err
	}
	rep.VPPPID = info.PID
	if s := d.State(); s.Fenced != nil || s.Pass != nil {
		return rep, cmp.Or(s.Fenced, s.Pass)
	}
	diffs, strangers, err := d.engine.Drift(ctx)
	if err != nil {
		return rep, err
	}
	rep.Held = d.reportHeld(strangers)
	for _, diff := range diffs {
		rep.Drift = append(rep.Drift, d.drift(diff))
	}
	rep.InSync = len(rep.Drift) == 0 && len(rep.Pending) == 0 && len(rep.Held) == 0
	return rep, nil
}

func (d *Daemon) drift(diff reconcile.Difference) report.Drift {
	names := make([]string, 0, len(diff.Keys))
	for _, key := range diff.Keys {
		names = append(names, d.name(key))
	}
	rep := report.Drift{
		Op: string(diff.Op), Object: diff.ID.String(), Attachment: strings.Join(names, ","),
		Want: describe(diff.Want), Have: describe(diff.Have),
	}
	if model.OtherSecret(diff.Want, diff.Have) {
		rep.Have += " Secret=[another]"
	}
	return rep
}

func (d *Daemon) notReady() []report.Pending {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]report.Pending, 0, len(d.pending))
	for _, p := range d.pending {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b report.Pending) int { return cmp.Compare(a.Attachment, b.Attachment) })
	return out
}

// name is an attachment's key without the prefix.
func (d *Daemon) name(key string) string { return strings.TrimPrefix(key, d.cfg.Contract.Desired) }

// describe lists an object's fields that are not empty, as in "Master=true
// Socket=/run/x". A secret prints as hidden, and its mark is left out.
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
		case model.Mark: // nobody needs it
		case model.MAC:
			parts = append(parts, name+"="+net.HardwareAddr(value[:]).String())
		default:
			parts = append(parts, fmt.Sprintf("%s=%v", name, value))
		}
	}
	return strings.Join(parts, " ")
}
