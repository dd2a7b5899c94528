package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"decom/nmvs/sim"
	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"
)

// sentScan is one published scan and the outcomes that are right for it.
type sentScan struct {
	pack    scan.Pack // zero: the scan cannot be read
	allowed []string  // result, or result/reason
}

// clean is never written. It is what becomes of a pack in order, whatever crashes, with settle e4: carried out,
// or put before a person because two sends stayed without an answer.
var clean = []string{"done", "done/confirmed", "unresolved/doubtful_twice"}

// packs puts n new packs of one batch into NMVS's stock.
func (l *line) packs(n int) []scan.Pack {
	l.t.Helper()
	code := presentations()[0].gtin
	list := make([]scan.Pack, n)
	for i := range list {
		p, err := scan.NewPack(scan.GTIN, code, fmt.Sprintf("S%s%05d", strings.ToUpper(l.account), len(l.want)*7+i), "LOT42", "341100")
		if err != nil {
			l.t.Fatal(err)
		}
		if err := l.sim.AddPack(p); err != nil {
			l.t.Fatal(err)
		}
		list[i] = p
	}
	return list
}

// event makes a scan event for a pack and remembers what may come of it.
func (l *line) event(device, id string, op scan.Op, p scan.Pack, allowed ...string) queue.Scan {
	l.t.Helper()
	if len(allowed) == 0 {
		allowed = clean
	}
	body, err := json.Marshal(map[string]any{
		"v": 1, "id": id, "op": op, "at": time.Now().UTC().Format(time.RFC3339Nano),
		"pack": map[string]string{"scheme": string(p.Scheme()), "code": p.Code(), "serial": p.Serial(), "batch": p.Batch(), "expiry": p.Expiry()},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.want[id] = sentScan{p, allowed}
	return queue.Scan{Site: l.site(), Device: device, ID: id, Body: body}
}

// supply publishes one scan for each pack.
func (l *line) supply(ps []scan.Pack, allowed ...string) []queue.Scan {
	l.t.Helper()
	scans := make([]queue.Scan, len(ps))
	for i, p := range ps {
		scans[i] = l.event(fmt.Sprintf("rowa-%d", i%4), fmt.Sprintf("%s-%05d", l.account, len(l.want)), scan.Supply, p, allowed...)
	}
	l.publish(scans)
	return scans
}

func (l *line) publish(scans []queue.Scan) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 30*time.Second)
	defer cancel()
	if _, err := l.conn.PublishScans(ctx, scans); err != nil {
		l.t.Fatal(err)
	}
}

func outcomeOf(o scan.Outcome) string {
	if o.Reason == "" {
		return string(o.Result)
	}
	return string(o.Result) + "/" + string(o.Reason)
}

// outcomes reads the line's part of DECOM_OUTCOMES, by event id.
func (l *line) outcomes() (map[string][]scan.Outcome, error) {
	ctx, cancel := context.WithTimeout(l.t.Context(), 20*time.Second)
	defer cancel()
	by := map[string][]scan.Outcome{}
	err := l.conn.Outcomes(ctx, queue.OutcomeFilter{Site: l.site()}, func(s queue.StoredOutcome) error {
		var o scan.Outcome
		if err := json.Unmarshal(s.Body, &o); err != nil {
			return err
		}
		by[o.EventID] = append(by[o.EventID], o)
		return nil
	})
	return by, err
}

// settled waits until every published scan has an outcome.
func (l *line) settled(patience time.Duration) map[string][]scan.Outcome {
	l.t.Helper()
	return l.atLeast(len(l.want), patience)
}

// atLeast waits until n scans have an outcome.
func (l *line) atLeast(n int, patience time.Duration) map[string][]scan.Outcome {
	l.t.Helper()
	var got map[string][]scan.Outcome
	eventually(l.t, patience, fmt.Sprintf("%s: outcomes for %d scans", l.account, n), func() (err error) {
		if got, err = l.outcomes(); err == nil && len(got) < n {
			err = fmt.Errorf("%d of %d", len(got), n)
			time.Sleep(150 * time.Millisecond)
		}
		return err
	})
	return got
}

// judge is the verdict of issue "The line": outcomes, ledger, Redis and the simulator's own
// ledger are held against each other. 0 lost, 0 sent twice, no alert of our own making, done
// exactly where NMVS changed the pack, nothing open or due.
func (l *line) judge() {
	l.t.Helper()
	l.settled(30 * time.Second)
	l.quiet()
	got, err := l.outcomes()
	if err != nil {
		l.t.Fatal(err)
	}
	changes, open := map[sim.Key]int{}, map[sim.Key]bool{}
	for _, id := range slices.Sorted(maps.Keys(l.want)) {
		s := l.want[id]
		switch outs := got[id]; {
		case len(outs) == 0:
			l.t.Errorf("LOST: event %s has no outcome", id)
		case len(outs) > 1:
			l.t.Errorf("OUT: event %s has %d outcomes", id, len(outs))
		case !slices.Contains(s.allowed, outcomeOf(outs[0])):
			l.t.Errorf("event %s: %s (code %s), allowed are %q", id, outcomeOf(outs[0]), outs[0].Code, s.allowed)
		case outs[0].Result == scan.Done && outs[0].Op != scan.Verify:
			changes[packKey(s.pack)]++
		case outs[0].Result == scan.Unresolved:
			open[packKey(s.pack)] = true
		}
	}
	for id := range got {
		if _, ok := l.want[id]; !ok {
			l.t.Errorf("OUT: outcome for event %q, which nobody sent", id)
		}
	}
	v := l.sim.Verdict()
	if !v.Clean {
		l.t.Errorf("ONCE: the simulator says %v: %v", v, v.Bad)
	}
	for kind, n := range v.Counts.Alerts {
		l.t.Errorf("%d alerts %s for packs in order", n, kind)
	}
	for _, s := range l.want {
		if s.pack.IsZero() {
			continue
		}
		k := packKey(s.pack)
		p, _ := l.sim.Pack(k) // of a pack that is not there, everything is 0
		if p.Decommissions != changes[k] && !open[k] {
			l.t.Errorf("TRUTH: outcomes say %d changes of pack %s, NMVS carried out %d", changes[k], k, p.Decommissions)
		}
	}
	l.judgeLedger()
}

// quiet waits until the stream holds nothing that is not disposed of, and the outbox has
// told everything: a second outcome would be there by then.
func (l *line) quiet() {
	l.t.Helper()
	eventually(l.t, 30*time.Second, l.account+" comes to rest", func() error {
		ctx, cancel := context.WithTimeout(l.t.Context(), 5*time.Second)
		defer cancel()
		p, err := l.conn.Scans(l.account).Pending(ctx)
		if err != nil {
			return err
		}
		n, err := l.conn.Outbox(l.account).Pending(ctx)
		if err == nil && p.Pending+p.AckPending+n > 0 {
			err = fmt.Errorf("%d scans wait, %d are out, %d records are not told", p.Pending, p.AckPending, n)
		}
		return err
	})
}

// judgeLedger reads the whole chain, folds it and compares it with Redis and NMVS.
func (l *line) judgeLedger() {
	l.t.Helper()
	states, head, err := l.fold()
	if err != nil {
		l.t.Errorf("CHAIN: %v", err)
		return
	}
	for _, s := range l.want {
		if s.pack.IsZero() {
			continue
		}
		st := states[s.pack.ID()]
		p, _ := l.sim.Pack(packKey(s.pack))
		switch {
		case st.Phase == ledger.Opened || st.Phase == ledger.Due:
			l.t.Errorf("LIVE: pack %s is %s at the end", packKey(s.pack), st.Phase)
		case st.Phase == ledger.Inactive && p.State != "INACTIVE", st.Phase == ledger.Free && p.State == "INACTIVE":
			l.t.Errorf("TRUTH: pack %s is %s on the ledger, %s at NMVS", packKey(s.pack), st.Phase, p.State)
		}
	}
	store := l.store()
	eventually(l.t, 5*time.Second, "Redis shows the ledger's last record", func() error {
		h, ok, err := store.Head(l.t.Context(), l.account)
		if err == nil && (!ok || h != head) {
			err = fmt.Errorf("head %v, want %v", h, head)
		}
		return err
	})
	err = store.Each(l.t.Context(), l.account, func(k scan.PackID, s ledger.State) error {
		if want := states[k]; want.Phase != s.Phase || want.Changed != s.Changed {
			return fmt.Errorf("pack %s: %s changed by %d in Redis, %s by %d on the ledger", k, s.Phase, s.Changed, want.Phase, want.Changed)
		}
		return nil
	})
	if err != nil {
		l.t.Errorf("projection: %v", err)
	}
}

func (l *line) store() *packstate.Store {
	l.t.Helper()
	var db int32
	if _, err := fmt.Sscanf(l.account, "line%d", &db); err != nil {
		l.t.Fatal(err)
	}
	store, err := packstate.Open(l.t.Context(), packstate.Config{URL: l.redisURL(db)})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = store.Close() })
	return store
}

// fold reads the ledger from its first record and checks each link, and that no event is
// disposed of twice: the outbox would swallow the second word.
func (l *line) fold() (ledger.States, ledger.Head, error) {
	states, head := ledger.States{}, ledger.Head{}
	noted, opened := map[string]bool{}, map[string]bool{}
	_, err := l.conn.Ledger(l.account).Read(l.t.Context(), 1, func(e queue.Entry) error {
		r, err := ledger.Decode(e.Payload, l.account)
		if err != nil {
			return err
		}
		if prev := (ledger.Head{Seq: r.PrevSeq, Hash: r.Prev}); prev != head {
			return fmt.Errorf("record %d follows %v, not %v", e.Seq, prev, head)
		}
		head = e.Head()
		for i := range r.Note {
			n := &r.Note[i]
			if n.K != "" && (noted[n.Ev] || opened[n.Ev]) {
				return fmt.Errorf("record %d disposes of event %s once more: %s", e.Seq, n.Ev, n.Result)
			}
			noted[n.Ev] = true
		}
		for i := range r.Open {
			for j := range r.Open[i].Packs {
				ev := r.Open[i].Packs[j].Ev
				if noted[ev] {
					return fmt.Errorf("record %d opens event %s, which has its outcome", e.Seq, ev)
				}
				opened[ev] = true
			}
		}
		_, err = ledger.Fold(e.Seq, r, states)
		return err
	})
	return states, head, err
}

// tell prints the ledger in one line a record, for a failed test.
func (l *line) tell() {
	_, _ = l.conn.Ledger(l.account).Read(context.Background(), 1, func(e queue.Entry) error { // for people only
		r, err := ledger.Decode(e.Payload, l.account)
		if err != nil {
			return err
		}
		var b strings.Builder
		for i := range r.Note {
			fmt.Fprintf(&b, " note %s/%s", r.Note[i].Result, r.Note[i].Reason)
		}
		for i := range r.Open {
			fmt.Fprintf(&b, " open %s of %d", r.Open[i].Svc, len(r.Open[i].Packs))
		}
		for i := range r.Fact {
			fmt.Fprintf(&b, " %s of %d (%d packs)", r.Fact[i].Kind, r.Fact[i].Of, len(r.Fact[i].Packs))
		}
		l.t.Logf("ledger %d at %s by %s:%s", e.Seq, r.At, r.By, b.String())
		return nil
	})
}

// calls counts what arrived at the simulator under these operation codes.
func (l *line) calls(codes ...string) int {
	c, n := l.sim.Counts(), 0
	for _, code := range codes {
		n += c.Calls[code]
	}
	return n
}

// expectCalls holds the number of calls against the crash table.
func (l *line) expectCalls(code string, want int) {
	l.t.Helper()
	if got := l.calls(code); got != want {
		l.t.Errorf("%d calls %s, the crash table says %d", got, code, want)
	}
}

// inTurns runs named tests side by side, at most n at once: they wait far more than
// they compute, so more of them fit than processors.
func inTurns[T any](t *testing.T, n int, rows []T, name func(T) string, run func(*testing.T, T)) {
	t.Helper()
	slots, done := make(chan struct{}, n), make(chan struct{})
	for _, row := range rows {
		go func() {
			slots <- struct{}{}
			defer func() { <-slots; done <- struct{}{} }()
			t.Run(name(row), func(t *testing.T) { run(t, row) })
		}()
	}
	for range rows {
		<-done
	}
}
