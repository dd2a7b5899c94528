package worker

import (
	"errors"
	"fmt"
	"time"

	"decom/queue"
	"decom/ratelimit"
	"decom/worker/ledger"
)

// Grade is how strong the evidence must be that an INACTIVE pack is ours before a
// doubt is settled without a person (protocol.md section 5). Each grade includes the
// stronger ones.
type Grade string

// The grades that an operator may choose.
const (
	E2 Grade = "e2" // proof of our login: a result by id, or NMVS's own word (default)
	E3 Grade = "e3" // verified ACTIVE just before the open
	E4 Grade = "e4" // our own doubtful attempt is enough
)

// Mode says which NMVS service carries an account's packs.
type Mode string

// The modes of contract.md section 2.
const (
	ModeSingle Mode = "single"
	ModeBulk   Mode = "bulk"
	ModeMixed  Mode = "mixed"
	ModeAuto   Mode = "auto"
)

// Config is what one account's loop needs to know. Zero means the default of
// protocol.md section 9; Validate reports every problem.
type Config struct {
	Account string // name, a token of subjects and keys
	Worker  string // this process and start, "name#incarnation"; stands in records
	Mode    Mode   // default auto

	Parallel int // calls to NMVS at once; default 4
	Batch    int // packs of one bulk; default 500, at most ledger.MaxPacks

	Rates map[string]ratelimit.Rate // the limiter's, by service: what a tune narrows and its end restores; nil: it never touches them

	Devices Devices // what is known of scanners; none by default

	UseBulk, UseMixed bool // the account has that service
	Listing           bool // NMVS lists submitted bulks for this account

	BulkFrom     int           // mode auto: from this backlog on bulks are used; default 50
	BulkInFlight int           // bulks submitted and without result; default 1
	BulkLate     time.Duration // a result that takes longer halves the next bulk; default 5 min
	PollFirst    time.Duration // submit to first poll; default 2 s

	Doubt     Doubt // default hold
	Settle    Grade // default e2
	Tolerance int   // qualified repeats that NMVS answers without an alert, 0 to 2; default 0

	TSend       time.Duration // from before the append to the first byte; default 3 s
	THTTPSingle time.Duration // wait for an answer; default 30 s
	THTTPBulk   time.Duration // default 120 s
	TGrace      time.Duration // until an open attempt is taken up, times 1 + rank; default the service's THTTP + 30 s
	THoldSingle time.Duration // fence to verify; default 20 min
	THoldBulk   time.Duration // default 24 h
	TResult     time.Duration // submit to verify; default 24 h
	Skew        time.Duration // clocks closer than this prove no order; default 5 s

	HoldFirst time.Duration // first delay of a held scan, doubled up to HoldMax; default 1 s
	HoldMax   time.Duration // default 5 min
	MaxHeld   int           // more held scans than this: nothing more is fetched; default 10,000, half of MaxAckPending
	Linger    time.Duration // a fetch waits this long to fill; default 20 ms

	AlertLimit int           // alerts that may be our own fault, per hour, before the account halts; default 3
	Drain      time.Duration // beyond THTTP, for the last facts; default 5 s

	ahead int // attempts that may wait for a slot, whatever Parallel is: tests with few calls; 0: as ahead.go says
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	num := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	if c.Mode == "" {
		c.Mode = ModeAuto
	}
	if c.Doubt == "" {
		c.Doubt = Hold
	}
	if c.Settle == "" {
		c.Settle = E2
	}
	num(&c.Parallel, 4)
	num(&c.Batch, 500)
	num(&c.BulkFrom, 50)
	num(&c.BulkInFlight, 1)
	set(&c.BulkLate, 5*time.Minute)
	set(&c.PollFirst, 2*time.Second)
	num(&c.MaxHeld, 10_000)
	num(&c.AlertLimit, 3)
	set(&c.TSend, 3*time.Second)
	set(&c.THTTPSingle, 30*time.Second)
	set(&c.THTTPBulk, 120*time.Second)
	set(&c.THoldSingle, 20*time.Minute)
	set(&c.THoldBulk, 24*time.Hour)
	set(&c.TResult, 24*time.Hour)
	set(&c.Skew, 5*time.Second)
	set(&c.HoldFirst, time.Second)
	set(&c.HoldMax, 5*time.Minute)
	set(&c.Linger, 20*time.Millisecond)
	set(&c.Drain, 5*time.Second)
	return c
}

// Validate reports every problem of c, defaults filled in.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(c.Account != "", "account: has no name")
	bad(c.Worker != "", "worker: has no name")
	for i, d := range c.Devices {
		if err := d.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("devices %d: %w", i, err))
		}
	}
	bad(c.Parallel > 0, "parallel: %d calls at once do nothing", c.Parallel)
	bad(c.Batch > 0 && c.Batch <= ledger.MaxPacks, "batch: must be 1 to %d packs", ledger.MaxPacks)
	bad(c.Mode == ModeSingle || c.Mode == ModeAuto || c.Mode == ModeBulk || c.Mode == ModeMixed, "mode: %q is none of single, bulk, mixed, auto", c.Mode)
	bad(c.Mode != ModeBulk || c.UseBulk, "mode: bulk, but no bulk endpoint is configured")
	bad(c.Mode != ModeMixed || c.UseMixed, "mode: mixed, but no mixed endpoint is configured")
	bad(c.Doubt == Hold || c.Doubt == SameID, "doubt: %q is none of hold, sameid", c.Doubt)
	bad(c.Tolerance >= 0 && c.Tolerance <= 2, "repeat_tolerance: must be 0 to 2")
	bad(c.Settle == E2 || c.Settle == E3 || c.Settle == E4, "settle: %q is none of e2, e3, e4", c.Settle)
	bad(c.THoldSingle > c.TSend, "t_hold_single: must be longer than t_send (protocol.md section 5)")
	bad(c.THoldBulk > c.TSend, "t_hold_bulk: must be longer than t_send (protocol.md section 5)")
	bad(c.TGrace == 0 || c.TGrace > c.TSend, "t_grace: must be longer than t_send")
	for _, d := range []time.Duration{c.TSend, c.THTTPSingle, c.THTTPBulk, c.TResult, c.Skew} {
		bad(d > 0, "a time limit is negative")
	}
	return errors.Join(errs...)
}

// holdDelay is how long a scan stays away that was delivered so often without being
// disposed of: 1 s, doubled up to HoldMax.
func (c Config) holdDelay(d queue.Delivery) time.Duration {
	delay := c.HoldFirst << min(max(d.Delivered()-1, 0), 16)
	return min(max(delay, c.HoldFirst), c.HoldMax)
}

func (c Config) hold(svc ledger.Service) time.Duration {
	if svc == ledger.Single {
		return c.THoldSingle
	}
	return c.THoldBulk
}

func (c Config) grace(svc ledger.Service) time.Duration {
	if c.TGrace != 0 {
		return c.TGrace
	}
	return c.tHTTP(svc) + 30*time.Second
}

func (c Config) tHTTP(svc ledger.Service) time.Duration {
	if svc == ledger.Single {
		return c.THTTPSingle
	}
	return c.THTTPBulk
}
