package worker

import (
	"testing"
	"time"

	"decom/worker/ledger"
	"decom/worker/scan"
)

// noon is the present of the tables; testPack expires at the end of November 2028.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func mustPack(t testing.TB, serial, batch, expiry string) scan.Pack {
	t.Helper()
	p, err := scan.NewPack(scan.GTIN, "03400930000007", serial, batch, expiry)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// said1 is one scan of the tables: device says op at `at`.
func said1(device, id string, op scan.Op, at time.Time) scan.Event {
	return scan.Event{ID: id, Op: op, At: at, Meta: scan.Meta{Site: "s", Device: device, Stored: at.Add(time.Second)}}
}

// heard is a pack's state after the event e was its newest.
func heard(e scan.Event, phase ledger.Phase, op scan.Op) ledger.State {
	s := ledger.State{Phase: phase, Op: op, Timed: e.Timed(), Undo: e.Op.IsUndo(), Last: e.Key()}
	s.Seen[0] = scan.SeenTag(e.Source(), e.ID)
	if phase == ledger.Inactive {
		s.Opening, s.Base, s.At = 7, 7, e.Key().MS/1000
	}
	return s
}

func with(s ledger.State, f func(*ledger.State)) ledger.State { f(&s); return s }

// TestDecideFollowsTheRulesInOrder has the rules of protocol.md section 4, first match
// first, each with its boundary on both sides.
func TestDecideFollowsTheRulesInOrder(t *testing.T) {
	p := mustPack(t, "X1", "LOT1", "281100")
	ago := func(d time.Duration) time.Time { return noon.Add(-d) }
	const s = time.Second
	supplied := heard(said1("a", "0", scan.Supply, ago(time.Hour)), ledger.Inactive, scan.Supply)
	undone := with(heard(said1("a", "0", scan.UndoSupply, ago(time.Hour)), ledger.Free, 0), func(s *ledger.State) { s.Undone = true })
	otherPrint := func(s *ledger.State) { s.Print = p.Print() + 1 }
	mkey := func(device string, op scan.Op, d time.Duration, phase ledger.Phase, as scan.Op) ledger.State {
		return heard(said1(device, "0", op, ago(d)), phase, as)
	}
	bare := said1("a", "1", scan.UndoSupply, ago(0))
	bare.At = time.Time{}
	sampled := heard(said1("a", "0", scan.Sample, ago(time.Hour)), ledger.Inactive, scan.Sample)
	for _, tt := range []struct {
		name string
		e    scan.Event
		s    ledger.State
		want decision
	}{
		{"10 never heard of", said1("a", "1", scan.Supply, ago(0)), ledger.State{}, decision{verb: open}},
		{"10 again after our undo", said1("a", "1", scan.Supply, ago(0)), undone, decision{verb: open}},
		{"10 undo of ours", said1("a", "1", scan.UndoSupply, ago(0)), supplied, decision{verb: open}},

		{"1 the newest event again", said1("a", "0", scan.Supply, ago(time.Hour)), supplied, decision{verb: ackOnly}},
		{"1 seen beats open", said1("a", "0", scan.Supply, ago(time.Hour)), mkey("a", scan.Supply, time.Hour, ledger.Opened, scan.Supply), decision{verb: ackOnly}},
		{"1 a tag met by chance does not swallow a newer scan", said1("a", "1", scan.Supply, ago(0)),
			with(undone, func(s *ledger.State) { s.Seen[1] = scan.SeenTag("s/a", "1") }), decision{verb: open}},

		{"2 open holds", said1("a", "1", scan.UndoSupply, ago(0)), mkey("a", scan.Supply, time.Hour, ledger.Opened, scan.Supply), decision{verb: hold}},
		{"2 due holds", said1("a", "1", scan.Supply, ago(0)), mkey("a", scan.Supply, time.Hour, ledger.Due, scan.Supply), decision{verb: hold}},
		{"2 open holds an old scan too", said1("a", "1", scan.Supply, ago(2*time.Hour)), mkey("a", scan.Supply, time.Hour, ledger.Opened, scan.Supply), decision{verb: hold}},

		{"3 older, as wished", said1("a", "1", scan.Supply, ago(2*time.Hour)), supplied, noted(scan.Duplicate, "")},
		{"3 older, not as wished", said1("a", "1", scan.Supply, ago(2*time.Hour)), undone, noted(scan.Refused, scan.Superseded)},
		{"3 older undo after our undo", said1("a", "1", scan.UndoSupply, ago(2*time.Hour)), undone, noted(scan.Duplicate, "")},
		{"3 older beats parked", said1("a", "1", scan.Supply, ago(2*time.Hour)), mkey("a", scan.Supply, time.Hour, ledger.Parked, scan.Supply), noted(scan.Refused, scan.Superseded)},

		{"4 opposite, other device, 1 ms inside SKEW", said1("b", "1", scan.UndoSupply, ago(0)), mkey("a", scan.Supply, 5*s-time.Millisecond, ledger.Inactive, scan.Supply), noted(scan.Refused, scan.Order)},
		{"4 opposite, other device, SKEW apart", said1("b", "1", scan.UndoSupply, ago(0)), mkey("a", scan.Supply, 5*s, ledger.Inactive, scan.Supply), decision{verb: open}},
		{"4 opposite, same device", said1("a", "1", scan.UndoSupply, ago(0)), mkey("a", scan.Supply, s, ledger.Inactive, scan.Supply), decision{verb: open}},
		{"4 supply right after the other's undo", said1("b", "1", scan.Supply, ago(0)), with(mkey("a", scan.UndoSupply, s, ledger.Free, 0), func(s *ledger.State) { s.Undone = true }), noted(scan.Refused, scan.Order)},
		{"4 not opposite", said1("b", "1", scan.Supply, ago(0)), mkey("a", scan.Supply, s, ledger.Inactive, scan.Supply), noted(scan.Duplicate, scan.SuspectCopy)},
		{"4 first event ever", said1("b", "1", scan.UndoSupply, ago(0)), ledger.State{}, noted(scan.Refused, scan.NotOurs)},

		{"5 parked", said1("a", "1", scan.Supply, ago(0)), mkey("a", scan.Supply, time.Hour, ledger.Parked, scan.Supply), noted(scan.Refused, scan.ParkedPack)},
		{"5 other batch", said1("a", "1", scan.Supply, ago(0)), with(undone, otherPrint), noted(scan.Rejected, scan.Conflict)},
		{"5 other batch, though as wished", said1("a", "1", scan.Supply, ago(0)), with(supplied, otherPrint), noted(scan.Rejected, scan.Conflict)},
		{"5 same batch", said1("a", "1", scan.Supply, ago(0)), with(undone, func(s *ledger.State) { s.Print = p.Print() }), decision{verb: open}},

		{"6 same device, 10 s later", said1("a", "1", scan.Supply, ago(0)), mkey("a", scan.Supply, 10*s, ledger.Inactive, scan.Supply), noted(scan.Duplicate, "")},
		{"6 same device, 1 ms more", said1("a", "1", scan.Supply, ago(0)), mkey("a", scan.Supply, 10*s+time.Millisecond, ledger.Inactive, scan.Supply), noted(scan.Duplicate, scan.SuspectCopy)},
		{"6 other device at once", said1("b", "1", scan.Supply, ago(0)), mkey("a", scan.Supply, s, ledger.Inactive, scan.Supply), noted(scan.Duplicate, scan.SuspectCopy)},
		{"6 undone already", said1("a", "1", scan.UndoSupply, ago(0)), undone, noted(scan.Duplicate, scan.SuspectCopy)},

		{"7 inactive for another reason", said1("a", "1", scan.Destroy, ago(0)), supplied, noted(scan.Refused, scan.InactivePack)},

		{"8 never ours", said1("a", "1", scan.UndoSupply, ago(0)), mkey("a", scan.Supply, time.Hour, ledger.Free, 0), noted(scan.Refused, scan.NotOurs)},
		{"8 no record to cite", said1("a", "1", scan.UndoSupply, ago(0)), with(supplied, func(s *ledger.State) { s.Base = 0 }), noted(scan.Refused, scan.NotOurs)},
		{"8 undo of another operation", said1("a", "1", scan.UndoExport, ago(0)), supplied, noted(scan.Refused, scan.InactivePack)},
		{"8 undo sample of a sample", said1("a", "1", scan.UndoSample, ago(0)), sampled, decision{verb: open}},
		{"8 destroyed", said1("a", "1", scan.UndoSupply, ago(0)), mkey("a", scan.Destroy, time.Hour, ledger.Inactive, scan.Destroy), noted(scan.Refused, scan.InactivePack)},
		{"8 stolen", said1("a", "1", scan.UndoLock, ago(0)), mkey("a", scan.Stolen, time.Hour, ledger.Inactive, scan.Stolen), noted(scan.Refused, scan.InactivePack)},
		{"8 a second before 9 d 20 h", said1("a", "1", scan.UndoSupply, ago(0)), mkey("a", scan.Supply, undoWindow-s, ledger.Inactive, scan.Supply), decision{verb: open}},
		{"8 at 9 d 20 h", said1("a", "1", scan.UndoSupply, ago(0)), mkey("a", scan.Supply, undoWindow, ledger.Inactive, scan.Supply), noted(scan.Refused, scan.TooLate)},
		{"8 time of the change not known", said1("a", "1", scan.UndoSupply, ago(0)), with(supplied, func(s *ledger.State) { s.At = 0 }), noted(scan.Refused, scan.TooLate)},
		{"8 the undo has no clock", bare, supplied, noted(scan.Refused, scan.NoTime)},
		{"8 the change had no clock", said1("a", "1", scan.UndoSupply, ago(0)), with(supplied, func(s *ledger.State) { s.Timed = false }), noted(scan.Refused, scan.NoTime)},

		{"verify reads", said1("a", "1", scan.Verify, ago(0)), ledger.State{}, decision{verb: read}},
		{"verify reads an open pack", said1("a", "1", scan.Verify, ago(0)), mkey("a", scan.Supply, s, ledger.Opened, scan.Supply), decision{verb: read}},
		{"verify reads a parked pack", said1("a", "1", scan.Verify, ago(2*time.Hour)), mkey("a", scan.Supply, time.Hour, ledger.Parked, scan.Supply), decision{verb: read}},
		{"verify again", said1("a", "0", scan.Verify, ago(0)), mkey("a", scan.Verify, 0, ledger.Free, 0), decision{verb: ackOnly}},
		{"verify with other data", said1("a", "1", scan.Verify, ago(0)), with(supplied, otherPrint), noted(scan.Rejected, scan.Conflict)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := rules{now: noon, skew: 5 * time.Second, undoFor: undoWindow}
			if got := decide(tt.e, p, tt.s, r); got != tt.want {
				t.Errorf("decided %v %s/%s, want %v %s/%s", got.verb, got.result, got.reason, tt.want.verb, tt.want.result, tt.want.reason)
			}
		})
	}
	if undoWindow != 9*24*time.Hour+20*time.Hour || sameScan != 10*time.Second {
		t.Errorf("the numbers of protocol.md section 4 are 9 d 20 h and 10 s, not %v and %v", undoWindow, sameScan)
	}
}

// TestNothingIsSentPastItsExpiry has rule 7's second half: the printed day is still
// good, a day of 00 means the end of the month, an undo is barred too.
func TestNothingIsSentPastItsExpiry(t *testing.T) {
	day := func(y int, m time.Month, d, h, min int) time.Time { return time.Date(y, m, d, h, min, 0, 0, time.UTC) }
	for _, tt := range []struct {
		expiry string
		now    time.Time
		op     scan.Op
		want   scan.Reason
	}{
		{"261122", day(2026, 11, 22, 23, 59), scan.Supply, ""},
		{"261122", day(2026, 11, 23, 0, 0), scan.Supply, scan.ExpiredPack},
		{"261100", day(2026, 11, 30, 23, 59), scan.Supply, ""},
		{"261100", day(2026, 12, 1, 0, 0), scan.Supply, scan.ExpiredPack},
		{"280200", day(2028, 2, 29, 23, 59), scan.Supply, ""},
		{"280200", day(2028, 3, 1, 0, 0), scan.Supply, scan.ExpiredPack},
		{"261231", day(2027, 1, 1, 0, 0), scan.Destroy, scan.ExpiredPack},
		{"261122", day(2026, 11, 23, 0, 0), scan.UndoSupply, scan.ExpiredPack},
	} {
		s := ledger.State{}
		if tt.op.IsUndo() {
			s = heard(said1("a", "0", scan.Supply, tt.now.Add(-time.Hour)), ledger.Inactive, scan.Supply)
		}
		d := decide(said1("a", "1", tt.op, tt.now), mustPack(t, "X1", "L", tt.expiry), s, rules{now: tt.now, skew: 5 * time.Second, undoFor: undoWindow})
		if d.reason != tt.want || (tt.want == "") != (d.verb == open) {
			t.Errorf("%v of a pack with expiry %s at %v: %v %s, want reason %q", tt.op, tt.expiry, tt.now, d.verb, d.reason, tt.want)
		}
	}
}

// TestKeysOrderByTimeThenDeviceThenID keeps the order total, the same everywhere, and
// capped at the stream's time.
func TestKeysOrderByTimeThenDeviceThenID(t *testing.T) {
	early, late := said1("a", "1", scan.Supply, noon), said1("a", "1", scan.Supply, noon.Add(time.Millisecond))
	if early.Key().Compare(late.Key()) >= 0 {
		t.Error("a millisecond later is not later")
	}
	a, b := said1("a", "1", scan.Supply, noon).Key(), said1("b", "1", scan.Supply, noon).Key()
	if a.Compare(b) == 0 || a.Compare(b) != -b.Compare(a) {
		t.Error("two devices at one time have no order, or two")
	}
	c, d := said1("a", "1", scan.Supply, noon).Key(), said1("a", "2", scan.Supply, noon).Key()
	if c.Compare(d) == 0 || c.Compare(d) != -d.Compare(c) {
		t.Error("two scans of one device at one time have no order, or two")
	}
	fast := said1("a", "1", scan.Supply, noon)
	fast.Stored = noon.Add(-time.Minute) // the device's clock runs ahead of the stream's
	if got := fast.Key().MS; got != fast.Stored.UnixMilli() {
		t.Errorf("a device ahead of the stream is not capped: %d", got)
	}
}
