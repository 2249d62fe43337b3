package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	cniversion "github.com/containernetworking/cni/pkg/version"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// answer makes the result of an attachment whose host end is Ready, from the
// stored values alone: an ADD repeated answers the same.
func (c *call) answer(a store.Attachment, st schema.InterfaceStatus, runDir string) *types100.Result {
	path := socketPath(a, st, runDir)
	hostMAC := st.MAC
	if hostMAC.IsZero() {
		hostMAC = a.Host.MAC
	}
	podMTU := int(a.Pod.MTU)
	if podMTU == 0 {
		podMTU = int(st.MTU)
	}
	r := &types100.Result{
		CNIVersion: types100.ImplementedSpecVersion,
		Interfaces: []*types100.Interface{
			{Name: string(a.IfName), Mac: a.Pod.MAC.String(), Mtu: podMTU, Sandbox: c.cmd.Netns, SocketPath: path},
			{Name: st.Interface, Mac: hostMAC.String(), Mtu: int(st.MTU), SocketPath: path},
		},
	}
	for _, addr := range a.Pod.Addresses {
		config := &types100.IPConfig{Interface: types100.Int(0), Address: ipNet(addr)}
		if gw := a.Pod.GatewayOf(addr); gw.IsValid() {
			config.Gateway = gw.AsSlice()
		}
		r.IPs = append(r.IPs, config)
	}
	for _, route := range a.Pod.Routes {
		out := &types.Route{Dst: ipNet(route.Dst)}
		if route.GW.IsValid() {
			out.GW = route.GW.AsSlice()
		}
		r.Routes = append(r.Routes, out)
	}
	if d := a.Pod.DNS; d != nil {
		r.DNS = types.DNS{Nameservers: d.Nameservers, Domain: d.Domain, Search: d.Search, Options: d.Options}
	}
	if !c.conf.DNS.IsEmpty() {
		r.DNS = c.conf.DNS
	}
	return r
}

// socketPath is the attachment's socket as the host sees it.
func socketPath(a store.Attachment, st schema.InterfaceStatus, runDir string) string {
	if st.SocketPath != "" {
		return st.SocketPath
	}
	return fmt.Sprintf("%s/pods/%s/%s", runDir, a.Pod.Pod.ID, socket(a.Host))
}

func ipNet(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// write prints r in the configuration's version, after the results of the
// plugins before in the chain.
func (c *call) write(w io.Writer, r *types100.Result) error {
	prev, err := c.prevResult()
	if err != nil {
		return err
	}
	r = merge(prev, r)
	if known, versionErr := cniversion.GreaterThanOrEqualTo(c.conf.CNIVersion, "1.1.0"); versionErr == nil && !known {
		for _, i := range r.Interfaces {
			i.Mtu, i.SocketPath = 0, "" // known from 1.1.0 on
		}
	}
	out, err := r.GetAsVersion(c.conf.CNIVersion)
	if err != nil {
		return fail(types.ErrIncompatibleCNIVersion, "the result has no form in version "+c.conf.CNIVersion, err)
	}
	if err := out.PrintTo(w); err != nil {
		return fail(types.ErrIOFailure, "the result cannot be written to standard output", err)
	}
	return nil
}

// prevResult reads the result of the plugins before; nil where there is none.
func (c *call) prevResult() (result *types100.Result, err error) {
	raw := c.conf.PrevResult
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil //nolint:nilnil // being first in the chain is no error
	}
	defer func() {
		// Package types converts an older version's result without looking for
		// null in its lists.
		if r := recover(); r != nil {
			result, err = nil, badPrevResult(fmt.Errorf("%v", r))
		}
	}()
	if !json.Valid(raw) {
		return nil, badPrevResult(errors.New("it is not JSON"))
	}
	parsed, err := cniversion.NewResult(c.conf.CNIVersion, raw)
	if err != nil {
		return nil, badPrevResult(err)
	}
	if result, err = types100.NewResultFromResult(parsed); err != nil {
		return nil, badPrevResult(err)
	}
	if slices.Contains(result.Interfaces, nil) || slices.Contains(result.IPs, nil) || slices.Contains(result.Routes, nil) {
		return nil, badPrevResult(errors.New("it has null in a list"))
	}
	return result, nil
}

func badPrevResult(err error) error {
	return fail(types.ErrDecodingFailure, "prevResult cannot be read", err)
}

// merge appends r to prev: interfaces after interfaces, with r's addresses
// pointing at r's own.
func merge(prev, r *types100.Result) *types100.Result {
	if prev == nil {
		return r
	}
	offset := len(prev.Interfaces)
	for _, ip := range r.IPs {
		ip.Interface = types100.Int(*ip.Interface + offset)
	}
	out := &types100.Result{
		CNIVersion: r.CNIVersion,
		Interfaces: append(prev.Interfaces, r.Interfaces...),
		IPs:        append(prev.IPs, r.IPs...),
		Routes:     append(prev.Routes, r.Routes...),
		DNS:        r.DNS,
	}
	if r.DNS.IsEmpty() {
		out.DNS = prev.DNS
	}
	return out
}
