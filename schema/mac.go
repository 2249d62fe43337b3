package schema

import (
	"crypto/sha256"
	"fmt"
	"net"
)

// MAC is a 48-bit MAC address. The zero value means none.
type MAC [6]byte

// ParseMAC reads a unicast 48-bit address such as 02:fe:00:00:00:01.
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	var m MAC
	if err != nil || len(hw) != len(m) {
		return MAC{}, &FieldError{Field: "MAC address", Value: s, Allowed: "six bytes as in 02:fe:00:00:00:01"}
	}
	copy(m[:], hw)
	if m[0]&1 != 0 || m.IsZero() {
		return MAC{}, &FieldError{Field: "MAC address", Value: s, Allowed: "a unicast address that is not zero"}
	}
	return m, nil
}

// DeriveMAC returns a locally administered unicast address made from the given
// names: equal names give equal addresses, so that an ADD repeated with the same
// content answers the same. 40 bits come from SHA-256.
func DeriveMAC(names ...string) MAC {
	h := sha256.New()
	for _, n := range names {
		_, _ = fmt.Fprintf(h, "%d:%s", len(n), n)
	}
	sum := h.Sum(nil)
	m := MAC{0: 0x02}
	copy(m[1:], sum)
	return m
}

// IsZero says whether m is no address.
func (m MAC) IsZero() bool { return m == MAC{} }

// String is the form with colons, or empty for none.
func (m MAC) String() string {
	if m.IsZero() {
		return ""
	}
	return net.HardwareAddr(m[:]).String()
}

// MarshalText writes the form with colons.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (m *MAC) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*m = MAC{}
		return nil
	}
	v, err := ParseMAC(string(b))
	if err != nil {
		return err
	}
	*m = v
	return nil
}
