package consolidated

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"decom/queue"
	"decom/worker/scan"
)

// faulty stands before the queue and lets calls fail: without effect, or after it.
type faulty struct {
	*queue.Shelf
	conn    *queue.Conn
	appends func(n int) (before, after error) // nil: none
	scans   func(n int) (before, after error)
	nAppend int
	nScans  int
}

func (q *faulty) Append(ctx context.Context, doc string, prev uint64, body []byte) (queue.Note, error) {
	q.nAppend++
	var before, after error
	if q.appends != nil {
		before, after = q.appends(q.nAppend)
	}
	if before != nil {
		return queue.Note{}, before
	}
	n, err := q.Shelf.Append(ctx, doc, prev, body)
	return n, errors.Join(err, after)
}

func (q *faulty) PublishScans(ctx context.Context, s []queue.Scan) ([]queue.Ack, error) {
	q.nScans++
	var before, after error
	if q.scans != nil {
		before, after = q.scans(q.nScans)
	}
	if before != nil {
		return nil, before
	}
	acks, err := q.conn.PublishScans(ctx, s)
	return acks, errors.Join(err, after)
}

type rig struct {
	*Desk
	q *faulty
	t *testing.T
	// rules of the one sender there is
	rules Rules
	marks int // published to find the end of the scans
}

func newRig(t *testing.T) *rig {
	t.Helper()
	conn, err := queue.Connect(t.Context(), queue.Config{Dir: t.TempDir(), Lazy: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if _, err := conn.Setup(t.Context(), []queue.Account{{Name: "a", Sites: []string{"nord"}}}, false); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.OpenShelf(t.Context(), false); !errors.Is(err, queue.ErrNotSetUp) {
		t.Fatalf("a shelf before the first file: %v", err)
	}
	shelf, err := conn.OpenShelf(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{q: &faulty{Shelf: shelf, conn: conn}, t: t}
	r.Desk = &Desk{Shelf: r.q, Scans: r.q, Check: allow, Rules: func(s string) (Rules, bool) { return r.rules, s == "alloga" }}
	return r
}

func (r *rig) add(fill func(io.Writer)) *File {
	r.t.Helper()
	var b bytes.Buffer
	fill(&b)
	f, _, again, err := r.Add(r.t.Context(), &b, Request{Name: "f.csv", Site: "nord", Device: "cc", Sender: "alloga", Who: "anne"})
	if err != nil || again {
		r.t.Fatal(again, err)
	}
	return f
}

// events reads what is in DECOM_SCANS: bodies by id, and how often each is there.
func (r *rig) events() (bodies map[string]string, copies int) {
	r.t.Helper()
	bodies = map[string]string{}
	end := errors.New("end")
	if _, err := r.q.conn.PublishScan(r.t.Context(), "nord", "mark", "", []byte("mark")); err != nil {
		r.t.Fatal(err)
	}
	marks := 0
	r.marks++
	err := r.q.conn.ReadScans(r.t.Context(), "nord", "", time.Time{}, func(s queue.StoredScan) error {
		if string(s.Body) == "mark" {
			if marks++; marks == r.marks {
				return end
			}
			return nil
		}
		if old, ok := bodies[s.MsgID]; ok {
			copies++
			if old != string(s.Body) {
				r.t.Errorf("id %s is two scans:\n%s\n%s", s.MsgID, old, s.Body)
			}
		}
		bodies[s.MsgID] = string(s.Body)
		e, err := scan.Decode(s.Body, s.Meta)
		if err != nil || e.ID != s.MsgID || !e.Timed() || e.At.After(s.Stored) {
			r.t.Errorf("%s: at %v, stored %v, %v", s.Body, e.At, s.Stored, err)
		}
		return nil
	})
	if !errors.Is(err, end) {
		r.t.Fatal(err)
	}
	return bodies, copies
}

func (r *rig) file(id string) *File {
	r.t.Helper()
	f, err := r.File(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return f
}

func pack(t *testing.T, p made) scan.Pack {
	t.Helper()
	q, err := scan.NewPack(scan.GTIN, p.code, p.serial, p.batch, p.expiry)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestTheSameFileAgainDoesNothing(t *testing.T) {
	r := newRig(t)
	var b bytes.Buffer
	makeDelivery(60, false).csv(&b)
	first := r.add(text(b.String()))
	f, _, again, err := r.Add(t.Context(), bytes.NewReader(b.Bytes()), Request{Name: "other name", Site: "sud", Device: "d", Sender: "alloga"})
	if err != nil || !again || f.ID != first.ID || f.Site != "nord" || len(f.Events) != 1 {
		t.Errorf("%+v %v %v", f, again, err)
	}
	_, _, _, err = r.Add(t.Context(), bytes.NewReader(b.Bytes()), Request{Site: "nord", Device: "d", Sender: "stranger"})
	if _, ok := err.(*Problem); !ok {
		t.Errorf("a stranger's file: %v", err)
	}
	var x bytes.Buffer
	makeDelivery(60, false).xml(&x)
	for id, ok := range map[string]bool{"3012345000017": true, "9999999999999": false} {
		_, _, _, err := r.Add(t.Context(), bytes.NewReader(x.Bytes()), Request{Site: "nord", Device: "d", Sender: "alloga", Identifiers: []string{id}})
		if (err == nil) != ok {
			t.Errorf("identifier %s: %v", id, err)
		}
	}
	if got, _ := r.events(); len(got) != 0 {
		t.Errorf("%d events left before receipt", len(got))
	}
}

func TestTwoPersonsAddingOneFileMakeOneDocument(t *testing.T) {
	r := newRig(t)
	var b bytes.Buffer
	makeDelivery(60, false).csv(&b)
	// The first note of another one comes between the look and our own note.
	other := &Desk{Shelf: r.q.Shelf, Scans: r.q.conn, Check: allow, Rules: r.Desk.Rules}
	r.q.appends = func(int) (error, error) {
		if _, _, _, err := other.Add(t.Context(), bytes.NewReader(b.Bytes()), Request{Site: "nord", Device: "d", Sender: "alloga"}); err != nil {
			t.Error(err)
		}
		return nil, nil
	}
	f, _, again, err := r.Add(t.Context(), bytes.NewReader(b.Bytes()), Request{Site: "nord", Device: "d", Sender: "alloga"})
	if err != nil || !again {
		t.Fatal(again, err)
	}
	if s, err := r.Settle(t.Context(), f); err != nil || len(s.List.Rows) != 57 {
		t.Errorf("%v", err)
	}
}

func TestNothingLeavesBeforeReceiptAndThenWhatWasReceived(t *testing.T) {
	r := newRig(t)
	d := makeDelivery(120, false)
	f := r.add(d.csv) // three damaged, in the last case
	if _, _, err := r.Receive(t.Context(), f, d.sscc[0], "anne"); err != nil {
		t.Fatal(err)
	}
	got, _ := r.events()
	if len(got) != 50 {
		t.Fatalf("%d events after one case", len(got))
	}
	at := r.file(f.ID).Receipts()[0].Time.UTC()
	want := fmt.Sprintf(`{"v":1,"id":"cc-%s-2","op":"supply","entry":"scanned","pack":{"scheme":"GTIN","code":"03400930000007","serial":"S%%0000000/AB","batch":"LOT000","expiry":"290100"},"at":"%s","ref":"%s","operator":"anne"}`,
		f.ID, at.Truncate(1e6).Format("2006-01-02T15:04:05.999999999Z07:00"), d.sscc[0])
	if got["cc-"+f.ID+"-2"] != want {
		t.Errorf("event\n%s, want\n%s", got["cc-"+f.ID+"-2"], want)
	}
	if _, already, err := r.Receive(t.Context(), r.file(f.ID), d.note, "luc"); err != nil || already {
		t.Fatal(already, err)
	}
	if got, copies := r.events(); len(got) != 117 || copies != 0 {
		t.Errorf("%d events, %d copies", len(got), copies)
	}
	s, already, err := r.Receive(t.Context(), r.file(f.ID), d.note, "luc")
	if err != nil || !already || s.Count()[Released] != 117 {
		t.Fatal(already, err)
	}
	if _, copies := r.events(); copies != 0 {
		t.Errorf("%d copies after a second receipt", copies)
	}
}

// TestACrashAnywhereInAReceiptIsTheSameScans: every place where it can stop, with and
// without effect, then the command again.
func TestACrashAnywhereInAReceiptIsTheSameScans(t *testing.T) {
	crash := errors.New("killed")
	d := makeDelivery(2*publishBatch+100, false)
	for _, tc := range []struct {
		name    string
		appends func(n int) (error, error)
		scans   func(n int) (error, error)
	}{
		{"receipt not noted", func(n int) (error, error) { return at(n, 2, crash), nil }, nil},
		{"receipt noted, answer lost", func(n int) (error, error) { return nil, at(n, 2, crash) }, nil},
		{"first batch not stored", nil, func(n int) (error, error) { return at(n, 1, crash), nil }},
		{"second batch not stored", nil, func(n int) (error, error) { return at(n, 2, crash), nil }},
		{"second batch stored, answer lost", nil, func(n int) (error, error) { return nil, at(n, 2, crash) }},
		{"end not noted", func(n int) (error, error) { return at(n, 3, crash), nil }, nil},
		{"end noted, answer lost", func(n int) (error, error) { return nil, at(n, 3, crash) }, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			f := r.add(d.csv)
			r.q.appends, r.q.scans = tc.appends, tc.scans
			if _, _, err := r.Receive(t.Context(), f, d.note, "anne"); !errors.Is(err, crash) {
				t.Fatalf("no crash: %v", err)
			}
			r.q.appends, r.q.scans = nil, nil
			if _, _, err := r.Receive(t.Context(), r.file(f.ID), d.note, "luc"); err != nil {
				t.Fatal(err)
			}
			got, _ := r.events() // complains when one id has two contents
			if len(got) != 2*publishBatch+97 {
				t.Errorf("%d events", len(got))
			}
			times := map[string]bool{}
			for _, body := range got {
				var e packEvent
				if err := json.Unmarshal([]byte(body), &e); err != nil {
					t.Fatal(err)
				}
				times[e.At+e.Operator] = true
			}
			if len(times) != 1 {
				t.Errorf("times and persons %v", times)
			}
			if f := r.file(f.ID); len(f.Receipts()) != 1 {
				t.Errorf("%d receipts", len(f.Receipts()))
			}
		})
	}
}

func at(n, want int, err error) error {
	if n == want {
		return err
	}
	return nil
}

func TestAReceiptThatLostTheRaceSeesTheOtherOne(t *testing.T) {
	r := newRig(t)
	d := makeDelivery(60, false)
	f := r.add(d.csv)
	other := &Desk{Shelf: r.q.Shelf, Scans: r.q.conn, Check: allow, Rules: r.Desk.Rules}
	once := false
	r.q.appends = func(int) (error, error) {
		if !once {
			once = true
			if _, _, err := other.Receive(t.Context(), r.file(f.ID), d.note, "luc"); err != nil {
				t.Error(err)
			}
		}
		return nil, nil
	}
	if _, already, err := r.Receive(t.Context(), f, d.note, "anne"); err != nil || !already {
		t.Fatal(already, err)
	}
	if got, copies := r.events(); len(got) != 57 || copies != 0 {
		t.Errorf("%d events, %d copies", len(got), copies)
	}
}

func TestFullDatesWaitForAScannedPackOrASetting(t *testing.T) {
	d := makeDelivery(60, true)
	t.Run("scanned", func(t *testing.T) {
		r := newRig(t)
		f := r.add(d.csv)
		s, _, err := r.Receive(t.Context(), f, d.note, "anne")
		if err != nil || s.Count()[HeldExpiry] != 57 || len(s.Undated()) != 1 {
			t.Fatalf("%+v %v", s.Count(), err)
		}
		s, m, err := r.Sample(t.Context(), r.file(f.ID), []scan.Pack{pack(t, d.packs[3])}, "", "anne")
		if err != nil || len(m.Dates) != 1 || s.Count()[Released] != 57 {
			t.Fatalf("%+v %+v %v", m, s.Count(), err)
		}
		got, _ := r.events()
		for _, body := range got {
			if !strings.Contains(body, `"expiry":"290100"`) {
				t.Fatal(body)
			}
		}
		// What was let go stays as it is, whatever a setting or another pack says later.
		r.rules.Expiry = "exact"
		other := d.packs[4]
		other.expiry = "290131"
		if _, m, err = r.Sample(t.Context(), r.file(f.ID), []scan.Pack{pack(t, other)}, "", "anne"); err != nil || len(m.Wrong) != 1 {
			t.Fatal(m, err)
		}
		if again, copies := r.events(); copies != 0 || len(again) != len(got) {
			t.Errorf("%d copies", copies)
		}
	})
	for rule, expiry := range map[string]string{"exact": "290131", "month_end": "290100"} {
		t.Run(rule, func(t *testing.T) {
			r := newRig(t)
			f := r.add(d.csv)
			if s, _, err := r.Receive(t.Context(), f, d.note, "anne"); err != nil || s.Count()[HeldExpiry] != 57 {
				t.Fatal(err)
			}
			r.rules.Expiry = rule // changed later: the next command takes it
			if s, _, err := r.Receive(t.Context(), r.file(f.ID), d.note, "anne"); err != nil || s.Count()[Released] != 57 {
				t.Fatal(err)
			}
			got, _ := r.events()
			for _, body := range got {
				if !strings.Contains(body, `"expiry":"`+expiry+`"`) {
					t.Fatal(body)
				}
			}
		})
	}
}

func TestASampleThatIsNotListedStopsTheFileUntilItsCasesAreCounted(t *testing.T) {
	r := newRig(t)
	r.rules.Sample = 2
	d := makeDelivery(120, false)
	f := r.add(d.csv)
	s, _, err := r.Receive(t.Context(), f, d.note, "anne")
	if err != nil || s.Count()[HeldSample] != 117 {
		t.Fatalf("%+v %v", s.Count(), err)
	}
	sample := func(of string, packs ...made) *Settled {
		t.Helper()
		var all []scan.Pack
		for _, p := range packs {
			all = append(all, pack(t, p))
		}
		s, _, err := r.Sample(t.Context(), r.file(f.ID), all, of, "anne")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s = sample("", d.packs[0], d.packs[0]); s.Count()[Released] != 0 {
		t.Error("one pack scanned twice counts as two")
	}
	stranger := d.packs[1]
	stranger.serial = "STRANGER"
	if s = sample("", d.packs[1], d.packs[2], stranger); s.Count()[Released] != 0 || len(s.Extra) != 1 {
		t.Errorf("%+v %+v", s.Count(), s.Extra)
	}
	// The first case is counted: it goes, the others wait.
	s = sample(d.sscc[0], append(slices.Clone(d.packs[2:50]), stranger)...)
	if n := s.Count(); n[Released] != 50 || n[Missing] != 0 || n[HeldSample] != 67 || len(s.Extra) != 1 {
		// Packs 0 and 1 were seen in the sample: they are here, though not in the count.
		t.Errorf("%+v %+v", n, s.Extra)
	}
}

func TestACountFindsMissingAndWrongPacks(t *testing.T) {
	r := newRig(t)
	d := makeDelivery(120, false)
	f := r.add(d.csv)
	wrong, elsewhere := d.packs[5], d.packs[60]
	wrong.batch = "OTHER"
	var all []scan.Pack
	for i, p := range d.packs[:50] {
		switch i {
		case 3, 4:
		case 5:
			all = append(all, pack(t, wrong))
		default:
			all = append(all, pack(t, p))
		}
	}
	_, m, err := r.Sample(t.Context(), f, append(all, pack(t, elsewhere)), d.sscc[0], "anne")
	if err != nil || len(m.OK) != 47 || len(m.Missing) != 2 || len(m.Wrong) != 1 || len(m.Extra) != 1 || m.Extra[0].Reason != "elsewhere" {
		t.Fatalf("%+v %v", m, err)
	}
	s, _, err := r.Receive(t.Context(), r.file(f.ID), d.note, "anne")
	if n := s.Count(); err != nil || n[Released] != 114 || n[Missing] != 2 || n[Wrong] != 1 {
		t.Errorf("%+v %v", n, err)
	}
}

func TestOpenedContainersAreScannedOneByOne(t *testing.T) {
	r := newRig(t)
	d := makeDelivery(120, true)
	f := r.add(d.xml)
	r.rules.Expiry = "month_end"
	if err := r.Open(t.Context(), f, d.sscc[1], "anne", "strap torn"); err != nil {
		t.Fatal(err)
	}
	s, _, err := r.Receive(t.Context(), r.file(f.ID), d.pallet, "anne")
	if n := s.Count(); err != nil || n[Released] != 70 || n[Opened] != 50 {
		t.Fatalf("%+v %v", n, err)
	}
	// Its own label does not let it go either.
	if s, _, err = r.Receive(t.Context(), r.file(f.ID), d.sscc[1], "anne"); err != nil || s.Count()[Released] != 70 {
		t.Errorf("%+v %v", s.Count(), err)
	}
	// An opened pallet leaves its closed cases to their own labels.
	r2 := newRig(t)
	r2.rules.Expiry = "month_end"
	f = r2.add(d.xml)
	if err := r2.Open(t.Context(), f, d.pallet, "anne", "unwrapped"); err != nil {
		t.Fatal(err)
	}
	if s, _, err = r2.Receive(t.Context(), r2.file(f.ID), d.note, "anne"); err != nil || s.Count()[Released] != 0 {
		t.Errorf("%+v %v", s.Count(), err)
	}
	if s, _, err = r2.Receive(t.Context(), r2.file(f.ID), d.sscc[0], "anne"); err != nil || s.Count()[Released] != 50 {
		t.Errorf("%+v %v", s.Count(), err)
	}
}

func TestADroppedFileLetsNothingMoreGo(t *testing.T) {
	r := newRig(t)
	d := makeDelivery(120, false)
	f := r.add(d.csv)
	if _, _, err := r.Receive(t.Context(), f, d.sscc[0], "anne"); err != nil {
		t.Fatal(err)
	}
	if err := r.Drop(t.Context(), r.file(f.ID), "anne", "wrong delivery"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Receive(t.Context(), r.file(f.ID), d.note, "anne"); err == nil {
		t.Error("received after it was dropped")
	}
	if _, _, err := r.Sample(t.Context(), r.file(f.ID), []scan.Pack{pack(t, d.packs[60])}, "", "anne"); err == nil {
		t.Error("sampled after it was dropped")
	}
	if got, _ := r.events(); len(got) != 50 {
		t.Errorf("%d events", len(got))
	}
	if found, err := r.Find(t.Context(), d.note); err != nil || len(found) != 0 {
		t.Errorf("found %d, %v", len(found), err)
	}
}

func TestRowsThatAreNotTheFilesAreNotPublished(t *testing.T) {
	r := newRig(t)
	d := makeDelivery(60, false)
	f := r.add(d.csv)
	if err := r.q.Forget(t.Context(), f.ID, f.Part); err != nil {
		t.Fatal(err)
	}
	_, _, err := r.Receive(t.Context(), f, d.note, "anne")
	if _, ok := err.(*Problem); !ok {
		t.Errorf("%v", err)
	}
	if err := r.q.Forget(t.Context(), f.ID, "log"); err == nil {
		t.Error("a log was forgotten")
	}
}

func TestTheSheetAddsUp(t *testing.T) {
	r := newRig(t)
	d := makeDelivery(120, false)
	f := r.add(d.csv)
	var all []scan.Pack
	for _, p := range d.packs[2:50] {
		all = append(all, pack(t, p))
	}
	if _, _, err := r.Sample(t.Context(), f, all, d.sscc[0], "anne"); err != nil {
		t.Fatal(err)
	}
	s, _, err := r.Receive(t.Context(), r.file(f.ID), d.sscc[0], "anne")
	if err != nil {
		t.Fatal(err)
	}
	var out []queue.Outcome
	say := func(id string, p made, result scan.Result, reason scan.Reason) {
		q := pack(t, p)
		body, _ := json.Marshal(scan.Outcome{V: 1, EventID: id, Site: "nord", Op: scan.Supply, Pack: &q, Result: result, Reason: reason})
		out = append(out, queue.Outcome{Site: "nord", Device: "cc", EventID: id, Body: body})
	}
	for i := 2; i < 40; i++ {
		say(EventID(f.ID, int32(i+2)), d.packs[i], scan.Done, "")
	}
	say(EventID(f.ID, 42), d.packs[40], scan.Alert, scan.AlreadyInactive)
	say("by-hand", d.packs[0], scan.Done, "") // a missing one turned up elsewhere
	say("another", made{d.packs[0].code, "OTHER", "L", "281100", ""}, scan.Done, "")
	if _, err := r.q.conn.PublishOutcomes(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	sheet, err := s.Sheet(t.Context(), r.q.conn)
	if err != nil {
		t.Fatal(err)
	}
	if !sheet.AddsUp() || sheet.Declared != 120 || sheet.RefusedSum() != 3 || sheet.Missing != 2 || sheet.Released != 48 || sheet.Waiting != 67 ||
		sheet.Scanned[scan.Done] != 38 || sheet.Scanned[scan.Alert] != 1 || sheet.Pending != 9 || sheet.Alone[scan.Done] != 1 {
		t.Errorf("%+v", sheet)
	}
	sheet.Missing++
	if sheet.AddsUp() {
		t.Error("a pack more adds up, too")
	}
}
