package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"time"
)

// run measures one round with fresh servers in a folder of its own.
func (c *Config) run(ctx context.Context, name string, n int) (Round, []string, error) {
	r, err := newRig(ctx, c, filepath.Join(c.Dir, fmt.Sprintf("%s-%d", name, n)))
	defer r.close()
	if err != nil {
		return Round{}, nil, err
	}
	m := &measure{rig: r, cfg: c, round: Round{Name: name, Packs: c.Packs}, factor: 1}
	empty := r.redisUsed(ctx)
	err = m.do(ctx)
	if full := r.redisUsed(ctx); empty > 0 && full > empty {
		m.round.RedisBytes = float64(full-empty) / float64(max(1, m.round.Packs))
	}
	return m.round, r.notes, err
}

// measure is a round under way.
type measure struct {
	rig   *rig
	cfg   *Config
	round Round
	load  *load

	mu     sync.Mutex // guards factor
	factor float64    // of the quota, now
}

func (m *measure) quota() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cfg.QuotaPacks() * m.factor
}

func (m *measure) setFactor(f float64) error {
	m.mu.Lock()
	m.factor = f
	m.mu.Unlock()
	return m.rig.setQuota(f)
}

// do is the round: a backlog is there before the workers are; every other load begins
// when they are ready, and does not wait for them.
func (m *measure) do(ctx context.Context) error {
	c, r := m.cfg, m.rig
	m.load = newLoad(c, r.sites)
	since := time.Now().Add(-time.Second)
	if c.Profile == Backlog {
		if err := m.load.publish(ctx, r.conn, time.Now()); err != nil {
			return err
		}
	}
	if c.Profile == Outage {
		if err := r.setAway(true); err != nil {
			return err
		}
	}
	work, stop := context.WithCancelCause(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer stop(nil)
	spawn := func(what string, f func(context.Context) error) {
		group.Go(func() {
			if err := f(work); err != nil && work.Err() == nil {
				stop(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	follow := func() {
		spawn("outcomes", func(ctx context.Context) error { return m.load.follow(ctx, r.conn, since) })
	}
	if c.Profile != Backlog {
		follow()
	}
	told, err := r.conn.LastOutcome(ctx)
	if err != nil {
		return err
	}
	before := cpuOf(r.pids)
	began := time.Now()
	if err := r.startWorkers(); err != nil {
		return err
	}
	if c.Profile != Backlog {
		if err := m.awaitReady(work); err != nil {
			return err
		}
		before = cpuOf(r.pids)
		began = time.Now().Add(50 * time.Millisecond)
		spawn("publish", func(ctx context.Context) error { return m.load.publish(ctx, r.conn, began) })
	} else {
		m.load.restart(began)
	}
	s := &sampler{rig: r, load: m.load, start: began, quota: m.quota}
	group.Go(func() { s.run(work) })
	spawn("events", func(ctx context.Context) error { return m.events(ctx, began) })
	var after map[string]time.Duration
	if c.Profile == Backlog {
		all, err := m.count(work, told)
		if err != nil {
			return err
		}
		if all {
			after = cpuOf(r.pids)
		}
		follow()
	}
	if err := m.wait(work); err != nil {
		return err
	}
	if after == nil {
		after = cpuOf(r.pids)
	}
	m.account(began, before, after, s)
	if c.Profile == Backlog && m.round.Verdict.Lost == 0 {
		if err := m.latency(work, since); err != nil {
			return err
		}
	}
	return m.judge()
}

// restart counts times from at on: of a backlog, what happened before does not count.
func (l *load) restart(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.start, l.lastSeen = at, time.Now()
}

func (m *measure) awaitReady(ctx context.Context) error {
	for end := time.Now().Add(60 * time.Second); !m.rig.ready(); {
		if err := errors.Join(m.rig.died(), pause(ctx, 20*time.Millisecond)); err != nil {
			return err
		}
		if time.Now().After(end) {
			return errors.New("the workers are not ready after 60 s: " + m.rig.workers[0].lastWords())
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// events are what happens at its time: NMVS comes back, the quota changes.
func (m *measure) events(ctx context.Context, began time.Time) error {
	if m.cfg.Profile == Outage {
		if err := pause(ctx, time.Until(began.Add(m.cfg.Duration))); err != nil {
			return err
		}
		return m.rig.setAway(false)
	}
	for _, st := range m.cfg.steps() {
		if err := pause(ctx, time.Until(began.Add(st.at))); err != nil {
			return err
		}
		if err := m.setFactor(st.factor); err != nil {
			return err
		}
	}
	return nil
}

// wait returns when every scan has its outcome, or the patience is over; of the quota
// profile when its time is, because more arrives than can be sent.
func (m *measure) wait(ctx context.Context) error {
	end := time.Time{}
	if m.cfg.Profile == Quota {
		end = time.Now().Add(m.cfg.Duration)
	}
	told := time.Now()
	for {
		sent, have, quiet := m.load.progress()
		if have == m.cfg.Packs && sent == m.cfg.Packs {
			return nil
		}
		if quiet > m.cfg.Patience && sent == m.cfg.Packs && end.IsZero() {
			return nil
		}
		if !end.IsZero() && time.Now().After(end) {
			return nil
		}
		if time.Since(told) > 200*time.Millisecond {
			told = time.Now()
			m.cfg.tell(Event{What: "sample", Name: m.round.Name, Done: have, Total: m.cfg.Packs})
		}
		if err := errors.Join(m.rig.died(), pause(ctx, 5*time.Millisecond)); err != nil {
			return err
		}
	}
}

// countEvery is how often a backlog's outcomes are counted, and countStill after how long without a new
// one they are read instead: lost ones never come.
const (
	countEvery = 10 * time.Millisecond
	countStill = 2 * time.Second
)

// count waits until the stream holds an outcome for every scan, and reads none of them: the
// server would have to send them all, and this process to take them, on the cores that
// are measured. The stream stores when it took each, so that whoever reads them later finds
// the same times. false: they stopped coming.
func (m *measure) count(ctx context.Context, told uint64) (bool, error) {
	said := time.Now()
	for {
		last, err := m.rig.conn.LastOutcome(ctx)
		if err != nil {
			return false, err
		}
		n := int(last - min(told, last))
		all, still := m.load.count(n)
		switch {
		case all:
			return true, nil
		case n > 0 && still > countStill, still > m.cfg.Patience:
			return false, nil
		}
		if time.Since(said) > 200*time.Millisecond {
			said = time.Now()
			m.cfg.tell(Event{What: "sample", Name: m.round.Name, Done: n, Total: m.cfg.Packs})
		}
		if err := errors.Join(m.rig.died(), pause(ctx, countEvery)); err != nil {
			return false, err
		}
	}
}

// account sums up what the load and the processes did.
func (m *measure) account(began time.Time, before, after map[string]time.Duration, s *sampler) {
	d, l := &m.round, m.load
	d.Timeline = l.buckets(began)
	d.Timeline.Samples = append(s.samples(), s.look())
	d.Peak = peakOf(m.rig.pids)
	if m.cfg.Profile != Backlog {
		d.Latency = latencyOf(l.histogram(), m.cfg.Profile)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	took := l.last.Sub(l.start)
	packs := float64(l.have)
	if m.cfg.Profile == Backlog {
		took = l.last.Sub(l.first)
		packs--
		d.ToFirst = secondsOf(l.first.Sub(l.start))
	}
	d.Took, d.Results = secondsOf(took), l.results
	if took > 0 {
		d.Rate = packs / took.Seconds()
	}
	d.Verdict.Extra = l.extra
	if m.cfg.Profile != Quota { // there the rest is still on its way by design
		d.Verdict.Lost = m.cfg.Packs - l.have
	}
	d.CPU = map[string]float64{}
	for name, used := range after {
		per := (used - before[name]).Seconds() * 100_000 / math.Max(1, float64(l.have))
		d.CPU[name] = per
		d.CPUTotal += per
	}
	d.Segments = m.segments(d.Timeline.Samples)
}

// latencyMost is how many scans more a backlog's round publishes for the latency.
const latencyMost = 2000

// latency publishes more scans at half the rate that was found, open loop.
func (m *measure) latency(ctx context.Context, since time.Time) error {
	c := *m.cfg
	c.Profile, c.Packs, c.Rate = Steady, min(c.Packs, latencyMost), m.round.Rate/2
	c.Duration = time.Duration(float64(c.Packs) / c.Rate * float64(time.Second))
	l := newLoad(&c, m.rig.sites)
	for i := range l.scans { // other packs than the backlog's
		s := scanOf("live", i)
		s.Site, s.Device = l.scans[i].Site, l.scans[i].Device
		delete(l.index, l.scans[i].ID)
		l.scans[i], l.index[s.ID] = s, i
	}
	ctx, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	group.Go(func() { _ = l.follow(ctx, m.rig.conn, since) }) // an end too early shows as lost scans
	if err := l.publish(ctx, m.rig.conn, time.Now().Add(50*time.Millisecond)); err != nil {
		return err
	}
	for {
		_, have, quiet := l.progress()
		if have == c.Packs || quiet > c.Patience {
			break
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	m.round.Latency = latencyOf(l.histogram(), fmt.Sprintf("%.0f/s", c.Rate))
	l.mu.Lock()
	defer l.mu.Unlock()
	m.round.Packs += c.Packs
	m.round.Verdict.Lost += c.Packs - l.have
	m.round.Verdict.Extra += l.extra
	for result, n := range l.results {
		m.round.Results[result] += n
	}
	return nil
}

// judge asks the simulator's ledger and the workers.
func (m *measure) judge() error {
	n, err := m.rig.control.counts()
	if err != nil {
		return err
	}
	d := &m.round
	d.Calls, d.TooFast = n.Calls, n.TooFast
	d.Verdict.SentTwice = n.SentTwice
	done := d.Results["done"]
	for _, k := range d.Results {
		d.Verdict.NotDone += k
	}
	d.Verdict.NotDone -= done
	var v Sample
	m.rig.gauges(&v)
	if m.cfg.Profile == Quota { // the rest is under way
		return nil
	}
	d.Verdict.InDoubt = v.InDoubt
	d.Verdict.Unchanged = max(d.Packs-n.changed(), n.changed()-d.Packs)
	return nil
}

// settled is how long after a step of the quota the worker has to have followed
// (issue: 30 s, and a minute at the start).
const settled = 30

// segments judges the quota profile from its samples.
func (m *measure) segments(all []Sample) []Segment {
	if m.cfg.Profile != Quota || len(all) == 0 {
		return nil
	}
	var list []Segment
	at, factor := 0.0, 1.0
	bounds := append(m.cfg.steps(), step{m.cfg.Duration, 0})
	for i, st := range bounds {
		s := Segment{From: Seconds(at), To: Seconds(st.at.Seconds()), Quota: m.cfg.Quota * factor * float64(m.cfg.Accounts), Followed: -1}
		wait := float64(settled)
		if i == 0 {
			wait = min(60, float64(s.To)/2) // a short run has no minute
		}
		s.judge(all, wait)
		list = append(list, s)
		at, factor = st.at.Seconds(), st.factor
	}
	return list
}

// accepted is how many calls were neither refused nor reads at a sample: the quota counts them all.
func (s *Sample) accepted() float64 { return float64(s.Calls - s.TooFast) }

func (s *Segment) judge(all []Sample, wait float64) {
	var first, from, last *Sample
	window := []*Sample{}
	for i := range all {
		v := &all[i]
		if v.At < s.From || v.At > s.To {
			continue
		}
		if first == nil {
			first = v
		}
		if from == nil && float64(v.At-s.From) >= wait {
			from = v
		}
		last = v
		window = append(window, v)
		for len(window) > 1 && float64(v.At-window[0].At) > 5 {
			window = window[1:]
		}
		span := float64(v.At - window[0].At)
		if s.Followed < 0 && span >= 4.5 {
			if rate := (v.accepted() - window[0].accepted()) / span; math.Abs(rate-s.Quota) <= 0.1*s.Quota {
				s.Followed = v.At - s.From
			}
		}
	}
	if first == nil {
		return
	}
	s.TooFast = last.TooFast - first.TooFast
	if from != nil && last.At > from.At {
		s.Fill = (last.accepted() - from.accepted()) / (s.Quota * float64(last.At-from.At))
		s.TooFastSettled = last.TooFast - from.TooFast
	}
}
