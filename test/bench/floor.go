package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.fd.io/govpp"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/memif"
	"go.fd.io/govpp/core"
)

// floor does what one ADD or DEL must do at least, in one long-lived process
// with nothing around it: the transaction of both desired values, VPP's calls
// one after another, and the status.
type floor struct {
	etcd *clientv3.Client
	vpp  *core.Connection
	dir  string

	mu   sync.Mutex
	made map[int]made
}

type made struct {
	socket uint32
	index  interface_types.InterfaceIndex
}

const floorDomain = 4242

func newFloor(ctx context.Context, endpoints []string, apiSocket, dir string) (*floor, error) {
	etcd, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 5 * time.Second})
	if err != nil {
		return nil, err
	}
	conn, err := govpp.Connect(apiSocket)
	if err != nil {
		_ = etcd.Close()
		return nil, err
	}
	f := &floor{etcd: etcd, vpp: conn, dir: dir, made: map[int]made{}}
	_, err = l2.NewServiceClient(conn).BridgeDomainAddDelV2(ctx, &l2.BridgeDomainAddDelV2{
		BdID: floorDomain, IsAdd: true, Learn: true, Forward: true, UuFlood: true, Flood: true,
	})
	return f, err
}

func (f *floor) close(ctx context.Context) {
	_, _ = l2.NewServiceClient(f.vpp).BridgeDomainAddDelV2(ctx, &l2.BridgeDomainAddDelV2{BdID: floorDomain})
	f.vpp.Disconnect()
	_ = f.etcd.Close()
}

// value has the length of a real HostInterface.
const value = `{"network":"bench","pod":{"id":"bench00000000000000000000000000000000000000000000000000000000001"},"ifType":"memif","netType":"bridge","memif":{"role":"master","mode":"ethernet","socket":"net1.memif"},"bridge":{"name":"10","domainID":10},"mac":"02:aa:bb:cc:dd:ee"}`

// floorLimit bounds one call of the floor: GoVPP waits for ever for a VPP that
// died.
const floorLimit = 10 * time.Second

func (f *floor) add(ctx context.Context, i int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, floorLimit)
	defer cancel()
	begin := time.Now()
	key := fmt.Sprintf("/floor/%d/", i)
	_, err := f.etcd.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key+"host"), "=", 0)).
		Then(clientv3.OpPut(key+"host", value), clientv3.OpPut(key+"pod", value)).Commit()
	if err != nil {
		return 0, err
	}
	m, err := f.program(ctx, i)
	if err != nil {
		return 0, err
	}
	f.mu.Lock()
	f.made[i] = m
	f.mu.Unlock()
	_, err = f.etcd.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key+"host"), ">", 0)).
		Then(clientv3.OpPut(key+"status", value)).Commit()
	return time.Since(begin), err
}

// program makes one attachment: five calls in turn.
func (f *floor) program(ctx context.Context, i int) (made, error) {
	m := memif.NewServiceClient(f.vpp)
	id := uint32(100000 + i)
	path := filepath.Join(f.dir, fmt.Sprintf("floor%d.memif", i))
	if _, err := m.MemifSocketFilenameAddDelV2(ctx, &memif.MemifSocketFilenameAddDelV2{IsAdd: true, SocketID: id, SocketFilename: path}); err != nil {
		return made{}, err
	}
	created, err := m.MemifCreateV2(ctx, &memif.MemifCreateV2{Role: memif.MEMIF_ROLE_API_MASTER, SocketID: id, RingSize: 1024, BufferSize: 2048})
	if err != nil {
		return made{}, err
	}
	ifs := interfaces.NewServiceClient(f.vpp)
	if _, err = ifs.SwInterfaceTagAddDel(ctx, &interfaces.SwInterfaceTagAddDel{IsAdd: true, SwIfIndex: created.SwIfIndex, Tag: fmt.Sprintf("floor/%d", i)}); err != nil {
		return made{}, err
	}
	if _, err = l2.NewServiceClient(f.vpp).SwInterfaceSetL2Bridge(ctx, &l2.SwInterfaceSetL2Bridge{RxSwIfIndex: created.SwIfIndex, BdID: floorDomain, Enable: true}); err != nil {
		return made{}, err
	}
	_, err = ifs.SwInterfaceSetFlags(ctx, &interfaces.SwInterfaceSetFlags{SwIfIndex: created.SwIfIndex, Flags: interface_types.IF_STATUS_API_FLAG_ADMIN_UP})
	return made{socket: id, index: created.SwIfIndex}, err
}

func (f *floor) del(ctx context.Context, i int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, floorLimit)
	defer cancel()
	begin := time.Now()
	key := fmt.Sprintf("/floor/%d/", i)
	_, err := f.etcd.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key+"host"), ">", 0)).
		Then(clientv3.OpDelete(key+"host"), clientv3.OpDelete(key+"pod")).Commit()
	if err != nil {
		return 0, err
	}
	f.mu.Lock()
	was := f.made[i]
	delete(f.made, i)
	f.mu.Unlock()
	m := memif.NewServiceClient(f.vpp)
	if _, err = m.MemifDelete(ctx, &memif.MemifDelete{SwIfIndex: was.index}); err != nil {
		return 0, err
	}
	if _, err = m.MemifSocketFilenameAddDelV2(ctx, &memif.MemifSocketFilenameAddDelV2{SocketID: was.socket}); err != nil {
		return 0, err
	}
	if err = os.Remove(filepath.Join(f.dir, fmt.Sprintf("floor%d.memif", i))); err != nil {
		return 0, err
	}
	_, err = f.etcd.Delete(ctx, key+"status")
	return time.Since(begin), err
}
