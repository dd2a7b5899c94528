package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"decom/queue"
	"decom/ratelimit"
	"decom/worker/ledger"
)

// What people set for an account while it runs is a pause or a tune, a fact on its
// ledger (ledger.Controls). A loop learns of it in one of three ways: it appends, loses
// against the fact, and must read it; it looks at the ledger's end now and then; or a
// message bids it look at once ([Account.Hurry]). The first one is what a pause rests on:
// no record of any worker can stand behind a pause that its writer has not read, so
// nothing is opened after it, whatever becomes of messages.
//
// A pause closes S0: nothing is fetched, no due pack and no attempt is opened, nothing is
// sent a second time under `doubt: sameid`. What was opened before is finished, and reads
// go on: results of submitted bulks, verifies of packs whose hold is over. They change
// nothing at NMVS, and a pack that can be settled should not wait for a person's lunch.
// A pause and a tune end at their time, by the clock of each worker, without a record.

// Live is what may change while an account runs: by a new configuration
// ([Account.SetLive]), and by a tune, which narrows it.
type Live struct {
	Mode         Mode
	Parallel     int
	Batch        int
	BulkFrom     int
	BulkInFlight int
	Rates        map[string]ratelimit.Rate // the account's over the fleet, by service; nil: the limiter is left alone
}

// MaxParallel is the most calls at once that a tune can set.
const MaxParallel = 256

func (c Config) live() Live {
	return Live{Mode: c.Mode, Parallel: c.Parallel, Batch: c.Batch, BulkFrom: c.BulkFrom, BulkInFlight: c.BulkInFlight, Rates: c.Rates}
}

func (c Config) with(v Live) Config {
	c.Mode, c.Parallel, c.Batch, c.BulkFrom, c.BulkInFlight, c.Rates = v.Mode, v.Parallel, v.Batch, v.BulkFrom, v.BulkInFlight, v.Rates
	return c
}

// SetLive changes what may change while the account runs; a zero field is the default.
// The loop takes it over before its next record. A wrong one is an error and changes
// nothing. Any goroutine may call it.
func (a *Account) SetLive(v Live) error {
	c := a.cfg.with(v)
	if err := c.Validate(); err != nil {
		return err
	}
	next := c.withDefaults().live()
	a.live.Store(&next)
	a.Wake()
	return nil
}

// Hurry bids the loop look at the ledger's end: somebody says that a person wrote there.
// Only what it finds there counts. Any goroutine may call it; it never blocks.
func (a *Account) Hurry() {
	a.hurried.Store(true)
	a.Wake()
}

// tuned narrows limits to those of a tune. What is above them counts only where the person
// said so: a configuration that was lowered since must not be passed by an old tune.
func tuned(v Live, t *ledger.Limits) (Live, error) {
	if t == nil {
		return v, nil
	}
	lower := func(have *int, want, most int) {
		if want > 0 && (t.Above || want < *have) {
			*have = min(want, most)
		}
	}
	lower(&v.Parallel, t.Parallel, MaxParallel)
	lower(&v.Batch, t.Batch, ledger.MaxPacks)
	if v.Rates == nil {
		return v, nil
	}
	v.Rates = maps.Clone(v.Rates)
	var errs []error
	for service, text := range map[string]string{"single": t.Single, "bulk": t.Bulk} {
		have, known := v.Rates[service]
		if text == "" || !known {
			continue
		}
		want, err := ratelimit.ParseRate(text)
		if err != nil {
			errs = append(errs, err)
		} else if t.Above || want.PerSecond() < have.PerSecond() {
			v.Rates[service] = want
		}
	}
	return v, errors.Join(errs...)
}

// Pace is what counts for an account now: what people set, and the limits in use.
type Pace struct {
	Pause, Tune *ledger.Standing  // nil: none
	Verify      *ledger.Standing  // both stores lost: each pack is verified before its open; nil: no
	Withheld    []ledger.Withheld // batches and devices of which nothing new is opened; not to be changed
	Live
}

// Controls returns what people, and the loop, have set, as the ledger has it.
func (p Pace) Controls() ledger.Controls {
	c := ledger.Controls{Pause: p.Pause, Tune: p.Tune, Verify: p.Verify}
	for i := range p.Withheld {
		c.Withheld = append(c.Withheld, p.Withheld[i].Standing)
	}
	return c
}

// paced is what the loop has taken over.
type paced struct {
	pause, tune *ledger.Standing
	verify      *ledger.Standing
	base        *Live
}

// pace takes over what people and the configuration say now. It is called before each
// round and after each synchronisation, so that a record that was read counts for what is
// decided next.
func (l *loop) pace(now time.Time) {
	pause, tune := l.controls.Now(now)
	next := paced{pause: pause, tune: tune, verify: l.controls.Verify, base: l.live.Load()}
	if l.takeWithheld(now) && next == l.paced {
		l.tellPaced()
	}
	if next == l.paced {
		return
	}
	was := l.paced
	l.paced, l.paused = next, pause != nil
	if l.paused {
		if l.express.stop != nil {
			l.express.stop()
			l.express.stop, l.express.live = nil, nil
		}
		l.giveBackTokens()
	} else {
		l.nextDue = time.Time{}
	}
	v := *next.base
	if tune != nil {
		var err error
		if v, err = tuned(v, tune.Limits); err != nil {
			l.log.Error("a limit of the tune cannot be read, the configured one stays", "seq", tune.Seq, "err", err)
		}
	}
	if next.verify != nil { // each pack takes a single call anyway, and a bulk would leave with the one or two that were verified
		v.Mode = ModeSingle
	}
	l.cfg = l.cfg.with(v)
	l.lanes.size.max = v.Batch
	if v.Rates != nil {
		if err := l.deps.Limiter.SetLimits(v.Rates); err != nil {
			l.log.Error("limits cannot be set", "err", err)
		}
	}
	l.tellPace(was, next)
	l.inUse = v
	l.tellPaced()
}

// tellPaced tells the hook what counts.
func (l *loop) tellPaced() {
	if h := l.deps.Hooks.Paced; h != nil {
		h(Pace{Pause: l.paced.pause, Tune: l.paced.tune, Verify: l.paced.verify, Withheld: l.withheld.list, Live: l.inUse})
	}
}

// tellPace logs what began and what ended.
func (l *loop) tellPace(was, is paced) {
	tell := func(began, ended string, was, is *ledger.Standing) {
		switch {
		case was == is:
		case is != nil:
			until := "a person resumes it"
			if is.Until != 0 {
				until = time.UnixMilli(is.Until).UTC().Format(time.RFC3339)
			}
			l.log.Warn(began, "who", is.Who, "why", is.Why, "until", until, "seq", is.Seq)
		case was != nil:
			l.log.Warn(ended, "who", was.Who, "by_itself", l.controls.Pause == was || l.controls.Tune == was)
		}
	}
	tell("account paused: nothing new is sent, scans wait", "pause ended", was.pause, is.pause)
	tell("account tuned: other limits than the configured ones", "tune ended", was.tune, is.tune)
	switch {
	case was.verify == nil && is.verify != nil:
		l.log.Warn("both stores are said to be lost: each pack is verified before it is sent", "who", is.verify.Who, "why", is.verify.Why, "seq", is.verify.Seq)
	case was.verify != nil && is.verify == nil:
		l.log.Warn("packs are not verified before they are sent any more", "began_by", was.verify.Who)
	}
}

// ledgerLook is how often a loop looks at the ledger's end; one that had nothing to do for
// a minute, or stands by, looks less often: thousands of them share one NATS.
func (l *loop) ledgerLook(now time.Time) time.Duration {
	if l.paused || l.paced.tune != nil || now.Sub(l.busyAt) < time.Minute {
		return lookPoll
	}
	return 5 * lookPoll
}

// lookAtLedger reads what was written behind our head by somebody who does not project it:
// people's tools. One that ends before our head has lost records: a paused loop appends nothing
// that would show it. One try; a ledger that does not answer is told and asked again.
func (l *loop) lookAtLedger(work context.Context) error {
	now := time.Now()
	if l.latched.Load() || !l.hurried.Swap(false) && now.Before(l.nextLedger) {
		return nil
	}
	l.nextLedger = now.Add(l.ledgerLook(now))
	ctx, cancel := context.WithTimeout(work, lookPoll)
	defer cancel()
	last, _, err := l.deps.Records.Last(ctx)
	if err != nil {
		l.trouble("ledger", err)
		return nil
	}
	if last.Seq != l.head.Seq {
		return l.synchronise(work)
	}
	return nil
}

// nextPace is when a pause or a tune ends by itself, or a paused loop looks again.
func (l *loop) nextPace(now time.Time) time.Time {
	end := l.controls.NextEnd(now)
	if l.paused {
		return earlier(now.Add(lookPoll), end)
	}
	return end
}

// ControlStore is the part of the projection that tells what people set.
type ControlStore interface {
	Head(ctx context.Context, account string) (ledger.Head, bool, error)
	Controls(ctx context.Context, account string) (ledger.Controls, error)
}

// ControlsOf returns what people have set for an account as its ledger says it now: what
// the projection holds, and the records behind it. A projection that was lost costs a walk
// over the whole ledger. For people's tools.
func ControlsOf(ctx context.Context, records Records, store ControlStore, account string) (ledger.Controls, error) {
	head, has, err := store.Head(ctx, account)
	if err != nil {
		return ledger.Controls{}, err
	}
	var c ledger.Controls
	if has { // asked after the head, which never stands beyond controls that are not stored
		if c, err = store.Controls(ctx, account); err != nil {
			return ledger.Controls{}, err
		}
	}
	from := max(head.Seq, c.Seq) + 1
	last, any, err := records.Last(ctx)
	if err != nil || !any || last.Seq < from {
		return c, err
	}
	_, err = records.Read(ctx, from, func(e queue.Entry) error {
		r, err := ledger.Decode(e.Payload, account)
		if err != nil {
			return &ChainError{Seq: e.Seq, Err: err}
		}
		c.Add(e.Seq, r)
		return nil
	})
	return c, err
}

// The tools that sign pauses and tunes; [ResumeTool] ends them.
const (
	PauseTool = "decom pause"
	TuneTool  = "decom tune"
)

// ErrControlsMoved: somebody else paused, tuned or resumed the account meanwhile. Nothing was
// written; look again.
var ErrControlsMoved = errors.New("somebody else has paused, tuned or resumed the account meanwhile")

// SetControl puts a pause or a tune on an account's ledger and returns its record. It
// replaces an earlier one of its kind. Errors as those of [AppendFact].
func SetControl(ctx context.Context, records Records, account string, kind ledger.Kind, c ledger.Control, p Person) (uint64, error) {
	tool := PauseTool
	if kind == ledger.Tune {
		tool = TuneTool
	}
	if err := errors.Join(p.Validate(), checkControl(kind, c, time.Now())); err != nil {
		return 0, err
	}
	return AppendFact(ctx, records, account, tool, func(context.Context, ledger.Head) (ledger.Fact, error) {
		return ledger.Fact{Kind: kind, Who: p.Who, Why: p.Why, Control: &c}, nil
	})
}

// EndControls ends the pause and the tune that seen shows. [ErrControlsMoved] when they are
// not those any more: a person ends what they have read.
func EndControls(ctx context.Context, records Records, store ControlStore, account string, seen ledger.Controls, p Person) (uint64, error) {
	if err := p.Validate(); err != nil {
		return 0, err
	}
	return AppendFact(ctx, records, account, ResumeTool, func(ctx context.Context, _ ledger.Head) (ledger.Fact, error) {
		now, err := ControlsOf(ctx, records, store, account)
		if err == nil && now.Seq != seen.Seq {
			err = ErrControlsMoved
		}
		return ledger.Fact{Kind: ledger.Continue, Who: p.Who, Why: p.Why}, err
	})
}

// checkControl refuses what no worker could follow: it would stand on the ledger for good.
func checkControl(kind ledger.Kind, c ledger.Control, now time.Time) error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(kind == ledger.Pause || kind == ledger.Tune, "%q is neither a pause nor a tune", kind)
	bad(c.Until == 0 || c.Until > now.UnixMilli(), "it would be over before it begins")
	bad((kind == ledger.Tune) == (c.Limits != nil), "limits belong to a tune, and to nothing else")
	t := c.Limits
	if t == nil {
		return errors.Join(errs...)
	}
	bad(t.Single != "" || t.Bulk != "" || t.Parallel != 0 || t.Batch != 0, "no limit is given")
	for name, text := range map[string]string{"single": t.Single, "bulk": t.Bulk} {
		if _, err := ratelimit.ParseRate(text); text != "" && err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	bad(t.Parallel >= 0 && t.Parallel <= MaxParallel, "parallel: %d, must be 1 to %d", t.Parallel, MaxParallel)
	bad(t.Batch >= 0 && t.Batch <= ledger.MaxPacks, "batch: %d, must be 1 to %d", t.Batch, ledger.MaxPacks)
	return errors.Join(errs...)
}

// Narrowed says what a tune would make of an account's configured limits, for people's tools:
// the limits in use, and which of those asked for are above the configuration and do not
// count without Above.
func Narrowed(v Live, t ledger.Limits) (_ Live, above []string, err error) {
	asked := t
	asked.Above = true
	free, err := tuned(v, &asked)
	if err != nil {
		return v, nil, err
	}
	for _, it := range []struct {
		name string
		more bool
	}{
		{"single", free.Rates["single"].N > 0 && free.Rates["single"].PerSecond() > v.Rates["single"].PerSecond()},
		{"bulk", free.Rates["bulk"].N > 0 && free.Rates["bulk"].PerSecond() > v.Rates["bulk"].PerSecond()},
		{"parallel", free.Parallel > v.Parallel},
		{"batch", free.Batch > v.Batch},
	} {
		if it.more {
			above = append(above, it.name)
		}
	}
	use, err := tuned(v, &t)
	return use, above, err
}
