package main

import (
	"errors"
	"regexp"
	"strconv"
	"sync"
	"time"

	"decom/nmvs"
	"decom/queue"
	"decom/worker"
	"decom/worker/scan"
)

// liveAccount is what an account's loop tells while it runs. Its methods are hooks: any
// of the loop's goroutines may call them.
type liveAccount struct {
	mu      sync.Mutex // guards the rest
	results map[scan.Result]uint64
	load    worker.Load
	held    int
	heldAt  time.Time
	halted  bool
	why     string
	pace    worker.Pace
	trouble string
	lastBad time.Time
	full    time.Time     // when the ledger first refused a record, without one stored since; zero: it takes them
	fullAt  time.Time     // when it last did
	alerts  []AlertStatus // the newest, oldest first

	passwordUntil time.Time // zero: NMVS has not said
}

func (l *liveAccount) scanned(result scan.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.results == nil {
		l.results = map[scan.Result]uint64{}
	}
	l.results[result]++
}

func (l *liveAccount) opened(load worker.Load) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.load = load
}

func (l *liveAccount) holding(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held, l.heldAt = n, time.Now()
}

func (l *liveAccount) halting(halted bool, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.halted, l.why = halted, why
}

// failed keeps why the account's loop ended before its time.
func (l *liveAccount) failed(err error) {
	l.troubled("account loop", err)
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(err, queue.ErrFull) {
		l.fullAt = time.Now()
		if l.full.IsZero() {
			l.full = l.fullAt
		}
	}
}

func (l *liveAccount) pacing(p worker.Pace) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pace = p
}

func (l *liveAccount) troubled(what string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trouble, l.lastBad = what+": "+err.Error(), time.Now()
}

// alertsShown is how many of an account's newest alerts are kept for screens; all are on
// the ledger.
const alertsShown = 5

func (l *liveAccount) alerted(device string, reason scan.Reason, alertID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alerts = append(l.alerts, AlertStatus{scan.Time(time.Now()), device, reason, alertID})
	l.alerts = l.alerts[max(0, len(l.alerts)-alertsShown):]
}

var noticeDays = regexp.MustCompile(`\b\d{1,3}\b`)

// noticed keeps when the password ends. NMVS gives the number of days in the text only
// (nmvs-interface.md 1.13); a text without one is no news.
func (l *liveAccount) noticed(notices []nmvs.Notice) {
	for _, n := range notices {
		if n.Code != nmvs.NoticePasswordExpires {
			continue
		}
		days, err := strconv.Atoi(noticeDays.FindString(n.Desc))
		if err != nil {
			continue
		}
		l.mu.Lock()
		// The day, not the moment: the metric must not move with each answer.
		l.passwordUntil = time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, days)
		l.mu.Unlock()
	}
}

// troubleFresh is how long a trouble is shown after it was last met.
const troubleFresh = 15 * time.Second

// ledgerFull returns for how long the account's ledger has taken no record, 0 while it does. A
// full disk is silence, so that an append waits, or a refusal, so that the loop ends and
// begins anew.
func (u *unit) ledgerFull() time.Duration {
	if wait := u.loop.LedgerWaits(); wait > 0 {
		return wait
	}
	u.live.mu.Lock()
	defer u.live.mu.Unlock()
	if time.Since(u.live.fullAt) >= troubleFresh {
		u.live.full = time.Time{}
		return 0
	}
	return time.Since(u.live.full)
}
