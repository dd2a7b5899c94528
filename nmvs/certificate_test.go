package nmvs

import (
	"crypto/x509"
	"errors"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

var discardLog = log.New(io.Discard, "", 0)

func TestCertificatesLoadFromBothForms(t *testing.T) {
	ca := newAuthority(t)
	l := ca.issue(x509.ExtKeyUsageClientAuth, time.Hour)
	dir := t.TempDir()
	for name, enc := range map[string]*pkcs12.Encoder{"modern": pkcs12.Modern, "legacy": pkcs12.LegacyDES, "rc2": pkcs12.LegacyRC2} {
		file, pass := filepath.Join(dir, name+".p12"), filepath.Join(dir, name+".pass")
		check(t, os.WriteFile(file, l.p12(t, enc, []*x509.Certificate{ca.cert}, "pässé 1"), 0o600))
		check(t, os.WriteFile(pass, []byte("pässé 1\n"), 0o600))
		for _, cfg := range []CertConfig{{PKCS12: file, PassphraseFile: pass}, {PKCS12: file, Passphrase: "pässé 1"}} {
			c, err := LoadCertificate(cfg)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if cur, err := c.Current(); err != nil || len(cur.Certificate) != 2 || !c.Expiry().Equal(l.cert.NotAfter) || c.Err() != nil {
				t.Errorf("%s: %v, %s, %v", name, err, c.Expiry(), c.Err())
			}
		}
	}
	if c, err := LoadCertificate(l.files(t)); err != nil || !c.Expiry().Equal(l.cert.NotAfter) {
		t.Errorf("PEM: %v", err)
	}
}

func TestABadCertificateSaysWhyInOneSentence(t *testing.T) {
	ca := newAuthority(t)
	good, other := ca.issue(x509.ExtKeyUsageClientAuth, time.Hour), ca.issue(x509.ExtKeyUsageClientAuth, time.Hour)
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		check(t, os.WriteFile(p, b, 0o600))
		return p
	}
	p12 := write("good.p12", good.p12(t, pkcs12.Modern, nil, "right"))
	mixed := leaf{good.cert, other.key}
	for name, tc := range map[string]struct {
		cfg  CertConfig
		want string
	}{
		"missing":              {CertConfig{PKCS12: filepath.Join(dir, "no.p12")}, "it does not exist"},
		"missing passphrase":   {CertConfig{PKCS12: p12, PassphraseFile: filepath.Join(dir, "no")}, "its passphrase file does not exist"},
		"missing key":          {CertConfig{CertFile: good.files(t).CertFile, KeyFile: filepath.Join(dir, "no")}, "its key file does not exist"},
		"wrong passphrase":     {CertConfig{PKCS12: p12, Passphrase: "wrong"}, "the passphrase is wrong"},
		"no passphrase":        {CertConfig{PKCS12: p12}, "the passphrase is wrong"},
		"not a PKCS#12":        {CertConfig{PKCS12: write("x.p12", []byte("hello"))}, "it is not a PKCS#12 file"},
		"key of another":       {mixed.files(t), "the key does not match the certificate"},
		"key of another, p12":  {CertConfig{PKCS12: write("m.p12", mixed.p12(t, pkcs12.Modern, nil, "p")), Passphrase: "p"}, "the key does not match the certificate"},
		"not PEM":              {CertConfig{CertFile: write("c.pem", []byte("x")), KeyFile: good.files(t).KeyFile}, "it holds no PEM certificate"},
		"key not PEM":          {CertConfig{CertFile: good.files(t).CertFile, KeyFile: write("k.pem", []byte("x"))}, "its key file holds no PEM key"},
		"a directory":          {CertConfig{PKCS12: dir}, "it cannot be read"},
		"certificate and key?": {CertConfig{CertFile: good.files(t).KeyFile, KeyFile: good.files(t).KeyFile}, "it holds no PEM certificate"},
	} {
		_, err := LoadCertificate(tc.cfg)
		e, ok := errors.AsType[*CertError](err)
		if !ok || !strings.HasPrefix(e.Why, tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	for _, cfg := range []CertConfig{{}, {PKCS12: "a", CertFile: "b"}, {CertFile: "a"}, {PKCS12: "a", Passphrase: "b", PassphraseFile: "c"}} {
		if _, err := LoadCertificate(cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}

// TestAnExpiredCertificateIsNotPresentedAndItsSuccessorIs: loading it is no error, because its
// account waits for the file to change and no other account may wait with it.
func TestAnExpiredCertificateIsNotPresentedAndItsSuccessorIs(t *testing.T) {
	ca := newAuthority(t)
	expired, good := ca.issue(x509.ExtKeyUsageClientAuth, -time.Hour), ca.issue(x509.ExtKeyUsageClientAuth, time.Hour)
	cfg := expired.files(t)
	c, err := LoadCertificate(cfg)
	check(t, err)
	cur, err := c.Current()
	if e, ok := errors.AsType[*CertError](err); cur != nil || !ok || !e.Expired || !strings.HasPrefix(e.Why, "it expired on ") {
		t.Errorf("Current gives %v, %v", cur, err)
	}
	if !c.Expiry().Equal(expired.cert.NotAfter) {
		t.Errorf("it ended at %v", c.Expiry())
	}
	good.writePEM(t, cfg)
	if _, err := c.Current(); err != nil {
		t.Errorf("its successor: %v", err)
	}
}

func TestAChangedCertificateIsTakenOverAndABadOneIsNot(t *testing.T) {
	ca := newAuthority(t)
	first, second := ca.issue(x509.ExtKeyUsageClientAuth, time.Hour), ca.issue(x509.ExtKeyUsageClientAuth, 2*time.Hour)
	cfg := first.files(t)
	c, err := LoadCertificate(cfg)
	check(t, err)
	in := func(want leaf) {
		t.Helper()
		if cur, err := c.Current(); err != nil || string(cur.Certificate[0]) != string(want.cert.Raw) {
			t.Errorf("another certificate is in use, %v", err)
		}
	}
	in(first)
	check(t, os.WriteFile(cfg.CertFile, []byte("half a fi"), 0o600))
	in(first)
	if c.Err() == nil {
		t.Error("the bad file is not told")
	}
	check(t, os.Remove(cfg.CertFile))
	in(first)
	second.writePEM(t, cfg)
	in(second)
	if c.Err() != nil || !c.Expiry().Equal(second.cert.NotAfter) {
		t.Errorf("%v, %s", c.Err(), c.Expiry())
	}
}

func TestAChangedPasswordFileIsFollowed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pw")
	check(t, os.WriteFile(file, []byte("Ex4mple-One!\r\n"), 0o600))
	cfg := demoConfig(5)
	cfg.Credentials.Password, cfg.Credentials.PasswordFile = "", file
	c, err := New(cfg)
	check(t, err)
	stamp := c.Stamp()
	in := func(want string) {
		t.Helper()
		if s, err := c.login.secrets(); err != nil || s.password != want {
			t.Errorf("%q, %v", s.password, err)
		}
	}
	in("Ex4mple-One!")
	check(t, os.WriteFile(file, []byte("short"), 0o600))
	in("Ex4mple-One!")
	if c.Stamp() != stamp {
		t.Error("a bad file changes the stamp")
	}
	check(t, os.WriteFile(file, []byte("Ex4mple-Two!"), 0o600))
	in("Ex4mple-Two!")
	if c.Stamp() == stamp {
		t.Error("a new password has the old stamp")
	}
	check(t, os.Remove(file))
	in("Ex4mple-Two!")
	if _, err := New(cfg); err == nil {
		t.Error("a client starts without a password")
	}
}

func TestConfigReportsEveryProblem(t *testing.T) {
	bad := Config{Endpoints: map[Service]string{Single: "http://nmvs.example/", Bulk: "nonsense", Service(9): "https://x/"}, Version: 6, CA: []byte("x"),
		Credentials: Credentials{ClientLoginID: "a b", UserID: "x", Password: "short"}, Software: Software{Version: "12345678901"},
		Language: "french", TSingle: -1, MaxReply: 1, MixedUndoElement: "Undo", PendingListCode: "<x>", Proxy: "socks5://x"}
	err := bad.Validate()
	for _, want := range []string{"endpoints.single", "endpoints.bulk", "service(9)", "version: 6", "ca:", "client_login_id", "user_id", "password:",
		"software.version", "language", "t_connect", "max_reply", "mixed_undo_element", "pending_list_code", "proxy"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not reported in: %v", want, err)
		}
	}
	if err := (Config{}).Validate(); err == nil || !strings.Contains(err.Error(), "endpoints") {
		t.Errorf("no endpoint: %v", err)
	}
	if err := demoConfig(5).Validate(); err != nil {
		t.Error(err)
	}
}
