package worker

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"
)

// pieceBytes bounds what is held for one call to the projection, however few packs the records name.
const pieceBytes = 4 << 20

// projector walks the records of one synchronisation. It holds each to those before it, feeds
// the book, and collects what Redis misses in pieces; a view and an apply project one piece. While
// Redis is busy with a piece, the next one is read, checked and collected: in a rebuild both take
// about as long. No more than one piece is on its way, and what was read first is decided first: an
// error of the piece that is on its way comes before whatever was found behind it. A synchronisation
// of one piece needs no second goroutine; the others end theirs before read returns.
type projector struct {
	*loop
	alive     func()      // called as long as it goes on, see syncTry
	end       uint64      // the ledger's last record when the synchronisation began
	redis     ledger.Head // Redis's head when the synchronisation began
	at        ledger.Head // last record read
	collected piece       // what comes next
	known     map[scan.PackID]struct{}
	most      int // packs of a piece, a record of more apart

	onWay  sync.WaitGroup // the goroutine that projects away
	away   piece          // that goroutine's, as all below
	failed error          // the first piece that could not be projected ends the synchronisation
	shown  ledger.Head    // Redis's head, moved by each projected piece
	left   ownStates      // what the pieces left open
	met    *met           // the packs that they named; nil: Redis was not empty
}

// piece is records that follow each other, for one call.
type piece struct {
	heads    []ledger.Head
	recs     []*ledger.Record
	packs    []scan.PackID    // that the records name, each once
	bytes    int              // of the records
	controls *ledger.Controls // what people set, up to these records; nil: these set nothing
}

// reset makes the piece empty; it keeps the memory of its lists, and nothing of the records.
func (t *piece) reset() {
	clear(t.recs)
	*t = piece{heads: t.heads[:0], recs: t.recs[:0], packs: t.packs[:0]}
}

func newProjector(l *loop, redis ledger.Head, end uint64, alive func()) *projector {
	return &projector{loop: l, alive: alive, end: end, redis: redis, shown: redis, known: map[scan.PackID]struct{}{},
		most: cmp.Or(l.piecePacks, packstate.MaxPacks), left: ownStates{}}
}

// read walks the records from a sequence on, and projects them.
func (p *projector) read(ctx context.Context, from uint64) error {
	_, err := p.deps.Records.Read(ctx, from, func(e queue.Entry) error { return p.take(ctx, e) })
	if first := p.landed(); first != nil {
		return first
	}
	if err != nil {
		return err
	}
	return p.project(ctx, &p.collected)
}

// take checks the links to what is known already, feeds the book and collects what
// Redis misses.
func (p *projector) take(ctx context.Context, e queue.Entry) error {
	r, err := ledger.Decode(e.Payload, p.cfg.Account)
	if err != nil {
		p.log.Error("ledger record refused", "seq", e.Seq, "err", err)
		return errHalt(whyFold)
	}
	prev := ledger.Head{Seq: r.PrevSeq, Hash: r.Prev}
	here := ledger.Head{Seq: e.Seq, Hash: e.Hash}
	switch {
	case p.at.Seq != 0 && prev != p.at:
		return errHalt(whyChain)
	case forks(p.redis, prev, here), forks(p.head, prev, here):
		return errHalt(whyFork)
	case p.at.Seq == 0 && e.Seq > p.redis.Seq && prev.Seq > p.redis.Seq: // records are missing in between
		return errHalt(whyChain)
	}
	p.at = here
	p.alive()
	if e.Seq > p.bookAt {
		p.tally.add(e.Seq, r, p.book)
		p.book.Add(e.Seq, r)
		p.bookAt = e.Seq
		if r.By != p.cfg.Worker {
			p.othersAt = time.Now()
		}
		p.recallAlerts(e.Seq, r)
	}
	p.controls.Add(e.Seq, r)
	if resumes(r) {
		p.resumedAt = max(p.resumedAt, e.Seq)
	}
	if e.Seq <= p.redis.Seq {
		return nil
	}
	for i := range r.Fact {
		if k := r.Fact[i].Kind; k == ledger.Halt || k == ledger.Resume {
			p.haltRead, p.haltReadAt = &r.Fact[i], e.Seq
		}
	}
	return p.collect(ctx, here, r, len(e.Payload))
}

// collect adds a record to those that are projected together, and has them projected when it does
// not fit any more. Opening and result of a bulk share a piece.
func (p *projector) collect(ctx context.Context, here ledger.Head, r *ledger.Record, bytes int) error {
	t := &p.collected
	before := len(t.packs)
	p.name(r)
	if before > 0 && len(t.packs) > p.most || t.bytes > pieceBytes {
		t.packs = t.packs[:before]
		if err := p.send(ctx); err != nil {
			return err
		}
		p.name(r)
	}
	t.heads, t.recs, t.bytes = append(t.heads, here), append(t.recs, r), t.bytes+bytes
	for i := range r.Fact {
		if r.Fact[i].Kind.SetsControls() {
			t.controls = new(p.controls)
		}
	}
	return nil
}

// name adds the packs of a record to those of the piece.
func (p *projector) name(r *ledger.Record) {
	r.EachTouched(func(k scan.PackID) {
		if _, twice := p.known[k]; !twice {
			p.known[k] = struct{}{}
			p.collected.packs = append(p.collected.packs, k)
		}
	})
}

// send has the collected piece projected while the next one is read; the one before it has landed then.
func (p *projector) send(ctx context.Context) error {
	if err := p.landed(); err != nil {
		return err
	}
	p.away.reset()
	p.collected, p.away = p.away, p.collected
	clear(p.known)
	if p.redis.Seq == 0 && p.met == nil { // the first of many pieces, for an empty Redis: most packs will be new
		gone := p.away.heads[len(p.away.heads)-1].Seq
		p.met = newMet(len(p.away.packs) * int(max(p.end, gone)/gone))
	}
	p.onWay.Go(func() { p.failed = p.project(ctx, &p.away) })
	return nil
}

// landed waits for the piece that is on its way.
func (p *projector) landed() error {
	p.onWay.Wait()
	return p.failed
}

// project shows a piece in Redis with one view and one apply.
func (p *projector) project(ctx context.Context, t *piece) error {
	if len(t.recs) == 0 {
		return nil
	}
	st, states, err := p.deps.State.View(ctx, p.cfg.Account, p.shown, p.unknown(t.packs))
	if err != nil {
		return fmt.Errorf("view: %w", err)
	}
	if err := moved(st); err != nil {
		return err
	}
	p.left.addTo(states, t.packs)
	idx := ledger.NewIndex()
	for i, r := range t.recs {
		one, err := ledger.Fold(t.heads[i].Seq, r, states)
		if err != nil {
			p.log.Error("ledger record refused", "seq", t.heads[i].Seq, "err", err)
			return errHalt(whyFold)
		}
		idx.Merge(one)
	}
	if t.controls != nil { // first, so that no head stands beyond what is stored
		if err := p.deps.State.SaveControls(ctx, p.cfg.Account, *t.controls); err != nil {
			return err
		}
	}
	idx.Halt = nil // followed once, when all is read
	next := t.heads[len(t.heads)-1]
	st, err = p.deps.State.Apply(ctx, p.cfg.Account, p.shown, next, states, idx)
	if err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	if err := moved(st); err != nil {
		return err
	}
	p.shown = next
	p.left.folded(states, true)
	return p.own(ctx, states)
}

// unknown returns those of the piece's packs that have to be viewed. Each piece that landed moved
// the head from where the one before had moved it to, and apply is the only writer: between two
// pieces nobody else can have changed a pack, and where somebody did since, neither view nor apply
// says OK, whatever they name. So what the pieces left open is what Redis holds, as for ownStates; and in a
// projection that began empty, at (0, ""), a pack that no piece named is not there.
func (p *projector) unknown(ks []scan.PackID) []scan.PackID {
	if p.met == nil {
		return p.left.unknown(ks)
	}
	ask := make([]scan.PackID, 0, len(ks))
	for _, k := range ks {
		if p.met.add(k) {
			ask = append(ask, k)
		}
	}
	return p.left.unknown(ask)
}

// own claims the projected packs that this account holds: a Redis that lost who holds
// which pack would let another account send one of ours (protocol.md section 6).
func (p *projector) own(ctx context.Context, states ledger.States) error {
	if p.deps.Owners == nil {
		return nil
	}
	var ks []scan.PackID
	for k, s := range states {
		if s.Phase != ledger.Free {
			ks = append(ks, k)
		}
	}
	if len(ks) == 0 {
		return nil
	}
	if _, err := p.deps.Owners.Own(ctx, p.cfg.Account, ks); err != nil {
		return fmt.Errorf("owners: %w", err)
	}
	return nil
}

// moved reads a status during projection: only OK and SAME go on.
func moved(st packstate.Status) error {
	switch st {
	case packstate.OK, packstate.Same:
		return nil
	case packstate.Fork:
		return errHalt(whyFork)
	case packstate.Halted:
		return errHalted
	}
	return errAgain
}

// forks says that the record here, which follows prev, contradicts a head known before: it
// stands in its place, or goes past it without following it. Our own head counts
// too: an attempt of ours that is not on the chain any more names another one's record.
func forks(known, prev, here ledger.Head) bool {
	switch {
	case known.Seq == 0:
		return false
	case here.Seq == known.Seq:
		return here != known
	}
	return here.Seq > known.Seq && prev.Seq <= known.Seq && prev != known
}
