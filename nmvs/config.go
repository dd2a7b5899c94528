package nmvs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// Config says how to reach NMVS for one account. Zero fields take their defaults.
type Config struct {
	// Endpoints gives each service's URL, https only (http on a loopback host, for
	// tests). A service left out is not used: calls fail with [ErrNotConfigured].
	Endpoints map[Service]string
	// Version of the interface, 2 to 5; default 5. It selects namespaces; the URL
	// carries its own.
	Version int
	// CA holds the PEM certificates that may vouch for NMVS; nil: the system's.
	CA []byte
	// Credentials of the account; all four parts of a login go with every call.
	Credentials Credentials
	// Certificate is the client certificate; nil: none is presented.
	Certificate *Certificate
	// Software names us to NMVS; default decom.
	Software Software
	// Language of NMVS's texts, three letters; default eng.
	Language string
	// TConnect bounds dial, TLS handshake and guard; default 10 s. Nothing was
	// sent when it is over.
	TConnect time.Duration
	// TReuse is how long an idle connection may be used again; default 2 s,
	// negative: every call has its own. Longer makes more doubtful calls: the
	// server may drop it as we write (protocol.md S7).
	TReuse time.Duration
	// TSingle and TBulk bound the wait for a whole answer, from the moment the
	// guard let the call pass; default 30 s and 120 s. They must exceed the
	// server's own limit: each timeout is a call in doubt.
	TSingle, TBulk time.Duration
	// MaxReply is the longest reply in bytes; default 64 MiB, room for the result
	// of 100,000 packs.
	MaxReply int64
	// MixedUndoElement wraps undo items of a mixed bulk: Item or ItemUndo;
	// default ItemUndo from V5 on, Item before.
	MixedUndoElement string
	// PendingListCode is the operation that lists submitted bulks, where the
	// account has one; default none.
	PendingListCode string
	// TrustUnavailable takes HTTP 503 as "not processed" ([Busy]) instead of in
	// doubt. Only where the operator knows what answers 503.
	TrustUnavailable bool
	// Proxy is the URL of an HTTP proxy; default none, the environment is not read.
	Proxy string
}

// Credentials is one NMVS login.
type Credentials struct {
	ClientLoginID string // organisation or location, 1 to 20 of A-Z a-z 0-9 -
	UserID        string // 4 to 20 of the same
	SubUserID     string // optional, names who acted below the user; never a person
	Password      string // 8 to 60 characters; or:
	// PasswordFile holds the password; it is read again when it changes. A
	// trailing newline is not part of it.
	PasswordFile string
}

// Software is what UserSoftware says.
type Software struct{ Name, Supplier, Version string }

func (c *Config) setDefaults() {
	if c.Version == 0 {
		c.Version = 5
	}
	if c.Language == "" {
		c.Language = "eng"
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.TConnect, 10*time.Second)
	def(&c.TReuse, 2*time.Second)
	def(&c.TSingle, 30*time.Second)
	def(&c.TBulk, 120*time.Second)
	if c.MaxReply == 0 {
		c.MaxReply = 64 << 20
	}
	if c.MixedUndoElement == "" {
		c.MixedUndoElement = "Item"
		if c.Version >= 5 {
			c.MixedUndoElement = "ItemUndo"
		}
	}
	text := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	text(&c.Software.Name, "decom")
	text(&c.Software.Supplier, "decom")
	text(&c.Software.Version, "0")
}

// Validate reports every problem of the configuration, defaults applied. It
// reads no file.
func (c Config) Validate() error {
	c.setDefaults()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Endpoints) == 0 {
		bad("endpoints: at least one service must have a URL")
	}
	for svc, u := range c.Endpoints {
		if int(svc) >= len(serviceNames) {
			bad("endpoints: %s is not a service", svc)
		}
		if err := checkURL(u); err != nil {
			bad("endpoints.%s: %w", svc, err)
		}
	}
	if c.Version < 2 || c.Version > 5 {
		bad("version: %d, must be 2 to 5", c.Version)
	}
	if c.CA != nil && !x509.NewCertPool().AppendCertsFromPEM(c.CA) {
		bad("ca: holds no PEM certificate")
	}
	errs = append(errs, c.Credentials.validate()...)
	for _, f := range [...]struct {
		name, text string
		longest    int
	}{{"name", c.Software.Name, 255}, {"supplier", c.Software.Supplier, 255}, {"version", c.Software.Version, 10}} {
		if !plainText(f.text, f.longest) {
			bad("software.%s: must be 1 to %d printable characters", f.name, f.longest)
		}
	}
	if len(c.Language) != 3 || strings.Trim(c.Language, "abcdefghijklmnopqrstuvwxyz") != "" {
		bad("language: %q, must be three small letters", c.Language)
	}
	if c.TConnect < 0 || c.TSingle < 0 || c.TBulk < 0 {
		bad("t_connect, t_http_single, t_http_bulk: must not be negative")
	}
	if c.MaxReply < 1<<10 {
		bad("max_reply: must be at least 1024 bytes")
	}
	if c.MixedUndoElement != "Item" && c.MixedUndoElement != "ItemUndo" {
		bad("mixed_undo_element: %q, must be Item or ItemUndo", c.MixedUndoElement)
	}
	if p := c.PendingListCode; p != "" && (!trxID(p) || !letterOrDigit(p[0]) || p[0] <= '9') {
		bad("pending_list_code: %q is not an operation code", p)
	}
	if c.Proxy != "" {
		if u, err := url.Parse(c.Proxy); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			bad("proxy: must be an http or https URL")
		}
	}
	return errors.Join(errs...)
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "":
		return errors.New("must be a URL, https://host:port/path")
	case u.User != nil || u.Fragment != "":
		return errors.New("must not hold a user or a fragment")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && (u.Hostname() == "127.0.0.1" || u.Hostname() == "::1" || u.Hostname() == "localhost"):
		return nil // tests
	}
	return errors.New("must be https: the password is in every request")
}

func (c *Credentials) validate() (errs []error) {
	if !trxID(c.ClientLoginID) || len(c.ClientLoginID) > 20 {
		errs = append(errs, errors.New("client_login_id: must be 1 to 20 of A-Z a-z 0-9 -"))
	}
	if !trxID(c.UserID) || len(c.UserID) < 4 || len(c.UserID) > 20 {
		errs = append(errs, errors.New("user_id: must be 4 to 20 of A-Z a-z 0-9 -"))
	}
	if c.SubUserID != "" && !plainText(c.SubUserID, 255) {
		errs = append(errs, errors.New("sub_user_id: must be 1 to 255 printable characters"))
	}
	switch {
	case c.Password != "" && c.PasswordFile != "":
		errs = append(errs, errors.New("password: give a password or a file, not both"))
	case c.PasswordFile == "":
		if err := checkPassword(c.Password); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// CheckPassword says whether NMVS could take p as a password (nmvs-interface.md 1.16). The
// error does not show it.
func CheckPassword(p string) error { return checkPassword(p) }

func checkPassword(p string) error {
	if len(p) < 8 || !plainText(p, 60) {
		return errors.New("password: must be 8 to 60 printable characters")
	}
	return nil
}

// login holds the credentials and follows the password file.
type login struct {
	cfg Credentials

	mu       sync.Mutex
	stamp    string // of the file read last
	password string
}

// secrets returns the credentials to send. A file that cannot be read leaves the
// password that was read before.
func (l *login) secrets() (secrets, error) {
	s := secrets{clientLoginID: l.cfg.ClientLoginID, userID: l.cfg.UserID, subUserID: l.cfg.SubUserID, password: l.cfg.Password}
	if l.cfg.PasswordFile == "" {
		return s, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	stamp := fileStamp(l.cfg.PasswordFile)
	if l.password == "" || stamp != l.stamp && stamp != "" {
		b, err := os.ReadFile(l.cfg.PasswordFile)
		if err == nil {
			p := trimNewline(string(b))
			if err = checkPassword(p); err == nil {
				l.password, l.stamp = p, stamp
			}
		}
		if err != nil && l.password == "" {
			return s, fmt.Errorf("password file: %w", err)
		}
	}
	s.password = l.password
	return s, nil
}

func trimNewline(s string) string { return strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r") }

// fileStamp names a version of a file by time and size; "" if it is not there.
func fileStamp(path string) string {
	if path == "" {
		return ""
	}
	fi, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d.%d", fi.ModTime().UnixNano(), fi.Size())
}
