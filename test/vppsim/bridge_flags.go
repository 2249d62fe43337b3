package vppsim

import (
	govpp "go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/l2"
)

func (v *vpp) registerBridgeFlags() {
	onRequest(v, v.bridgeFlags)
	onRequest(v, v.bridgeDomainSetMacAge)
}

// modifiable finds a bridge domain that the API may change.
func (v *vpp) modifiable(id uint32) (*bridge, retval) {
	if id == 0 {
		return nil, govpp.BD_NOT_MODIFIABLE
	}
	b := v.bridges.byID[id]
	if b == nil {
		return nil, govpp.NO_SUCH_ENTRY
	}
	return b, ok
}

// bridgeFlags sets or clears flags. They are shown in the dump only: the data
// plane learns, floods and forwards in any case.
func (v *vpp) bridgeFlags(q *l2.BridgeFlags, r *l2.BridgeFlagsReply) retval {
	b, rv := v.modifiable(q.BdID)
	if b == nil {
		return rv
	}
	for _, f := range []struct {
		flag  l2.BdFlags
		field *bool
	}{
		{l2.BRIDGE_API_FLAG_LEARN, &b.learn},
		{l2.BRIDGE_API_FLAG_FWD, &b.forward},
		{l2.BRIDGE_API_FLAG_FLOOD, &b.flood},
		{l2.BRIDGE_API_FLAG_UU_FLOOD, &b.uuFlood},
		{l2.BRIDGE_API_FLAG_ARP_TERM, &b.arpTerm},
		{l2.BRIDGE_API_FLAG_ARP_UFWD, &b.uFwd},
	} {
		if q.Flags&f.flag != 0 {
			*f.field = q.IsSet
		}
		if *f.field {
			r.ResultingFeatureBitmap |= uint32(f.flag)
		}
	}
	return ok
}

func (v *vpp) bridgeDomainSetMacAge(q *l2.BridgeDomainSetMacAge, _ *l2.BridgeDomainSetMacAgeReply) retval {
	b, rv := v.modifiable(q.BdID)
	if b != nil {
		b.macAge = q.MacAge
	}
	return rv
}
