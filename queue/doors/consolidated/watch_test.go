package consolidated

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
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
