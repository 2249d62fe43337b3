// Package reconcile makes what is there equal to what is wanted: it compares
// objects, orders the difference, carries it out through drivers and tries
// again what failed. It does no I/O of its own and knows neither etcd nor
// GoVPP; what is wanted comes from packages hostplan and podplan, and drivers
// (package vpp, the run-dir) touch the world.
package reconcile

import (
	"context"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// Driver reads and writes the objects of some kinds. Every operation is
// idempotent, has a deadline, and may run beside others. Errors name the object.
type Driver interface {
	// Kinds are the kinds that this driver has.
	Kinds() []model.Kind
	// Dump lists the objects of its kinds that are ours.
	Dump(ctx context.Context) ([]model.Object, error)
	// Put makes want so. have is what was found under the same ID, nil for
	// nothing.
	Put(ctx context.Context, want, have model.Object) error
	// Delete removes have. That it is absent already is not an error.
	Delete(ctx context.Context, have model.Object) error
}

// Batcher is a Driver that puts many objects at less cost than one by one.
type Batcher interface {
	Driver
	// PutAll is Put for each of want, with what was found of it under the same
	// number in have, and an error for each. None of want stands on another.
	PutAll(ctx context.Context, want, have []model.Object) []error
}
