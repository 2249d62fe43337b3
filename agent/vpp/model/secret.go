package model

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"unique"
)

// Secret is a memif's secret, or none. Only Reveal gives its text; see
// schema.Secret, which keeps it in the same way.
type Secret struct{ text unique.Handle[string] }

// NewSecret is a secret; none for the empty text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{unique.Make(text)}
}

// Reveal is the secret's text, for VPP alone.
func (s Secret) Reveal() string {
	if s == (Secret{}) {
		return ""
	}
	return s.text.Value()
}

// Equal says whether both are the same text, or none.
func (s Secret) Equal(other Secret) bool { return s == other }

// String hides the secret.
func (Secret) String() string { return "[redacted]" }

// Format hides the secret from every verb of fmt.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText hides the secret from JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Mark stands in a memif's tag in VPP and tells which secret the memif was made
// with, none included, since VPP shows no secret: 64 bits of SHA-256 over the
// identity and the secret, in base64url.
//
// It gives away nothing that helps a guesser. The plugin's secrets have 136 random
// bits, which no digest brings nearer. One that somebody chose could be tried
// against it, but only by who may read VPP's tags, that is by who may use VPP's
// API or CLI, and they can join any memif without a secret. The identity in it
// keeps equal secrets of two attachments from showing. 64 bits are enough to
// tell two secrets apart, and few enough to leave many texts that fit.
type Mark string

const markLen = 11 // of 64 bits in base64 without padding

// The marks of what bears none, since an agent older than marks made it or
// somebody changed its tag: one that has a peer, and one that has not; and of one
// that had a mark before our eyes, which it can be given back.
const (
	UnmarkedJoined Mark = "joined"
	Unmarked       Mark = "unmarked"
	LostMark       Mark = "lost"
)

// markOf is the mark of a memif with the secret.
func markOf(tag Tag, secret Secret) Mark {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "memif secret of %d:%s:%s", len(tag), tag, secret.Reveal())
	return Mark(base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:8]))
}

// String says whether there is a mark. Its text is nobody's business.
func (m Mark) String() string {
	switch m {
	case Unmarked, UnmarkedJoined, LostMark:
		return string(m)
	default:
		return "[hidden]"
	}
}

// MarshalText is String.
func (m Mark) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// sameSecret says whether have, found in VPP or made by us, has m's secret.
//
// One without a mark stays while it has a peer: the two agree on a secret, and
// making it anew would cut a pod for a change of the agent's version. Without a
// peer nothing is cut, and it is made anew where it must have a secret.
func (m Memif) sameSecret(have Memif) bool {
	switch have.Mark {
	case "":
		return have.Secret == m.Secret
	case UnmarkedJoined:
		return true
	case Unmarked:
		return m.Secret == Secret{}
	default:
		return have.Mark == markOf(m.Tag, m.Secret)
	}
}

// OtherSecret says whether have is an end with another secret than want.
func OtherSecret(want, have Object) bool {
	w, isMemif := want.(Memif)
	h, both := have.(Memif)
	return isMemif && both && !w.sameSecret(h)
}
