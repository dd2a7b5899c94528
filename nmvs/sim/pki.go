package sim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// Passphrase opens every PKCS#12 file of a [PKI]. They protect nothing.
const Passphrase = "simulator"

// PKI is a throw-away authority with the certificates that a client needs to
// talk to the simulator, and those that must be refused. Two runs with one
// folder share the authority.
type PKI struct {
	CA      []byte   // PEM; what the client trusts
	Client  Identity // accepted, for two years
	Expired Identity // of this authority, ended yesterday
	Foreign Identity // of an authority that the simulator does not know

	dir    string
	ca     *x509.Certificate
	key    crypto.Signer
	server Identity
}

// Identity is one certificate with its key, in the forms that NMVS hands out
// (nmvs-interface.md 1.1). The file names are empty if the PKI has no folder.
type Identity struct {
	Cert, Key, P12                             []byte // PEM, PEM, PKCS#12
	CertFile, KeyFile, P12File, PassphraseFile string
}

// TLS returns the identity as crypto/tls wants it.
func (i Identity) TLS() (tls.Certificate, error) { return tls.X509KeyPair(i.Cert, i.Key) }

// NewPKI makes the authority and its certificates, or reads those that an
// earlier run left in dir: ca.pem, and {client,expired,foreign}{.pem,-key.pem,.p12}
// with the passphrase in the file passphrase. With dir empty nothing is
// written. user is the common name of the clients' certificates, a UserId.
func NewPKI(dir, user string) (*PKI, error) {
	p := &PKI{dir: dir}
	if dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("sim: certificates: %w", err)
		}
		if err := p.write("passphrase", []byte(Passphrase+"\n")); err != nil {
			return nil, err
		}
	}
	if err := p.authority(); err != nil {
		return nil, err
	}
	now := time.Now()
	var err error
	for _, c := range []struct {
		to     *Identity
		name   string
		cn     string
		ends   time.Time
		server bool
	}{
		{&p.server, "server", "localhost", now.AddDate(10, 0, 0), true},
		{&p.Client, "client", user, now.AddDate(2, 0, 0), false},
		{&p.Expired, "expired", user, now.AddDate(0, 0, -1), false},
	} {
		if *c.to, err = p.identity(c.name, c.cn, c.ends, c.server); err != nil {
			return nil, err
		}
	}
	stranger := &PKI{dir: dir}
	if stranger.ca, stranger.key, _, _, err = newCA(); err != nil {
		return nil, err
	}
	p.Foreign, err = stranger.issue("foreign", user, now.AddDate(2, 0, 0), false)
	return p, err
}

// Issue makes one more client certificate, and its files if the PKI has a
// folder. name is the files' stem.
func (p *PKI) Issue(name, user string, ends time.Time) (Identity, error) {
	return p.issue(name, user, ends, false)
}

// ServerConfig demands a client certificate of this authority that is valid
// now. HTTP/1.1 only, like the servers it stands for.
func (p *PKI) ServerConfig(now func() time.Time) (*tls.Config, error) {
	cert, err := p.server.TLS()
	if err != nil {
		return nil, fmt.Errorf("sim: server certificate: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(p.ca)
	return &tls.Config{
		Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
		MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, Time: now,
	}, nil
}

// authority reads or makes the CA.
func (p *PKI) authority() error {
	if p.dir != "" {
		cert, err1 := os.ReadFile(filepath.Join(p.dir, "ca.pem"))
		key, err2 := os.ReadFile(filepath.Join(p.dir, "ca-key.pem"))
		err := errors.Join(err1, err2)
		if err == nil {
			pair, err := tls.X509KeyPair(cert, key)
			if err != nil {
				return fmt.Errorf("sim: authority in %s: %w", p.dir, err)
			}
			p.CA, p.ca, p.key = cert, pair.Leaf, pair.PrivateKey.(crypto.Signer)
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sim: authority: %w", err)
		}
	}
	ca, key, certPEM, keyPEM, err := newCA()
	if err != nil {
		return err
	}
	p.CA, p.ca, p.key = certPEM, ca, key
	return errors.Join(p.write("ca.pem", certPEM), p.write("ca-key.pem", keyPEM))
}

func newCA() (*x509.Certificate, crypto.Signer, []byte, []byte, error) {
	fail := func(err error) (*x509.Certificate, crypto.Signer, []byte, []byte, error) {
		return nil, nil, nil, nil, fmt.Errorf("sim: authority: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fail(err)
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: serialNumber(), Subject: pkix.Name{CommonName: "NMVS simulator, throw-away authority"},
		NotBefore: now.AddDate(-3, 0, 0), NotAfter: now.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return fail(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		return fail(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fail(err)
	}
	return ca, key, encodePEM("CERTIFICATE", der), encodePEM("PRIVATE KEY", keyDER), nil
}

func serialNumber() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return new(big.Int).SetBytes(b[:])
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// identity reads a certificate of an earlier run if it is still this
// authority's, or issues it.
func (p *PKI) identity(name, cn string, ends time.Time, server bool) (Identity, error) {
	if p.dir == "" {
		return p.issue(name, cn, ends, server)
	}
	i := p.named(name)
	var errs [3]error
	i.Cert, errs[0] = os.ReadFile(i.CertFile)
	i.Key, errs[1] = os.ReadFile(i.KeyFile)
	i.P12, errs[2] = os.ReadFile(i.P12File)
	if errors.Join(errs[:]...) == nil {
		pair, err := i.TLS()
		if err == nil && pair.Leaf.CheckSignatureFrom(p.ca) == nil && pair.Leaf.Subject.CommonName == cn {
			return i, nil
		}
	}
	return p.issue(name, cn, ends, server)
}

func (p *PKI) named(name string) Identity {
	if p.dir == "" {
		return Identity{}
	}
	f := func(s string) string { return filepath.Join(p.dir, s) }
	return Identity{CertFile: f(name + ".pem"), KeyFile: f(name + "-key.pem"), P12File: f(name + ".p12"), PassphraseFile: f("passphrase")}
}

func (p *PKI) issue(name, cn string, ends time.Time, server bool) (Identity, error) {
	fail := func(err error) (Identity, error) { return Identity{}, fmt.Errorf("sim: certificate %s: %w", name, err) }
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fail(err)
	}
	t := &x509.Certificate{
		SerialNumber: serialNumber(), Subject: pkix.Name{CommonName: cn},
		NotBefore: time.Now().AddDate(-2, 0, 0), NotAfter: ends,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if server {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		t.DNSNames, t.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, p.ca, key.Public(), p.key)
	if err != nil {
		return fail(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return fail(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fail(err)
	}
	i := p.named(name)
	i.Cert, i.Key = encodePEM("CERTIFICATE", der), encodePEM("PRIVATE KEY", keyDER)
	if i.P12, err = pkcs12.Modern.Encode(key, leaf, []*x509.Certificate{p.ca}, Passphrase); err != nil {
		return fail(err)
	}
	return i, errors.Join(p.write(name+".pem", i.Cert), p.write(name+"-key.pem", i.Key), p.write(name+".p12", i.P12))
}

func (p *PKI) write(name string, b []byte) error {
	if p.dir == "" {
		return nil
	}
	if err := os.WriteFile(filepath.Join(p.dir, name), b, 0o600); err != nil {
		return fmt.Errorf("sim: certificates: %w", err)
	}
	return nil
}
