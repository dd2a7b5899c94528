package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// oneRecord is a ledger that holds one payload, whatever it is asked for.
type oneRecord struct {
	Records
	payload []byte
}

func (o oneRecord) Get(_ context.Context, seq uint64) (queue.Entry, error) {
	return queue.Entry{Seq: seq, Payload: o.payload}, nil
}

// After a ledger lost its tail, new records get the sequences of the lost ones: what a
// process kept of those must not hide them, or the account's outcomes stop for ever.
func TestAnOutcomeIsNotTakenFromARecordThatWasLost(t *testing.T) {
	p := mustPack(t, "X4F8L2", "LOT42", "281100")
	opens := func(c string) *ledger.Record {
		return &ledger.Record{Account: "chu", By: "w#1", At: "2026-11-22T10:16:00.000Z",
			Open: []ledger.Open{{C: c, Svc: ledger.Single, Op: scan.Supply, SHA: "00", Product: product(p),
				Packs: []ledger.OpenPack{{Serial: p.Serial(), Origin: ledger.Origin{Ev: "e", Src: "s/d", Key: 1, Op: scan.Supply}}}}}}
	}
	lost, now := opens("LOST"), opens("NOW")
	payload, err := ledger.Encode(now, ledger.Head{Seq: 9, Hash: strings.Repeat("a", 64)})
	if err != nil {
		t.Fatal(err)
	}
	pub := Publisher{Account: "chu", Records: oneRecord{payload: payload}, opening: newShelf(openingPacks)}
	pub.opening.put(ledger.Head{Seq: 10}, lost)
	pub.opening.put(ledger.Head{Seq: 11}, lost)
	for range 2 { // the second time it is kept
		r, err := pub.record(t.Context(), 10, "NOW")
		if err != nil || attemptOf(r, "NOW") == nil {
			t.Fatalf("got %+v, %v", r, err)
		}
	}
	if r, err := pub.record(t.Context(), 11, "LOST"); err != nil || r != lost {
		t.Errorf("what was kept is not used: %+v, %v", r, err)
	}
}

// outboxOf gives out records one by one, each until it is acknowledged; stolen ones went to
// another process.
type outboxOf struct {
	entries []queue.Entry
	stolen  func(i int) bool
	at      int
	turn    uint64
	done    context.CancelFunc
}

type outboxTurn struct {
	*outboxOf
	e    queue.Entry
	turn uint64
}

func (o *outboxOf) Next(ctx context.Context) (queue.OutboxRecord, error) {
	for o.turn++; o.at < len(o.entries) && o.stolen(o.at); o.turn++ {
		o.at++
	}
	if o.at == len(o.entries) {
		o.done()
		return nil, context.Cause(ctx)
	}
	return outboxTurn{o, o.entries[o.at], o.turn}, nil
}

func (r outboxTurn) Entry() queue.Entry                         { return r.e }
func (r outboxTurn) Delivered() int                             { return 1 }
func (r outboxTurn) Turn() uint64                               { return r.turn }
func (r outboxTurn) Retry(context.Context, time.Duration) error { return nil }
func (r outboxTurn) Ack(context.Context) error                  { r.at++; return nil }

// toldOutcomes takes outcomes; fail may refuse a call.
type toldOutcomes struct {
	Outcomes
	ids   []string
	calls int
	fail  func(call int) error
}

func (o *toldOutcomes) OutcomesSince(context.Context, time.Time, []string, func(string, []byte) error) error {
	return nil
}

func (o *toldOutcomes) PublishOutcomes(_ context.Context, msgs []queue.Outcome) ([]queue.Ack, error) {
	o.calls++
	if err := o.fail(o.calls); err != nil {
		return nil, err
	}
	for _, m := range msgs {
		o.ids = append(o.ids, m.EventID)
	}
	return make([]queue.Ack, len(msgs)), nil
}

// boxRecords reads back what the outbox gives out.
type boxRecords struct {
	Records
	o *outboxOf
}

func (b boxRecords) Get(_ context.Context, seq uint64) (queue.Entry, error) {
	return b.o.entries[seq-1], nil
}

func TestOutcomesOfRecordsThatFollowEachOtherLeaveTogetherAndOnce(t *testing.T) {
	const records, each = 60, 300
	for _, c := range []struct {
		name   string
		stolen func(i int) bool
		fail   func(call int) error
		calls  int // to the stream, that failed ones included
	}{
		{"alone", func(int) bool { return false }, func(int) error { return nil }, togetherFrom - 1 + (records-togetherFrom+1+2)/3},
		{"a call fails", func(int) bool { return false }, func(call int) error {
			if call == 3 || call == togetherFrom+2 {
				return errors.New("no answer")
			}
			return nil
		}, togetherFrom - 1 + (records-togetherFrom+1+2)/3 + 2},
		{"another process takes every tenth", func(i int) bool { return i%10 == 9 }, func(int) error { return nil }, records - records/10},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			box := &outboxOf{stolen: c.stolen, done: cancel}
			var own recent
			var want []string
			head := ledger.Head{}
			for i := range records {
				r := &ledger.Record{Account: "chu", By: "w#1", At: "2026-11-22T10:16:00.000Z"}
				for j := range each {
					ev := fmt.Sprintf("e%d-%d", i, j)
					r.Note = append(r.Note, ledger.Note{Origin: ledger.Origin{Ev: ev, Src: "s/d", Key: 1, Op: scan.Supply},
						Answer: ledger.Answer{Result: scan.Rejected, Reason: scan.MalformedScan}})
					if !c.stolen(i) {
						want = append(want, ev)
					}
				}
				payload, err := ledger.Encode(r, head)
				if err != nil {
					t.Fatal(err)
				}
				head = ledger.Head{Seq: uint64(i + 1), Hash: ledger.Hash(payload)}
				box.entries = append(box.entries, queue.Entry{Seq: head.Seq, Hash: head.Hash, Payload: payload})
				own.add(head, r)
			}
			out := &toldOutcomes{fail: c.fail}
			pub := Publisher{Account: "chu", Outbox: box, Outcomes: out, Records: boxRecords{o: box}, Recent: own.get, After: own.after}
			if err := pub.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if !slices.Equal(out.ids, want) {
				t.Errorf("%d outcomes, want %d, each once and in order", len(out.ids), len(want))
			}
			if out.calls != c.calls {
				t.Errorf("%d calls to the stream, want %d", out.calls, c.calls)
			}
		})
	}
}

// earlierOutcomes has outcomes in the stream already.
type earlierOutcomes struct {
	toldOutcomes
	refs []string // by which the stream knows them, and
	evs  []string // their events
}

func (o *earlierOutcomes) OutcomesSince(_ context.Context, _ time.Time, _ []string, fn func(string, []byte) error) error {
	for i := range o.refs {
		if err := fn(o.refs[i], fmt.Appendf(nil, `{"event_id":%q}`, o.evs[i])); err != nil {
			return err
		}
	}
	return nil
}

// The stream has forgotten the id by then: only what was read back keeps it from a second outcome.
func TestAnOutcomeThatWasReadBackIsNotToldAgainWhenTheOthersOfItsRecordMeetAFault(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	box := &outboxOf{stolen: func(int) bool { return false }, done: cancel}
	r := &ledger.Record{Account: "chu", By: "w#1", At: "2026-11-22T10:16:00.000Z"}
	for _, ev := range []string{"told", "new"} {
		r.Note = append(r.Note, ledger.Note{Origin: ledger.Origin{Ev: ev, Src: "s/d", Key: 1, Op: scan.Supply},
			Answer: ledger.Answer{Result: scan.Rejected, Reason: scan.MalformedScan}})
	}
	payload, err := ledger.Encode(r, ledger.Head{})
	if err != nil {
		t.Fatal(err)
	}
	box.entries = []queue.Entry{{Seq: 1, Hash: ledger.Hash(payload), Payload: payload, Time: time.Now()}}
	out := &earlierOutcomes{refs: []string{"chu/1/0"}, evs: []string{"told"}, toldOutcomes: toldOutcomes{fail: func(call int) error {
		if call == 1 {
			return errors.New("no answer")
		}
		return nil
	}}}
	pub := Publisher{Account: "chu", Outbox: box, Outcomes: out, Records: boxRecords{o: box}}
	if err := pub.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if !slices.Equal(out.ids, []string{"new"}) {
		t.Errorf("told %v, want only the one that was not there", out.ids)
	}
}
