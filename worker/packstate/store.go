package packstate

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"decom/worker/ledger"
	"decom/worker/scan"
)

// ErrUnavailable means that the server did not answer, or is not ready (loading,
// a replica just now, cluster down). Waiting may help. At start cmd exits with 75.
var ErrUnavailable = errors.New("redis is not available")

// ErrUnsuitable means that the server answers but must not be used as it is:
// too old, evicting, a replica, or our user may not use it. A person must change it.
var ErrUnsuitable = errors.New("redis is not suitable")

// MaxPacks is how many packs one call may name. More would keep Redis from
// everybody else for too long (limits.md section 3: 500 packs = 1.7 ms).
const MaxPacks = ledger.MaxPacks

// Store is the projection. Open makes it; all methods may be called from any
// goroutine, Close last.
type Store struct {
	rdb      redis.UniversalClient
	mem      *miniredis.Miniredis // nil unless embedded
	scripts  scripts
	heads    *headFiles // nil unless embedded
	warnings []string
}

// Open connects, checks the server and loads the scripts. The error wraps
// [ErrUnavailable] or [ErrUnsuitable], or is that of Validate. What is odd but
// not wrong is in [Store.Warnings].
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	// The driver writes to stderr on its own, a line for each failed dial. All that it says
	// comes back as an error, too, and is told once by who decides about it.
	logging.Disable()
	s := &Store{scripts: newScripts()}
	if cfg.Embedded() {
		heads, err := openHeadFiles(cfg.Dir)
		if err != nil {
			return nil, err
		}
		s.heads, s.mem = heads, miniredis.NewMiniRedis()
	}
	var err error
	if s.rdb, err = connect(cfg, s.mem); err != nil {
		return nil, err
	}
	if err := s.check(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// connect makes the client; it opens no connection yet.
func connect(cfg Config, mem *miniredis.Miniredis) (redis.UniversalClient, error) {
	// Notices of a vendor's managed Redis; others answer the handshake with an error.
	quiet := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if len(cfg.Addrs) != 0 {
		u := &redis.UniversalOptions{
			Addrs: cfg.Addrs, MasterName: cfg.Master, IsClusterMode: cfg.Master == "",
			Username: cfg.Username, Password: cfg.Password, TLSConfig: cfg.TLS, Protocol: 2, PoolSize: cfg.Pool,
			DialTimeout: cfg.Timeout, ReadTimeout: cfg.Timeout, WriteTimeout: cfg.Timeout, DialerRetries: 1,
			ContextTimeoutEnabled: true, MaintNotificationsConfig: quiet,
		}
		return redis.NewUniversalClient(u), nil
	}
	o := &redis.Options{Addr: "embedded"}
	if mem != nil {
		// No port: nobody else on the machine can reach it.
		o.Dialer = func(context.Context, string, string) (net.Conn, error) { return mem.Dial() }
	} else {
		var err error
		if o, err = redis.ParseURL(cfg.URL); err != nil {
			return nil, errors.New("redis.url: cannot be read") // the cause would show the password
		}
	}
	if cfg.Username != "" {
		o.Username = cfg.Username
	}
	if cfg.Password != "" {
		o.Password = cfg.Password
	}
	if cfg.TLS != nil {
		o.TLSConfig = cfg.TLS
	}
	if cfg.Pool != 0 {
		o.PoolSize = cfg.Pool
	}
	o.Protocol, o.DialTimeout, o.ReadTimeout, o.WriteTimeout = 2, cfg.Timeout, cfg.Timeout, cfg.Timeout
	o.ContextTimeoutEnabled, o.MaintNotificationsConfig = true, quiet
	o.DialerRetries = 1 // a call is tried 4 times already; more would only hide that the server is down
	return redis.NewClient(o), nil
}

// Close ends the connections; an embedded store is gone with it.
func (s *Store) Close() error {
	err := s.rdb.Close()
	if s.mem != nil {
		s.mem.Close()
	}
	return err
}

// Embedded says whether the store lives in this process and is lost with it.
func (s *Store) Embedded() bool { return s.mem != nil }

// Warnings returns what [Open] found odd, one sentence each.
func (s *Store) Warnings() []string { return s.warnings }

// Ping asks whether the server answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := wrap(s.rdb.Ping(ctx).Err()); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	return nil
}

// keys are the names of one account's keys. The part in braces keeps them on
// one node of a cluster.
type keys struct{ prefix string }

// account checks the name: it stands in keys and in a search pattern.
func account(name string) (keys, error) {
	if !scan.ValidToken(name) {
		return keys{}, fmt.Errorf("account %q: must be 1 to 64 of A-Z a-z 0-9 _ -", name)
	}
	return keys{"decom:{" + name + "}:"}, nil
}

func (k keys) head() string    { return k.prefix + "head" }
func (k keys) halt() string    { return k.prefix + "halt" }
func (k keys) control() string { return k.prefix + "control" }
func (k keys) open() string    { return k.prefix + "open" }
func (k keys) due() string     { return k.prefix + "due" }
func (k keys) parked() string  { return k.prefix + "parked" }
func (k keys) drop() string    { return k.prefix + "drop" }
func (k keys) packs() string   { return k.prefix + "p:" }

// A pack's value lies in the hash that the first bucketLen characters of its name choose,
// under the rest of them.
const (
	bucketLen = 3
	packLen   = 16
)

// checkPacks refuses what would not fit one call or is no pack's name.
func checkPacks(n int, each func(yield func(scan.PackID) bool)) error {
	if n > MaxPacks {
		return fmt.Errorf("%d packs in one call, more than %d", n, MaxPacks)
	}
	for k := range each {
		if len(k) != packLen {
			return fmt.Errorf("pack name %q: must be %d characters", k, packLen)
		}
	}
	return nil
}
