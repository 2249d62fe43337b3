package etcdtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certLife is how long a certificate is valid: no run lasts longer.
const certLife = 24 * time.Hour

// CA signs certificates made for one test or run. They are in files of a
// directory that goes with it; no key is kept anywhere else.
type CA struct {
	// File is the CA's certificate.
	File string

	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Pair are the files of a certificate and its key.
type Pair struct{ Cert, Key string }

// NewCA makes a CA in dir, which it makes where it is missing.
func NewCA(dir string) (*CA, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		Subject: pkix.Name{CommonName: "test CA " + now.Format(time.RFC3339Nano)}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certLife), KeyUsage: x509.KeyUsageCertSign,
	}
	ca := &CA{File: filepath.Join(dir, "ca.crt"), dir: dir, cert: tmpl, key: key}
	der, err := ca.sign(tmpl, key)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	return ca, writePEM(ca.File, "CERTIFICATE", der)
}

// Issue writes a certificate for servers and clients with name as its common
// name, valid for 127.0.0.1 and localhost, and its key, as <name>.crt and
// <name>.key over what is there. edit, which may be nil, changes it before it is
// signed.
func (ca *CA) Issue(name string, edit func(*x509.Certificate)) (Pair, error) {
	p := Pair{Cert: filepath.Join(ca.dir, name+".crt"), Key: filepath.Join(ca.dir, name+".key")}
	return p, ca.IssueTo(p, name, edit)
}

// IssueTo is Issue into files given.
func (ca *CA) IssueTo(p Pair, name string, edit func(*x509.Certificate)) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("certificate of %s: %w", name, err)
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if edit != nil {
		edit(tmpl)
	}
	der, err := ca.sign(tmpl, key)
	if err != nil {
		return fmt.Errorf("certificate of %s: %w", name, err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return fmt.Errorf("certificate of %s: %w", name, err)
	}
	return errors.Join(writePEM(p.Cert, "CERTIFICATE", der), writePEM(p.Key, "EC PRIVATE KEY", keyDER))
}

// sign signs tmpl, whose key is key, with the CA's.
func (ca *CA) sign(tmpl *x509.Certificate, key *ecdsa.PrivateKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	tmpl.SerialNumber = serial
	return x509.CreateCertificate(rand.Reader, tmpl, ca.cert, &key.PublicKey, ca.key)
}

// writePEM replaces a file in one step, as whoever renews certificates should.
func writePEM(path, kind string, der []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func poolOf(path string) (*x509.CertPool, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return pool, nil
}
