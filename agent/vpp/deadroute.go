package vpp

import (
	"context"
	"errors"
	"fmt"

	"github.com/sirupsen/logrus"
	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/fib_types"
	"go.fd.io/govpp/binapi/ip"
)

// When VPP 25.10 deletes an interface, the routes that lead to it stay, and their
// paths drop packets from then on for good (FIB_PATH_OPER_FLAG_DROP, set for
// FIB_NODE_BW_REASON_FLAG_INTERFACE_DELETE in src/vnet/fib/fib_path.c). The next
// interface gets the same index; the same route added again finds the old path
// and shares it, and drops too. A dump shows such a route as it shows a good one.
// So what leads to an index is taken out before an interface is put there, where
// the one before went without our deleting its routes first.

// vanish notes that the interface of an index went without our doing.
func (x *index) vanish(idx uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.vanished[idx] = true
}

// gone adds to the vanished indexes those of our interfaces that a snapshot does
// not show any more, or shows as another interface.
func (x *index) gone(snap *snapshot) map[uint32]bool {
	out := x.vanished
	for idx, i := range x.byIndex {
		if d := snap.byIndex[idx]; d == nil || d.InterfaceName != i.name {
			out[idx] = true
		}
	}
	return out
}

// haunted says whether routes to an index may be dead, and which tables to look
// in, and forgets it.
func (x *index) haunted(idx uint32) (tables []tableKey, yes bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.vanished[idx] {
		return nil, false
	}
	delete(x.vanished, idx)
	for key := range x.tables {
		tables = append(tables, key)
	}
	return tables, true
}

// noteDead notes the indexes that a route leads to and no interface has.
func (w *view) noteDead(r ip.IPRouteV2) {
	for _, p := range r.Paths {
		if p.SwIfIndex != none && w.snap.byIndex[p.SwIfIndex] == nil {
			w.dead = append(w.dead, p.SwIfIndex)
		}
	}
}

// dropDeadRoutes takes out the routes that lead to an interface that was just
// made: they are those of an earlier one of its index.
func (v *VPP) dropDeadRoutes(ctx context.Context, s *session, idx uint32) error {
	tables, yes := v.index.haunted(idx)
	if !yes {
		return nil
	}
	err := s.dropRoutesTo(ctx, v.log, tables, idx)
	if err != nil {
		v.index.vanish(idx)
		return fmt.Errorf("routes of an earlier interface of index %d: %w", idx, err)
	}
	return nil
}

func (s *session) dropRoutesTo(ctx context.Context, log *logrus.Entry, tables []tableKey, idx uint32) error {
	reqs := make([]api.Message, 0, len(tables))
	for _, key := range tables {
		reqs = append(reqs, &ip.IPRouteV2Dump{Src: sourceAPI, Table: ip.IPTable{TableID: key.vrf, IsIP6: key.v6}})
	}
	var dead []ip.IPRouteV2
	err := s.multi(ctx, "dump of routes", reqs, func(msg api.Message) {
		d, ok := msg.(*ip.IPRouteV2Details)
		if !ok || d.Route.Src != sourceAPI {
			return
		}
		for _, p := range d.Route.Paths {
			if p.SwIfIndex == idx {
				r := d.Route
				r.NPaths, r.Paths = 1, []fib_types.FibPath{p}
				dead = append(dead, r)
			}
		}
	})
	errs := []error{err}
	for _, r := range dead {
		_, err := ask[*ip.IPRouteAddDelV2Reply](ctx, s, &ip.IPRouteAddDelV2{IsMultipath: true, Route: r})
		errs = append(errs, absent(err))
		log.WithFields(logrus.Fields{"route": fromPrefix(r.Prefix).String(), "vrf": r.TableID}).Warn("route led to an interface that is gone, removed")
	}
	return errors.Join(errs...)
}
