package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/containernetworking/cni/pkg/ns"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/failpoint"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// attachTries bounds the rounds of a transaction that others are faster with.
const attachTries = 8

// cmdAdd makes an attachment: it writes both ends in one transaction, waits for
// the agent, and answers. If anything fails, what this call made is withdrawn.
func cmdAdd(cmd *skel.CmdArgs) error {
	return serve(cmd, "ADD", (*call).add)
}

func (c *call) add(ctx context.Context) error {
	a := &adding{call: c}
	if err := a.prepare(); err != nil {
		return err
	}
	if err := a.attach(ctx); err != nil {
		return a.withdraw(ctx, asError(err))
	}
	c.log.WithFields(logrus.Fields{"rev": a.rev, "took": c.took(), "pod": a.id.pod.ID, "interface": a.hostName}).Info("attachment added")
	return nil
}

// adding is one ADD.
type adding struct {
	*call
	id   identity
	req  request
	view store.View

	runDir string
	ip     *types100.Result
	// giveBack says that this call's IPAM ADD may hold addresses, and that no
	// other call of the same attachment has them.
	giveBack bool
	want     store.Attachment
	// rev is the host end's revision, once it is there; mine says that this call
	// made it. unknown says that a transaction was sent whose outcome is not
	// known; certain, that etcd has answered it, so that a look shows the outcome.
	mine    bool
	unknown bool
	certain bool
	rev     int64
	// hostName is what VPP calls the host end, once it is ready.
	hostName string
	// described says that this call has written the file of CNIDeviceInfoFile.
	described bool
}

// prepare checks all that can be checked without asking anybody.
func (a *adding) prepare() error {
	if err := checkLogLevel(a.set.log.level); err != nil {
		return err
	}
	if err := a.checkNetns(); err != nil {
		return err
	}
	if err := a.setRequest(); err != nil {
		return err
	}
	if err := a.checkInfoFile(); err != nil {
		return err
	}
	_, err := a.prevResult()
	return err
}

// checkNetns does before the work what package skel does after it: a pod in the
// host's network namespace gets no interface (CNI specification, error 8 in
// package types).
func (c *call) checkNetns() error {
	if o := strings.ToUpper(c.cmd.NetnsOverride); o == "TRUE" || o == "1" {
		return nil
	}
	own, err := ns.CheckNetNS(c.cmd.Netns)
	if err != nil {
		return err
	}
	if own {
		return fail(types.ErrInvalidNetNS, "CNI_NETNS is the plugin's own network namespace", nil)
	}
	return nil
}

// setRequest puts the configuration and the environment together.
func (a *adding) setRequest() error {
	r, err := a.request()
	if err != nil {
		return err
	}
	a.id, a.req, a.runDir = r.id, r, a.set.runDir
	for _, note := range r.ends.notes {
		a.log.WithField("reason", note).Info("setting has no effect")
	}
	return nil
}

// request checks what ADD and CHECK are asked for. What networks/<name> adds
// comes later (see resolve).
func (c *call) request() (request, error) {
	id, err := identify(c.cmd, c.args)
	if err != nil {
		return request{}, err
	}
	ends, err := c.conf.ends()
	if err != nil {
		return request{}, err
	}
	r := request{
		node: c.set.node, id: id, network: schema.NetworkName(c.conf.Name), sandbox: c.cmd.Netns, bootID: c.set.bootID(), device: c.conf.DeviceID, ends: ends,
		hostDomain: placeholder(ends.host), podDomain: placeholder(ends.pod),
	}
	if r.podMAC, err = c.podMAC(ends); err != nil {
		return request{}, err
	}
	if r.mtu, err = readMTU(c.conf.MTU); err != nil {
		return request{}, err
	}
	if _, err := r.build(nil); err != nil {
		return request{}, invalid(err)
	}
	if err := r.checkSocketPath(c.set.runDir); err != nil {
		return request{}, invalid(err)
	}
	return r, nil
}

// placeholder is a valid bridge-domain id until the right one is known.
func placeholder(e endConf) uint32 {
	if e.netType == schema.NetBridge {
		return schema.FirstNamedDomain
	}
	return 0
}

func readMTU(mtu int) (uint16, error) {
	if err := schema.CheckMTU("mtu", mtu); err != nil {
		return 0, invalid(err)
	}
	return uint16(mtu), nil //nolint:gosec // CheckMTU bounds it
}

// podMAC is the address that the runtime asks for: the capability mac before
// args.cni.mac before MAC in CNI_ARGS, as the CNI reference plugins have it.
func (c *call) podMAC(ends endsConf) (schema.MAC, error) {
	code, field, s := types.ErrInvalidNetworkConfig, "runtimeConfig.mac", c.conf.RuntimeConfig.MAC
	if s == "" {
		field, s = "args.cni.mac", c.conf.Args.CNI.MAC
	}
	if s == "" {
		code, field, s = types.ErrInvalidEnvironmentVariables, "MAC in CNI_ARGS", c.args.mac
	}
	if s == "" {
		return schema.MAC{}, nil
	}
	mac, err := schema.ParseMAC(s)
	if err != nil {
		return schema.MAC{}, fail(code, field+" is not allowed", err)
	}
	if ends.ipMode() {
		return schema.MAC{}, fail(code, field+" is not allowed", errors.New("an ip-mode memif has no MAC address"))
	}
	return mac, nil
}

// attach does the work of ADD from the first look at etcd to the answer.
func (a *adding) attach(ctx context.Context) error {
	if err := a.look(ctx); err != nil {
		return err
	}
	failpoint.Hit("add-after-look")
	if a.ofEarlierBoot() {
		if err := a.dropEarlier(ctx); err != nil {
			return err
		}
	}
	if a.view.Host != nil {
		return a.join(ctx)
	}
	if pod := a.view.Pod; pod != nil && pod.Err != nil {
		return fail(types.ErrInvalidNetworkConfig, "the pod's interface is taken by a value that cannot be read", pod.Err)
	}
	if err := a.room(); err != nil {
		return err
	}
	if err := a.addresses(ctx); err != nil {
		return err
	}
	if a.rev != 0 { // a concurrent ADD of the same attachment was faster, and is joined
		return a.finish(ctx)
	}
	if err := a.write(ctx); err != nil {
		return err
	}
	return a.finish(ctx)
}

// lookTries: each of at most two named bridges gets its id in one round, and
// another round sees it.
const lookTries = 3

// look reads all that etcd knows of the attachment, and gives named bridges
// their ids.
func (a *adding) look(ctx context.Context) error {
	var missing schema.NetworkName
	l := a.lookup(a.id, a.networks(a.req.ends)...)
	l.Count = a.set.limit > 0
	for range lookTries {
		view, err := a.store.Look(ctx, l)
		if err != nil {
			return storeError("the attachment cannot be looked up in etcd", err)
		}
		a.view = view
		if err = a.checkAgent(); err != nil {
			return err
		}
		if missing, err = a.resolve(&a.req, view); err != nil || missing == "" {
			return err
		}
		if _, _, err = a.store.AllocateDomain(ctx, missing); err != nil {
			return storeError("bridge "+string(missing)+" cannot be given a bridge domain", err)
		}
	}
	return fail(types.ErrTryAgainLater, "bridge "+string(missing)+" lost its bridge domain meanwhile", nil)
}

// networks are the records that the attachment depends on: its network's, and
// its bridges' where they have names.
func (c *call) networks(ends endsConf) []schema.NetworkName {
	names := []schema.NetworkName{schema.NetworkName(c.conf.Name)}
	for _, e := range []endConf{ends.host, ends.pod} {
		if e.netType == schema.NetBridge && !allDigits(e.bridge) {
			names = appendNew(names, schema.NetworkName(e.bridge))
		}
	}
	return names
}

// resolve puts what networks/<name> says into r, and returns the first bridge
// that has no id yet.
func (c *call) resolve(r *request, view store.View) (missing schema.NetworkName, err error) {
	record := view.Networks[r.network]
	mtu := c.conf.MTU
	if record != nil {
		if record.Err != nil {
			return "", fail(types.ErrInvalidNetworkConfig, "the network's record cannot be read", record.Err)
		}
		r.vrf = record.Value.VRF
		if mtu == 0 {
			mtu = int(record.Value.MTU)
		}
	}
	if mtu == 0 {
		mtu = c.set.mtu
	}
	if r.mtu, err = readMTU(mtu); err != nil {
		return "", err
	}
	for _, e := range []struct {
		end *endConf
		id  *uint32
	}{{&r.ends.host, &r.hostDomain}, {&r.ends.pod, &r.podDomain}} {
		if e.end.netType != schema.NetBridge {
			continue
		}
		if *e.id, err = domainOf(e.end.bridge, view); err != nil {
			return "", err
		}
		if *e.id == 0 {
			return schema.NetworkName(e.end.bridge), nil
		}
	}
	return "", nil
}

// domainOf is the bridge-domain id of a bridge, 0 where it has none yet.
func domainOf(bridge string, view store.View) (uint32, error) {
	id, numbered, err := domainNumber("bridge.bridgeName", bridge)
	if err != nil || numbered {
		return id, err
	}
	record := view.Networks[schema.NetworkName(bridge)]
	switch {
	case record == nil:
		return 0, nil
	case record.Err != nil:
		return 0, fail(types.ErrInvalidNetworkConfig, "the bridge's record cannot be read", record.Err)
	default:
		return record.Value.DomainID, nil
	}
}

// addresses runs IPAM's ADD. A failure may mean that a concurrent ADD of the
// same attachment has the address: that one is then joined.
func (a *adding) addresses(ctx context.Context) error {
	var err error
	failpoint.Hit("add-before-ipam")
	a.ip, err = a.ipam.add(ctx)
	failpoint.Hit("add-after-ipam")
	if err == nil {
		a.giveBack = a.ip != nil
		return nil
	}
	if errors.Is(err, errStopped) || errors.Is(err, errRubbish) {
		a.giveBack = true
	} else if a.lookForOther(ctx) {
		return a.adopt()
	}
	return a.ipam.error("ADD", err)
}

// finish waits for the agent and prints the answer.
func (a *adding) finish(ctx context.Context) error {
	st, err := a.await(ctx)
	if err != nil {
		return err
	}
	if err := a.writeInfo(a.want, st); err != nil {
		return err
	}
	failpoint.Hit("add-before-answer")
	if err := a.call.write(os.Stdout, a.answer(a.want, st, a.runDir)); err != nil {
		return err
	}
	failpoint.Hit("add-after-answer")
	a.hostName = st.Interface
	a.releaseOld(ctx)
	return nil
}

// releaseOld gives back the addresses of the sandbox that this one took over
// from: its keys are gone and its DEL was lost. A DEL that comes late after all
// finds nothing.
func (a *adding) releaseOld(ctx context.Context) {
	old := a.view.Pod
	if !a.mine || old == nil || old.Value.Container == a.id.container || old.Value.Network != a.req.network {
		return
	}
	log := a.log.WithField("old", old.Value.Container)
	if err := a.ipam.of(string(old.Value.Container), string(a.id.ifName)).del(ctx); err != nil {
		log.WithField("err", err).Warn("addresses of the old sandbox are still allocated")
		return
	}
	log.Info("attachment taken over from the pod's old sandbox")
}

// failed logs why a call failed.
func (c *call) failed(verb string, err error) error {
	e := asError(err)
	c.log.WithFields(logrus.Fields{"verb": verb, "took": c.took(), "code": e.Code, "err": e.Error()}).Error("call failed")
	return e
}
