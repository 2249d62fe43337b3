package vppsim

import "iter"

// pool is VPP's pool (src/vppinfra/pool.h) as its users see it: the index given
// next is the one that was freed last.
type pool[T any] struct {
	elements []*T
	free     []uint32
}

// put stores what make builds for the index it is given.
func (p *pool[T]) put(build func(index uint32) *T) *T {
	if n := len(p.free); n > 0 {
		i := p.free[n-1]
		p.free = p.free[:n-1]
		p.elements[i] = build(i)
		return p.elements[i]
	}
	i := uint32(len(p.elements)) // far below 2^32
	p.elements = append(p.elements, nil)
	p.elements[i] = build(i)
	return p.elements[i]
}

// get is nil for an index that is free or out of range.
func (p *pool[T]) get(i uint32) *T {
	if uint64(i) >= uint64(len(p.elements)) {
		return nil
	}
	return p.elements[i]
}

func (p *pool[T]) del(i uint32) {
	if p.get(i) != nil {
		p.elements[i] = nil
		p.free = append(p.free, i)
	}
}

// all goes by index.
func (p *pool[T]) all() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for _, e := range p.elements {
			if e != nil && !yield(e) {
				return
			}
		}
	}
}

// draw gives the id that VPP gives where it is asked to choose one: from a
// linear congruential generator that starts at 0, so the first is always
// 1013904223, cut to the bits of mask (src/vppinfra/random.h,
// memif_get_unused_socket_id, bd_get_unused_id). Where the id drawn is taken it
// looks up and down from there.
func draw(seed *uint32, mask uint32, taken func(uint32) bool) uint32 {
	*seed = 1664525**seed + 1013904223
	for n := int64(0); ; n++ {
		*seed += uint32((2*(n%2) - 1) * n) // wraps around, as in VPP
		*seed &= mask
		if !taken(*seed) {
			return *seed
		}
	}
}
