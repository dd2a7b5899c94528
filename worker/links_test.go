package worker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// TestABreakThatAPersonResumedFromHaltsNoMore: the start finds the broken link, the outbox finds it once more while the
// account stands still.
func TestABreakThatAPersonResumedFromHaltsNoMore(t *testing.T) {
	line(t, func(w *world) {
		w.reg.lossy.Store(true)
		w.start("w0", 0)
		w.scan("d1", "S1", scan.Supply)
		w.during(5 * time.Second)
		w.broker.LoseTail(1)
		w.appendRaw(&ledger.Record{})
		w.during(10 * time.Second)
		w.onStep(func(p *process, step string) {
			if step == "S6" { // the record is there, nobody looked at its link
				p.kill()
			}
		})
		w.scan("d1", "S2", scan.Supply)
		w.during(10 * time.Second)
		w.onStep(func(*process, string) {})
		w.start("again", 0)
		w.during(10 * time.Second)
		if note := w.halted(); !strings.Contains(note, whyChain) {
			t.Fatalf("halted: %q", note)
		}
		records := len(w.broker.Records(acc))
		if _, err := ResumeAfterLoss(context.Background(), w.resumer(), anna); !errors.As(err, new(*ChainError)) || len(w.broker.Records(acc)) != records {
			t.Errorf("a resume after loss of a chain that broke: %v, %d records written", err, len(w.broker.Records(acc))-records)
		}
		w.appendRaw(&ledger.Record{}) // a resume follows whole links only
		if _, _, err := Resume(context.Background(), w.resumer(), anna); err != nil {
			t.Fatal(err)
		}
		w.during(time.Minute)
		if note := w.halted(); note != "" {
			t.Errorf("halted again: %q", note)
		}
	})
}

// slowRecords gives a few records of each read, and no more within its time.
type slowRecords struct {
	Records
	most int
}

func (s slowRecords) Read(ctx context.Context, from uint64, fn func(queue.Entry) error) (uint64, error) {
	n := 0
	return s.Records.Read(ctx, from, func(e queue.Entry) error {
		if n++; n > s.most {
			<-ctx.Done()
			return ctx.Err()
		}
		return fn(e)
	})
}

// recalls is a loop that has nothing but a ledger, and a projection of it.
func (w *world) recalls(records Records) *loop {
	if _, err := w.store.Begin(context.Background(), acc); err != nil {
		w.t.Fatal(err)
	}
	return newLoop(&Account{cfg: Config{Account: acc}, deps: Deps{Records: records, State: edge{w.store, &process{w: w}}}, log: slog.New(slog.DiscardHandler)})
}

// TestAStartReadsAnHourThatTakesLongerThanOneTry: an hour of a busy account is more than is read in [storeTimeout].
func TestAStartReadsAnHourThatTakesLongerThanOneTry(t *testing.T) {
	line(t, func(w *world) {
		for range 10 {
			w.appendRaw(&ledger.Record{})
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		l := w.recalls(slowRecords{w.dev.Ledger(acc), 3})
		if err := l.recall(ctx); err != nil || l.recalled != 10 || l.latched.Load() {
			t.Errorf("%v, %d records of 10 read, halted %v", err, l.recalled, l.latched.Load())
		}
	})
}

// TestAStartWithAnEmptyRedisReadsTheLedgerOnce: the synchronisation reads it from its first record anyway.
func TestAStartWithAnEmptyRedisReadsTheLedgerOnce(t *testing.T) {
	line(t, func(w *world) {
		for range 10 {
			w.appendRaw(&ledger.Record{})
		}
		l := newLoop(&Account{cfg: Config{Account: acc, AlertLimit: 3}, deps: Deps{Records: w.dev.Ledger(acc), State: edge{w.store, &process{w: w}}}, log: slog.New(slog.DiscardHandler)})
		if err := l.recall(context.Background()); err != nil || l.recalled != 0 {
			t.Errorf("%v, %d records read before the projection", err, l.recalled)
		}
		if err := l.synchronise(context.Background()); err != nil || l.recalled != 10 || l.latched.Load() {
			t.Errorf("%v, %d records of 10 read, halted %v", err, l.recalled, l.latched.Load())
		}
	})
}

// TestARecordOfANewerVersionIsNoBrokenLink: what it says is not known, what it hangs on is.
func TestARecordOfANewerVersionIsNoBrokenLink(t *testing.T) {
	line(t, func(w *world) {
		ctx, records := context.Background(), w.dev.Ledger(acc)
		head, err := records.Append(ctx, ledger.Head{}, []byte(`{"v":1}`))
		for _, body := range []string{"", `{"v":3}`, ""} {
			b := []byte(body)
			if err == nil && body == "" {
				b, err = ledger.Encode(&ledger.Record{Account: acc}, head)
			}
			if err == nil {
				head, err = records.Append(ctx, head, b)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		l := w.recalls(records)
		if err := l.recall(ctx); err != nil || l.latched.Load() {
			t.Errorf("%v, halted %v", err, l.haltedAt)
		}
	})
}

// TestAStartWhoseClockIsAheadChecksTheLedgersLastHour: to it the ledger has been quiet for hours, or for more than a day.
func TestAStartWhoseClockIsAheadChecksTheLedgersLastHour(t *testing.T) {
	for _, ahead := range []time.Duration{0, 3 * time.Hour, 36 * time.Hour} {
		line(t, func(w *world) {
			ctx, records := context.Background(), w.dev.Ledger(acc)
			w.appendRaw(&ledger.Record{})
			head, err := records.Append(ctx, ledger.Head{Seq: 1, Hash: w.broker.Records(acc)[0].Hash}, []byte(`{"v":1}`))
			lost := ledger.Head{Seq: head.Seq, Hash: strings.Repeat("a", len(head.Hash))} // its number was taken by the one before
			if err == nil {
				var b []byte
				if b, err = ledger.Encode(&ledger.Record{Account: acc}, lost); err == nil {
					_, err = records.Append(ctx, head, b)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(ahead)
			l := w.recalls(records)
			if err := l.recall(ctx); err != nil || !l.latched.Load() {
				t.Errorf("%v ahead: %v, halted %v", ahead, err, l.latched.Load())
			}
		})
	}
}

// lateRecords does not find what it is asked for the first time.
type lateRecords struct {
	Records
	first *nth
}

func (l lateRecords) Get(ctx context.Context, seq uint64) (queue.Entry, error) {
	if l.first.now() {
		return queue.Entry{}, queue.ErrNotFound
	}
	return l.Records.Get(ctx, seq)
}

// outboxed is a record of the outbox, of which only its place counts.
type outboxed struct {
	queue.OutboxRecord
	e queue.Entry
}

func (o outboxed) Entry() queue.Entry { return o.e }
func (o outboxed) Turn() uint64       { return o.e.Seq }

// TestALeaderThatIsBehindBreaksNoLink: a record that is not there yet when it is asked for is no lost one; one that stays
// away is.
func TestALeaderThatIsBehindBreaksNoLink(t *testing.T) {
	line(t, func(w *world) {
		for range 3 {
			w.appendRaw(&ledger.Record{})
		}
		third := w.broker.Records(acc)[2]
		r, err := ledger.Decode(third.Payload, acc)
		if err != nil {
			t.Fatal(err)
		}
		breaks := 0
		p := &Publisher{Account: acc, Records: lateRecords{w.dev.Ledger(acc), newNth(1)}, Log: slog.New(slog.DiscardHandler), Broken: func() { breaks++ }}
		if err := p.holdLink(context.Background(), outboxed{e: third}, r); err != nil || breaks != 0 {
			t.Errorf("behind: %v, %d breaks", err, breaks)
		}
		r.Prev = ledger.Hash([]byte("another"))
		if err := p.holdLink(context.Background(), outboxed{e: third}, r); err != nil || breaks != 1 {
			t.Errorf("another one: %v, %d breaks", err, breaks)
		}
	})
}

// TestABreakIsToldAlthoughWhatFollowsItHasNoOutcome: behind the break stands an answer to an attempt whose record was
// lost. Whose scan it was, nobody knows any more; it must neither hide the break nor hold up the outcomes behind it
// (seeds 304613, 308352).
func TestABreakIsToldAlthoughWhatFollowsItHasNoOutcome(t *testing.T) {
	note := func(ev string) ledger.Note {
		return ledger.Note{Origin: ledger.Origin{Ev: ev, Src: "s/d", Key: 1, Op: scan.Supply}, Answer: ledger.Answer{Result: scan.Rejected, Reason: scan.MalformedScan}}
	}
	recs := []*ledger.Record{
		{Note: []ledger.Note{note("e0")}}, // in the place of the one that opened LOST
		{Note: []ledger.Note{note("e1")}, Fact: []ledger.Fact{{C: "LOST", Of: 1, Kind: ledger.Result,
			Packs: []ledger.FactPack{{K: "0123456789abcdef", Answer: &ledger.Answer{Result: scan.Done}}}}}},
		{Note: []ledger.Note{note("e2")}},
	}
	ctx, cancel := context.WithCancel(t.Context())
	box := &outboxOf{stolen: func(int) bool { return false }, done: cancel}
	head := ledger.Head{}
	for i, r := range recs {
		r.Account, r.By, r.At = "chu", "w#1", "2026-11-22T10:16:00.000Z"
		if i == 1 {
			head.Hash = ledger.Hash([]byte("the lost record"))
		}
		payload, err := ledger.Encode(r, head)
		if err != nil {
			t.Fatal(err)
		}
		head = ledger.Head{Seq: uint64(i + 1), Hash: ledger.Hash(payload)}
		box.entries = append(box.entries, queue.Entry{Seq: head.Seq, Hash: head.Hash, Payload: payload})
	}
	breaks, out := 0, &toldOutcomes{fail: func(int) error { return nil }}
	pub := Publisher{Account: "chu", Outbox: box, Outcomes: out, Records: boxRecords{o: box}, Broken: func() { breaks++ }}
	ended := make(chan error, 1)
	go func() { ended <- pub.Run(ctx) }()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		cancel()
		<-ended
		t.Error("the outbox does not get past the record")
	}
	if breaks != 1 || !slices.Equal(out.ids, []string{"e0", "e1", "e2"}) {
		t.Errorf("%d breaks told, outcomes %q", breaks, out.ids)
	}
}
