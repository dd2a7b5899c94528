package worker

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// plan is what one random schedule is about: the account's settings and the kinds of
// faults. Which things may fall together is a matter of protocol.md section 1.
type plan struct {
	workers   int
	mode      Mode
	bulk      bool // the account has that service
	mixed     bool
	listing   bool
	withhold  bool // people withhold and free, and a batch is not uploaded
	doubt     Doubt
	settle    Grade
	tolerance int
	foreign   int    // packs that strangers decommission at most
	stores    string // redis: it loses its memory; ledger: it loses its tail (A2: never both); none
	parallel  int
	batch     int
	acts      int  // things that happen from outside
	people    bool // pause, tune, continue and verify-first, from time to time
	ahead     int  // attempts that may wait for a slot, in mode single
	tempo     int  // the limits and what breaks them are that many times shorter; waits that production does not configure are not
}

// planOf draws a plan; force is a list of name=value that stand fast.
func planOf(r *rand.Rand, force string) (plan, error) {
	p := plan{
		workers: 1 + r.IntN(3), mode: ModeSingle, doubt: Hold, settle: E2,
		stores: []string{"redis", "redis", "ledger", "none"}[r.IntN(4)], parallel: 1 + r.IntN(4), batch: 2 + r.IntN(6), acts: 15 + r.IntN(25),
	}
	if r.IntN(2) == 0 {
		p.mode = []Mode{ModeBulk, ModeMixed, ModeAuto, ModeAuto}[r.IntN(4)]
	}
	both := r.IntN(2) == 0
	p.bulk = p.mode == ModeBulk || p.mode == ModeAuto && (both || r.IntN(2) == 0)
	p.mixed = p.mode == ModeMixed || p.mode == ModeAuto && (both || !p.bulk)
	p.listing = r.IntN(2) == 0
	if r.IntN(5) == 0 {
		p.doubt = SameID
	}
	if r.IntN(4) == 0 {
		p.settle = []Grade{E3, E4}[r.IntN(2)]
	}
	if p.doubt == Hold && r.IntN(5) == 0 {
		p.tolerance = 1 + r.IntN(2)
	}
	if r.IntN(2) == 0 {
		p.foreign = 1 + r.IntN(5)
	}
	// Idle time is what a schedule costs: most are quick. At a quick tempo the loop's own waits are long beside the
	// limits, at the slow one they are short, as in production.
	p.tempo = 6 * (1 + r.IntN(3))
	if r.IntN(32) == 0 {
		p.tempo = 1
	}
	p.people = r.IntN(2) == 0
	if ahead := r.IntN(4); p.mode == ModeSingle {
		p.ahead = ahead
	}
	return p, p.force(force)
}

func (p *plan) force(list string) error {
	if list == "" {
		return nil
	}
	for word := range strings.SplitSeq(list, ",") {
		name, value, _ := strings.Cut(word, "=")
		n, err := strconv.Atoi(value)
		switch name {
		case "mode":
			p.mode, err = Mode(value), nil
			p.bulk, p.mixed = p.mode == ModeBulk || p.mode == ModeAuto, p.mode == ModeMixed || p.mode == ModeAuto
		case "doubt":
			p.doubt, err = Doubt(value), nil
			p.tolerance = 0
		case "settle":
			p.settle, err = Grade(value), nil
		case "stores":
			p.stores, err = value, nil
		case "workers":
			p.workers = n
		case "tolerance":
			p.tolerance = n
		case "people":
			p.people = n != 0
		case "tempo":
			p.tempo = n
		case "ahead":
			p.ahead = n
		case "withhold":
			p.withhold = n != 0
		case "foreign":
			p.foreign = n
		default:
			err = fmt.Errorf("no such part of a plan")
		}
		if err != nil {
			return fmt.Errorf("-plan %s: %w", word, err)
		}
	}
	return nil
}

// String is what -plan takes, and more.
func (p plan) String() string {
	return fmt.Sprintf("workers=%d mode=%s (bulk %v, mixed %v, listing %v) doubt=%s settle=%s tolerance=%d foreign=%d stores=%s tempo=%d withhold=%v people=%v ahead=%d",
		p.workers, p.mode, p.bulk, p.mixed, p.listing, p.doubt, p.settle, p.tolerance, p.foreign, p.stores, p.tempo, p.withhold, p.people, p.ahead)
}

// settings are the plan's part of the account's configuration. Times are short, in the
// proportions that protocol.md section 5 asks for; span shortens them to the plan's tempo.
func (p plan) settings(c Config, span func(time.Duration) time.Duration) Config {
	c.Parallel, c.Mode, c.UseBulk, c.UseMixed = p.parallel, p.mode, p.bulk, p.mixed
	c.Listing, c.ahead = p.listing, p.ahead
	c.Batch, c.BulkFrom = p.batch, 2
	c.Doubt, c.Settle, c.Tolerance = p.doubt, p.settle, p.tolerance
	c.TSend, c.THTTPSingle, c.THTTPBulk, c.TGrace = max(span(3*time.Second), 500*time.Millisecond), span(30*time.Second), span(30*time.Second), span(time.Minute)
	c.THoldSingle, c.THoldBulk, c.TResult = span(3*time.Minute), span(8*time.Minute), span(15*time.Minute)
	c.BulkLate, c.PollFirst = span(2*time.Minute), max(span(2*time.Second), 500*time.Millisecond)
	c.Skew, c.HoldMax = span(5*time.Second), span(5*time.Minute)
	return c
}
