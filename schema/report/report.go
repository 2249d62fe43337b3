// Package report is what an agent answers to GET /verify: how VPP differs from
// what is desired, and the client that asks for it. The comparison itself is the
// agent's.
package report

import "github.com/vpp-cni/vpp-cni/schema"

// Report compares what is desired with what VPP and the run-dir really hold.
type Report struct {
	Node string `json:"node"`
	// VPPPID is 0 while VPP is away.
	VPPPID uint32 `json:"vppPID"`
	// InSync is true where there is no drift, nothing is pending and nothing held.
	InSync  bool      `json:"inSync"`
	Drift   []Drift   `json:"drift"`
	Pending []Pending `json:"pending"`
	Held    []Held    `json:"held,omitempty"`
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

// Held is an attachment that stands in VPP although etcd knows neither of it nor
// of its removal.
type Held struct {
	// Attachment is as in <container>/<ifname>; empty where VPP does not tell.
	Attachment string `json:"attachment"`
	// Interface is VPP's name of it.
	Interface string `json:"interface"`
}
