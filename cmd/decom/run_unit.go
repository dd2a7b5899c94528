package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"decom/nmvs"
	"decom/ratelimit"
	"decom/worker"
)

// unit is everything that serves one account. A sick one stops only its own.
type unit struct {
	cfg       *Account
	client    *nmvs.Client
	cert      *nmvs.Certificate
	breaker   *nmvs.Breaker
	limiter   *ratelimit.Limiter
	loop      *worker.Account
	publisher *worker.Publisher
	live      liveAccount
	log       *nmvsLog
}

// link is the breaker for what is sent and the client for what is only rendered.
type link struct {
	*nmvs.Breaker
	client *nmvs.Client
	notice func([]nmvs.Notice)
	log    *nmvsLog
}

// Do passes on what NMVS says of the account's password beside the answer, and tells of
// answers that are lost.
func (l link) Do(ctx context.Context, call nmvs.Call) (nmvs.Answer, error) {
	a, err := l.Breaker.Do(ctx, call)
	if len(a.Notices) > 0 {
		l.notice(a.Notices)
	}
	if call.Act != nmvs.ActPing && a.Class == nmvs.InDoubt {
		l.log.lost(call, err)
	}
	return a, err
}

func (l link) Digest(c nmvs.Call) string { return l.client.Digest(c) }

func (p *process) newUnit(a *Account) (*unit, error) {
	u := &unit{cfg: a, log: newNMVSLog(p.log, a.Name)}
	clientCfg, err := p.cfg.clientConfig(a)
	if err != nil {
		return nil, exitWith(exitConfig, err)
	}
	clientCfg.Software = nmvs.Software{Name: "decom", Supplier: "decom", Version: softwareVersion}
	u.cert = clientCfg.Certificate
	if u.client, err = nmvs.New(clientCfg); err != nil {
		return nil, exitWith(exitConfig, err)
	}
	rates, err := a.rates()
	if err != nil {
		return nil, exitWith(exitConfig, err)
	}
	if u.limiter, err = ratelimit.New(ratelimit.Config{Limits: rates, Burst: burst, Adaptive: a.Limits.Adaptive, Cooldown: a.Limits.TooFastStop}); err != nil {
		return nil, exitWith(exitConfig, err)
	}
	u.breaker, err = nmvs.NewBreaker(u.client, nmvs.BreakerConfig{
		Stamp: u.client.Stamp,
		OnChange: func(svc nmvs.Service, s nmvs.BreakerStatus) {
			u.log.changed(svc, s)
			u.loop.Wake()
		},
	})
	if err != nil {
		return nil, err
	}
	deps := worker.Deps{
		Scans: p.conn.Scans(a.Name), Records: p.conn.Ledger(a.Name), State: p.store,
		NMVS: link{u.breaker, u.client, u.live.noticed, u.log}, Limiter: meteredLimiter{u.limiter, p.met.wait}, Log: p.log,
		Rank: func() int { return p.fleet.rank(a.Name) }, Hooks: p.hooks(u),
	}
	if faultyNMVS != nil {
		deps.NMVS = faultyNMVS(deps.NMVS)
	}
	if len(p.cfg.Accounts) > 1 {
		deps.Owners = p.store
	}
	if u.loop, err = worker.New(p.workerConfig(a), deps); err != nil {
		return nil, exitWith(exitConfig, err)
	}
	u.publisher = &worker.Publisher{Account: a.Name, Sites: a.Sites, Outbox: p.conn.Outbox(a.Name),
		Outcomes: p.conn, Records: p.conn.Ledger(a.Name), Log: p.log, Recent: u.loop.Recent, After: u.loop.RecentAfter, Broken: u.loop.ChainBroken,
		Traces: u.loop.Traces()}
	return u, nil
}

// softwareVersion is what NMVS is told: at most 10 characters, and part of the bytes
// that a ledger record vouches for, so it changes with releases only.
const softwareVersion = "1.0"

func (p *process) workerConfig(a *Account) worker.Config {
	s := a.Settings(p.cfg.Protocol)
	e := p.cfg.NMVS.Endpoints
	rates, _ := a.rates() // newUnit has read them
	return worker.Config{
		Devices: p.cfg.profiles(),
		UseBulk: e.Bulk != "", UseMixed: e.Mixed != "", Listing: a.PendingListCode != "", BulkFrom: bulkFrom(a),
		Account: a.Name, Worker: p.worker, Mode: worker.Mode(a.Mode), Parallel: a.Limits.Parallel, Batch: a.Limits.Batch,
		Doubt: worker.Doubt(s.Doubt), Settle: worker.Grade(s.Settle), Tolerance: s.RepeatTolerance,
		Rates: rates,
		TSend: s.TSend, THTTPSingle: s.THTTPSingle, THTTPBulk: s.THTTPBulk,
		TGrace: s.TGrace, THoldSingle: s.THoldSingle, THoldBulk: s.THoldBulk, TResult: s.TResult,
		BulkInFlight: a.Limits.Bulks, Linger: a.Limits.Linger, PollFirst: s.TPoll, Skew: s.Skew,
	}
}

// burst is how much time's worth of calls may gather while nothing is sent. NMVS's window
// is not known: a second's limit must not be passed by what gathered before it.
const burst = 100 * time.Millisecond

// bulkFrom is the backlog from which on a bulk is the faster way: as many packs as
// single calls could send while one bulk is submitted and fetched, two calls of the
// bulk limit.
func bulkFrom(a *Account) int {
	rates, err := a.rates()
	if err != nil {
		return 0 // the default
	}
	n := int(2 * rates["single"].PerSecond() / rates["bulk"].PerSecond())
	return max(2*max(a.Limits.Parallel, 1), min(n, max(a.Limits.Batch, 1)/2))
}

// fleet knows who else is running. It is advice: it spreads the work and the limits,
// and is never needed for safety (protocol.md section 1).
type fleet struct {
	mu     sync.Mutex
	worker string   // guarded by mu, as the rest
	alive  []string // sorted, this one included
}

const (
	heartbeatEvery = 2 * time.Second
	heartbeatFor   = 10 * time.Second
)

func (f *fleet) join(ctx context.Context, p *process) error {
	f.worker = p.worker
	return f.beat(ctx, p)
}

func (f *fleet) beat(ctx context.Context, p *process) error {
	if !p.conn.Up() {
		return errors.New("heartbeat: NATS is down") // who cannot fetch must not be counted on
	}
	ctx, cancel := context.WithTimeout(ctx, heartbeatEvery)
	defer cancel()
	alive, err := p.store.Heartbeat(ctx, p.worker, heartbeatFor)
	if err != nil {
		return fmt.Errorf("heartbeat: %w", err)
	}
	f.mu.Lock()
	f.alive = alive
	f.mu.Unlock()
	for _, u := range p.units {
		if err := u.limiter.SetShare(f.share(u.cfg.Name)); err != nil {
			return err
		}
	}
	return nil
}

// keep beats until ctx ends, then says that this process leaves.
func (f *fleet) keep(ctx context.Context, p *process) {
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	redis := outage{log: p.log, away: "Redis does not answer: scans wait, nothing is lost", back: "Redis answers again"}
	for {
		select {
		case <-tick.C:
			err := f.beat(ctx, p)
			if p.conn.Up() && ctx.Err() == nil { // NATS has messages of its own
				redis.seen(err)
			}
		case <-ctx.Done():
			bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), heartbeatEvery)
			defer cancel()
			_, _ = p.store.Heartbeat(bye, p.worker, 0)
			return
		}
	}
}

// rank is this process's place for an account by rendezvous hashing: 0 serves it, the
// others stand by.
func (f *fleet) rank(account string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	mine, rank := rendezvous(account, f.worker), 0
	for _, w := range f.alive {
		if w != f.worker && rendezvous(account, w) > mine {
			rank++
		}
	}
	return rank
}

func rendezvous(account, worker string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(account + "\x00" + worker))
	x := h.Sum64() // mixed once more: FNV alone leaves the last bytes in the low bits
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	return x ^ x>>33
}

// standbyShare is the part of an account's limit that the processes standing by have
// together: enough to take over and to verify, small beside the one that serves.
const standbyShare = 0.1

// share is this process's part of an account's limit. Over the fleet the parts make
// one: limits are the account's, not the process's (contract.md section 7).
func (f *fleet) share(account string) float64 {
	rank := f.rank(account)
	f.mu.Lock()
	n := len(f.alive)
	f.mu.Unlock()
	switch {
	case n <= 1:
		return 1
	case rank == 0:
		return 1 - standbyShare
	}
	return standbyShare / float64(n-1)
}

func (f *fleet) members() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.alive)
}

// housekeeping trims what is consumed and looks for scans that nobody serves.
func (p *process) housekeeping(ctx context.Context) {
	look, trim := time.NewTicker(30*time.Second), time.NewTicker(time.Hour)
	defer look.Stop()
	defer trim.Stop()
	told := unroutedTold{}
	for {
		p.lookForUnrouted(ctx, told)
		p.lookForLost(ctx, told)
		select {
		case <-look.C:
		case <-trim.C:
			if err := p.conn.Trim(ctx, p.cfg.queueAccounts(), scansKept); err != nil && ctx.Err() == nil {
				p.log.Warn("trim of consumed scans", "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// scansKept is how long consumed scans stay in the stream (protocol.md section 2).
const scansKept = 7 * 24 * time.Hour

func (p *process) lookForUnrouted(ctx context.Context, told unroutedTold) {
	sites, err := p.conn.Unrouted(ctx, p.cfg.queueAccounts())
	if err != nil {
		return // NATS is away: the connection's own message says so
	}
	total := uint64(0)
	for site, n := range sites {
		total += n
		switch {
		case !told.news(site, time.Now()):
		case noDevice(site):
			p.log.Warn("scans whose subject names no device wait in the stream, nobody gets them: correct the robot (decom.scan.SITE.DEVICE), and have it publish them again", "subject", site, "scans", n)
		default:
			p.log.Warn("scans of a site that no account names wait in the stream: add the site to an account", "site", site, "scans", n)
		}
	}
	p.met.unrouted.Set(float64(total))
}

// unroutedTold remembers when each site was told. A forgotten site may stay for weeks;
// status and metrics show it all the time, the log once an hour.
type unroutedTold map[string]time.Time

func (t unroutedTold) news(site string, now time.Time) bool {
	if last, told := t[site]; told && now.Sub(last) < time.Hour {
		return false
	}
	t[site] = now
	return true
}
