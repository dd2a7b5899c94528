package main

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"time"

	"decom/cmd/decom/report"
	"decom/nmvs"
	"decom/ratelimit"
	"decom/worker/scan"
)

// pathOf is the file that an error is about.
func pathOf(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Path
	}
	return ""
}

// accounts checks the list as a whole, then every account alone.
func (k *checker) accounts() {
	if len(k.c.Accounts) == 0 && k.need&needAccounts != 0 {
		k.bad("accounts", "is empty: give at least one NMVS login and its sites")
	}
	names, owners := map[string]int{}, map[string]string{}
	for i := range k.c.Accounts {
		a := &k.c.Accounts[i]
		prefix := "accounts." + strconv.Itoa(i) + "."
		k.names(prefix, a, i, names, owners)
		k.account(prefix, a)
		if k.need&needLogin != 0 {
			k.login(prefix, a)
		}
	}
}

// names checks account and site names: they stand in subjects, so one of each.
func (k *checker) names(prefix string, a *Account, i int, names map[string]int, owners map[string]string) {
	switch first, twice := names[a.Name]; {
	case a.Name == "":
		k.bad(prefix+"name", "is missing")
	case !scan.ValidToken(a.Name):
		k.bad(prefix+"name", "%q must be 1 to 64 of A-Z a-z 0-9 _ -", a.Name)
	case twice:
		k.bad(prefix+"name", "%q is accounts.%d already", a.Name, first)
	default:
		names[a.Name] = i
	}
	if len(a.Sites) == 0 {
		k.bad(prefix+"sites", "is empty: an account answers for at least one site")
	}
	for j, site := range a.Sites {
		key := prefix + "sites." + strconv.Itoa(j)
		owner, taken := owners[site]
		switch {
		case !scan.ValidToken(site):
			k.bad(key, "%q must be 1 to 64 of A-Z a-z 0-9 _ -", site)
		case taken && owner == a.Name:
			k.bad(key, "%q stands twice in this account", site)
		case taken:
			k.bad(key, "%q belongs to account %q already: a site has one account", site, owner)
		default:
			owners[site] = a.Name
		}
	}
}

// account checks the values of one account that concern no other.
func (k *checker) account(prefix string, a *Account) {
	if a.ClientLoginID != "" && !alphanumeric(a.ClientLoginID, 1, 20) {
		k.bad(prefix+"client_login_id", "%q must be 1 to 20 of A-Z a-z 0-9 -", a.ClientLoginID)
	}
	if a.UserID != "" && !alphanumeric(a.UserID, 4, 20) {
		k.bad(prefix+"user_id", "%q must be 4 to 20 of A-Z a-z 0-9 -", a.UserID)
	}
	k.word(prefix+"mode", a.Mode, "single", "bulk", "mixed", "auto")
	for _, it := range []struct{ key, text string }{{"single", a.Limits.Single}, {"bulk", a.Limits.Bulk}} {
		if _, err := ratelimit.ParseRate(it.text); err != nil {
			k.bad(prefix+"limits."+it.key, "%v", spokenRate(it.text, err))
		}
	}
	if a.Limits.Parallel < 1 {
		k.bad(prefix+"limits.parallel", "%d: must be more than 0", a.Limits.Parallel)
	}
	if a.Limits.Bulks < 1 || a.Limits.Bulks > 64 {
		k.bad(prefix+"limits.bulks", "%d: must be 1 to 64", a.Limits.Bulks)
	}
	if a.Limits.Linger < 0 || a.Limits.Linger > time.Second {
		k.bad(prefix+"limits.linger", "%v: must be 0s to 1s", a.Limits.Linger)
	}
	if a.Limits.TooFastStop < time.Second || a.Limits.TooFastStop > time.Hour {
		k.bad(prefix+"limits.too_fast_stop", "%v: must be 1s to 1h", a.Limits.TooFastStop)
	}
	if a.Limits.Batch < 1 || a.Limits.Batch > 1000 {
		k.bad(prefix+"limits.batch", "%d: must be 1 to 1000, the most that one ledger record holds", a.Limits.Batch)
	}
	k.authority(prefix, a)
	if (a.Protocol != ProtocolOverrides{}) {
		k.protocol(prefix+"protocol.", a.Settings(k.c.Protocol))
	}
}

var finessPattern = regexp.MustCompile(`^([0-9]{2}|2[AB])[0-9]{7}$`)

// authority checks what reports say of a PUI. A region that no list has is a warning: a
// second spelling would be a second region, but other countries have regions, too.
func (k *checker) authority(prefix string, a *Account) {
	if a.FINESS != "" && !finessPattern.MatchString(a.FINESS) {
		k.bad(prefix+"finess", "%q must be 9 digits, or in Corsica 2A or 2B and 7", a.FINESS)
	}
	if a.LegalStatus != "" {
		k.word(prefix+"legal_status", a.LegalStatus, "public", "espic", "private")
	}
	if a.Region == "" {
		return
	}
	if _, known := report.Region(a.Region); !known {
		k.warn("%sregion: %q is no French region or territory overseas%s", prefix, a.Region, hint(a.Region, report.Regions()))
	}
}

// login checks what an account needs to log in at NMVS.
func (k *checker) login(prefix string, a *Account) {
	if a.ClientLoginID == "" {
		k.bad(prefix+"client_login_id", "is missing")
	}
	if a.UserID == "" {
		k.bad(prefix+"user_id", "is missing")
	}
	before := len(k.problems)
	k.secret(prefix+"password", &a.Password, prefix+"password_file", &a.PasswordFile)
	if a.Password == "" && a.PasswordFile == "" && len(k.problems) == before {
		k.bad(prefix+"password_file", "is missing: give password_file, or the password by environment")
	}
	k.password(prefix, a, before)
	k.secret(prefix+"passphrase", &a.Passphrase, prefix+"passphrase_file", &a.PassphraseFile)
	e := k.c.NMVS.Endpoints
	if a.Mode == "bulk" && e.Bulk == "" || a.Mode == "mixed" && e.Mixed == "" {
		k.bad(prefix+"mode", "%s needs nmvs.endpoints.%s", a.Mode, a.Mode)
	}
	k.certificate(prefix, a, len(k.problems) == before)
}

// certificate checks that the files are there, belong together and can be used
// now; open says that the passphrase is known.
func (k *checker) certificate(prefix string, a *Account, open bool) {
	pem := a.CertificateFile != "" || a.KeyFile != ""
	switch {
	case a.Certificate != "" && pem:
		k.bad(prefix+"certificate", "is given beside certificate_file or key_file: give one kind")
		return
	case a.Certificate == "" && !pem:
		k.bad(prefix+"certificate", "is missing: a PKCS#12 file, or certificate_file and key_file in PEM")
		return
	case pem && a.KeyFile == "":
		k.bad(prefix+"key_file", "is missing beside certificate_file")
		return
	case pem && a.CertificateFile == "":
		k.bad(prefix+"certificate_file", "is missing beside key_file")
		return
	}
	readable := true
	for _, it := range []struct{ key, file string }{
		{"certificate", a.Certificate}, {"certificate_file", a.CertificateFile}, {"key_file", a.KeyFile},
	} {
		if it.file != "" && !k.file(prefix+it.key, it.file) {
			readable = false
		}
	}
	if !readable || !open {
		return
	}
	key := "certificate"
	if pem {
		key = "certificate_file"
	}
	if err := k.usable(prefix, a); err != nil {
		k.bad(prefix+key, "%v", spokenCertificate(err))
	}
}

// usable opens the certificate as the client will, and looks at what TLS would
// refuse only when NMVS answers.
func (k *checker) usable(prefix string, a *Account) error {
	cert, err := nmvs.LoadCertificate(a.certConfig())
	if err != nil {
		return err
	}
	current, err := cert.Current()
	if e, ok := errors.AsType[*nmvs.CertError](err); ok && e.Expired {
		// Its account sends nothing; the others of this file must not stand still for it.
		k.warn("%scertificate: %v: nothing is sent for account %s until the file is replaced, no restart is needed", prefix, spokenCertificate(e), a.Name)
		key := "certificate"
		if a.Certificate == "" {
			key = "certificate_file"
		}
		k.c.stopped = append(k.c.stopped, k.c.src.at(prefix+key, bothf("%v", spokenCertificate(e))))
		return nil
	}
	if err != nil {
		return err
	}
	leaf, now := current.Leaf, time.Now()
	switch {
	case now.Before(leaf.NotBefore):
		return spokenf("le certificat n'est pas valable avant %s", "the certificate is not valid before %s", leaf.NotBefore.UTC().Format(time.RFC3339))
	case len(leaf.ExtKeyUsage) > 0 && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) &&
		!slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny):
		return spokenf("ce certificat n'est pas pour des clients (celui d'un serveur ?) : le NMVS le refusera", "this certificate is not for clients (a server's, perhaps): NMVS will refuse it")
	case leaf.IsCA:
		return spokenf("c'est le certificat d'une autorité, pas celui du compte", "this is an authority's certificate, not the account's")
	case leaf.NotAfter.Before(now.Add(expirySoon)):
		k.warn("%scertificate ends on %s: renew it", prefix, leaf.NotAfter.UTC().Format(time.DateOnly))
	}
	return nil
}

// expirySoon is when a certificate's end is worth a warning: renewal at France
// MVO takes days.
const expirySoon = 30 * 24 * time.Hour

// alphanumeric is the alphabet of NMVS's login names (nmvs-interface.md 1.1).
func alphanumeric(s string, least, most int) bool {
	if len(s) < least || len(s) > most {
		return false
	}
	for _, r := range s {
		if (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '-' {
			return false
		}
	}
	return true
}

// password judges a login's password, wherever it comes from; a start would refuse it, too.
func (k *checker) password(prefix string, a *Account, before int) {
	text, err := secretText(a.Password, a.PasswordFile)
	if len(k.problems) > before || err != nil || text == "" {
		return // reported already
	}
	key := "password"
	if a.PasswordFile != "" {
		key = "password_file"
	}
	if nmvs.CheckPassword(text) != nil {
		k.bad(prefix+key, "holds no password of NMVS: it must be 8 to 60 printable characters")
	}
}
