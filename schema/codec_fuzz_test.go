package schema_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/schema"
)

func FuzzDecodeAgent(f *testing.F) {
	fuzzDecode(f, schema.AgentInfo{Node: "n", Instance: "i1", Held: 2}, func(*schema.AgentInfo) error { return nil })
}

func FuzzDecodeBridgeDomain(f *testing.F) {
	fuzzDecode(f, schema.BridgeDomain{Network: "red"}, func(d *schema.BridgeDomain) error { return d.Network.Validate() })
}

func FuzzDecodeHost(f *testing.F) {
	host, _ := full()
	fuzzDecode(f, host, func(h *schema.HostInterface) error { return checkEnd(h, h.Memif, h.Validate) })
}

func FuzzDecodeNetwork(f *testing.F) {
	fuzzDecode(f, schema.Network{DomainID: schema.FirstNamedDomain, VRF: 10, MTU: 1500}, func(n *schema.Network) error { return n.Validate() })
}

func FuzzDecodePod(f *testing.F) {
	_, pod := full()
	fuzzDecode(f, pod, func(p *schema.PodInterface) error { return checkEnd(p, p.Memif, p.Validate) })
}

func FuzzDecodeRelease(f *testing.F) {
	fuzzDecode(f, schema.Release{Instance: "i1", At: time.Unix(1, 0).UTC()}, func(r *schema.Release) error { return r.Validate() })
}

func FuzzDecodeStatus(f *testing.F) {
	fuzzDecode(f, schema.InterfaceStatus{SpecRevision: 1, State: schema.Ready, Reason: schema.ReasonApplied}, func(s *schema.InterfaceStatus) error { return s.Validate() })
}

// checkEnd validates an end, and wants its secret neither in the error nor in
// what any verb prints of it.
func checkEnd(v any, memif *schema.MemifEnd, validate func() error) error {
	if memif == nil || memif.Secret.IsZero() {
		return validate()
	}
	const mark = "xY7-secret-of-the-fuzzer"
	was := memif.Secret
	memif.Secret = schema.NewSecret(mark) // too long by one, so that the error speaks of it
	defer func() { memif.Secret = was }()
	for _, text := range []string{fmt.Sprint(validate()), fmt.Sprintf("%+v", v), fmt.Sprintf("%s %x", v, v)} {
		if strings.Contains(text, mark) || strings.Contains(text, fmt.Sprintf("%x", mark)) {
			return errors.Join(errLeak, errors.New(text))
		}
	}
	memif.Secret = was
	return validate()
}

var errLeak = errors.New("a secret is printed")

// fuzzDecode: what can be read and is valid is written back to what reads the
// same, what is asked for has no field that is not known, and nothing panics.
func fuzzDecode[V schema.Value](f *testing.F, seed V, validate func(*V) error) {
	f.Helper()
	data, err := schema.Encode(seed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"mac":"","gateways":[""],"addresses":["::/0"]}`))
	f.Add([]byte(`{"since":"0000-01-01T00:00:00Z"}`))
	f.Add(append(bytes.TrimSuffix(data, []byte("}")), `,"future":{"a":[1]}}`...))
	golden, err := filepath.Glob("testdata/*.json")
	if err != nil || len(golden) == 0 {
		f.Fatal("no golden files", err)
	}
	for _, name := range golden {
		if data, err = os.ReadFile(name); err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	var unknown *schema.UnknownFieldError
	_, err = schema.Decode[V]([]byte(`{"future":1}`))
	strict := errors.As(err, &unknown)
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := schema.Decode[V](data)
		if err != nil {
			return
		}
		if object := bytes.TrimSpace(data); strict && !bytes.Equal(object, []byte("{}")) {
			more := append(bytes.TrimSuffix(object, []byte("}")), `,"zz-future":1}`...)
			if _, err = schema.Decode[V](more); err == nil {
				t.Fatalf("%s: a field that is not known was passed over", more)
			}
		}
		if err = validate(&v); err != nil {
			if errors.Is(err, errLeak) {
				t.Fatal(err)
			}
			return
		}
		again, err := schema.Encode(v)
		if err != nil {
			t.Fatalf("%s can be read, but not written: %v", data, err)
		}
		back, err := schema.Decode[V](again)
		if err != nil {
			t.Fatalf("%s is written as %s, which cannot be read: %v", data, again, err)
		}
		third, err := schema.Encode(back)
		if err != nil || !bytes.Equal(again, third) {
			t.Fatalf("%s is written as %s, and that as %s (%v)", data, again, third, err)
		}
	})
}
