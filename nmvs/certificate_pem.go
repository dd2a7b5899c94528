package nmvs

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
)

// pemPair finds the first certificate and the first key.
func pemPair(certPEM, keyPEM []byte) (*x509.Certificate, any, error) {
	block := pemBlock(certPEM, func(t string) bool { return t == "CERTIFICATE" })
	if block == nil {
		return nil, nil, errors.New("it holds no PEM certificate")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, nil, errors.New("its certificate cannot be read")
	}
	block = pemBlock(keyPEM, func(t string) bool {
		return t == "PRIVATE KEY" || t == "RSA PRIVATE KEY" || t == "EC PRIVATE KEY" || t == "ENCRYPTED PRIVATE KEY"
	})
	if block == nil {
		return nil, nil, errors.New("its key file holds no PEM key")
	}
	if block.Type == "ENCRYPTED PRIVATE KEY" {
		return nil, nil, errors.New("its key file is encrypted: use the PKCS#12 file, or a key without passphrase")
	}
	for _, parse := range [...]func([]byte) (any, error){
		x509.ParsePKCS8PrivateKey,
		func(b []byte) (any, error) { return x509.ParsePKCS1PrivateKey(b) },
		func(b []byte) (any, error) { return x509.ParseECPrivateKey(b) },
	} {
		if key, err := parse(block.Bytes); err == nil {
			return leaf, key, nil
		}
	}
	return nil, nil, errors.New("its key file cannot be read")
}

func pemBlock(data []byte, want func(string) bool) *pem.Block {
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil || want(b.Type) {
			return b
		}
	}
}
