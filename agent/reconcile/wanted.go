package reconcile

import (
	"cmp"
	"slices"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// Spec is what one attachment wants.
type Spec struct {
	// Order says which of two attachments came first, where both want one object
	// and want it differently: the lower one has it, and with equal orders the
	// lower key. The agents give the etcd revision.
	Order int64
	// Objects are what is wanted. Attachments may share objects: an object goes
	// when the last attachment that wants it is gone.
	Objects []model.Object
	// Keep names objects that stay untouched if they are there, with all that
	// they stand on and all that stands on them. It is for an attachment whose
	// value cannot be understood: its pod is not cut for that.
	Keep []model.ID
	// Names are the identities that the attachment's interface may have in VPP,
	// wanted or not: what stands under them is the attachment's own.
	Names []model.ID
}

// equal says whether two specs ask for the same, in the same order.
func (s Spec) equal(other Spec) bool {
	return s.Order == other.Order && slices.Equal(s.Objects, other.Objects) && slices.Equal(s.Keep, other.Keep) && slices.Equal(s.Names, other.Names)
}

// claim is one attachment's wish for one object.
type claim struct {
	key    string
	order  int64
	object model.Object
}

// wanted is what all attachments want, by object.
type wanted struct {
	claims map[model.ID][]claim // sorted: the first one is what counts
}

func newWanted() wanted { return wanted{claims: map[model.ID][]claim{}} }

// object is what is wanted under id, nil for nothing.
func (w wanted) object(id model.ID) model.Object {
	if c := w.claims[id]; len(c) > 0 {
		return c[0].object
	}
	return nil
}

// rival is the attachment that has id with another value than key wants.
func (w wanted) rival(key string, id model.ID) (string, bool) {
	claims := w.claims[id]
	for _, c := range claims {
		if c.key == key {
			return claims[0].key, c.object != claims[0].object
		}
	}
	return "", false
}

// earlier orders the claims for one object.
func earlier(a, b claim) int {
	return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.key, b.key))
}

func (w wanted) add(c claim) {
	id := c.object.ID()
	claims := w.claims[id]
	at, _ := slices.BinarySearchFunc(claims, c, earlier)
	w.claims[id] = slices.Insert(claims, at, c)
}

// remove takes back what add was given for key and order.
func (w wanted) remove(key string, order int64, id model.ID) {
	claims := w.claims[id]
	at, ok := slices.BinarySearchFunc(claims, claim{key: key, order: order}, earlier)
	if !ok {
		return
	}
	claims = slices.Delete(claims, at, at+1)
	if len(claims) == 0 {
		delete(w.claims, id)
		return
	}
	w.claims[id] = claims
}

// owners are the attachments that want id.
func (w wanted) owners(id model.ID) []string {
	keys := make([]string, 0, len(w.claims[id]))
	for _, c := range w.claims[id] {
		keys = append(keys, c.key)
	}
	return keys
}
