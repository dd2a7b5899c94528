package httpdoor_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	httpdoor "decom/queue/doors/http"
	"decom/ratelimit"
)

func TestAResendIsTheSameScan(t *testing.T) {
	b := newBench(t, nil, nil)
	first := b.post("nord/rowa", "text/plain", packText, "Idempotency-Key", "k1")
	time.Sleep(150 * time.Millisecond) // beyond the stream's own window
	for range 3 {
		if a := b.post("nord/rowa", "text/plain", packText, "Idempotency-Key", "k1"); a.StatusCode != 202 || !a.v.Duplicate || a.v.Sequence != first.v.Sequence || a.v.ID != "k1" {
			t.Errorf("%s: %s", a.Status, a.body)
		}
	}
	// The same scan with a newer time is the same scan; another pack is not.
	if a := b.do("nord/rowa", "POST", "/v1/scans?at=2026-01-02T03:04:05Z", "text/plain", packText, "Idempotency-Key", "k1"); a.StatusCode != 202 || !a.v.Duplicate {
		t.Errorf("%s: %s", a.Status, a.body)
	}
	if a := b.post("nord/rowa", "text/plain", otherOne, "Idempotency-Key", "k1"); a.StatusCode != 422 || a.v.Code != "id_reused" {
		t.Errorf("%s: %s", a.Status, a.body)
	}
	if got := b.scans(); len(got) != 1 {
		t.Errorf("%d scans stored, want 1", len(got))
	}
}

func TestDevicesThatNumberTheirScansAlikeLoseNothingToEachOther(t *testing.T) {
	b := newBench(t, nil, nil)
	for _, who := range []string{"nord/rowa", "nord/desk", "sud/rowa"} {
		for i, text := range []string{packText, otherOne} {
			if a := b.post(who, "text/plain", text, "Idempotency-Key", fmt.Sprint(i)); a.StatusCode != 202 || a.v.Duplicate {
				t.Errorf("%s: %s: %s", who, a.Status, a.body)
			}
		}
	}
	if got := b.scans(); len(got) != 6 {
		t.Errorf("%d scans stored, want 6", len(got))
	}
}

func TestOneIdForTwoPacksInOneListIsNoticed(t *testing.T) {
	b := newBench(t, nil, nil)
	a := b.post("nord/rowa", "application/json", `[{"id":"1","scan":`+quoted(packText)+`},{"id":"1","scan":`+quoted(otherOne)+`}]`)
	if a.StatusCode != 207 || a.v.Items[0].Status != 202 || a.v.Items[1].Status != 422 {
		t.Errorf("%s: %s", a.Status, a.body)
	}
}

func TestAListUnderOneKeyIsTheSameScansWhenSentAgain(t *testing.T) {
	list := packText + "\n" + otherOne + "\n"
	for _, key := range []string{"k", "a key that is so long that the number of an item does not fit it"} {
		b := newBench(t, nil, nil)
		first, again := b.post("nord/rowa", "text/plain", list, "Idempotency-Key", key), b.post("nord/rowa", "text/plain", list, "Idempotency-Key", key)
		if first.StatusCode != 202 || again.StatusCode != 202 || !again.v.Items[1].Duplicate || first.v.Items[1].ID != again.v.Items[1].ID || first.v.Items[0].ID == first.v.Items[1].ID {
			t.Errorf("%s\n%s", first.body, again.body)
		}
		if got := b.scans(); len(got) != 2 {
			t.Errorf("%d scans stored, want 2", len(got))
		}
	}
}

// Each fault of the queue, without effect and with it: the sender is told to come again,
// and what it sends again is one scan.
func TestAScanWhoseAnswerWasLostIsStoredUnderOneId(t *testing.T) {
	for _, tc := range []struct {
		name   string
		fault  func(*faultyQueue)
		status int
		code   string
		stored int // before it is sent again
	}{
		{"not stored", func(q *faultyQueue) { q.fails = 1 }, 503, "not_acknowledged", 0},
		{"stored, answer lost", func(q *faultyQueue) { q.lost = 1 }, 503, "not_acknowledged", 1},
		{"queue away", func(q *faultyQueue) { q.down = true }, 503, "queue_away", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, nil, nil)
			b.queue.set(func() { tc.fault(b.queue) })
			a := b.post("nord/rowa", "text/plain", packText, "Idempotency-Key", "k1")
			if a.StatusCode != tc.status || a.v.Code != tc.code || a.Header.Get("Retry-After") != "5" {
				t.Fatalf("%s: %s", a.Status, a.body)
			}
			b.queue.set(func() { b.queue.down = false })
			if a = b.post("nord/rowa", "text/plain", packText, "Idempotency-Key", "k1"); a.StatusCode != 202 {
				t.Fatalf("sent again: %s: %s", a.Status, a.body)
			}
			if got := b.scans(); len(got) != 1 || got[0].ID != "k1" {
				t.Errorf("stored %+v", got)
			}
		})
	}
}

// Beyond the stream's window, or in another process, the stream stores a copy: under the
// id that the worker knows already.
func TestAResendToAnotherProcessHasTheIdOfTheFirst(t *testing.T) {
	b := newBench(t, nil, nil)
	b.post("nord/rowa", "text/plain", packText, "Idempotency-Key", "k1")
	time.Sleep(150 * time.Millisecond)
	secret := b.token["nord/rowa"]
	other := newBench(t, b.queue.Queue, nil)
	other.broker = b.broker
	if a := other.do("nord/rowa", "POST", "/v1/scans", "text/plain", packText, "Idempotency-Key", "k1"); a.StatusCode != 202 {
		t.Errorf("%s: %s", a.Status, a.body)
	}
	if got := b.scans(); len(got) != 2 || got[0].ID != "k1" || got[1].ID != "k1" {
		t.Errorf("stored %+v", got)
	}
	if a := other.do("", "POST", "/v1/scans", "text/plain", packText, "Authorization", "Bearer "+secret); a.StatusCode != 401 {
		t.Errorf("a token of another file: %s", a.Status)
	}
}

func TestAPartlyStoredListIsSentAgainWhole(t *testing.T) {
	b := newBench(t, nil, nil)
	b.queue.set(func() { b.queue.part = true })
	list := packText + "\n" + otherOne + "\n"
	a := b.post("nord/rowa", "text/plain", list, "Idempotency-Key", "k")
	if a.StatusCode != 503 || a.v.Code != "partly_stored" || len(a.v.Items) != 2 || a.v.Items[0].Status != 202 || a.v.Items[1].Status != 503 {
		t.Fatalf("%s: %s", a.Status, a.body)
	}
	if a = b.post("nord/rowa", "text/plain", list, "Idempotency-Key", "k"); a.StatusCode != 202 || !a.v.Items[0].Duplicate || a.v.Items[1].Duplicate {
		t.Errorf("%s: %s", a.Status, a.body)
	}
	if got := b.scans(); len(got) != 2 {
		t.Errorf("%d scans stored, want 2", len(got))
	}
}

func TestADeviceThatIsTooFastIsToldWhenToComeAgain(t *testing.T) {
	b := newBench(t, nil, func(c *httpdoor.Config, _ *httpdoor.Deps) { c.Rate = ratelimit.Rate{N: 2, Per: time.Second} })
	codes := map[int]int{}
	var flood sync.WaitGroup
	for range 12 {
		flood.Go(func() { b.post("nord/rowa", "text/plain", packText) })
	}
	time.Sleep(20 * time.Millisecond)
	for range 6 {
		a := b.post("nord/rowa", "text/plain", packText)
		codes[a.StatusCode]++
		if a.StatusCode == 429 && a.Header.Get("Retry-After") != "1" {
			t.Errorf("%s %v", a.Status, a.Header)
		}
	}
	if codes[429] == 0 || codes[429]+codes[202] != 6 {
		t.Errorf("answers %v", codes)
	}
	// A list has its own time, however long it is against the pace.
	flood.Wait()
	began := time.Now()
	a := b.post("sud/rowa", "text/plain", packText+"\n"+otherOne+"\n"+packText)
	if took := time.Since(began); a.StatusCode != 202 || took < 900*time.Millisecond {
		t.Errorf("three scans at 2/s: %s after %v", a.Status, took)
	}
}
