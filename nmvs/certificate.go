package nmvs

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// CertConfig names the files of one client certificate: a PKCS#12 file, or a
// certificate (with its chain) and a key in PEM.
type CertConfig struct {
	PKCS12 string // path
	// Passphrase of the PKCS#12 file; or:
	Passphrase string
	// PassphraseFile holds it; a trailing newline is not part of it.
	PassphraseFile    string
	CertFile, KeyFile string // paths, PEM
}

// Validate reports every problem; it reads no file.
func (c CertConfig) Validate() error {
	var errs []error
	pem := c.CertFile != "" || c.KeyFile != ""
	switch {
	case c.PKCS12 == "" && !pem:
		errs = append(errs, errors.New("certificate: give a PKCS#12 file, or certificate_file and key_file"))
	case c.PKCS12 != "" && pem:
		errs = append(errs, errors.New("certificate: give a PKCS#12 file or PEM files, not both"))
	case pem && (c.CertFile == "" || c.KeyFile == ""):
		errs = append(errs, errors.New("certificate: certificate_file and key_file belong together"))
	}
	if c.Passphrase != "" && c.PassphraseFile != "" {
		errs = append(errs, errors.New("passphrase: give a passphrase or a file, not both"))
	}
	return errors.Join(errs...)
}

// CertError says in one sentence what is wrong with a client certificate.
type CertError struct {
	File    string
	Why     string
	Err     error // cause, may be nil
	Expired bool  // nothing else is wrong with it
}

func (e *CertError) Error() string { return fmt.Sprintf("client certificate %s: %s", e.File, e.Why) }

// Unwrap returns the cause.
func (e *CertError) Unwrap() error { return e.Err }

// Certificate is a client certificate that follows its files. Safe for
// concurrent use.
type Certificate struct {
	cfg CertConfig

	mu    sync.Mutex // guards the rest; held while files are read, which new connections wait for
	stamp string
	cert  *tls.Certificate
	err   error // of the last reload
}

// LoadCertificate reads the certificate. It fails, with a *[CertError], if there
// is none to begin with. An expired one is none to present, which [Certificate.Current]
// says at each connection; but its files will be replaced, and are looked at again.
func LoadCertificate(cfg CertConfig) (*Certificate, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Certificate{cfg: cfg}
	_, err := c.Current()
	if e, ok := errors.AsType[*CertError](err); ok && e.Expired {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Current returns the certificate to present now. Files that changed are read
// again; if that fails the old certificate stays in use and [Certificate.Err]
// tells why. It fails when the certificate has expired.
func (c *Certificate) Current() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if stamp := c.stampNow(); c.cert == nil || stamp != c.stamp {
		c.stamp = stamp
		cert, err := c.read()
		if c.err = err; err == nil {
			c.cert = cert
		} else if c.cert == nil {
			return nil, err
		}
	}
	if end := c.cert.Leaf.NotAfter; time.Now().After(end) {
		return nil, &CertError{File: c.file(), Why: "it expired on " + end.UTC().Format("2006-01-02 15:04 MST"), Expired: true}
	}
	return c.cert, nil
}

// Expiry returns when the certificate in use ends.
func (c *Certificate) Expiry() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cert.Leaf.NotAfter
}

// Err returns why the last change of the files could not be taken over, nil if all is well.
func (c *Certificate) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *Certificate) file() string {
	if c.cfg.PKCS12 != "" {
		return c.cfg.PKCS12
	}
	return c.cfg.CertFile
}

// stampNow names the present version of the files.
func (c *Certificate) stampNow() string {
	return fileStamp(c.cfg.PKCS12) + "/" + fileStamp(c.cfg.PassphraseFile) + "/" +
		fileStamp(c.cfg.CertFile) + "/" + fileStamp(c.cfg.KeyFile)
}

func (c *Certificate) read() (*tls.Certificate, error) {
	if c.cfg.PKCS12 != "" {
		return c.readPKCS12()
	}
	return c.readPEM()
}

func (c *Certificate) readPKCS12() (*tls.Certificate, error) {
	file := c.cfg.PKCS12
	data, err := readFile(file, "it")
	if err != nil {
		return nil, err
	}
	pass := c.cfg.Passphrase
	if c.cfg.PassphraseFile != "" {
		b, err := readFile(c.cfg.PassphraseFile, "its passphrase file")
		if err != nil {
			return nil, err
		}
		pass = trimNewline(string(b))
	}
	key, leaf, chain, err := pkcs12.DecodeChain(data, pass)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword), errors.Is(err, pkcs12.ErrDecryption):
		return nil, &CertError{File: file, Why: "the passphrase is wrong", Err: err}
	case err != nil:
		return nil, &CertError{File: file, Why: "it is not a PKCS#12 file with one certificate and its key", Err: err}
	}
	cert := &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	for _, ca := range chain {
		cert.Certificate = append(cert.Certificate, ca.Raw)
	}
	if !keyFits(key, leaf) {
		return nil, &CertError{File: file, Why: "the key does not match the certificate"}
	}
	return cert, nil
}

func keyFits(key any, leaf *x509.Certificate) bool {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return false
	}
	pub, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && pub.Equal(leaf.PublicKey)
}

func (c *Certificate) readPEM() (*tls.Certificate, error) {
	file := c.cfg.CertFile
	certPEM, err := readFile(file, "it")
	if err != nil {
		return nil, err
	}
	keyPEM, err := readFile(c.cfg.KeyFile, "its key file")
	if err != nil {
		return nil, err
	}
	leaf, key, err := pemPair(certPEM, keyPEM)
	if err != nil {
		return nil, &CertError{File: file, Why: err.Error(), Err: err}
	}
	if !keyFits(key, leaf) {
		return nil, &CertError{File: file, Why: "the key does not match the certificate"}
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, &CertError{File: file, Why: "certificate and key cannot be used together", Err: err}
	}
	cert.Leaf = leaf
	return &cert, nil
}

func readFile(path, what string) ([]byte, error) {
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &CertError{File: path, Why: what + " does not exist", Err: err}
	case err != nil:
		return nil, &CertError{File: path, Why: what + " cannot be read", Err: err}
	}
	return b, nil
}
