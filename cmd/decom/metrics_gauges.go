package main

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"decom/nmvs"
	"decom/worker/ledger"
)

// sampler looks at the stores now and then, so that neither a scrape nor their being
// away makes anybody wait.
type sampler struct {
	mu    sync.Mutex // guards the rest
	last  Status     // of the stores
	at    time.Time  // zero: not yet
	every time.Duration
}

// The sampler's pace: fast enough for a scrape every 15 s, and never more than a tenth
// of the time busy, however many accounts there are.
const (
	sampleEvery = 5 * time.Second
	sampleIdle  = 10
)

// sample looks at the stores until ctx ends.
func (p *process) sample(ctx context.Context) {
	for {
		began := time.Now()
		p.sampleOnce(ctx)
		wait := max(sampleEvery, sampleIdle*time.Since(began))
		p.samples.mu.Lock()
		p.samples.every = wait
		p.samples.mu.Unlock()
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

func (p *process) sampleOnce(ctx context.Context) {
	patience := statusPatience + time.Duration(len(p.units))*20*time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s := statusOfStores(ctx, p.cfg, p.conn, p.store)
	p.samples.mu.Lock()
	p.samples.last, p.samples.at = s, time.Now()
	p.samples.mu.Unlock()
}

// fresh returns the last sample unless it is so old that it misleads.
func (s *sampler) fresh() (Status, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, !s.at.IsZero() && time.Since(s.at) < 3*max(s.every, sampleEvery)
}

// gauges reads what is a state, not an event, when it is asked for: the live views, and
// the last sample of the stores. It asks nobody outside the process.
type gauges struct{ p *process }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// The whole process's figures, and below them each account's.
var (
	descInflight  = desc("decom_inflight_packs", "Packs whose attempt a sender of this process is busy with.")
	descDoubt     = desc("decom_in_doubt_packs", "Packs with an open attempt that has no sender here.")
	descParked    = desc("decom_parked_packs", "Packs that wait for a person.")
	descHeld      = desc("decom_held_scans", "Scans that wait for their pack's answer.")
	descOldest    = desc("decom_oldest_pending_seconds", "Age of the oldest scan of any account that is not disposed of.")
	descPending   = desc("decom_consumer_pending", "Scans in the stream that were not delivered yet.")
	descLost      = desc("decom_lost_topics", "MQTT topics whose events went nowhere within 7 days; only where MQTT is used.")
	descUp        = desc("decom_dependency_up", "1 while the dependency answers.", "dependency")
	descRate      = desc("decom_rate_limit", "Calls a second that the limiter allows now.", "account", "service")
	descAdaptive  = desc("decom_rate_adaptive", "1 while the account follows NMVS's quota by itself.", "account")
	descCircuit   = desc("decom_circuit_state", "1 for the state the breaker is in.", "account", "service", "state")
	descHalted    = desc("decom_halted", "1 while the account waits for a person's resume.", "account")
	descLedger    = desc("decom_ledger_waiting_seconds", "Seconds for which a record has been waiting to be stored, from 5 on; 0 while the ledger takes records.", "account")
	descPaused    = desc("decom_paused", "1 while a person has paused the account.", "account")
	descTuned     = desc("decom_tuned", "1 while a person has set other limits for the account.", "account")
	descWithheld  = desc("decom_withheld", "Batches or devices of the account of which nothing new is sent.", "account", "scope")
	descCertUntil = desc("decom_certificate_expiry_timestamp_seconds", "When the client certificate ends.", "account")
	descPassUntil = desc("decom_password_expiry_timestamp_seconds", "When the password ends, once NMVS has said so.", "account")
	descNextBulk  = desc("decom_next_bulk_packs", "Packs that the next bulk may take: small after start and after trouble.", "account")

	descAccInflight = desc("decom_account_inflight_packs", "An account's part of decom_inflight_packs.", "account")
	descAccDoubt    = desc("decom_account_in_doubt_packs", "An account's part of decom_in_doubt_packs.", "account")
	descAccParked   = desc("decom_account_parked_packs", "An account's part of decom_parked_packs.", "account")
	descAccHeld     = desc("decom_account_held_scans", "An account's part of decom_held_scans.", "account")
	descAccOldest   = desc("decom_account_oldest_pending_seconds", "Age of the account's oldest scan that is not disposed of.", "account")
	descAccPending  = desc("decom_account_consumer_pending", "An account's part of decom_consumer_pending.", "account")
)

// Describe sends nothing: the collector is unchecked, since figures of a store that is
// away are left out.
func (g *gauges) Describe(chan<- *prometheus.Desc) {}

// totals are the sums over all accounts of what is known.
type totals struct {
	inflight, doubt, parked, held, pending, oldest float64
}

// Collect gives what is known now.
func (g *gauges) Collect(out chan<- prometheus.Metric) {
	put := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	sample, fresh := g.p.samples.fresh()
	var sum totals
	whole := fresh // every account's stores answered
	for i, u := range g.p.units {
		var s AccountStatus
		if fresh {
			s = sample.Accounts[i] // in the configuration's order, as the units
		}
		known := fresh && s.Stores == ""
		whole = whole && known
		u.fill(&s)
		g.account(put, &s, known)
		sum.inflight += float64(s.sending)
		sum.held += float64(s.Held)
		sum.doubt += float64(s.InDoubt)
		if known {
			sum.parked += float64(s.Parked)
			sum.pending += float64(s.Pending)
			sum.oldest = max(sum.oldest, s.OldestSeconds)
		}
	}
	put(descInflight, sum.inflight)
	put(descHeld, sum.held)
	put(descDoubt, sum.doubt)
	if whole { // a sum over some accounts would look like good news
		put(descParked, sum.parked)
		put(descPending, sum.pending)
		put(descOldest, sum.oldest)
	}
	put(descUp, flag(g.p.conn.Up()), "nats")
	if fresh {
		put(descUp, flag(sample.Redis == "up"), "redis")
		if sample.lostKnown {
			put(descLost, float64(len(sample.Lost)))
		}
	}
}

func (g *gauges) account(put func(*prometheus.Desc, float64, ...string), s *AccountStatus, known bool) {
	for _, b := range s.Services {
		for _, state := range []nmvs.BreakerState{nmvs.BreakerClosed, nmvs.BreakerHalfOpen, nmvs.BreakerOpen} {
			put(descCircuit, flag(b.Breaker == string(state)), s.Account, b.Service, string(state))
		}
		if b.Limit > 0 { // mixed goes by bulk's limit, support has none
			put(descRate, b.Rate, s.Account, b.Service)
		}
	}
	put(descAdaptive, flag(len(s.Services) > 0 && s.Services[0].Phase != ""), s.Account)
	put(descAccInflight, float64(s.sending), s.Account)
	put(descAccDoubt, float64(s.InDoubt), s.Account)
	put(descAccHeld, float64(s.Held), s.Account)
	put(descNextBulk, float64(s.NextBulk), s.Account)
	put(descHalted, flag(s.Halted), s.Account)
	put(descLedger, s.LedgerWaits, s.Account)
	put(descPaused, flag(s.Paused != nil), s.Account)
	put(descTuned, flag(s.Tuned != nil), s.Account)
	n := map[string]float64{}
	for i := range s.Withheld {
		n[s.Withheld[i].Scope]++
	}
	for _, scope := range []string{ledger.ScopeBatch, ledger.ScopeDevice} {
		put(descWithheld, n[scope], s.Account, scope)
	}
	put(descCertUntil, float64(s.certificateUntil.Unix()), s.Account)
	if !s.passwordUntil.IsZero() {
		put(descPassUntil, float64(s.passwordUntil.Unix()), s.Account)
	}
	if known {
		put(descAccParked, float64(s.Parked), s.Account)
		put(descAccPending, float64(s.Pending), s.Account)
		put(descAccOldest, s.OldestSeconds, s.Account)
	}
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
