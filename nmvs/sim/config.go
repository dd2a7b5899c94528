package sim

import (
	"errors"
	"fmt"
	"time"
)

// Home is the market that the simulator plays; a product of any other market
// is answered as an intermarket one.
const Home = "FR"

// Config is what a simulator is made from. Everything but the accounts has a
// default; what can change while it runs is in Settings.
type Config struct {
	// Version is the interface version served: 2, 3, 4 or 5. 0 means 5.
	// Namespaces, paths and the code list follow it; other versions' paths are 404.
	Version int
	// Seed makes ids, faults, latencies and orders repeatable: the same seed and
	// the same order of calls give the same answers. 0 is a seed like any other.
	Seed uint64
	// Clock is the time everything is judged by, before [Sim.Advance]. nil means time.Now.
	Clock func() time.Time
	// Accounts may log in. At least one is needed.
	Accounts []Account
	// Settings is the behaviour at start. Zero means the defaults of
	// nmvs-interface.md 1.12 and 1.18: strict, no faults, no latency.
	Settings Settings
	// PKI makes [Sim.Start] serve TLS and demand a client certificate of that
	// authority. nil means plain HTTP, for tests of what lies above TLS.
	PKI *PKI
}

// Account is one user of one client (nmvs-interface.md 1.16).
type Account struct {
	// ClientLoginID names the location; 1 to 20 letters, digits, hyphens.
	ClientLoginID string `json:"client_login_id"`
	// UserID names the user; 4 to 20 letters, digits, hyphens. A certificate
	// must carry it as common name when Settings.BindCertificate is set.
	UserID string `json:"user_id"`
	// Password is the valid one; 8 to 60 characters.
	Password string `json:"password"`
	// PasswordSet is when the password was given; zero means when the simulator started.
	PasswordSet time.Time `json:"password_set"`
	// Initial makes the password an initial one: only G445 works (AU_11).
	Initial bool `json:"initial"`
	// Deny lists operation codes that this account's role may not call (AU_15).
	Deny []string `json:"deny"`
}

// Validate reports every problem at once.
func (c Config) Validate() error {
	var errs []error
	if c.Version != 0 && (c.Version < 2 || c.Version > 5) {
		errs = append(errs, fmt.Errorf("version: %d is not one of 2, 3, 4, 5", c.Version))
	}
	if len(c.Accounts) == 0 {
		errs = append(errs, errors.New("accounts: none is given, so nobody could log in"))
	}
	seen := map[[2]string]bool{}
	for i, a := range c.Accounts {
		switch {
		case !inAlphabet(a.ClientLoginID, idChars, 1, 20):
			errs = append(errs, fmt.Errorf("accounts[%d].client_login_id: %q is not 1 to 20 letters, digits or hyphens", i, a.ClientLoginID))
		case !inAlphabet(a.UserID, idChars, 4, 20):
			errs = append(errs, fmt.Errorf("accounts[%d].user_id: %q is not 4 to 20 letters, digits or hyphens", i, a.UserID))
		case !goodPassword(a.Password):
			errs = append(errs, fmt.Errorf("accounts[%d].password: needs 8 to 60 characters with a lower, an upper, a digit and a special one", i))
		case seen[[2]string{a.ClientLoginID, a.UserID}]:
			errs = append(errs, fmt.Errorf("accounts[%d]: %s/%s is there twice", i, a.ClientLoginID, a.UserID))
		}
		seen[[2]string{a.ClientLoginID, a.UserID}] = true
	}
	if err := c.Settings.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("settings: %w", err))
	}
	return errors.Join(errs...)
}

// goodPassword is the policy of nmvs-interface.md 1.4.
func goodPassword(p string) bool {
	if len(p) < 8 || len(p) > 60 {
		return false
	}
	var lower, upper, digit, special bool
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c >= 'a' && c <= 'z':
			lower = true
		case c >= 'A' && c <= 'Z':
			upper = true
		case c >= '0' && c <= '9':
			digit = true
		default:
			special = true
		}
	}
	return lower && upper && digit && special
}
