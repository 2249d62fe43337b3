package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// MaxValue is the largest value in bytes that Decode takes. Real values stay
// under 4 KiB.
const MaxValue = 64 << 10

// Value is a value of the key table.
type Value interface {
	HostInterface | PodInterface | InterfaceStatus | AgentInfo | Network | BridgeDomain | Release
}

// UnknownFieldError is a field that this version does not know, by its JSON
// name.
type UnknownFieldError struct{ Field string }

func (e *UnknownFieldError) Error() string {
	return fmt.Sprintf("unknown field %q: the value was written by another version, or by hand", e.Field)
}

// Encode writes v as one line of JSON. It does not validate.
func Encode[V Value](v V) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Decode reads what Encode writes. It refuses unknown fields
// (UnknownFieldError), text after the value, and values over MaxValue bytes. It
// does not validate: see the Validate methods.
//
// What agents report (InterfaceStatus, AgentInfo) may have unknown fields, which
// are passed over: half of what a newer agent says is better than nothing.
func Decode[V Value](data []byte) (V, error) {
	var v V
	if len(data) > MaxValue {
		return v, fmt.Errorf("decode %T: %d bytes, at most %d are allowed", v, len(data), MaxValue)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if !reported(v) {
		dec.DisallowUnknownFields()
	}
	if err := dec.Decode(&v); err != nil {
		var zero V
		return zero, fmt.Errorf("decode %T: %w", v, decodeError(err))
	}
	if bytes.Equal(bytes.TrimSpace(data), []byte("null")) {
		return v, fmt.Errorf("decode %T: the value is null", v)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		var zero V
		return zero, fmt.Errorf("decode %T: text after the value", v)
	}
	return v, nil
}

// reported says whether v is what an agent says, not what it is asked for.
func reported(v any) bool {
	switch v.(type) {
	case InterfaceStatus, AgentInfo:
		return true
	default:
		return false
	}
}

// decodeError makes encoding/json's untyped unknown-field error a type.
func decodeError(err error) error {
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		if field, uerr := strconv.Unquote(name); uerr == nil {
			name = field
		}
		return &UnknownFieldError{Field: name}
	}
	if errors.Is(err, io.EOF) {
		return errors.New("the value is empty")
	}
	return err
}
