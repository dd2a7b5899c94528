package consolidated

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"decom/queue"
)

// TestALabelScannedAtThePivotIsAReceipt: by any device, in any form, once.
func TestALabelScannedAtThePivotIsAReceipt(t *testing.T) {
	r := newRig(t)
	d := makeDelivery(120, false)
	f := r.add(d.csv)
	publish := func(site, device, text string) {
		t.Helper()
		body, _ := json.Marshal(map[string]string{"scan": text, "operator": "luc"})
		if _, err := r.q.conn.PublishScan(t.Context(), site, device, "", body); err != nil {
			t.Fatal(err)
		}
	}
	publish("nord", "dock", "]d2010340093000000721X\x1d1728110010L") // a pack
	publish("nord", "dock", "]C100"+d.sscc[0])                       // before anybody watches
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	told := make(chan Seen, 10)
	fails := 1 // the queue is away once, in the middle of a receipt
	r.q.scans = func(int) (error, error) {
		if fails--; fails == 0 {
			return nil, errors.New("answer lost")
		}
		return nil, nil
	}
	done := make(chan error)
	go func() {
		done <- r.Watch(ctx, r.q.conn, Labels{}, func(s Seen) { told <- s })
	}()
	next := func(ref string, ok bool) {
		t.Helper()
		select {
		case s := <-told:
			if s.Ref != ref || (s.Err == nil) != ok {
				t.Errorf("%+v, want %s %v", s, ref, ok)
			}
		case <-ctx.Done():
			t.Fatalf("nothing told of %s", ref)
		}
	}
	next(d.sscc[0], true)
	publish("nord", "dock", d.sscc[0]) // again: nothing is told
	publish("nord", "dock", "(00)"+sscc(777))
	next(sscc(777), false)
	publish("sud", "dock", d.sscc[1]) // another site
	next(d.sscc[1], false)
	publish("nord", "dock", "00"+d.sscc[1])
	next(d.sscc[1], true)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	fresh := r.file(f.ID)
	if n := fresh.Receipts(); len(n) != 2 || n[0].Who != "luc" {
		t.Errorf("%d receipts", len(n))
	}
	if s, err := r.Settle(t.Context(), fresh); err != nil || s.Count()[Released] != 100 {
		t.Errorf("%+v %v", s.Count(), err)
	}
}

// TestADeliveryNoteScannedAtThePivotIsAReceipt, where that is wanted; texts that no file
// names, packs and notes in other words are none.
func TestADeliveryNoteScannedAtThePivotIsAReceipt(t *testing.T) {
	for _, notes := range []bool{true, false} {
		r := newRig(t)
		d := makeDelivery(120, false)
		f := r.add(d.csv)
		for _, text := range []string{"3400930000007", "]d2010340093000000721X\x1d1728110010L", strings.Repeat(d.note, 9), d.note + " x", d.note[:len(d.note)-1], "]C0" + d.note, d.note, "]C100" + sscc(778)} {
			body, _ := json.Marshal(map[string]string{"scan": text, "operator": "luc"})
			if _, err := r.q.conn.PublishScan(t.Context(), "nord", "dock", "", body); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		fails := 1 // stored, and the answer lost
		r.q.scans = func(int) (error, error) {
			if fails--; fails == 0 {
				return nil, errors.New("answer lost")
			}
			return nil, nil
		}
		var told []Seen
		err := r.Watch(ctx, r.q.conn, Labels{Site: "nord", Device: "dock", Notes: notes}, func(s Seen) {
			if told = append(told, s); s.Ref == sscc(778) { // the last one: no file lists it
				cancel()
			}
		})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		want := 1
		if notes {
			want = 2
		}
		if len(told) != want || notes && (told[0].Err != nil || told[0].Ref != d.note || told[0].Count != 117) {
			t.Errorf("notes %v: told %+v", notes, told)
		}
		if n := r.file(f.ID).Receipts(); len(n) != want-1 {
			t.Errorf("notes %v: %d receipts", notes, len(n))
		}
	}
}

// slowShelf does not answer the first time it is asked, until it is let go.
type slowShelf struct {
	Shelf
	asked  atomic.Int64
	letGo  chan struct{}
	waited chan struct{} // closed when it was asked
}

func (s *slowShelf) Notes(ctx context.Context, doc string, fn func(queue.Note) error) error {
	if s.asked.Add(1) == 1 {
		close(s.waited)
		<-s.letGo
	}
	return s.Shelf.Notes(ctx, doc, fn)
}

// cutReader ends the first reading of one device's scans after a few.
type cutReader struct {
	ScanReader
	cuts atomic.Int64
}

func (c *cutReader) ReadScans(ctx context.Context, site, device string, since time.Time, fn func(queue.StoredScan) error) error {
	if device != "flood" || c.cuts.Add(1) > 1 {
		return c.ScanReader.ReadScans(ctx, site, device, since, fn)
	}
	n := 0
	return c.ScanReader.ReadScans(ctx, site, device, since, func(s queue.StoredScan) error {
		if n++; n > 20 {
			return errors.New("the queue is away")
		}
		return fn(s)
	})
}

// TestADeviceThatScansWithoutAnEndFillsNoMemory: what is too many waits in the queue, other
// docks go on, and in the end each label was taken, once and in order.
func TestADeviceThatScansWithoutAnEndFillsNoMemory(t *testing.T) {
	r := newRig(t)
	slow := &slowShelf{Shelf: r.q, letGo: make(chan struct{}), waited: make(chan struct{})}
	r.Desk.Shelf = slow
	letGo := sync.OnceFunc(func() { close(slow.letGo) })
	defer letGo()
	publish := func(device string, refs ...string) {
		t.Helper()
		scans := make([]queue.Scan, len(refs))
		for i, ref := range refs {
			scans[i] = queue.Scan{Site: "nord", Device: device, Body: []byte(`{"scan":"]C100` + ref + `"}`)}
		}
		if _, err := r.q.conn.PublishScans(t.Context(), scans); err != nil {
			t.Fatal(err)
		}
	}
	const many = maxWaiting + 100
	var flood []string
	for i := range many {
		flood = append(flood, sscc(1000+i))
	}
	publish("flood", flood[0])
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	told := make(chan Seen, 2*many)
	w := newWatch(r.Desk, &cutReader{ScanReader: r.q.conn}, false, func(s Seen) { told <- s })
	done := make(chan error)
	go func() { done <- w.run(ctx, Labels{}) }()
	<-slow.waited
	publish("flood", flood[1:]...)
	publish("calm", sscc(1)) // behind them all: when it is told, the flood was heard
	next := func() (s Seen) {
		t.Helper()
		select {
		case s = <-told:
		case <-ctx.Done():
			t.Fatal("nothing is told any more")
		}
		return s
	}
	if s := next(); s.Device != "flood" || s.Behind != maxWaiting || s.Ref != "" {
		t.Errorf("%+v, want it told that labels wait", s)
	}
	if s := next(); s.Device != "calm" || s.Ref != sscc(1) {
		t.Errorf("%+v, want the calm dock's", s)
	}
	w.mu.Lock()
	if n := len(w.waiting["nord/flood"]); n > maxWaiting {
		t.Errorf("%d labels of one device wait in memory, want at most %d", n, maxWaiting)
	}
	w.mu.Unlock()
	letGo()
	var got []string
	for range many {
		got = append(got, next().Ref)
	}
	if !slices.Equal(got, flood) {
		t.Errorf("%d labels taken, not those that were scanned, or in another order", len(got))
	}
	publish("flood", sscc(2)) // still heard
	if s := next(); s.Ref != sscc(2) {
		t.Errorf("%+v, want the last one", s)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
