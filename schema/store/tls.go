package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/vpp-cni/vpp-cni/schema/file"
)

// certificates are the files of Config that make a connection TLS. They are read
// at each handshake, so that a certificate that was renewed and a CA that was
// added are used without a restart. While what is there cannot be used, as when
// the certificate is written and its key is not yet, what was read last is used
// on, and trouble says so.
//
// A connection that stands is not touched: etcd checks a certificate at the
// handshake only.
type certificates struct {
	ca, cert, key string

	mu   sync.Mutex
	pool *x509.CertPool
	pair *tls.Certificate
	// caTrouble and pairTrouble are why what is in the files is not in use.
	caTrouble, pairTrouble error
	// asked says whether etcd asked for a client certificate.
	asked bool
}

// newCertificates reads the files, which must be usable now.
func newCertificates(c Config) (*certificates, error) {
	if (c.Cert == "") != (c.Key == "") {
		return nil, errors.New("cert and key go together: set both or none")
	}
	f := &certificates{ca: c.CACert, cert: c.Cert, key: c.Key}
	f.config()
	if err := errors.Join(f.caTrouble, f.pairTrouble); err != nil {
		return nil, err
	}
	return f, nil
}

// config reads the files and makes the configuration of one handshake of it.
func (f *certificates) config() *tls.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ca != "" {
		pool, err := readPool(f.ca)
		if err == nil {
			f.pool = pool
		}
		f.caTrouble = err
	}
	if f.cert != "" {
		pair, err := readPair(f.cert, f.key)
		if err == nil {
			f.pair = pair
		}
		f.pairTrouble = err
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: f.pool}
	pair := f.pair
	// Also where its issuer is none that etcd names: etcd's answer says more than
	// the lack of a certificate.
	out.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.asked = true
		if pair == nil {
			return &tls.Certificate{}, nil // none
		}
		return pair, nil
	}
	return out
}

// openMode are the rights of others on a private key that are worth a word. The
// group's are not: on a node it is usually root's own.
const openMode = 0o007

// check reads the files and says what somebody should do about them: what cannot
// be used, a certificate that has expired or soon will, a key that everybody may
// read. None of it keeps what works from working.
func (f *certificates) check(now time.Time) error {
	if f == nil {
		return nil
	}
	f.config()
	f.mu.Lock()
	defer f.mu.Unlock()
	errs := []error{f.caTrouble, f.pairTrouble}
	if f.pair != nil && f.pair.Leaf != nil {
		leaf := f.pair.Leaf
		switch left := leaf.NotAfter.Sub(now); {
		case left <= 0:
			errs = append(errs, fmt.Errorf("the client certificate %s expired at %s: the next connection to etcd will be refused", f.cert, leaf.NotAfter.Format(time.RFC3339)))
		case left < leaf.NotAfter.Sub(leaf.NotBefore)/10:
			errs = append(errs, fmt.Errorf("the client certificate %s expires at %s", f.cert, leaf.NotAfter.Format(time.RFC3339)))
		}
	}
	if st, err := os.Stat(f.key); err == nil && st.Mode()&openMode != 0 {
		errs = append(errs, fmt.Errorf("everybody on this machine may read the private key %s (mode %#o): chmod 0600", f.key, st.Mode().Perm()))
	}
	return errors.Join(errs...)
}

func readPool(path string) (*x509.CertPool, error) {
	pem, err := file.Read(path)
	if err != nil {
		return nil, fmt.Errorf("cacert: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("cacert: %s holds no certificate", path)
	}
	return pool, nil
}

func readPair(cert, key string) (*tls.Certificate, error) {
	certPEM, err := file.Read(cert)
	if err != nil {
		return nil, fmt.Errorf("cert: %w", err)
	}
	keyPEM, err := file.Read(key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("cert %s with key %s: %w", cert, key, err)
	}
	return &pair, nil
}

// notes are what people must know of the files where a connection fails; empty
// where all is well.
func (f *certificates) notes(now time.Time, failure string) string {
	if f == nil {
		return ""
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, err := range []error{f.caTrouble, f.pairTrouble} {
		if err != nil {
			out = append(out, err.Error()+" (what was read before is in use)")
		}
	}
	switch {
	case f.asked && f.pair == nil:
		out = append(out, "etcd asks for a client certificate and none is set (cert, key)")
	case f.asked:
		out = append(out, f.pairNote(now, failure)...)
	}
	return strings.Join(out, "; ")
}

// refusals are what a connection ends with whose client certificate etcd does not
// accept. With TLS 1.3 its word comes after the handshake, and is lost where we
// write before we read it.
var refusals = []string{"remote error: tls: ", "broken pipe", "connection reset", "EOF"}

// pairNote is what there is to say of the client's certificate.
func (f *certificates) pairNote(now time.Time, failure string) []string {
	leaf := f.pair.Leaf
	switch {
	case leaf == nil:
		return nil
	case now.After(leaf.NotAfter):
		return []string{fmt.Sprintf("the client certificate %s expired at %s", f.cert, leaf.NotAfter.Format(time.RFC3339))}
	case now.Before(leaf.NotBefore):
		return []string{fmt.Sprintf("the client certificate %s is not valid before %s", f.cert, leaf.NotBefore.Format(time.RFC3339))}
	case slices.ContainsFunc(refusals, func(r string) bool { return strings.Contains(failure, r) }):
		return []string{fmt.Sprintf("does etcd accept the client certificate %s (CN %q, signed by %q, valid until %s)?",
			f.cert, leaf.Subject.CommonName, leaf.Issuer.CommonName, leaf.NotAfter.Format(time.RFC3339))}
	}
	return nil
}

// commonName is the name of the client certificate, which is the user that etcd
// takes the connection for; empty without one.
func (f *certificates) commonName() string {
	if f == nil {
		return ""
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pair == nil || f.pair.Leaf == nil {
		return ""
	}
	return f.pair.Leaf.Subject.CommonName
}

// handshakes are gRPC's TLS with the files as they are at each handshake. Host
// names are checked by crypto/tls as ever.
type handshakes struct {
	credentials.TransportCredentials
	files *certificates
}

func newHandshakes(files *certificates) *handshakes {
	return &handshakes{TransportCredentials: credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12}), files: files}
}

// ClientHandshake implements credentials.TransportCredentials.
func (h *handshakes) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := credentials.NewTLS(h.files.config()).ClientHandshake(ctx, authority, raw)
	var cert *tls.CertificateVerificationError
	if errors.As(err, &cert) {
		err = fmt.Errorf("the certificate of etcd at %s is not accepted with %s: %w", authority, h.files.roots(), cert.Err)
	}
	return conn, info, err
}

// Clone implements credentials.TransportCredentials.
func (h *handshakes) Clone() credentials.TransportCredentials { return newHandshakes(h.files) }

// roots names what etcd's certificate is checked against.
func (f *certificates) roots() string {
	if f.ca == "" {
		return "the system's CA certificates"
	}
	return "cacert " + f.ca
}
