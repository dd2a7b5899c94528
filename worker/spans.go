package worker

import (
	"errors"
	"sync"
	"time"

	"decom/nmvs"
	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// Tracer follows scans through the line for whoever collects traces. Its methods run on
// the loop's goroutine, a sender's or the [Publisher]'s, at once and often: they must not
// block, whatever becomes of what is told.
type Tracer interface {
	// Begin decides about one delivery of a scan. trace is its traceparent header as it came
	// from outside, unchecked, or ""; stored is when the stream took the scan. What is returned
	// is the traceparent to which the scan's spans belong; "": nothing is told of this scan.
	Begin(trace, account string, stored time.Time) string
	// Tell hands over a step that has ended, for all the traced scans that took it together.
	Tell(Span)
}

// The steps that a [Tracer] is told of. A change has two appends, of its attempt and of the
// answer; a scan that comes again, or waits for the next record, more.
const (
	StepView    = "view"    // S2
	StepAppend  = "append"  // S4 and S5: on the ledger and in Redis
	StepCall    = "call"    // S7 and S8, a poll, or a verify
	StepOutcome = "outcome" // section 7: in the stream of outcomes
)

// Span is a step that traced scans took. It names no pack and no event: traces leave the
// house.
type Span struct {
	Step       string
	Begin, End time.Time
	Parents    []string // traceparent of each traced scan in it, as Begin gave them, never empty
	Account    string
	Service    string // of a call: that of [Hooks].Call, verify and poll included
	Class      string // of a call: the class of its end; of an append: lost, if another worker was first; of an outcome: its result
	Packs      int    // all packs in the step, traced or not
	Seq        uint64 // of an append or outcome: the record's sequence on the ledger
	Failed     bool   // the append was lost, or the call brought no answer
}

// lostAppend is the class of an append that another worker's came before.
const lostAppend = "lost"

// Traces remembers which scans on their way are traced, from their delivery to their
// outcome. It is in memory only: of a scan whose process ends, or that another process ends,
// the last spans are missing, and its outcome carries no traceparent. All methods may be
// called on a nil *Traces, which stands for "nobody traces", and by any goroutine.
type Traces struct {
	tracer  Tracer
	account string

	mu      sync.Mutex
	parents map[tracedScan]string // guarded by mu, as the rest
	order   []tracedScan          // by arrival, a ring once it is full
	oldest  int
}

// tracedScan is a scan by its device and event id.
type tracedScan struct{ site, device, event string }

// tracesKept bounds [Traces]: scans whose outcome comes from another process would
// stay for ever. It holds several of the largest bulks and takes some 5 MiB when full.
const tracesKept = 16384

func newTraces(t Tracer, account string) *Traces {
	if t == nil {
		return nil
	}
	return &Traces{tracer: t, account: account, parents: map[tracedScan]string{}}
}

// Traces is what the account's [Publisher] in the same process needs to end traces; nil
// when nobody traces.
func (a *Account) Traces() *Traces { return a.traces }

// begin asks the tracer about a scan that came. A scan without a header that is under way
// keeps the trace that it has.
func (t *Traces) begin(d queue.Delivery, e *scan.Event) string {
	if t == nil {
		return ""
	}
	s, trace := tracedScan{e.Site, e.Device, e.ID}, d.Trace()
	t.mu.Lock()
	parent := t.parents[s]
	t.mu.Unlock()
	if trace == "" && parent != "" {
		return parent
	}
	if parent = t.tracer.Begin(trace, t.account, d.Meta().Stored); parent != "" {
		t.keep(s, parent)
	}
	return parent
}

func (t *Traces) keep(s tracedScan, parent string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, known := t.parents[s]
	t.parents[s] = parent
	switch {
	case known:
	case len(t.order) < tracesKept:
		t.order = append(t.order, s)
	default: // a scan that came, ended and came again may go early: it lacks its last spans
		delete(t.parents, t.order[t.oldest])
		t.parents[s] = parent
		t.order[t.oldest] = s
		t.oldest = (t.oldest + 1) % tracesKept
	}
}

// of is a scan's traceparent, or "".
func (t *Traces) of(site, device, event string) string {
	if t == nil {
		return ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.parents[tracedScan{site, device, event}]
}

func (t *Traces) ofOrigin(o *ledger.Origin) string {
	site, device := splitSource(o.Src)
	return t.of(site, device, o.Ev)
}

// tell ends a step now. A step without traced scans is nobody's.
func (t *Traces) tell(s Span) {
	if t == nil || len(s.Parents) == 0 {
		return
	}
	s.End, s.Account = time.Now(), t.account
	t.tracer.Tell(s)
}

// viewed tells of S2.
func (t *Traces) viewed(began time.Time, items []item, packs int) {
	if t == nil {
		return
	}
	var parents []string
	for i := range items {
		if items[i].trace != "" {
			parents = append(parents, items[i].trace)
		}
	}
	t.tell(Span{Step: StepView, Begin: began, Parents: parents, Packs: packs})
}

// inRecord collects the traced scans that a record decides, opens or brings a fact of. It is
// asked before the append: what the record settles, the book forgets.
func (t *Traces) inRecord(r *ledger.Record, book *ledger.Book) (parents []string) {
	if t == nil {
		return nil
	}
	add := func(o *ledger.Origin) {
		if p := t.ofOrigin(o); p != "" {
			parents = append(parents, p)
		}
	}
	for i := range r.Note {
		add(&r.Note[i].Origin)
	}
	for i := range r.Open {
		for j := range r.Open[i].Packs {
			add(&r.Open[i].Packs[j].Origin)
		}
	}
	for i := range r.Fact {
		if att := book.Attempt(r.Fact[i].C); att != nil {
			for _, p := range r.Fact[i].Packs {
				add(&att.Packs[p.I].Origin)
			}
		}
	}
	return parents
}

// appended tells of S4 and S5.
func (t *Traces) appended(began time.Time, parents []string, d *draft, err error) {
	if t == nil || len(parents) == 0 {
		return
	}
	s := Span{Step: StepAppend, Begin: began, Parents: parents, Packs: d.rec.Packs(), Seq: d.seq}
	if errors.Is(err, queue.ErrLost) {
		s.Class, s.Failed = lostAppend, true
	}
	t.tell(s)
}

// called tells of a call for the packs of an attempt.
func (t *Traces) called(began time.Time, svc string, class nmvs.Class, packs []ledger.OpenPack) {
	if t == nil {
		return
	}
	var parents []string
	for i := range packs {
		if p := t.ofOrigin(&packs[i].Origin); p != "" {
			parents = append(parents, p)
		}
	}
	t.tell(Span{Step: StepCall, Begin: began, Parents: parents, Service: svc, Class: class.String(), Packs: len(packs), Failed: !class.Answered()})
}

// read tells of a call that read the one pack of a scan.
func (t *Traces) read(began time.Time, parent string, class nmvs.Class) {
	if t == nil || parent == "" {
		return
	}
	t.tell(Span{Step: StepCall, Begin: began, Parents: []string{parent}, Service: "verify", Class: class.String(), Packs: 1, Failed: !class.Answered()})
}

// ended tells of the outcomes of a record, which end their scans' traces here.
func (t *Traces) ended(began time.Time, seq uint64, outs []said) {
	if t == nil {
		return
	}
	for i := range outs {
		o := &outs[i].out
		parent := t.of(o.Site, o.Device, o.EventID)
		if parent == "" {
			continue
		}
		t.tell(Span{Step: StepOutcome, Begin: began, Parents: []string{parent}, Class: string(o.Result), Packs: len(outs), Seq: seq})
		t.mu.Lock()
		delete(t.parents, tracedScan{o.Site, o.Device, o.EventID})
		t.mu.Unlock()
	}
}
