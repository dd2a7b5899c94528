package worker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"decom/nmvs"
	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// tokensLeft is a limiter with so many tokens and no more.
type tokensLeft struct {
	Limiter
	n int
}

func (t *tokensLeft) TryTake(_ string, n int) int {
	got := min(n, t.n)
	t.n -= got
	return got
}

func (*tokensLeft) Parallel(most int) int { return most }

// returned counts the scans that were given back.
type returned struct {
	queue.Delivery
	n *int
}

func (r returned) RetryAfter(context.Context, time.Duration) error { *r.n++; return nil }

func TestAScanFetchedAheadIsTakenUpWithASlotAndATokenOrGivenBack(t *testing.T) {
	for _, c := range []struct {
		name                    string
		inflight, waiting       int // calls on their way, scans that the round has already; of 4 slots
		inHand, left            int // tokens
		change                  func(l *loop)
		taken, kept, given, few int // few: tokens in hand afterwards
	}{
		{name: "no slot", inflight: 4, left: 9, kept: 3},
		{name: "a slot", inflight: 3, left: 9, taken: 1, kept: 2, few: 1},
		{name: "slots for all", left: 9, taken: 3, few: 3},
		{name: "a slot that a scan has already", inflight: 3, waiting: 1, inHand: 1, left: 9, kept: 3, few: 1},
		{name: "a slot, and one that a scan has", inflight: 2, waiting: 1, inHand: 1, left: 9, taken: 1, kept: 2, few: 2},
		{name: "no token", inflight: 2, given: 3},
		{name: "one token", inflight: 2, left: 1, taken: 1, given: 2, few: 1},
		{name: "a token in hand", inflight: 3, inHand: 1, taken: 1, kept: 2, few: 1},
		{name: "a due pack found no slot", inflight: 3, left: 9, change: func(l *loop) { l.hungry = true }, kept: 3},
		{name: "a person at a scanner keeps one", inflight: 2, left: 9, change: func(l *loop) { l.express.stop = func() {} }, taken: 1, kept: 2, few: 1},
		{name: "paused", left: 9, change: func(l *loop) { l.paused = true }, given: 3},
		{name: "draining", left: 9, change: func(l *loop) { l.draining.Store(true) }, given: 3},
		{name: "another mode", left: 9, change: func(l *loop) { l.cfg.Mode = ModeMixed }, given: 3},
		{name: "too long here", inflight: 4, left: 9, change: func(l *loop) { l.spare.at = time.Now().Add(-time.Hour) }, given: 3},
		{name: "the breaker is open", left: 9, change: func(l *loop) { l.deps.NMVS = admits{} }, kept: 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			given := 0
			l := &loop{Account: &Account{deps: Deps{NMVS: admits{nmvs.Single: 9}, Limiter: &tokensLeft{n: c.left}}}, book: ledger.NewBook(),
				cfg: Config{Mode: ModeSingle, Parallel: 4}.withDefaults(), inflight: c.inflight}
			l.lanes.tokens = c.inHand
			for i := range 3 {
				l.spare.items = append(l.spare.items, item{Delivery: returned{n: &given}, e: scan.Event{ID: fmt.Sprint(i)}})
			}
			l.items, l.spare.at = make([]item, c.waiting), time.Now()
			if c.change != nil {
				c.change(l)
			}
			l.takeSpare(t.Context())
			if got := len(l.items) - c.waiting; got != c.taken || len(l.spare.items) != c.kept || given != c.given || l.lanes.tokens != c.few {
				t.Errorf("taken %d, kept %d, given back %d, %d tokens; want %d, %d, %d, %d", got, len(l.spare.items), given, l.lanes.tokens,
					c.taken, c.kept, c.given, c.few)
			}
			if c.taken > 0 && l.items[c.waiting].e.ID != "0" || c.kept > 0 && l.spare.items[0].e.ID != fmt.Sprint(c.taken) {
				t.Error("the order has changed")
			}
			l.lanes.backlog = 100
			if c.left < 2 && c.given > 0 && l.wantAhead(time.Now(), 0) {
				t.Error("more are fetched ahead while tokens are short")
			}
		})
	}
}

func TestAFetchAheadThatBringsNothingDoesNotKeepTheOthersWaiting(t *testing.T) {
	came := time.Now().Add(-time.Hour)
	l := &loop{Account: &Account{}, spare: spare{items: make([]item, 1), at: came}}
	if l.take(batch{ahead: true}); !l.spare.at.Equal(came) {
		t.Error("the scans that wait for a slot count as new: they may wait until others get them, too")
	}
}

func TestNothingIsFetchedAheadWhileTheBreakerLetsNoCallStart(t *testing.T) {
	l := &loop{Account: &Account{deps: Deps{NMVS: admits{nmvs.Single: 9}}}, cfg: Config{Mode: ModeSingle, Parallel: 4}.withDefaults(), inflight: 4}
	l.lanes.backlog = 100
	if !l.wantAhead(time.Now(), 0) {
		t.Fatal("nothing is fetched ahead at all")
	}
	l.deps.NMVS = admits{}
	if l.wantAhead(time.Now(), 0) {
		t.Error("intake goes on while calls of before the outage hang")
	}
}
