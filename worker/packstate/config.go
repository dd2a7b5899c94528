package packstate

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Config says where the projection lives. One of three: URL for one server, Addrs
// for Sentinel or Cluster, neither for the embedded store.
type Config struct {
	URL      string        // redis://, rediss:// or unix://; empty with empty Addrs = embedded
	Addrs    []string      // host:port of the sentinels (with Master), or of some cluster nodes (without)
	Master   string        // name of the master the sentinels watch; empty = Addrs are a cluster
	Username string        // ACL user; empty = the URL's, or the default user
	Password string        // empty = the URL's, or none; give it by file or environment, never in the URL of a file
	TLS      *tls.Config   // for Addrs, or to replace what rediss:// makes; nil = plain, or the system's roots for rediss://
	Timeout  time.Duration // of one connect, and of one read or write; default 3 s, because a call carries up to 1,000 packs
	Pool     int           // connections to one server; default 10 per CPU
	Dir      string        // embedded only: folder of the head files; needed there
}

// DefaultTimeout is the Timeout of a zero Config.
const DefaultTimeout = 3 * time.Second

// Embedded says whether c asks for the store inside this process.
func (c Config) Embedded() bool { return c.URL == "" && len(c.Addrs) == 0 }

// Validate reports every problem of c that shows without a server. Secrets do
// not appear in its text.
func (c Config) Validate() error {
	var errs []error
	if c.URL != "" {
		if len(c.Addrs) != 0 || c.Master != "" {
			errs = append(errs, errors.New("redis: give url, or addrs (with master for Sentinel), not both"))
		}
		if _, err := redis.ParseURL(c.URL); err != nil {
			errs = append(errs, errors.New("redis.url: must be redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH"))
		}
	}
	if c.Master != "" && len(c.Addrs) == 0 {
		errs = append(errs, errors.New("redis.master: needs addrs, the host:port of the sentinels"))
	}
	for i, a := range c.Addrs {
		if a == "" {
			errs = append(errs, fmt.Errorf("redis.addrs[%d]: is empty", i))
		}
	}
	if c.Embedded() && c.Dir == "" {
		errs = append(errs, errors.New("dir: the embedded store needs a folder for its head files"))
	}
	if c.Timeout < 0 {
		errs = append(errs, errors.New("redis.timeout: is negative"))
	}
	if c.Pool < 0 {
		errs = append(errs, errors.New("redis.pool: is negative"))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	return c
}
