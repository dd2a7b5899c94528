package main

import (
	"log/slog"
	"time"

	"decom/ratelimit"
)

// Config is the whole configuration, key for key that of contract.md section 2.
// Keys may be added here, never renamed. Paths in a loaded Config are absolute
// or relative to the working directory: loadConfig has joined them with the
// folder of the configuration file.
//
// Tags: `path` marks a file or folder, `secret` what must never be printed.
type Config struct {
	// Dir holds the embedded stores, the PID file and pictures of failures.
	// Default ./decom-data. One process per folder.
	Dir      string         `yaml:"dir" path:"true"`
	NATS     NATSConfig     `yaml:"nats"`
	Redis    RedisConfig    `yaml:"redis"`
	NMVS     NMVSConfig     `yaml:"nmvs"`
	Protocol ProtocolConfig `yaml:"protocol"`
	// Accounts lists the NMVS logins. A gateway that only publishes needs none.
	Accounts []Account   `yaml:"accounts"`
	HTTP     HTTPConfig  `yaml:"http"`
	Doors    DoorsConfig `yaml:"doors"`
	Log      LogConfig   `yaml:"log"`
	Trace    TraceConfig `yaml:"trace"`

	// Consolidated says whose files of consolidated codes are taken.
	Consolidated ConsolidatedConfig `yaml:"consolidated"`
	// Devices are profiles of scanners; a device that none matches is read by the rules
	// for all.
	Devices []DeviceConfig `yaml:"devices"`
}

// NATSConfig says where the queue is and how to log in.
type NATSConfig struct {
	// URL is one address or several with commas; nats:// or tls://. Empty:
	// a server embedded in this process, under Config.Dir.
	URL string `yaml:"url" secret:"url"`
	// Creds is a credentials file, or nkey:FILE. Empty: no such login.
	Creds string `yaml:"creds" path:"creds"`
	// NKey is the file of an NKey seed, instead of Creds.
	NKey string `yaml:"nkey" path:"true"`
	// User, with Password or PasswordFile, instead of Creds.
	User         string `yaml:"user"`
	Password     string `yaml:"password" secret:"true"`
	PasswordFile string `yaml:"password_file" path:"true"`
	// CA is the PEM file of the authority that signed the server. Empty: the system's.
	CA string `yaml:"ca" path:"true"`
	// Replicas of the streams, 1 to 5, odd. Default 1; 3 in a cluster.
	Replicas int `yaml:"replicas"`
}

// RedisConfig says where the pack state is.
type RedisConfig struct {
	// URL is redis://, rediss:// or unix://. With Addrs it must be empty. All
	// empty: a store embedded in this process, rebuilt from the ledger at start.
	URL string `yaml:"url" secret:"url"`
	// Addrs are the nodes of a Cluster, or the Sentinels when Master is set.
	Addrs []string `yaml:"addrs"`
	// Master is the name that the Sentinels watch.
	Master string `yaml:"master"`
	// Username and Password (or PasswordFile) win over those in URL.
	Username     string `yaml:"username"`
	Password     string `yaml:"password" secret:"true"`
	PasswordFile string `yaml:"password_file" path:"true"`
}

// NMVSConfig says where the national repository is.
type NMVSConfig struct {
	// Version of the interface, 2 to 5. Default 5.
	Version int `yaml:"version"`
	// Endpoints has one URL a service; empty = that service is not used.
	Endpoints EndpointsConfig `yaml:"endpoints"`
	// CA is the PEM file of the authority that signed NMVS. Empty: the system's.
	CA string `yaml:"ca" path:"true"`
	// IdleTimeout is how long NMVS keeps an idle connection open, LongestCall the longest time that it
	// works on a call, as its operator or a qualification says. A hold must be longer than t_send and
	// both (protocol.md sections 1, A3, and 5). Default 0: not known, and not compared.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	LongestCall time.Duration `yaml:"longest_call"`
}

// EndpointsConfig holds one https URL a service (nmvs-interface.md 1.2).
type EndpointsConfig struct {
	Single  string `yaml:"single"`
	Bulk    string `yaml:"bulk"`
	Mixed   string `yaml:"mixed"`
	Support string `yaml:"support"`
}

// ProtocolConfig holds the parameters of protocol.md section 9. The defaults are
// safe; change them only when NMVS was qualified for it.
type ProtocolConfig struct {
	// Doubt is what happens to an attempt without answer: hold (wait, then
	// verify; the default) or sameid (send the same bytes again).
	Doubt string `yaml:"doubt"`
	// Settle is the weakest evidence that settles a doubt without a person:
	// e2 (default), e3 or e4 (protocol.md section 5).
	Settle string `yaml:"settle"`
	// RepeatTolerance is how often NMVS was qualified to answer a repetition
	// without an alert, 0 (default) to 2.
	RepeatTolerance int `yaml:"repeat_tolerance"`
	// TSend is the longest time from the append to the first byte. Default 3 s.
	TSend time.Duration `yaml:"t_send"`
	// TReuse is how long an idle connection may be used again; 0 = never. Default 2 s.
	TReuse time.Duration `yaml:"t_reuse"`
	// THTTPSingle and THTTPBulk are the longest wait for an answer. Default 30 s, 120 s.
	THTTPSingle time.Duration `yaml:"t_http_single"`
	THTTPBulk   time.Duration `yaml:"t_http_bulk"`
	// TGrace is the age at which another worker takes an attempt up. Default 0,
	// which is the service's t_http + 30 s.
	TGrace time.Duration `yaml:"t_grace"`
	// TResult is how long a bulk's result is waited for. Default 24 h.
	TResult time.Duration `yaml:"t_result"`
	// TPoll is the time from a bulk's submit to the first poll; then x 1.6 up to a
	// minute. Default 2 s.
	TPoll time.Duration `yaml:"t_poll"`
	// Skew is how far the clocks of two devices may differ. Default 5 s.
	Skew time.Duration `yaml:"skew"`
	// THoldSingle and THoldBulk are how long a doubtful attempt is held before
	// its packs are verified. Default 20 min, 24 h.
	THoldSingle time.Duration `yaml:"t_hold_single"`
	THoldBulk   time.Duration `yaml:"t_hold_bulk"`
}

// Grace returns TGrace, or its default for a service that waits tHTTP.
func (p ProtocolConfig) Grace(tHTTP time.Duration) time.Duration {
	if p.TGrace > 0 {
		return p.TGrace
	}
	return tHTTP + 30*time.Second
}

// ProtocolOverrides are an account's own values of [ProtocolConfig]; nil = the
// common one. TestOverridesNameEveryProtocolKey holds the two together.
type ProtocolOverrides struct {
	Doubt           *string        `yaml:"doubt,omitempty"`
	Settle          *string        `yaml:"settle,omitempty"`
	RepeatTolerance *int           `yaml:"repeat_tolerance,omitempty"`
	TSend           *time.Duration `yaml:"t_send,omitempty"`
	TReuse          *time.Duration `yaml:"t_reuse,omitempty"`
	THTTPSingle     *time.Duration `yaml:"t_http_single,omitempty"`
	THTTPBulk       *time.Duration `yaml:"t_http_bulk,omitempty"`
	TGrace          *time.Duration `yaml:"t_grace,omitempty"`
	TResult         *time.Duration `yaml:"t_result,omitempty"`
	TPoll           *time.Duration `yaml:"t_poll,omitempty"`
	Skew            *time.Duration `yaml:"skew,omitempty"`
	THoldSingle     *time.Duration `yaml:"t_hold_single,omitempty"`
	THoldBulk       *time.Duration `yaml:"t_hold_bulk,omitempty"`
}

// Account is one pivot PUI: an NMVS login and the sites it answers for.
type Account struct {
	// Name is 1 to 64 of A-Z a-z 0-9 _ -; it stands in subjects and metrics.
	Name string `yaml:"name"`
	// Sites are the SITE tokens of its scans; no site belongs to two accounts.
	Sites []string `yaml:"sites"`
	// ClientLoginID (1 to 20) and UserID (4 to 20 of A-Z a-z 0-9 -) are NMVS's.
	ClientLoginID string `yaml:"client_login_id"`
	UserID        string `yaml:"user_id"`
	// Password inline is for tests; PasswordFile or the environment otherwise.
	Password     string `yaml:"password" secret:"true"`
	PasswordFile string `yaml:"password_file" path:"true"`
	// Certificate is a PKCS#12 file (.p12, .pfx), or CertificateFile and KeyFile in PEM.
	Certificate     string `yaml:"certificate" path:"true"`
	CertificateFile string `yaml:"certificate_file" path:"true"`
	KeyFile         string `yaml:"key_file" path:"true"`
	// Passphrase of the certificate or key; empty = none.
	Passphrase     string `yaml:"passphrase" secret:"true"`
	PassphraseFile string `yaml:"passphrase_file" path:"true"`
	// Mode is the service used: single, bulk, mixed or auto (default).
	Mode string `yaml:"mode"`
	// Limits are over the whole fleet, not per process.
	Limits   LimitsConfig      `yaml:"limits"`
	Protocol ProtocolOverrides `yaml:"protocol"`
	// PendingListCode is the operation that lists pending bulks; empty = there is none.
	PendingListCode string `yaml:"pending_list_code"`

	// FINESS, Region and LegalStatus are what the authorities count PUIs by (decom report
	// indicators); empty = not given. FINESS is 9 digits, or 2A or 2B and 7.
	FINESS string `yaml:"finess"`
	// Region is the name of a French region or territory overseas.
	Region string `yaml:"region"`
	// LegalStatus is public, espic (private, not for profit) or private.
	LegalStatus string `yaml:"legal_status"`
}

// LimitsConfig is how fast an account may call NMVS.
type LimitsConfig struct {
	// Single counts calls of the single service, verifies included. "5/s" is the default.
	Single string `yaml:"single"`
	// Bulk counts bulk calls and polls. "6/min" is the default.
	Bulk string `yaml:"bulk"`
	// Parallel is the most calls at once. Default 4. From 8 on, in mode single, up to a quarter as
	// many attempts more, 8 at most, are opened before their slot is free: after a kill they are
	// in doubt, too.
	Parallel int `yaml:"parallel"`
	// Batch is the most packs in one bulk, 1 to 1000 (a ledger record's limit). Default 500.
	Batch int `yaml:"batch"`
	// Bulks is how many bulks may be on their way, submitted and without result. Default 1:
	// NMVS may refuse a second one while the first is processed.
	Bulks int `yaml:"bulks"`
	// Linger is how long a fetch of scans waits to fill, up to 1 s. Default 20 ms: longer
	// makes fuller bulks of a trickle, shorter a faster answer.
	Linger time.Duration `yaml:"linger"`
	// Adaptive follows an NMVS quota that is not known or changes; single and bulk are then only the ceiling, and
	// parallel is what may be used of, as latency grows. Default false: the rate is as configured, halved after "too fast".
	Adaptive bool `yaml:"adaptive"`
	// TooFastStop is how long the account stops after NMVS said "too fast", up to 1 h. Default 60 s. An adaptive
	// account stops for 250 ms, twice as long each time NMVS goes on refusing, and this long at most.
	TooFastStop time.Duration `yaml:"too_fast_stop"`
}

// HTTPConfig is the process's own web server.
type HTTPConfig struct {
	// Listen is host:port of /livez, /readyz, /metrics, /status and the page.
	// Empty = no server. Default 127.0.0.1:8080.
	Listen string `yaml:"listen"`
	// Debug is host:port of pprof, loopback only. Empty (default) = none.
	Debug string `yaml:"debug"`
}

// LogConfig is how the process logs.
type LogConfig struct {
	// Level is debug, info (default), warn or error.
	Level string `yaml:"level"`
	// Format is auto (default: text on a terminal, JSON otherwise), json or text.
	Format string `yaml:"format"`
	// Serials lets serial numbers into the log. Default false; never in production.
	Serials bool `yaml:"serials"`
}

func (l LogConfig) level() (level slog.Level) {
	if l.Level == "" || level.UnmarshalText([]byte(l.Level)) != nil {
		return slog.LevelInfo
	}
	return level
}

// defaultConfig is what counts where no layer says otherwise.
func defaultConfig() Config {
	return Config{
		Dir:  "./decom-data",
		NATS: NATSConfig{Replicas: 1},
		NMVS: NMVSConfig{Version: 5},
		Protocol: ProtocolConfig{
			Doubt: "hold", Settle: "e2",
			TSend: 3 * time.Second, TReuse: 2 * time.Second,
			THTTPSingle: 30 * time.Second, THTTPBulk: 120 * time.Second,
			TResult: 24 * time.Hour, TPoll: 2 * time.Second, Skew: 5 * time.Second,
			THoldSingle: 20 * time.Minute, THoldBulk: 24 * time.Hour,
		},
		HTTP:  HTTPConfig{Listen: "127.0.0.1:8080"},
		Doors: defaultDoors(),
		Log:   LogConfig{Level: "info", Format: "auto"},
		Trace: TraceConfig{Ratio: 1},
	}
}

// setDefaults fills what an account leaves empty. Accounts get theirs after all
// layers are in, because nobody knows before how many there are.
func (a *Account) setDefaults() {
	if a.Mode == "" {
		a.Mode = "auto"
	}
	if a.Limits.Single == "" {
		a.Limits.Single = "5/s"
	}
	if a.Limits.Bulk == "" {
		a.Limits.Bulk = "6/min"
	}
	if a.Limits.Parallel == 0 {
		a.Limits.Parallel = 4
	}
	if a.Limits.Batch == 0 {
		a.Limits.Batch = 500
	}
	if a.Limits.Bulks == 0 {
		a.Limits.Bulks = 1
	}
	if a.Limits.TooFastStop == 0 {
		a.Limits.TooFastStop = ratelimit.DefaultCooldown
	}
	if a.Limits.Linger == 0 {
		a.Limits.Linger = 20 * time.Millisecond
	}
}

// Settings returns the protocol parameters that count for this account: its own
// where it has some, the common ones otherwise.
func (a *Account) Settings(common ProtocolConfig) ProtocolConfig {
	o, p := a.Protocol, common
	override(&p.Doubt, o.Doubt)
	override(&p.Settle, o.Settle)
	override(&p.RepeatTolerance, o.RepeatTolerance)
	override(&p.TSend, o.TSend)
	override(&p.TReuse, o.TReuse)
	override(&p.THTTPSingle, o.THTTPSingle)
	override(&p.THTTPBulk, o.THTTPBulk)
	override(&p.TGrace, o.TGrace)
	override(&p.TResult, o.TResult)
	override(&p.TPoll, o.TPoll)
	override(&p.Skew, o.Skew)
	override(&p.THoldSingle, o.THoldSingle)
	override(&p.THoldBulk, o.THoldBulk)
	return p
}

func override[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}
