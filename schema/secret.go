package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unique"
)

// redacted is what a secret prints as.
const redacted = "[redacted]"

// Secret is a memif secret: 1 to 23 bytes (VPP's field is 24 bytes with a final
// NUL), or none. Its text comes out through Reveal and through its JSON form,
// which stands in etcd, and in no other way: the field is a pointer, so that fmt
// prints no text even of a Secret in an unexported field, where it asks no
// method, nor does a panic. Secrets of the same text are equal.
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
	if s.IsZero() {
		return ""
	}
	return s.text.Value()
}

// Equal says whether both are the same text, or none.
func (s Secret) Equal(other Secret) bool { return s == other }

// IsZero says whether there is no secret.
func (s Secret) IsZero() bool { return s == Secret{} }

// String hides the secret.
func (Secret) String() string { return redacted }

// Format hides the secret from every verb of fmt.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON is the secret itself: this is how it stands in etcd.
func (s Secret) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(s.Reveal())
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// UnmarshalJSON reads what MarshalJSON writes. The error does not hold it.
func (s *Secret) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return &FieldError{Field: "secret", Value: redacted, Allowed: "a string"}
	}
	*s = NewSecret(text)
	return nil
}
