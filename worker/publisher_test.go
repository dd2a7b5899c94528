package worker

import (
	"context"
	"strings"
	"testing"

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
