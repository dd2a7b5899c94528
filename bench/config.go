package bench

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The profiles: what arrives, and when.
const (
	Steady   = "steady"   // an even rate
	Burst    = "burst"    // a morning: little, then ten times as much, then little
	Delivery = "delivery" // one delivery: everything is meant to leave at once
	Outage   = "outage"   // NMVS is away, scans of many accounts pile up, then it is back
	Quota    = "quota"    // more than NMVS takes; its quota falls to a quarter and comes back
	Backlog  = "backlog"  // all lies in the stream before the workers start; then half that rate, for the latency
)

// Profiles returns every profile, in the order in which people should read them.
func Profiles() []string {
	return []string{Steady, Burst, Delivery, Outage, Quota, Backlog}
}

// Config says what to measure. Zero fields take the profile's defaults, which
// [Config.WithDefaults] fills in.
type Config struct {
	// Profile is one of [Profiles]; default steady.
	Profile string `json:"profile"`
	// Packs is how many packs (and scans) a round has; default by profile: 60,000 for a
	// delivery, 20,000 for an outage and a backlog, else Rate x Duration.
	Packs int `json:"packs"`
	// Accounts is how many NMVS logins they are spread over; default 200 for an outage, else 1.
	Accounts int `json:"accounts"`
	// Duration is how long scans are published; default 30 s. A delivery has none.
	Duration time.Duration `json:"duration"`
	// Rate is scans a second, intended; default: what the quota allows, x 0.8 (x 1.5 for
	// the quota profile), or 200. A burst's mean.
	Rate float64 `json:"rate"`

	// Mode of the accounts: single, bulk, mixed (default) or auto.
	Mode string `json:"mode"`
	// Parallel, Batch, Bulks and Linger are the accounts' limits; defaults 4, 500, 4 and the
	// worker's own.
	Parallel int           `json:"parallel"`
	Batch    int           `json:"batch"`
	Bulks    int           `json:"bulks"`
	Linger   time.Duration `json:"linger"`
	// Processes is how many `decom run` serve all accounts; default 1.
	Processes int `json:"processes"`

	// Latency is what every call to the simulator takes, Jitter up to so much more; default 0.
	Latency time.Duration `json:"latency"`
	Jitter  time.Duration `json:"jitter"`
	// Quota is single calls a second and account that the simulator takes, BulkQuota
	// submits a minute; 0 = no limit.
	Quota     float64 `json:"quota"`
	BulkQuota float64 `json:"bulk_quota"`
	// Told is what the worker is told of the quota; 0 = the quota itself. Another value
	// makes it find out (profile quota: 4 x the quota).
	Told float64 `json:"told"`
	// Adaptive has the workers follow the quota (limits.adaptive); Told is then the ceiling.
	Adaptive bool `json:"adaptive,omitempty"`
	// Poll is the time from a submit to the first poll; default 1 ms: the simulator is ready at once.
	Poll time.Duration `json:"poll"`

	// Even has sweeps use the steady profile at Rate for Duration: what the same load costs.
	Even bool `json:"even,omitempty"`

	// Rounds repeats everything; default 1. Ranges and significance want 5 or more.
	Rounds int `json:"rounds"`
	// Seed makes ids, latencies and jitter of the simulator repeatable.
	Seed uint64 `json:"seed"`
	// NoFsync lets nats-server sync every 2 minutes instead of after each write.
	NoFsync bool `json:"no_fsync"`
	// Patience is how long no outcome may come before what is missing counts as lost; default 90 s: the
	// worker rests for a minute after "too fast".
	Patience time.Duration `json:"patience"`

	// Exe is the decom program that plays every part; required.
	Exe string `json:"-"`
	// Dir is the folder for servers' files; required, removed by nobody here.
	Dir string `json:"-"`
	// NATSServer and RedisServer are programs to start; empty NATSServer: the server that is
	// part of decom, in a process of its own; empty RedisServer: the workers' embedded store.
	NATSServer  string `json:"nats_server"`
	RedisServer string `json:"redis_server"`
	// Engine is the program of bench/engine, for the side by side; empty: not compared.
	Engine string `json:"engine,omitempty"`
	// NATSURL and RedisURL are servers that run already, on this machine only; empty: start our own.
	NATSURL  string `json:"nats_url,omitempty"`
	RedisURL string `json:"redis_url,omitempty"`
	// Set are more settings of decom run, KEY=VALUE each.
	Set []string `json:"set,omitempty"`
	// Env is the environment of the children; nil: this process's.
	Env []string `json:"-"`
	// Progress, if set, is told what happens, a short English or French text; it must not block.
	Progress func(Event) `json:"-"`
}

// Event is a step of a measurement, for a screen.
type Event struct {
	What        string // start, round, sample, sweep, ceiling, stage
	Name        string // of the round, point or stage
	Round, Of   int
	Done, Total int // scans
}

func (c *Config) tell(e Event) {
	if c.Progress != nil {
		c.Progress(e)
	}
}

// WithDefaults fills every zero field with the profile's default.
func (c Config) WithDefaults() Config {
	set(&c.Profile, Steady)
	set(&c.Mode, "mixed")
	if c.Profile == Quota && c.Quota == 0 {
		c.Quota, c.Mode = 40, "single"
	}
	if c.Accounts == 0 {
		c.Accounts = 1
		if c.Profile == Outage {
			c.Accounts = 200
		}
	}
	set(&c.Batch, 500)
	set(&c.Parallel, 4)
	set(&c.Bulks, 4)
	set(&c.Processes, 1)
	set(&c.Rounds, 1)
	set(&c.Poll, time.Millisecond)
	set(&c.Patience, 90*time.Second)
	c.defaultLoad()
	if c.Profile == Quota {
		set(&c.Told, 4*c.Quota)
	}
	return c
}

// cutHolds shorten what a doubt waits for, from hours to seconds: the attempts that an
// outage or a kill cost must be settled before a round ends. Not for a hospital.
var cutHolds = []string{"protocol.t_hold_single=6s", "protocol.t_hold_bulk=6s", "protocol.t_grace=4s", "protocol.settle=e4",
	"protocol.t_http_single=10s", "protocol.t_http_bulk=10s"} // never changed

// defaultLoad settles packs, rate and duration, of which two give the third.
func (c *Config) defaultLoad() {
	share := 0.8
	switch c.Profile {
	case Delivery:
		set(&c.Packs, 60_000)
		return
	case Backlog:
		set(&c.Packs, 20_000)
		return
	case Outage:
		if len(c.Set) == 0 || c.Set[0] != cutHolds[0] { // filling in twice changes nothing
			c.Set = append(slices.Clone(cutHolds), c.Set...)
		}
		set(&c.Packs, 20_000)
		set(&c.Duration, 20*time.Second)
		c.Rate = float64(c.Packs) / c.Duration.Seconds()
		return
	case Quota:
		share = 1.5
		set(&c.Duration, 360*time.Second)
	}
	set(&c.Duration, 30*time.Second)
	if c.Rate == 0 && c.Packs > 0 {
		c.Rate = float64(c.Packs) / c.Duration.Seconds()
	}
	if c.Rate == 0 {
		c.Rate = 200
		if q := c.QuotaPacks(); q > 0 {
			c.Rate = share * q
		}
	}
	set(&c.Packs, max(1, int(c.Rate*c.Duration.Seconds())))
}

func set[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// QuotaPacks is how many packs a second NMVS lets through for all accounts together, 0
// for no limit: single calls carry one, bulks a batch.
func (c *Config) QuotaPacks() float64 {
	single, bulk := c.Quota, c.BulkQuota/60*float64(c.Batch)
	each := single
	switch {
	case c.Mode == "bulk", c.Mode == "mixed":
		each = bulk
	case c.Mode == "auto" && (single == 0 || bulk == 0):
		each = 0
	case c.Mode == "auto":
		each = single + bulk
	}
	return each * float64(c.Accounts)
}

// Validate reports every problem of a configuration whose defaults are filled in.
func (c Config) Validate() error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(slices.Contains(Profiles(), c.Profile), "profile %q: there are %s", c.Profile, strings.Join(Profiles(), ", "))
	bad(slices.Contains([]string{"single", "bulk", "mixed", "auto"}, c.Mode), "mode %q: single, bulk, mixed or auto", c.Mode)
	bad(c.Packs >= 1 && c.Packs <= 5_000_000, "packs %d: 1 to 5000000", c.Packs)
	bad(c.Accounts >= 1 && c.Accounts <= 1000, "accounts %d: 1 to 1000", c.Accounts)
	bad(c.Packs >= c.Accounts, "packs %d: at least one for each of the %d accounts", c.Packs, c.Accounts)
	bad(c.Rate >= 0 && c.Rate <= 1e6, "rate %v: scans a second, up to a million", c.Rate)
	bad(c.Parallel >= 1 && c.Parallel <= 1000, "parallel %d: 1 to 1000", c.Parallel)
	bad(c.Batch >= 1 && c.Batch <= 1000, "batch %d: 1 to 1000, the most that one ledger record holds", c.Batch)
	bad(c.Bulks >= 1 && c.Bulks <= 64, "bulks %d: 1 to 64", c.Bulks)
	bad(c.Processes >= 1 && c.Processes <= 16, "processes %d: 1 to 16", c.Processes)
	bad(c.Rounds >= 1 && c.Rounds <= 1000, "rounds %d: 1 to 1000", c.Rounds)
	bad(c.Latency >= 0 && c.Jitter >= 0 && c.Linger >= 0 && c.Duration >= 0, "latency, jitter, linger and duration must not be negative")
	bad(c.Quota >= 0 && c.BulkQuota >= 0 && c.Told >= 0, "quotas must not be negative")
	bad(c.Exe != "", "no program to run")
	bad(c.Dir != "", "no folder for the servers' files")
	return errors.Join(errs...)
}
