package main

import (
	"cmp"
	"crypto/x509"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// need says what a command is going to use, so that a gateway that only
// publishes is not asked for NMVS's certificate. Values that are given are
// checked whatever the need.
type need uint8

const (
	needQueue    need = 1 << iota // NATS: its login and CA files
	needStore                     // Redis: its login
	needAccounts                  // at least one account, each with name and sites
	needLogin                     // NMVS: endpoints, passwords, certificates
	needDoors                     // the doors: tokens, certificates, folders

	needWorker = needQueue | needStore | needAccounts | needLogin | needDoors
	// needLook is for commands that read what the stores know: whoever looks need not be able
	// to read the accounts' secrets.
	needLook = needQueue | needStore | needAccounts
)

// checker collects the problems of one configuration.
type checker struct {
	c        *loaded
	need     need
	problems []problem
}

// check judges every value, resolves secret files into the Password and
// Passphrase fields when need asks for them, and returns all problems.
func (c *loaded) check(need need) []problem {
	k := &checker{c: c, need: need}
	k.nats()
	k.redis()
	k.nmvs()
	k.protocol("protocol.", c.Protocol)
	k.accounts()
	k.consolidated()
	k.devices()
	k.process()
	k.trace()
	k.doors()
	return k.problems
}

// bad adds a problem of a key. The format is English, config_french.go has each in French.
func (k *checker) bad(key, format string, args ...any) {
	k.problems = append(k.problems, k.c.src.at(key, bothf(format, args...)))
}

// warn adds a warning, as bad does.
func (k *checker) warn(format string, args ...any) {
	k.c.warnings = append(k.c.warnings, bothf(format, args...))
}

// word complains about a value outside a closed set.
func (k *checker) word(key, value string, allowed ...string) {
	if slices.Contains(allowed, value) {
		return
	}
	list := bothf("%s or %s", strings.Join(allowed[:len(allowed)-1], ", "), allowed[len(allowed)-1])
	k.bad(key, "%q is not %s%s", value, list, hint(value, allowed))
}

// file complains about a file that is named and cannot be read.
func (k *checker) file(key, name string) bool {
	if name == "" {
		return false
	}
	f, err := os.Open(name)
	if err != nil {
		k.bad(key, "%v", spokenFileError(err))
		return false
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.IsDir() {
		k.bad(key, "%s is a folder, wants a file", name)
		return false
	}
	return true
}

// secret settles a value that may stand in the configuration or in a file: one
// of inline and file is empty afterwards. A later layer wins over an earlier one;
// twice in the configuration file is a contradiction. The secret's file stays
// the place to read, because it may change while the process runs.
func (k *checker) secret(key string, inline *string, fileKey string, file *string) {
	origin := k.c.src.origin
	switch {
	case *inline == "" || *file == "":
	case origin[key] == "" && origin[fileKey] == "":
		k.bad(fileKey, "is given beside %s: give one of them", key)
		return
	case origin[key] == "":
		*inline = ""
	default:
		*file = "" // by environment or --set: the nearest to the secret itself wins
	}
	switch {
	case *inline == "":
	case origin[key] == "":
		k.warn("%s stands in the configuration file; use %s or the environment in production", key, fileKey[strings.LastIndexByte(fileKey, '.')+1:])
	case origin[key] == "--set":
		k.warn("%s was given by --set: other users of this machine can read command lines", key)
	}
	if *file != "" {
		if _, err := readSecret(*file); err != nil {
			k.bad(fileKey, "%v", spokenFileError(err))
		}
	}
}

func (k *checker) nats() {
	n := &k.c.NATS
	for part := range strings.SplitSeq(n.URL, ",") {
		if n.URL == "" {
			break
		}
		u, err := url.Parse(strings.TrimSpace(part))
		if err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			k.bad("nats.url", "%q is not an address as nats://host:4222 or tls://host:4222", maskURL(part))
		}
	}
	if n.Replicas < 1 || n.Replicas > 5 || n.Replicas%2 == 0 {
		k.bad("nats.replicas", "%d: streams have 1, 3 or 5 replicas", n.Replicas)
	}
	if n.Replicas > 1 && n.URL == "" {
		k.bad("nats.replicas", "%d: the embedded server keeps one copy; give nats.url", n.Replicas)
	}
	logins := 0
	for _, given := range []string{n.Creds, n.NKey, n.User} {
		if given != "" {
			logins++
		}
	}
	if logins > 1 {
		k.bad("nats.creds", "give one login of nats.creds, nats.nkey and nats.user")
	}
	if n.User == "" && (n.Password != "" || n.PasswordFile != "") {
		k.bad("nats.user", "is missing beside the password")
	}
	if hasPassword(n.URL) && k.c.src.origin["nats.url"] == "" {
		k.warn("nats.url holds a password; use nats.user and nats.password_file in production")
	}
	if k.need&needQueue == 0 {
		return
	}
	k.file("nats.creds", strings.TrimPrefix(n.Creds, "nkey:"))
	k.file("nats.nkey", n.NKey)
	k.file("nats.ca", n.CA)
	k.secret("nats.password", &n.Password, "nats.password_file", &n.PasswordFile)
}

func (k *checker) redis() {
	r := &k.c.Redis
	if r.URL != "" {
		u, err := url.Parse(r.URL)
		switch {
		case err != nil || !slices.Contains([]string{"redis", "rediss", "unix"}, u.Scheme), u.Scheme != "unix" && u.Host == "":
			k.bad("redis.url", "%q is not an address as redis://host:6379/0, rediss://... or unix:///path", maskURL(r.URL))
		case len(r.Addrs) > 0:
			k.bad("redis.addrs", "is given beside redis.url: give one of them")
		}
		if hasPassword(r.URL) && k.c.src.origin["redis.url"] == "" {
			k.warn("redis.url holds a password; use redis.password_file in production")
		}
	}
	for i, addr := range r.Addrs {
		if _, port, err := net.SplitHostPort(addr); err != nil || !validPort(port) {
			k.bad("redis.addrs."+strconv.Itoa(i), "%q is not host:port", addr)
		}
	}
	if r.Master != "" && len(r.Addrs) == 0 {
		k.bad("redis.master", "needs the Sentinels in redis.addrs")
	}
	if k.need&needStore != 0 {
		k.secret("redis.password", &r.Password, "redis.password_file", &r.PasswordFile)
	}
}

func (k *checker) nmvs() {
	n := k.c.NMVS
	if n.Version < 2 || n.Version > 5 {
		k.bad("nmvs.version", "%d: interface versions are 2 to 5", n.Version)
	}
	for _, it := range []struct {
		key string
		d   time.Duration
	}{{"idle_timeout", n.IdleTimeout}, {"longest_call", n.LongestCall}} {
		if it.d < 0 {
			k.bad("nmvs."+it.key, "%s: must not be negative", plainDuration(it.d))
		}
	}
	e := n.Endpoints
	for _, it := range []struct{ key, url string }{{"single", e.Single}, {"bulk", e.Bulk}, {"mixed", e.Mixed}, {"support", e.Support}} {
		if it.url == "" {
			continue
		}
		u, err := url.Parse(it.url)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Port() != "" && !validPort(u.Port()) {
			k.bad("nmvs.endpoints."+it.key, "%q is not an https:// address", it.url)
		}
	}
	if k.need&needLogin == 0 {
		return
	}
	if e.Single == "" {
		k.bad("nmvs.endpoints.single", "is missing: every account verifies through the single service")
	}
	if k.file("nmvs.ca", n.CA) {
		if pem, err := os.ReadFile(n.CA); err != nil || !x509.NewCertPool().AppendCertsFromPEM(pem) {
			k.bad("nmvs.ca", "%s holds no PEM certificate", n.CA)
		}
	}
}

// protocol checks one set of parameters; prefix is where it stands.
func (k *checker) protocol(prefix string, p ProtocolConfig) {
	k.word(prefix+"doubt", p.Doubt, "hold", "sameid")
	k.word(prefix+"settle", p.Settle, "e2", "e3", "e4")
	if p.RepeatTolerance < 0 || p.RepeatTolerance > 2 {
		k.bad(prefix+"repeat_tolerance", "%d: 0, 1 or 2", p.RepeatTolerance)
	}
	for _, it := range []struct {
		key  string
		d    time.Duration
		zero bool
	}{
		{"t_send", p.TSend, false}, {"t_reuse", p.TReuse, true}, {"t_http_single", p.THTTPSingle, false},
		{"t_http_bulk", p.THTTPBulk, false}, {"t_grace", p.TGrace, true}, {"t_result", p.TResult, false}, {"t_poll", p.TPoll, false},
		{"skew", p.Skew, true}, {"t_hold_single", p.THoldSingle, false}, {"t_hold_bulk", p.THoldBulk, false},
	} {
		if it.d < 0 || it.d == 0 && !it.zero {
			k.bad(prefix+it.key, "%s: must be more than 0", plainDuration(it.d))
		}
	}
	k.hold(prefix, "t_hold_single", p.THoldSingle, p, p.THTTPSingle)
	k.hold(prefix, "t_hold_bulk", p.THoldBulk, p, p.THTTPBulk)
}

// hold keeps protocol.md section 5: T_HOLD > T_SEND + NMVS's idle-connection
// timeout + its longest processing. The last two are NMVS's: nmvs.idle_timeout and
// nmvs.longest_call where somebody knows them, t_reuse and t_http are what we assume of them else.
func (k *checker) hold(prefix, key string, hold time.Duration, p ProtocolConfig, tHTTP time.Duration) {
	if hold <= 0 || p.TSend <= 0 {
		return
	}
	if least := p.TSend + p.TReuse; hold <= least {
		k.bad(prefix+key, "%s: must be more than t_send + t_reuse (%s), or a late copy of a call could meet its repetition",
			plainDuration(hold), plainDuration(least))
		return
	}
	n := k.c.NMVS
	if least := p.TSend + n.IdleTimeout + n.LongestCall; least > p.TSend && hold <= least {
		k.warn("%s%s is %s, not more than t_send + nmvs.idle_timeout + nmvs.longest_call (%s): a late copy of a call could meet its repetition",
			prefix, key, plainDuration(hold), plainDuration(least))
		return
	}
	if all := p.TSend + p.TReuse + tHTTP; hold <= all {
		k.warn("%s%s is %s, not more than t_send + t_reuse + t_http (%s): only safe where NMVS answers faster than that",
			prefix, key, plainDuration(hold), plainDuration(all))
	}
}

// process checks what concerns this process alone.
func (k *checker) process() {
	for _, it := range []struct{ key, addr string }{{"http.listen", k.c.HTTP.Listen}, {"http.debug", k.c.HTTP.Debug}} {
		if it.addr == "" {
			continue
		}
		if k.address(it.key, it.addr) && it.key == "http.debug" && !loopbackAddress(it.addr) {
			k.bad(it.key, "%q: pprof listens on the loopback address only", it.addr)
		}
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(cmp.Or(k.c.Log.Level, "info"))); err != nil {
		k.word("log.level", k.c.Log.Level, "debug", "info", "warn", "error")
	}
	k.word("log.format", cmp.Or(k.c.Log.Format, "auto"), "auto", "json", "text")
	if k.c.Log.Serials {
		k.warn("log.serials: serial numbers go into the log")
	}
	if k.c.Dir == "" {
		k.bad("dir", "is empty")
	}
}

// address complains about what is no host:port.
func (k *checker) address(key, addr string) bool {
	if _, port, err := net.SplitHostPort(addr); err != nil || !validPort(port) {
		k.bad(key, "%q is not host:port", addr)
		return false
	}
	return true
}

func validPort(port string) bool {
	n, err := strconv.Atoi(port)
	return err == nil && n >= 0 && n <= 65535
}

// loopbackAddress says whether only this machine can reach host:port.
func loopbackAddress(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	return loopback(host)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// plainFileError says an error of the file system with the name once.
func plainFileError(err error) string { return spokenFileError(err).Error() }

// spokenFileError is plainFileError in both languages.
func spokenFileError(err error) error {
	switch {
	case os.IsNotExist(err):
		return spokenf("le fichier %s n'existe pas", "there is no file %s", pathOf(err))
	case os.IsPermission(err):
		return spokenf("cet utilisateur ne peut pas lire %s", "this user may not read %s", pathOf(err))
	}
	return err
}
