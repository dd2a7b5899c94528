package worker

import (
	"context"
	"errors"
	"sync"
	"time"

	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"
)

// round takes what was gathered through S2 to S7 of protocol.md section 3: view,
// decide, append, apply, ack, send. A lost append decides everything anew from the
// winner's records [B2, B2b]. An error means that the account cannot go on.
func (l *loop) round(work context.Context) error {
	if err := l.look(work); err != nil {
		return err
	}
	if err := l.lookAtLedger(work); err != nil {
		return err
	}
	due, err := l.takeDue(work)
	if err != nil {
		return err
	}
	for !l.latched.Load() && len(l.items)+len(l.claims)+len(due)+len(l.tally.found) > 0 {
		ks, began := l.keys(due), time.Now()
		states, err := l.view(work, ks) // S2
		if err != nil || l.latched.Load() {
			return err
		}
		viewed := time.Now()
		l.traces.viewed(began, l.items, len(ks))
		d, err := l.draft(work, ks, states, due) // S3
		if err != nil {
			return err
		}
		l.step("S4")
		traced, began := l.traces.inRecord(&d.rec, l.book), time.Now()
		sendable, err := l.commit(work, d, states) // S4, S5
		l.traces.appended(began, traced, d, err)
		if errors.Is(err, queue.ErrLost) {
			if err := l.synchronise(work); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		l.items, l.claims, l.lanes.asked = d.carry, d.left, 0
		if d.dueDone > 0 {
			l.nextDue = time.Now() // there may be more
		}
		l.step("S6")
		if l.latched.Load() || time.Since(viewed) > ackWithin {
			d.keepAcks()
		}
		l.dispose(work, d) // S6
		l.launch(work, d, sendable)
		l.announce(work, d)
		return nil
	}
	return nil
}

// look synchronises with what other workers wrote, from time to time and when a sender
// found Redis ahead: a loop without scans must learn of their attempts too, or nobody
// settles those of a dead one.
func (l *loop) look(work context.Context) error {
	if !l.latched.Load() && l.broken.Swap(false) {
		l.halt(work, whyChain)
	}
	now := time.Now()
	if !l.behind.Swap(false) && now.Before(l.nextLook) || l.latched.Load() {
		return nil
	}
	l.nextLook = now.Add(lookPoll)
	_, err := l.view(work, nil)
	return err
}

// lookPoll is how often an idle loop looks. T_GRACE is far longer.
const lookPoll = 2 * time.Second

// keys returns every pack that the next record may touch, each once.
func (l *loop) keys(due []duePack) []scan.PackID {
	n := len(l.items) + len(due) + len(l.claims)
	ks, seen := make([]scan.PackID, 0, n), make(map[scan.PackID]bool, n)
	add := func(k scan.PackID) {
		if !seen[k] && len(ks) < packstate.MaxPacks {
			seen[k] = true
			ks = append(ks, k)
		}
	}
	for i := range l.claims {
		for _, p := range l.claims[i].Packs {
			add(p.K)
		}
	}
	for i := range due {
		add(due[i].k)
	}
	for i := range l.items {
		if l.items[i].rejected == nil {
			add(l.items[i].p.ID())
		}
	}
	return ks
}

// view is S2: the packs as of our belief. Anything but OK is synchronised and asked
// again; a halt latches the account.
func (l *loop) view(work context.Context, ks []scan.PackID) (ledger.States, error) {
	for {
		var st packstate.Status
		var states ledger.States
		ask := l.ours.unknown(ks)
		err := l.patiently(work, "Redis", func(ctx context.Context) (err error) {
			st, states, err = l.deps.State.View(ctx, l.cfg.Account, l.head, ask)
			return err
		})
		switch {
		case err != nil:
			return nil, err
		case st == packstate.OK:
			l.ours.addTo(states, ks)
			return states, nil
		case st == packstate.Halted:
			l.latch("the halt key stands in Redis")
			return nil, nil
		case st == packstate.Fork:
			l.halt(work, whyFork)
			return nil, nil
		}
		if err := l.synchronise(work); err != nil || l.latched.Load() {
			return nil, err
		}
	}
}

// payloads holds buffers for the payloads of records, of at most ledger.MaxBytes or so: they
// are nobody's any more once an append has ended.
var payloads = sync.Pool{New: func() any { return new([]byte) }}

// commit is S4 and S5: the record goes on the ledger, then into Redis. sendable says
// that the opened packs may be sent: only OK and SAME permit it [B3, B3b].
func (l *loop) commit(work context.Context, d *draft, states ledger.States) (sendable bool, err error) {
	if d.empty() {
		l.tally.found = nil // withheld already
		return false, nil
	}
	d.rec.Account, d.rec.By, d.rec.At = l.cfg.Account, l.cfg.Worker, scan.Time(time.Now())
	buf := payloads.Get().(*[]byte)
	defer payloads.Put(buf)
	payload, err := ledger.AppendTo(*buf, &d.rec, l.head)
	if err != nil {
		return false, err
	}
	*buf = payload
	d.started = time.Now() // the T_SEND clock starts before the append
	prev := l.head
	l.writing.Store(true)
	defer l.writing.Store(false)
	slow := l.beginAppend()
	next, err := l.deps.Records.Append(work, prev, payload)
	l.endAppend(slow)
	if err != nil {
		return false, err
	}
	d.seq = next.Seq
	l.head = next
	l.recent.add(next, &d.rec)
	l.tally.found = nil // written, or withheld by somebody else
	l.tally.add(next.Seq, &d.rec, l.book)
	l.book.Add(next.Seq, &d.rec)
	l.bookAt, l.recalled = next.Seq, next.Seq
	idx, err := ledger.Fold(next.Seq, &d.rec, states)
	if err != nil { // our own record: a bug, and every process would halt on it
		l.log.Error("own record refused", "err", err)
		l.halt(work, whyFold)
		return false, nil
	}
	if d.control && l.controls.Add(next.Seq, &d.rec) { // before the head moves over it, as in a synchronisation
		if err := l.patiently(work, "Redis", func(ctx context.Context) error {
			return l.deps.State.SaveControls(ctx, l.cfg.Account, l.controls)
		}); err != nil {
			return false, err
		}
	}
	l.step("S5")
	sendable, err = l.apply(work, prev, next, states, idx)
	l.ours.folded(states, sendable)
	if err == nil && sendable && d.sends() {
		err = l.patiently(work, "head file", func(context.Context) error {
			return l.deps.State.SaveHead(l.cfg.Account, next)
		})
	}
	return sendable, err
}

// apply is S5. It waits for a Redis that does not answer; the packs stay unsent and
// T_SEND passes.
func (l *loop) apply(work context.Context, prev, next ledger.Head, states ledger.States, idx ledger.Index) (bool, error) {
	for {
		var st packstate.Status
		err := l.patiently(work, "Redis", func(ctx context.Context) (err error) {
			st, err = l.deps.State.Apply(ctx, l.cfg.Account, prev, next, states, idx)
			return err
		})
		if err != nil {
			return false, err
		}
		switch st {
		case packstate.OK, packstate.Same:
			l.believe(next)
			return true, nil
		case packstate.Stale: // Redis lost something: project it, ours included, and ask again
			if err := l.synchronise(work); err != nil || l.latched.Load() {
				return false, err
			}
			if l.head != next {
				return false, nil
			}
			continue
		case packstate.Ahead: // no permission, even if the packs still show our attempt
			// Others wrote after us, or in our place: nothing is acknowledged on the strength of
			// a record that the chain may not hold.
			return false, l.synchronise(work)
		case packstate.Halted:
			l.latch("the halt key stands in Redis")
		case packstate.Fork:
			l.halt(work, whyFork)
		}
		return false, nil
	}
}

// ackWithin is how long after a look at the packs a round may acknowledge scans. A resume after
// ledger loss waits longer before it has scans delivered again: the ack of a process that
// stood still must not take one of them away whose record is lost.
const ackWithin = NoticeLoss - lookPoll

// keepAcks keeps the acknowledgements of a record that a halted account appended: the
// ledger may have lost it before Redis held it, and then it stands nowhere. The scans come
// again; those whose record is there are known.
func (d *draft) keepAcks() { d.back, d.acks = append(d.back, d.acks...), nil }

// dispose is S6: only what is on the ledger is acknowledged [B4]; what waits for its
// pack goes back to the stream for a while.
func (l *loop) dispose(work context.Context, d *draft) {
	ctx, cancel := context.WithTimeout(work, storeTimeout)
	defer cancel()
	if len(d.acks) > 0 {
		if err := queue.AckAll(ctx, d.acks); err != nil {
			l.trouble("acknowledgement", err) // the scans come again and are known
		}
	}
	for _, h := range d.holds {
		delay := l.cfg.holdDelay(h)
		if err := h.RetryAfter(ctx, delay); err != nil {
			l.trouble("hold", err)
		}
		l.held++
		if till := time.Now().Add(delay); till.After(l.heldTill) {
			l.heldTill = till
		}
	}
	for _, h := range d.withheld { // not among held: they may wait for days, and must not stop the account
		delay := l.cfg.holdDelay(h)
		if err := h.RetryAfter(ctx, delay); err != nil {
			l.trouble("hold", err)
		}
		l.withheld.expect(h.Meta().Seq, time.Now().Add(delay))
	}
	for _, b := range d.back {
		if err := b.RetryAfter(ctx, l.cfg.HoldFirst); err != nil {
			l.trouble("hold", err)
		}
	}
	if h := l.deps.Hooks.Held; h != nil && len(d.holds) > 0 {
		h(len(d.holds))
	}
}

// launch is S7 for each opened attempt and each verify scan. What may not be sent is
// put back as due by the next record.
func (l *loop) launch(work context.Context, d *draft, sendable bool) {
	for i := range d.rec.Open {
		o := &d.rec.Open[i]
		att := l.book.Attempt(o.C)
		if att == nil {
			continue // settled by another worker's word meanwhile
		}
		if h := l.deps.Hooks.Batch; h != nil {
			h(string(o.Svc), len(o.Packs))
		}
		if o.Svc == ledger.Single {
			l.lanes.tokens--
		} else {
			l.lanes.bulk = 0
		}
		if !sendable {
			if !l.latched.Load() {
				l.claims = append(l.claims, offClaim(att, false, ledger.Fact{}))
			}
			continue
		}
		l.sending[o.C] = true
		a := *att // the loop goes on changing the book's
		l.begin(l.sendOf(work, sendJob{att: &a, started: d.started}))
	}
	l.launchResends(work, d, sendable)
	for i := range d.reads {
		l.lanes.tokens--
		it := d.reads[i]
		l.begin(job{since: time.Now(), call: func() ending { return l.verifyScan(work, it) }, off: func() ending { return ending{item: &it} }})
	}
	for i := range d.unread {
		l.lanes.tokens--
		l.inflight++
		u := d.unread[i]
		l.dueReads[u.k] = dueRead{until: time.Now().Add(l.cfg.THTTPSingle + verifyAgain)}
		l.senders.Go(func() { l.ended <- l.verifyDue(work, u) })
	}
}

// announce tells hooks and the alert breaker what was recorded.
func (l *loop) announce(work context.Context, d *draft) {
	h := l.deps.Hooks
	if h.Scan != nil {
		for i := range d.rec.Note {
			h.Scan(d.rec.Note[i].Op, d.rec.Note[i].Result, d.rec.Note[i].Reason)
		}
	}
	for i := range d.said {
		s := &d.said[i]
		if h.Scan != nil {
			h.Scan(s.op, s.answer.Result, s.answer.Reason)
		}
		if s.answer.Result == scan.Alert && h.Alert != nil {
			h.Alert(s.src, s.answer.Reason, s.answer.AlertID)
		}
		if s.foreign {
			l.brake(work, s.self)
		}
	}
	if h.Open != nil {
		h.Open(l.load())
	}
}

// load counts what is on its way.
func (l *loop) load() Load {
	n := Load{Calls: l.inflight, NextBulk: l.lanes.size.next(), Backlog: l.lanes.backlog, Withheld: l.withheld.waiting(time.Now())}
	l.book.Attempts(func(att *ledger.Attempt) {
		switch {
		case l.sending[att.C]:
			n.Sending += att.Left()
		case att.Tx != "":
			n.Submitted += att.Left()
		default:
			n.InDoubt += att.Left()
		}
	})
	return n
}
