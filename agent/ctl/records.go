package main

import (
	"fmt"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// list is what -o json and -o yaml print.
type list[T any] struct {
	// Revision is etcd's, of the whole list.
	Revision int64 `json:"revision"`
	Items    []T   `json:"items"`
}

// value is one etcd value in the output, with its secrets replaced.
type value[V any] struct {
	Key      string `json:"key"`
	Revision int64  `json:"revision"`
	Value    *V     `json:"value,omitempty"`
	// Error says why the value cannot be read; Value is then absent.
	Error string `json:"error,omitempty"`
}

func record[V schema.Value](v *store.Versioned[V], hide func(V) V) *value[V] {
	if v == nil {
		return nil
	}
	r := &value[V]{Key: v.Key, Revision: v.Rev}
	if v.Err != nil {
		r.Error = v.Err.Error()
		return r
	}
	shown := v.Value
	if hide != nil {
		shown = hide(shown)
	}
	r.Value = &shown
	return r
}

// hidden is m without its secret.
func hidden(m *schema.MemifEnd) *schema.MemifEnd {
	if m == nil || m.Secret.IsZero() {
		return m
	}
	c := *m
	c.Secret = schema.NewSecret(m.Secret.String())
	return &c
}

func hideHost(h schema.HostInterface) schema.HostInterface {
	h.Memif = hidden(h.Memif)
	return h
}

func hidePod(p schema.PodInterface) schema.PodInterface {
	p.Memif = hidden(p.Memif)
	return p
}

type nodeRecord struct {
	Node        schema.Node              `json:"node"`
	Attachments int                      `json:"attachments"`
	Agent       *value[schema.AgentInfo] `json:"agent,omitempty"`
}

type networkRecord struct {
	Name schema.NetworkName `json:"name"`
	value[schema.Network]
}

type attachmentRecord struct {
	Node       schema.Node                    `json:"node"`
	Container  schema.ContainerID             `json:"container"`
	IfName     schema.IfName                  `json:"ifname"`
	PodID      schema.PodID                   `json:"podID,omitempty"`
	Host       *value[schema.HostInterface]   `json:"host,omitempty"`
	HostStatus *value[schema.InterfaceStatus] `json:"hostStatus,omitempty"`
	Pod        *value[schema.PodInterface]    `json:"pod,omitempty"`
	PodStatus  *value[schema.InterfaceStatus] `json:"podStatus,omitempty"`
}

func attachmentOut(v store.AttachmentView) attachmentRecord {
	return attachmentRecord{
		Node: v.Node, Container: v.Container, IfName: v.IfName, PodID: v.PodID,
		Host: record(v.Host, hideHost), HostStatus: record(v.HostStatus, nil),
		Pod: record(v.Pod, hidePod), PodStatus: record(v.PodStatus, nil),
	}
}

// summary is an attachment in the words of the tables.
type summary struct {
	pod, network, kind, addresses string
	host, podEnd, link            string
	iface, mac                    string
	status                        *schema.InterfaceStatus
}

func summarize(v store.AttachmentView) summary {
	s := summary{
		pod: string(v.PodID), network: "-", kind: "-", addresses: "-", link: "-", iface: "-", mac: "-",
		host: state(v.Host, v.HostStatus), podEnd: state(v.Pod, v.PodStatus),
	}
	if v.Partial {
		s.host = said(v.HostStatus)
	}
	if h := v.Host; h != nil && h.Err == nil {
		s.network, s.kind = string(h.Value.Network), kind(h.Value)
		s.pod = podName(h.Value.Pod)
	}
	if p := v.Pod; p != nil && p.Err == nil {
		s.network, s.pod = string(p.Value.Network), podName(p.Value.Pod)
		if len(p.Value.Addresses) > 0 {
			s.addresses = join(p.Value.Addresses, ",")
		}
	}
	if st := v.HostStatus; st != nil && st.Err == nil {
		s.status = &st.Value
		s.link, s.iface, s.mac = dash(string(st.Value.Link)), dash(st.Value.Interface), dash(st.Value.MAC.String())
	}
	return s
}

// kind is such as "memif master, bridge 5 vlan 100".
func kind(h schema.HostInterface) string {
	s := string(h.IfType)
	switch {
	case h.Memif != nil && h.Memif.Mode == schema.MemifIP:
		s += " ip"
	case h.VhostUser != nil:
		s += " " + string(h.VhostUser.Role)
	}
	switch {
	case h.Bridge != nil && h.Bridge.VLAN != 0:
		return fmt.Sprintf("%s/bridge %s vlan %d", s, h.Bridge.Name, h.Bridge.VLAN)
	case h.Bridge != nil:
		return fmt.Sprintf("%s/bridge %s", s, h.Bridge.Name)
	default:
		return s + "/" + string(h.NetType)
	}
}

func podName(p schema.PodRef) string {
	if p.Name == "" {
		return string(p.ID)
	}
	return p.Namespace + "/" + p.Name
}

// state is where one end stands, in one or two words.
func state[V schema.Value](want *store.Versioned[V], st *store.Versioned[schema.InterfaceStatus]) string {
	switch {
	case want == nil && st == nil:
		return "-"
	case want == nil:
		return "Removing"
	case want.Err != nil:
		return "Unreadable"
	case st == nil:
		return "Waiting"
	case st.Err != nil:
		return "Unreadable"
	case st.Value.SpecRevision != want.Rev:
		return "Outdated"
	default:
		return said(st)
	}
}

// said is what the agent says of one end.
func said(st *store.Versioned[schema.InterfaceStatus]) string {
	switch {
	case st == nil:
		return "-"
	case st.Err != nil:
		return "Unreadable"
	case st.Value.State == schema.Ready:
		return string(schema.Ready)
	default:
		return fmt.Sprintf("%s(%s)", st.Value.State, st.Value.Reason)
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
