package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// Publisher is the only writer of an account's outcomes (protocol.md section 7). It
// follows the ledger, so an outcome exists only of what is recorded. Several processes
// may run one for the same account: the durable consumer gives out one record at a time.
type Publisher struct {
	Account  string
	Sites    []string
	Outbox   Outbox
	Outcomes Outcomes
	Records  Records
	Log      *slog.Logger
	// Recent returns a record that was written in this process lately, or nil. May be nil.
	Recent func(ledger.Head) *ledger.Record
	// After returns what was written in this process lately right behind a record, or nil: its
	// outcomes leave with those of that record. May be nil.
	After func(ledger.Head) (ledger.Head, *ledger.Record)
	// Broken is called when a record does not follow the one before it: the account must
	// halt ([Account.ChainBroken]). May be nil.
	Broken func()
	// Traces are those of the account's loop in this process ([Account.Traces]): an outcome
	// carries its scan's traceparent on. nil: none does.
	Traces *Traces

	told     map[string]bool      // places that the stream held already
	toldFrom time.Time            // from this record's time on,
	toldAt   time.Time            // when it was asked
	opening  *shelf               // records that opened attempts: an attempt's outcomes need its opening
	before   ledger.Head          // the last record that came, and
	turn     uint64               // its turn
	came     uint64               // the last turn, whatever became of it
	alone    int                  // records that came since nobody else got one
	sent     map[ledger.Head]bool // un-acked records whose outcomes are stored
}

// Run publishes until ctx ends; it returns ctx's cause then. Anything else that fails is
// waited for.
func (p *Publisher) Run(ctx context.Context) error {
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	p.opening = newShelf(openingPacks)
	for wait := time.Duration(0); ; {
		rec, err := p.Outbox.Next(ctx)
		if err == nil {
			if err = p.publish(ctx, rec); err == nil {
				wait = 0
				continue
			}
			pause := time.Second
			if ctx.Err() != nil {
				pause = 0 // nothing is wrong: another process tells it now
			}
			_ = rec.Retry(ctx, pause) // un-acked it comes again anyway
		}
		if ctx.Err() != nil {
			p.giveBack(ctx)
			return context.Cause(ctx)
		}
		p.Log.Warn("outcomes wait", "account", p.Account, "err", err)
		wait = min(wait*2+100*time.Millisecond, 5*time.Second)
		if !sleep(ctx, wait) {
			return context.Cause(ctx)
		}
	}
}

// giveBack gives up the record that may have come with an ack which nobody waited for any more:
// kept, it would hold up the account's outcomes for a whole AckWait, in whatever process.
func (p *Publisher) giveBack(ctx context.Context) {
	if rec, err := p.Outbox.Next(ctx); err == nil {
		_ = rec.Retry(ctx, 0)
	}
}

// publish sends the outcomes of one record and acknowledges it once they are stored.
func (p *Publisher) publish(ctx context.Context, rec queue.OutboxRecord) error {
	e, began := rec.Entry(), time.Now()
	if p.mustReadBack(e.Time) {
		if err := p.readBack(ctx, e.Time); err != nil {
			return err
		}
	}
	r, err := p.decode(e)
	if err != nil {
		// The loop halts on such a record; here it must not stop the outcomes of the others.
		p.Log.Error("ledger record without outcomes", "account", p.Account, "seq", e.Seq, "err", err)
		return rec.Ack(ctx)
	}
	if rec.Turn() != p.came+1 {
		p.alone = 0
	}
	p.came, p.alone = rec.Turn(), p.alone+1
	if err := p.holdLink(ctx, rec, r); err != nil { // first: behind a broken link outcomes may fail for ever
		return err
	}
	if !p.sent[e.Head()] {
		if err := p.tell(ctx, e, r, began); err != nil {
			return err
		}
	}
	if err := rec.Ack(ctx); err != nil {
		return err
	}
	delete(p.sent, e.Head())
	return nil
}

const (
	// togetherFrom is how many records must have come one after another before outcomes of
	// later ones leave with them: another process that gets one of those cannot know, has it
	// refused as a repetition, and reads the stream back to see by whom.
	togetherFrom = 16
	// together is how many outcomes of several records leave as one: the most that the server
	// takes at once. Each batch is a folder of its own for it, with three syncs of the disk.
	together = 1000
	// keptSent bounds what is remembered of records that others acknowledged.
	keptSent = 256
)

// tell stores the outcomes of a record, and with them those of the records that this
// process wrote behind it: each would cost a batch of its own.
func (p *Publisher) tell(ctx context.Context, e queue.Entry, r *ledger.Record, began time.Time) error {
	h := e.Head()
	desk := desks.Get().(*desk)
	defer desk.clear()
	for {
		if len(r.Open) > 0 {
			p.opening.put(h, r)
		}
		before, err := len(desk.outs), error(nil)
		desk.outs, err = outcomesOf(desk.outs, p.Account, h.Seq, r, func(seq uint64, c string) (*ledger.Record, error) { return p.record(ctx, seq, c) })
		if err != nil && len(desk.parts) == 0 {
			return err
		}
		if err != nil || len(desk.parts) > 0 && len(desk.outs) > together {
			clear(desk.outs[before:])
			desk.outs = desk.outs[:before] // its turn comes
			break
		}
		desk.parts = append(desk.parts, part{h, len(desk.outs) - before})
		if p.After == nil || p.alone < togetherFrom || len(desk.parts) == keptSent {
			break
		}
		if h, r = p.After(h); r == nil {
			break
		}
	}
	if err := p.send(ctx, e.Time, desk); err != nil {
		return err
	}
	for i := 0; i < len(desk.outs) && len(p.told) > 0; i++ { // not before: the next try must know them, too
		delete(p.told, place(desk.outs[i].ref, desk.outs[i].out.EventID))
	}
	if p.sent == nil || len(p.sent) > keptSent {
		p.sent = map[ledger.Head]bool{}
	}
	outs := desk.outs
	for _, one := range desk.parts {
		p.sent[one.head] = true
		p.Traces.ended(began, one.head.Seq, outs[:one.n])
		outs = outs[one.n:]
	}
	return nil
}

// desk is what one call of tell needs for a moment: a megabyte for the outcomes of two bulks.
type desk struct {
	parts []part
	outs  []said
	msgs  []queue.Outcome
	text  []byte // of the bodies
}

// part is a record whose outcomes lie on a desk, and how many they are.
type part struct {
	head ledger.Head
	n    int
}

var desks = sync.Pool{New: func() any { return new(desk) }}

// clear gives the desk back without what lay on it, so that no record is kept by it.
func (d *desk) clear() {
	clear(d.outs)
	clear(d.msgs)
	d.parts, d.outs, d.msgs, d.text = d.parts[:0], d.outs[:0], d.msgs[:0], d.text[:0]
	desks.Put(d)
}

// send stores the outcomes on the desk, but for those that an earlier process has stored.
func (p *Publisher) send(ctx context.Context, stored time.Time, d *desk) error {
	d.text = slices.Grow(d.text, outcomeBytes*len(d.outs)) // in one piece, or the bodies before keep the old ones
	for i := range d.outs {
		o := &d.outs[i]
		if len(p.told) > 0 && p.told[place(o.ref, o.out.EventID)] {
			continue
		}
		body, all, err := o.body(d.text)
		if d.text = all; err != nil {
			return fmt.Errorf("outcome %s: %w", o.ref, err)
		}
		d.msgs = append(d.msgs, queue.Outcome{Site: o.out.Site, Device: o.out.Device, EventID: o.out.EventID, Ledger: o.ref, Body: body,
			Trace: p.Traces.of(o.out.Site, o.out.Device, o.out.EventID)})
	}
	if len(d.msgs) == 0 {
		return nil
	}
	acks, err := p.Outcomes.PublishOutcomes(ctx, d.msgs)
	if err != nil {
		return err
	}
	var swallowed []queue.Outcome
	for i := range acks {
		if acks[i].Duplicate {
			swallowed = append(swallowed, d.msgs[i])
		}
	}
	if len(swallowed) > 0 {
		return p.rescue(ctx, swallowed, stored)
	}
	return nil
}

// outcomeWindow is how long the stream remembers an event id (protocol.md section 9), and
// a little more.
const outcomeWindow = time.Hour + time.Minute

// rescue looks at outcomes that the stream took for repetitions. Most are our own,
// published before an ack was lost, or of a scan that came again and was rejected again.
// One whose scan has no outcome at all shares its event id with another device's: it must
// not be swallowed, and gets an id of its own. The stream's time of the record counts, and
// not our clock: one that is ahead by the window would find nothing there.
func (p *Publisher) rescue(ctx context.Context, msgs []queue.Outcome, stored time.Time) error {
	there := map[[3]string]bool{}
	err := p.Outcomes.OutcomesSince(ctx, stored.Add(-outcomeWindow), p.Sites, func(_ string, body []byte) error {
		var o scan.Outcome
		if err := json.Unmarshal(body, &o); err != nil {
			return nil // not ours
		}
		there[[3]string{o.Site, o.Device, o.EventID}] = true
		return nil
	})
	if err != nil {
		return err
	}
	var lost []queue.Outcome
	for _, m := range msgs {
		if !there[[3]string{m.Site, m.Device, m.EventID}] {
			m.EventID += "#" + m.Ledger
			lost = append(lost, m)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	_, err = p.Outcomes.PublishOutcomes(ctx, lost)
	return err
}

// place names an outcome in [Publisher.told]: where it stands on the ledger, and whose it
// is. A ledger that has lost its tail gives a place a second time, to another event.
func place(ref, eventID string) string { return ref + " " + eventID }

// mustReadBack says whether a record stored at t may have outcomes that nothing here knows of: the
// first one, and one so old that the stream may have forgotten its ids. A person's resume
// sets the outbox back by an hour and more, perhaps to what another process told.
func (p *Publisher) mustReadBack(t time.Time) bool {
	const fresh = outcomeWindow / 2
	return p.told == nil || time.Since(t) > fresh && (t.Before(p.toldFrom) || time.Since(p.toldAt) > fresh)
}

// readBack finds what a process before us published of records that it did not
// acknowledge: from the time of the first one on.
func (p *Publisher) readBack(ctx context.Context, since time.Time) error {
	told := map[string]bool{}
	err := p.Outcomes.OutcomesSince(ctx, since.Add(-time.Second), p.Sites, func(ref string, body []byte) error {
		var o struct {
			EventID string `json:"event_id"`
		}
		_ = json.Unmarshal(body, &o) // not ours: it answers no event, and hides none
		told[place(ref, o.EventID)] = true
		return nil
	})
	if err != nil {
		return err
	}
	p.told, p.toldFrom, p.toldAt = told, since, time.Now()
	p.sent = nil // the stream knows better: a loss may have taken some of it away
	return nil
}

func (p *Publisher) decode(e queue.Entry) (*ledger.Record, error) {
	if p.Recent != nil {
		if r := p.Recent(e.Head()); r != nil {
			return r, nil
		}
	}
	return ledger.Decode(e.Payload, p.Account)
}

// record is the record that opened attempt c. What was kept under its sequence counts only
// if it did: after a ledger has lost its tail, sequences are given a second time. [errNoOpening]
// when what stands there now did not.
func (p *Publisher) record(ctx context.Context, seq uint64, c string) (*ledger.Record, error) {
	if r := p.opening.get(seq).rec; r != nil && attemptOf(r, c) != nil {
		return r, nil
	}
	e, err := p.Records.Get(ctx, seq)
	if err != nil {
		return nil, fmt.Errorf("opening record %d: %w", seq, err)
	}
	r, err := ledger.Decode(e.Payload, p.Account)
	if err != nil {
		return nil, err
	}
	if attemptOf(r, c) == nil {
		p.Log.Error("no outcome of an attempt: the ledger lost the record that opened it", "account", p.Account, "trx", c, "seq", seq)
		return nil, errNoOpening
	}
	p.opening.put(e.Head(), r)
	return r, nil
}
