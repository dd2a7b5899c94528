package httpdoor

import (
	"errors"
	"fmt"
	"net"
	"time"

	"decom/ratelimit"
	"decom/worker/scan"
)

// Config is the door's. Zero values are the defaults.
type Config struct {
	// Listen is host:port.
	Listen string
	// CertFile and KeyFile (PEM) turn TLS on; both or none. They are read again at each
	// handshake after they changed on disk.
	CertFile, KeyFile string
	// TokensFile holds the tokens' hashes; see [ParseTokens].
	TokensFile string
	// Rate is how many scans one device may send. Default 50/s: a robot sends one a
	// second, a stock system's arrays are spread over some seconds.
	Rate ratelimit.Rate
	// MaxBody is the size of a request in bytes. Default 1 MiB, most 64 MiB.
	MaxBody int64
	// MaxItems is how many scans one request may hold. Default 1000.
	MaxItems int
	// Parallel is how many requests of one device may be under way, and how many streams
	// of outcomes it may have open. Default 4.
	Parallel int
	// Patience is how long the stream's acknowledgement is waited for. Default 5 s: the
	// sender has the scan still and sends it again.
	Patience time.Duration
	// BodyTime is how long a request's body may take to arrive. Default 30 s: 1 MiB over a
	// slow line.
	BodyTime time.Duration
	// Beat is the time between signs of life on a stream of outcomes. Default 15 s, below
	// the idle limit of usual proxies.
	Beat time.Duration
}

func (c Config) withDefaults() Config {
	if c.Rate == (ratelimit.Rate{}) {
		c.Rate = ratelimit.Rate{N: 50, Per: time.Second}
	}
	if c.MaxBody == 0 {
		c.MaxBody = 1 << 20
	}
	if c.MaxItems == 0 {
		c.MaxItems = 1000
	}
	if c.Parallel == 0 {
		c.Parallel = 4
	}
	if c.Patience == 0 {
		c.Patience = 5 * time.Second
	}
	if c.BodyTime == 0 {
		c.BodyTime = 30 * time.Second
	}
	if c.Beat == 0 {
		c.Beat = 15 * time.Second
	}
	return c
}

// Validate reports every problem of c at once. It opens no file.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		bad("listen: %q is not host:port", c.Listen)
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		bad("certificate_file and key_file: give both or none")
	}
	if c.TokensFile == "" {
		bad("tokens: is missing; make one with: decom gateway token")
	}
	if c.Rate != (ratelimit.Rate{}) {
		if err := c.Rate.Validate(); err != nil {
			bad("rate: %w", err)
		}
	}
	if c.MaxBody < 0 || c.MaxBody > 64<<20 || c.MaxBody > 0 && c.MaxBody < scan.MaxEvent {
		bad("max_body: %d is not in %d to %d", c.MaxBody, scan.MaxEvent, 64<<20)
	}
	if c.MaxItems < 0 || c.Parallel < 0 || c.Patience < 0 || c.BodyTime < 0 || c.Beat < 0 {
		bad("negative limit")
	}
	return errors.Join(errs...)
}
